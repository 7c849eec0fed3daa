"""SQLite: source, and the table writer with its declaration."""

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
    # Each commit waits for the disk, and the more keys are written in order, the fewer pages are written twice.
    table_batch_rows=200_000,
    # Each transaction then writes other pages of the key's index than the ones before.
    orders_rows=True,
    source=".source:SqliteSource",
    place="..place:file_place",
    one_spelling="..place:table_in_file",
    table=".table:SqliteWriter",
    table_dialect=".table_dialect:DIALECT",
    table_names="..table_names:names_in_file",
)
