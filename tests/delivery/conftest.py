"""Fixtures for the tests of delivery: a ledger in SQLite, and the same in PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from support.ledgers import opened, sqlite_url
from support.postgres import Postgres

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres(postgres_server: Postgres) -> Postgres:
    """Return the server with its default database: some tests write its name into a URL."""
    return postgres_server


@pytest.fixture(params=["sqlite", "postgres"])
def new_ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Return a function that returns the URL of a place where no ledger was ever opened."""
    if request.param == "sqlite":
        return lambda: sqlite_url(tmp_path / f"ledger-{next(_numbers)}" / "ledger.db")
    server: Postgres = request.getfixturevalue("postgres")

    def new_schema() -> str:
        schema = f"ledger_{next(_numbers)}"
        with server.connect() as connection:
            connection.execute(f"CREATE SCHEMA {schema}")
        options = quote(f"-csearch_path={schema}")
        return f"postgresql+psycopg://{server.user}@/{server.database}?host={server.socket_folder}&options={options}"

    return new_schema


@pytest.fixture
def ledger_url(new_ledger_url: Callable[[], str]) -> str:
    return new_ledger_url()


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    with opened(ledger_url) as found:
        yield found
