"""The engines of the parity suite, each created once."""

from __future__ import annotations

from pathlib import Path

import pytest
from parity.bigquery_engine import BigQueryEngine
from parity.engines import DuckDb, Engine, Sqlite
from parity.postgres_engine import PostgreSql
from parity.snowflake_engine import SnowflakeEngine
from support.bigquery_server import BigQueryServer
from support.postgres import Postgres, postgres
from support.snowflake_server import SnowflakeServer

__all__ = ["postgres"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let `make test` compare each case in one warehouse, first in PostgreSQL, and `make test-long` in the others."""
    if "warehouse" in getattr(getattr(item, "callspec", None), "params", ()):
        item.add_marker(pytest.mark.diagonal("warehouse", first="postgres"))


@pytest.fixture(scope="session")
def parity_duckdb(tmp_path_factory: pytest.TempPathFactory) -> DuckDb:
    return DuckDb(tmp_path_factory.mktemp("duckdb"))


@pytest.fixture(scope="session")
def parity_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Sqlite:
    return Sqlite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def parity_postgres(postgres: Postgres) -> PostgreSql:
    return PostgreSql(postgres)


@pytest.fixture(scope="session")
def parity_snowflake(snowflake_server: SnowflakeServer) -> SnowflakeEngine:
    return SnowflakeEngine(snowflake_server)


@pytest.fixture(scope="session")
def parity_bigquery(bigquery_server: BigQueryServer) -> BigQueryEngine:
    return BigQueryEngine(bigquery_server)


@pytest.fixture(scope="session", params=["duckdb", "sqlite"])
def source(request: pytest.FixtureRequest) -> Engine:
    """Every engine that can only be a source of models. `test_warehouses` compares the other engines with the lake."""
    found = request.getfixturevalue(f"parity_{request.param}")
    assert isinstance(found, Engine)
    return found


@pytest.fixture(scope="session", params=["postgres", "snowflake", "bigquery"])
def warehouse(request: pytest.FixtureRequest) -> Engine:
    """Return each engine that has a warehouse workspace."""
    found = request.getfixturevalue(f"parity_{request.param}")
    assert isinstance(found, Engine)
    return found


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "workspace"
