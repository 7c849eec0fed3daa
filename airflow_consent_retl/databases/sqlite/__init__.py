"""SQLite: source, and the declaration for the table writer."""

from __future__ import annotations

from airflow_consent_retl.databases.database import Database

DATABASE = Database(
    name="sqlite",
    title="SQLite",
    conn_types=("sqlite",),
    sql="sqlite",
    # SQLite reads an unknown name in double quotes as text. In back quotes it refuses it.
    quoting="mysql",
    sqlalchemy=("sqlite",),
    sample="ORDER BY RANDOM() LIMIT {rows}",
    source=".source:SqliteSource",
    place="..place:file_place",
    table_dialect=".table_dialect:DIALECT",
    table_names="..table_names:names_in_file",
)
