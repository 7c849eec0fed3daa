"""BigQuery: source, queries that run without a waiting worker, staging dataset and table writer."""

from __future__ import annotations

from airflow_consent_retl.databases.database import Database

DATABASE = Database(
    name="bigquery",
    title="BigQuery",
    conn_types=("gcpbigquery", "google_cloud_platform"),
    extra="google",
    sql="bigquery",
    hooks={"google_cloud_platform": ".hook:bigquery_hook"},
    # TABLESAMPLE is for tables only, and a model is a query.
    sample="ORDER BY RAND() LIMIT {rows}",
    has_time_zone=True,
    source=".source:BigQuerySource",
    submitted=".submitted:SubmittedBigQuery",
    staging=".staging:BigQueryWarehouse",
    dialect=".dialect:BigQueryDialect",
    place=".place:place",
    table=".table:BigQueryWriter",
    # A MERGE scans the whole table, even for few rows.
    table_batch_rows=100_000,
)
