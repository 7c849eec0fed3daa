"""A dbt project and its models: syncs from their `meta`, exposures and tests that are written back."""
