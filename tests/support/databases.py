"""Real databases for the tests, each with an Airflow connection; tests also read them without that connection.

The root conftest loads this module as a plugin.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest

if TYPE_CHECKING:
    from support.postgres import Postgres

    from airflow_consent_retl.destinations.sql_table.destination import SqlTableDestination


@dataclass(frozen=True)
class Database:
    """A database of one test, which reads it without the destination."""

    kind: str
    conn_id: str
    execute: Callable[..., list[tuple[Any, ...]]]

    def destination(self, table: str = "people", **options: Any) -> SqlTableDestination:
        from airflow_consent_retl.destinations.sql_table.destination import SqlTableDestination
        from airflow_consent_retl.destinations.sql_table.operator import LoadToSqlTableOperator

        operator = LoadToSqlTableOperator(
            task_id="load",
            permitted={},
            destination="crm",
            fields={"id": "id"},
            conn_id=self.conn_id,
            table=table,
            **options,
        )
        destination = operator.build_destination()
        assert isinstance(destination, SqlTableDestination)
        return destination

    def rows(self, table: str = "people", columns: str = "*") -> list[tuple[Any, ...]]:
        return sorted(self.execute(f"SELECT {columns} FROM {table}"), key=str)


@pytest.fixture
def sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    file = tmp_path / "crm.db"
    connection = {"conn_type": "sqlite", "host": str(file), "extra": {"timeout": "0.05"}}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_SQLITE", json.dumps(connection))

    def execute(sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(file)) as connection, connection:
            return connection.execute(sql, parameters).fetchall()

    return Database("sqlite", "crm_sqlite", execute)


@pytest.fixture
def unopened_duck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    file = tmp_path / "crm.duckdb"
    monkeypatch.setenv("AIRFLOW_CONN_CRM_DUCKDB", json.dumps({"conn_type": "duckdb", "host": str(file)}))

    def execute(sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(file)) as connection:
            # Through Arrow: `fetchall` needs another package for timestamps with a time zone.
            found = connection.sql(sql, params=parameters or None)
            return list(zip(*found.to_arrow_table().to_pydict().values(), strict=True)) if found else []

    return Database("duckdb", "crm_duckdb", execute)


@pytest.fixture
def duck(unopened_duck: Database, tmp_path: Path) -> Iterator[Database]:
    # Connections of a process to one file share an instance: to start one for each would take most of the time.
    with duckdb.connect(str(tmp_path / "crm.duckdb")):
        yield unopened_duck


@pytest.fixture(scope="module")
def pg_database(postgres: Postgres) -> str:
    with postgres.connect() as server:
        server.execute("DROP DATABASE IF EXISTS crm")
        server.execute("CREATE DATABASE crm")
    return "crm"


@pytest.fixture
def pg(postgres: Postgres, pg_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", postgres.airflow_connection(database=pg_database))
    with postgres.connect(database=pg_database) as connection:

        def execute(sql: str, *parameters: object) -> list[tuple[Any, ...]]:
            cursor = connection.execute(sql, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []

        execute("SET lock_timeout = '5s'")
        for schema in ("public", "crm", '"my crm"'):
            execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        execute("CREATE SCHEMA public")
        yield Database("postgres", "crm_postgres", execute)


@pytest.fixture(params=["sqlite", "duck", "pg"])
def database(request: pytest.FixtureRequest) -> Database:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Database)
    return found
