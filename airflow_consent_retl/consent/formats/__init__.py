"""The consent formats: one file for each way to record consent, and the registry of their names in documents."""
