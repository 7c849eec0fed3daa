"""The contract, kept by the SQL table in real databases."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest
from contract.postgres_proxy import postgres_proxy
from contract.sql_stand_in import DuckDbStandIn, PostgresStandIn, SqliteStandIn

from airflow_consent_retl.destinations.sql_table.destination import SqlTableDestination
from airflow_consent_retl.testing import DestinationContract, StandIn

if TYPE_CHECKING:
    from support.databases import Database
    from support.postgres import Postgres


class TestSqlite(DestinationContract):
    destination_class = SqlTableDestination

    @pytest.fixture
    def stand_in(self, sqlite: Database, tmp_path: Path) -> StandIn:
        return SqliteStandIn(sqlite, tmp_path / "crm.db")


class TestSqliteThatMarks(DestinationContract):
    destination_class = SqlTableDestination

    @pytest.fixture
    def stand_in(self, sqlite: Database, tmp_path: Path) -> StandIn:
        return SqliteStandIn(sqlite, tmp_path / "crm.db", on_remove="mark", mark_column="removed_at")


class TestDuckDb(DestinationContract):
    destination_class = SqlTableDestination

    @pytest.fixture
    def stand_in(self, unopened_duck: Database, tmp_path: Path) -> Iterator[StandIn]:
        file = tmp_path / "crm.duckdb"
        with duckdb.connect(str(file)) as instance:
            yield DuckDbStandIn(unopened_duck, file, instance)


class TestPostgres(DestinationContract):
    destination_class = SqlTableDestination

    @pytest.fixture
    def stand_in(self, pg: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        connection = json.loads(postgres.airflow_connection(database="crm"))
        # The path of a Unix socket may be no longer than 107 bytes.
        with (
            tempfile.TemporaryDirectory(prefix="proxy-") as folder,
            postgres_proxy(Path(folder), server=Path(connection["host"])) as proxy,
        ):
            yield PostgresStandIn(pg, proxy, connection, monkeypatch.setenv)
