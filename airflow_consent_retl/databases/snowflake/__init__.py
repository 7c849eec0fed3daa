"""Snowflake: source, queries that run without a waiting worker, staging schema and table writer."""

from __future__ import annotations

from airflow_consent_retl.databases.database import Database

DATABASE = Database(
    name="snowflake",
    title="Snowflake",
    conn_types=("snowflake",),
    extra="snowflake",
    sql="snowflake",
    # At most 1,000,000 rows: https://docs.snowflake.com/en/sql-reference/constructs/sample
    sample="SAMPLE ({rows} ROWS)",
    has_time_zone=True,
    source=".source:SnowflakeSource",
    submitted=".submitted:SubmittedSnowflake",
    staging=".staging:SnowflakeWarehouse",
    dialect=".dialect:SnowflakeDialect",
    place=".place:place",
    one_spelling=".place:one_spelling",
    table=".table:SnowflakeWriter",
    table_names=".table_names:names",
    # A MERGE scans the whole table, even for few rows.
    table_batch_rows=100_000,
)
