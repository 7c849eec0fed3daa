"""The contract of databases, kept by each database, and by PostgreSQL with both of its drivers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.bigquery_server import BigQuery
from support.postgres import Postgres, postgres
from support.snowflake_server import Snowflake

from airflow_consent_retl.testing import CANARY, DatabaseAbilities, DatabaseContract, DatabaseStandIn

__all__ = ["postgres"]
READS = DatabaseAbilities(submits=False, stages=False)


class TestDuckDb(DatabaseContract):
    @pytest.fixture
    def database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatabaseStandIn:
        import duckdb

        path = tmp_path / "source.duckdb"
        duckdb.connect(str(path)).close()
        monkeypatch.setenv("AIRFLOW_CONN_DUCK", json.dumps({"conn_type": "duckdb", "host": str(path)}))
        numbers = "range(10000000)"
        return DatabaseStandIn(
            conn_id="duck",
            abilities=READS,
            ids="SELECT range + 1 AS id FROM range(3)",
            key="id",
            values=f"SELECT 1 AS id, '{CANARY}' AS name, NULL::INT AS n",
            endless=f"SELECT a.range + b.range AS id FROM {numbers} a, {numbers} b WHERE a.range + b.range < 0",
            quoting=f"SELECT CAST('{CANARY}' || range AS INT) AS id FROM range(3)",
        )


class TestSqlite(DatabaseContract):
    @pytest.fixture
    def database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatabaseStandIn:
        path = tmp_path / "source.sqlite"
        path.touch()
        monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
        return DatabaseStandIn(
            conn_id="lite",
            abilities=READS,
            ids="SELECT column1 AS id FROM (VALUES (1), (2), (3))",
            key="id",
            values=f"SELECT 1 AS id, '{CANARY}' AS name, NULL AS n",
            endless="WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n WHERE id < 0",
            # Text that is no UTF-8 is quoted by the driver.
            quoting=f"SELECT 1 AS id, CAST(CAST('{CANARY}' AS BLOB) || x'ff' AS TEXT) AS name",
        )


class TestPostgres(DatabaseContract):
    @pytest.fixture(params=["psycopg", "psycopg2"])
    def database(
        self, request: pytest.FixtureRequest, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> DatabaseStandIn:
        from airflow.providers.postgres.hooks import postgres as hook

        monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
        # The hook takes psycopg2 where psycopg is not installed; here both are.
        monkeypatch.setattr(hook, "USE_PSYCOPG3", request.param == "psycopg")
        with postgres.connect() as connection:
            connection.execute("DROP SCHEMA IF EXISTS staging CASCADE; CREATE SCHEMA staging")
        return DatabaseStandIn(
            conn_id="pg",
            abilities=DatabaseAbilities(submits=False, stages=True),
            ids="SELECT n AS id FROM generate_series(1, 3) n",
            key="id",
            values=f"SELECT 1 AS id, '{CANARY}'::text AS name, NULL::int AS n",
            endless="SELECT pg_sleep(600)::text AS id",
            quoting=f"SELECT ('{CANARY}' || n)::int AS id FROM generate_series(1, 3) n",
        )


class TestSnowflake(DatabaseContract):
    @pytest.fixture
    def database(self, snowflake: Snowflake) -> DatabaseStandIn:
        snowflake.run("CREATE SCHEMA staging")
        numbers = "(SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 10000000)))"
        return DatabaseStandIn(
            conn_id="snow",
            abilities=DatabaseAbilities(submits=True, stages=True),
            ids="SELECT COLUMN1 AS id FROM VALUES (1), (2), (3)",
            key="ID",
            values=f"SELECT 1 AS id, '{CANARY}' AS name, NULL::INT AS n",
            endless=f"SELECT a.n AS id FROM {numbers} a, {numbers} b WHERE a.n + b.n < 0",
            quoting=f"SELECT CAST('{CANARY}' || COLUMN1 AS INT) AS id FROM VALUES (1), (2)",
        )


class TestBigQuery(DatabaseContract):
    @pytest.fixture
    def database(self, bigquery: BigQuery) -> DatabaseStandIn:
        bigquery.run("CREATE SCHEMA staging")
        numbers = "UNNEST(GENERATE_ARRAY(1, 1000000))"
        return DatabaseStandIn(
            conn_id="bq",
            abilities=DatabaseAbilities(submits=True, stages=True),
            ids="SELECT n AS id FROM UNNEST([1, 2, 3]) AS n",
            key="id",
            values=f"SELECT 1 AS id, '{CANARY}' AS name, CAST(NULL AS INT64) AS n",
            endless=f"SELECT a AS id FROM {numbers} a, {numbers} b WHERE a + b < 0",
            quoting=f"SELECT CAST(x AS INT64) AS id FROM UNNEST(['{CANARY}']) x",
        )
