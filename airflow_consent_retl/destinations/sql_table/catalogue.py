"""The catalogue's entry of tables."""

from __future__ import annotations

from airflow_consent_retl.contract.catalogue import CatalogueEntry

CATALOGUE = CatalogueEntry(
    vendor="A table of a database",
    destination="airflow_consent_retl.destinations.sql_table.destination.SqlTableDestination",
    operator="LoadToSqlTableOperator",
    api_version="unversioned",
    removal={"always": 'The row is deleted, or marked in a column with `on_remove="mark"`.'},
    modes=("upsert", "remove", "clear"),
    limits={"concurrency": 1},
    checked=(
        "the contract suite, on PostgreSQL, SQLite and DuckDB themselves",
        "Snowflake and BigQuery by their own clients against local stand-ins",
        "the statements for other databases by their compilers in SQLAlchemy",
    ),
    unchecked=("Snowflake and BigQuery with an account", "MySQL and other databases through a running server"),
    sources=(),
)
