"""DuckDB: source and table writer."""
