"""The places of a small world: its source of people, and its ledger, each in SQLite or in PostgreSQL."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sqlite3
import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from support.postgres import Postgres

CONN_ID, LEDGER = "sync_world", "sync_world_ledger"
_COLUMNS = "email, name, first_name, analytics_ok, ads_ok"
_TYPED = "email text, name text, first_name text, analytics_ok boolean, ads_ok boolean"
_numbers = itertools.count()


@dataclass(frozen=True)
class Places:
    """The kinds of a world's places.

    Args:
        ledger: `sqlite` or `postgres`.
        rows: `files`, or `warehouse`: the staging schema of a source in PostgreSQL.
        server: for all that is in PostgreSQL; None: nothing is.
    """

    ledger: str = "sqlite"
    rows: str = "files"
    server: Postgres | None = None

    def source(self, path: Path) -> SourceDatabase:
        """Make a new source: in PostgreSQL if there is a server."""
        return SqliteSource(path) if self.server is None else PostgresSource(self.server)

    def new_ledger(self, workspace: Path) -> LedgerPlace:
        """Return the place of a ledger that was never opened."""
        if self.ledger == "sqlite":
            return SqliteLedger(workspace)
        assert self.server is not None
        return PostgresLedger(self.server)


class SourceDatabase(ABC):
    """The table of people behind the connection `CONN_ID`."""

    # Whether its sessions have a time zone.
    has_zones = False
    staging = ""

    @abstractmethod
    def run(self, sql: str, values: Sequence[object] = ()) -> None:
        """Run a statement, whose values are marked with `?`."""

    @abstractmethod
    def rows(self, sql: str) -> list[tuple[object, ...]]:
        """Return the rows of a query."""

    def close(self) -> None:
        del os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"]


class SqliteSource(SourceDatabase):
    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path / "source.db", isolation_level=None, check_same_thread=False)
        self.run("PRAGMA synchronous = OFF")
        self.run(f"CREATE TABLE people (id INTEGER PRIMARY KEY, {_COLUMNS})")
        _connect(CONN_ID, json.dumps({"conn_type": "sqlite", "host": str(path / "source.db")}))

    def run(self, sql: str, values: Sequence[object] = ()) -> None:
        self._connection.execute(sql, list(values))

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return self._connection.execute(sql).fetchall()

    def close(self) -> None:
        super().close()
        self._connection.close()


class PostgresSource(SourceDatabase):
    has_zones = True

    def __init__(self, server: Postgres) -> None:
        self._schema = _new_schema(server, "world")
        self.staging = _new_schema(server, "staging")
        self._connection = server.connect()
        self.run(f"SET search_path = {self._schema}")
        self.run(f"CREATE TABLE people (id bigint PRIMARY KEY, {_TYPED})")
        _connect(CONN_ID, _in_schema(server, self._schema))

    def run(self, sql: str, values: Sequence[object] = ()) -> None:
        self._connection.execute(sql.replace("?", "%s").encode(), list(values) or None)

    def rows(self, sql: str) -> list[tuple[object, ...]]:
        return self._connection.execute(sql.encode()).fetchall()

    def close(self) -> None:
        super().close()
        for schema in (self._schema, self.staging):
            self.run(f"DROP SCHEMA {schema} CASCADE")
        self._connection.close()


class LedgerPlace(ABC):
    """Where a world's ledger is. It can be replaced, as by a slip or a restored backup."""

    conn_id: str | None = None

    @abstractmethod
    def copy(self) -> str:
        """Copy the present ledger, and return the name of the copy."""

    @abstractmethod
    def replace(self, name: str | None) -> str:
        """Put the ledger of this name, or an empty one, in the place of the present one, and return its name."""

    @abstractmethod
    def close(self) -> None:
        """Remove what is outside of the world's folder."""


class SqliteLedger(LedgerPlace):
    def __init__(self, workspace: Path) -> None:
        self._file = workspace / "ledger.db"
        self._aside = workspace.parent / "ledgers"
        self._aside.mkdir()

    def copy(self) -> str:
        name = str(next(_numbers))
        with closing(sqlite3.connect(self._file)) as source, closing(sqlite3.connect(self._aside / name)) as copy:
            source.backup(copy)
        return name

    def replace(self, name: str | None) -> str:
        present = str(next(_numbers))
        # With its log, if it has one.
        for suffix in ("", "-wal", "-shm"):
            file = self._file.with_name(f"{self._file.name}{suffix}")
            if file.exists():
                file.rename(self._aside / f"{present}{suffix}")
            if name is not None and (self._aside / f"{name}{suffix}").exists():
                shutil.copy(self._aside / f"{name}{suffix}", file)
        return present

    def close(self) -> None:
        shutil.rmtree(self._aside)


class PostgresLedger(LedgerPlace):
    conn_id = LEDGER

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._schemas = [_new_schema(server, "ledger")]
        self._present = self._schemas[0]
        self._connect()

    def copy(self) -> str:
        copy = self._new()
        with self._server.connect() as connection:
            found = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = %s", [self._present]
            ).fetchall()
            for (table,) in found:
                # The copy's ids come from the sequence of the original.
                connection.execute(
                    f"CREATE TABLE {copy}.{table} (LIKE {self._present}.{table} INCLUDING ALL);"
                    f"INSERT INTO {copy}.{table} SELECT * FROM {self._present}.{table}".encode()
                )
        return copy

    def replace(self, name: str | None) -> str:
        before, self._present = self._present, name or self._new()
        self._connect()
        return before

    def close(self) -> None:
        del os.environ[f"AIRFLOW_CONN_{LEDGER.upper()}"]
        with self._server.connect() as connection:
            for schema in self._schemas:
                connection.execute(f"DROP SCHEMA {schema} CASCADE".encode())

    def _new(self) -> str:
        self._schemas.append(_new_schema(self._server, "ledger"))
        return self._schemas[-1]

    def _connect(self) -> None:
        _connect(LEDGER, _in_schema(self._server, self._present))


def _new_schema(server: Postgres, kind: str) -> str:
    name = f"{kind}_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    return name


def _in_schema(server: Postgres, schema: str) -> str:
    fields = json.loads(server.airflow_connection())
    return json.dumps({**fields, "extra": {"options": f"-csearch_path={schema}"}})


def _connect(conn_id: str, value: str) -> None:
    os.environ[f"AIRFLOW_CONN_{conn_id.upper()}"] = value
