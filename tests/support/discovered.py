"""Tables with every shape of consent record, in real databases, for the finder: one column for each case."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

if TYPE_CHECKING:
    from support.postgres import Postgres

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "cases" / "discovery.json").read_text())
CANARY = "canary-7f3a"
ROWS = 24
POLICY = {
    "unmapped_destinations": "deny",
    "categories": [
        {"id": "C0004", "name": "Advertising", "destinations": ["ads", "crm"]},
        {"id": "C0002", "name": "Analytics", "destinations": ["lake"]},
        {"id": "email", "name": "Email marketing", "destinations": ["newsletter"]},
    ],
}
_TYPES = {
    "boolean": {"duckdb": "BOOLEAN", "postgres": "boolean", "sqlite": "INTEGER"},
    "integer": {"duckdb": "BIGINT", "postgres": "bigint", "sqlite": "INTEGER"},
    "text": {"duckdb": "VARCHAR", "postgres": "text", "sqlite": "TEXT"},
    "timestamp": {"duckdb": "TIMESTAMPTZ", "postgres": "timestamptz", "sqlite": "TEXT"},
    "local time": {"duckdb": "TIMESTAMP", "postgres": "timestamp", "sqlite": "TEXT"},
}


def column_types() -> dict[str, str]:
    """Return the types that a DAG would declare for SQLite, whose booleans are numbers."""
    return {case["column"]: "bool" for case in CASES if case["type"] == "boolean"}


def sqlite_table(path: Path) -> str:
    """Write the table into a new SQLite file, and return the value of an `AIRFLOW_CONN_…` variable."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(_create("sqlite"))
        marks = ", ".join("?" * (len(CASES) + 2))
        connection.executemany(f"INSERT INTO people VALUES ({marks})", _rows())
        connection.commit()
    return json.dumps({"conn_type": "sqlite", "host": str(path)})


def duckdb_table(path: Path) -> str:
    """Write the table into a new DuckDB file, and return the value of an `AIRFLOW_CONN_…` variable."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(_create("duckdb"))
        marks = ", ".join("?" * (len(CASES) + 2))
        connection.executemany(f"INSERT INTO people VALUES ({marks})", _rows())
    return json.dumps({"conn_type": "duckdb", "host": str(path)})


def postgres_table(server: Postgres) -> str:
    """Write the table into a database of PostgreSQL, and return the value of an `AIRFLOW_CONN_…` variable."""
    with server.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS people")
        connection.execute(_create("postgres").encode())
        marks = ", ".join(["%s"] * (len(CASES) + 2))
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO people VALUES ({marks})".encode(), _rows())
    return server.airflow_connection()


def _create(database: str) -> str:
    columns = [f'"{case["column"]}" {_TYPES[case["type"]][database]}' for case in CASES]
    whole, text = _TYPES["integer"][database], _TYPES["text"][database]
    return f"CREATE TABLE people (user_id {whole}, email {text}, {', '.join(columns)})"


def _rows() -> list[Sequence[object]]:
    return [
        (number, f"{CANARY}-{number}@x.example", *(case["values"][number % len(case["values"])] for case in CASES))
        for number in range(ROWS)
    ]
