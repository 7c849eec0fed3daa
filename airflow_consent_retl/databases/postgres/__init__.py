"""PostgreSQL: source, staging schema and table writer."""
