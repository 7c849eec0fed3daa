"""PostgreSQL: source, staging schema and table writer."""

from __future__ import annotations

from airflow_consent_retl.databases.database import Database

DATABASE = Database(
    name="postgres",
    title="PostgreSQL",
    conn_types=("postgres",),
    extra="postgres",
    sql="postgres",
    sqlalchemy=("postgresql",),
    engine=".engine:driver_arguments",
    sample="ORDER BY RANDOM() LIMIT {rows}",
    is_for_ledgers=True,
    has_time_zone=True,
    source=".source:PostgresSource",
    staging=".staging:PostgresWarehouse",
    dialect=".dialect:PostgresDialect",
    place=".place:place",
    one_spelling=".place:one_spelling",
    table=".table:PostgresWriter",
    table_dialect=".table_dialect:DIALECT",
    table_names=".table_names:names",
)
