"""DuckDB: source and table writer."""

from __future__ import annotations

from airflow_consent_retl.databases.database import Database

DATABASE = Database(
    name="duckdb",
    title="DuckDB",
    conn_types=("duckdb",),
    sql="duckdb",
    sample="USING SAMPLE reservoir({rows} ROWS)",
    has_time_zone=True,
    source=".source:DuckDbSource",
    place="..place:file_place",
    one_spelling="..place:table_in_file",
    table=".table:DuckDbWriter",
    table_names="..table_names:names_in_file",
)
