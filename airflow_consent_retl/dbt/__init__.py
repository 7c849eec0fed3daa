"""What a dbt project says about its models: syncs from their `meta`, exposures and tests that are written back."""
