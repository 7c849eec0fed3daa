"""SQLite: source."""

from __future__ import annotations

from airflow_consent_retl.databases.database import Database

DATABASE = Database(
    name="sqlite",
    title="SQLite",
    conn_types=("sqlite",),
    sql="sqlite",
    # SQLite takes a name in double quotes that it does not know for text; in back quotes it refuses it.
    quoting="mysql",
    source=".source:SqliteSource",
)
