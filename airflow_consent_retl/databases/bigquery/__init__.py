"""BigQuery: source, submitted queries, staging schema and table writer."""
