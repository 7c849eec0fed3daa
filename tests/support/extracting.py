"""Fixtures for the tests of extraction: sources with real Airflow connections, and a workspace to extract into."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from support.postgres import Postgres
from support.snapshots import extracted


@dataclass(frozen=True, slots=True)
class Extracted:
    """A snapshot, read back with every digest verified."""

    manifest: Any
    table: pa.Table

    def column(self, name: str) -> list[Any]:
        values: list[Any] = self.table[name].to_pylist()
        return values


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace of the test's own."""

    path: Path

    def extract(self, sql: str, *, conn_id: str, primary_key: str = "id", **parameters: Any) -> Extracted:
        from airflow_consent_retl.operators.extract import ExtractModelOperator

        operator = ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id=conn_id,
            sql=sql,
            primary_key=primary_key,
            workspace=self.path.as_uri(),
            **parameters,
        )
        output = operator.execute({})
        snapshot, table = extracted(output)
        assert snapshot.manifest.rows == output["rows"] == table.num_rows
        return Extracted(snapshot.manifest, table)

    def files(self) -> list[Path]:
        return sorted(path for path in self.path.rglob("*") if path.is_file())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def run_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that runs statements on the file of connection `duck`."""
    path = tmp_path / "source.duckdb"
    monkeypatch.setenv("AIRFLOW_CONN_DUCK", json.dumps({"conn_type": "duckdb", "host": str(path)}))

    def run(statements: str) -> None:
        with duckdb.connect(str(path)) as connection:
            connection.execute(statements)

    run("SELECT 1")
    return run


@pytest.fixture
def run_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that runs a statement on the file of connection `lite`, once for each given row."""
    path = tmp_path / "source.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": str(path)}))

    def run(statement: str, rows: list[tuple[object, ...]] | None = None) -> None:
        with closing(sqlite3.connect(path)) as connection:
            if rows is None:
                connection.executescript(statement)
            else:
                connection.executemany(statement, rows)
            connection.commit()

    run("SELECT 1")
    return run


@pytest.fixture(params=["psycopg", "psycopg2"])
def postgres_driver(request: pytest.FixtureRequest, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """Make connection `pg`, once with each driver that the hook knows."""
    from airflow.providers.postgres.hooks import postgres as hook

    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    # The hook takes psycopg2 where psycopg is not installed; here both are.
    monkeypatch.setattr(hook, "USE_PSYCOPG3", request.param == "psycopg")
    return postgres
