"""The contract of databases, kept by each database, and by PostgreSQL with both of its drivers."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from support.bigquery_server import BigQuery
from support.postgres import Postgres, postgres
from support.snowflake_server import Snowflake

from airflow_consent_retl.testing import CANARY, DatabaseAbilities, DatabaseContract, DatabaseStandIn

__all__ = ["postgres"]
TYPES = {
    "integer": "BIGINT",
    "decimal": "DECIMAL(38, 2)",
    "float": "DOUBLE PRECISION",
    "text": "VARCHAR",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP",
    "timestamp with zone": "TIMESTAMP WITH TIME ZONE",
}


class TestDuckDb(DatabaseContract):
    # It has no triggers, no rules and no policies.
    abilities = DatabaseAbilities(submits=False, stages=False, swallows=False)

    @pytest.fixture
    def database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatabaseStandIn:
        path = tmp_path / "source.duckdb"

        def run(statement: str) -> None:
            with duckdb.connect(str(path)) as connection:
                connection.execute(statement)

        run("SELECT 'that makes the file'")
        monkeypatch.setenv("AIRFLOW_CONN_DUCK", json.dumps({"conn_type": "duckdb", "host": str(path)}))
        numbers = "range(10000000)"
        return DatabaseStandIn(
            conn_id="duck",
            ids="SELECT range + 1 AS id FROM range(3)",
            key="id",
            types=TYPES,
            endless=f"SELECT a.range + b.range AS id FROM {numbers} a, {numbers} b WHERE a.range + b.range < 0",
            quoting=f"SELECT CAST('{CANARY}' || range AS INT) AS id FROM range(3)",
            run=run,
            takes_keys_for_equal=lambda: run(
                "CREATE TABLE people (id VARCHAR COLLATE NOCASE PRIMARY KEY, text VARCHAR)"
            ),
        )


class TestSqlite(DatabaseContract):
    abilities = DatabaseAbilities(
        submits=False,
        stages=False,
        types_nulls=False,
        lacks=frozenset({"decimal", "boolean", "date", "time", "timestamp", "timestamp with zone"}),
    )

    @pytest.fixture
    def database(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatabaseStandIn:
        path = tmp_path / "source.sqlite"

        def run(statement: str) -> None:
            with closing(sqlite3.connect(path)) as connection, connection:
                connection.execute(statement)

        def swallow() -> None:
            for event in ("INSERT", "UPDATE", "DELETE"):
                run(f"CREATE TRIGGER on_{event} BEFORE {event} ON people BEGIN SELECT RAISE(IGNORE); END")

        run("VACUUM")
        monkeypatch.setenv("AIRFLOW_CONN_LITE", json.dumps({"conn_type": "sqlite", "host": str(path)}))
        return DatabaseStandIn(
            conn_id="lite",
            ids="SELECT column1 AS id FROM (VALUES (1), (2), (3))",
            key="id",
            types={"integer": "BIGINT", "float": "DOUBLE PRECISION", "text": "VARCHAR"},
            endless="WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n WHERE id < 0",
            # The driver quotes text that is not UTF-8.
            quoting=f"SELECT 1 AS id, CAST(CAST('{CANARY}' AS BLOB) || x'ff' AS TEXT) AS name",
            run=run,
            takes_keys_for_equal=lambda: run("CREATE TABLE people (id TEXT COLLATE RTRIM PRIMARY KEY, text TEXT)"),
            swallow=swallow,
        )


class TestPostgres(DatabaseContract):
    abilities = DatabaseAbilities(submits=False, stages=True)

    @pytest.fixture(params=["psycopg", "psycopg2"])
    def database(
        self, request: pytest.FixtureRequest, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
    ) -> DatabaseStandIn:
        from airflow.providers.postgres.hooks import postgres as hook

        monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
        # The hook takes psycopg2 where psycopg is not installed; here both are.
        monkeypatch.setattr(hook, "USE_PSYCOPG3", request.param == "psycopg")

        def run(statement: str) -> None:
            with postgres.connect() as connection:
                connection.execute(statement)

        run("DROP SCHEMA IF EXISTS staging CASCADE; CREATE SCHEMA staging")
        function = "CREATE FUNCTION staging.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$"
        trigger = "BEFORE INSERT OR UPDATE OR DELETE ON staging.people FOR EACH ROW EXECUTE FUNCTION staging.swallow()"
        return DatabaseStandIn(
            conn_id="pg",
            ids="SELECT n AS id FROM generate_series(1, 3) n",
            key="id",
            types=TYPES,
            endless="SELECT pg_sleep(600)::text AS id",
            quoting=f"SELECT ('{CANARY}' || n)::int AS id FROM generate_series(1, 3) n",
            run=run,
            takes_keys_for_equal=lambda: run('CREATE TABLE staging.people (id char(9) PRIMARY KEY, "text" text)'),
            swallow=lambda: run(f"{function}; CREATE TRIGGER swallow {trigger}"),
            table="staging.people",
        )


class TestSnowflake(DatabaseContract):
    abilities = DatabaseAbilities(submits=True, stages=True)

    @pytest.fixture
    def database(self, snowflake: Snowflake) -> DatabaseStandIn:
        snowflake.run("CREATE SCHEMA staging")
        numbers = "(SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 10000000)))"
        return DatabaseStandIn(
            conn_id="snow",
            ids="SELECT COLUMN1 AS id FROM VALUES (1), (2), (3)",
            key="ID",
            types={**TYPES, "timestamp": "TIMESTAMP_NTZ", "timestamp with zone": "TIMESTAMP_TZ"},
            endless=f"SELECT a.n AS id FROM {numbers} a, {numbers} b WHERE a.n + b.n < 0",
            quoting=f"SELECT CAST('{CANARY}' || COLUMN1 AS INT) AS id FROM VALUES (1), (2)",
            run=snowflake.run,
            takes_keys_for_equal=lambda: collated(snowflake),
            swallow=lambda: snowflake.server.control(swallowed="MERGE|UPDATE|DELETE"),
            table="STAGING.people",
        )


def collated(snowflake: Snowflake) -> None:
    """Make a table, and describe it as Snowflake would if its key had a collation, which fakesnow does not know."""
    snowflake.run('CREATE TABLE STAGING."people" ("id" VARCHAR PRIMARY KEY, "text" VARCHAR)')
    described = {
        "name": ["id", "text"],
        "type": ["VARCHAR(16777216) COLLATE 'en-ci'", "VARCHAR(16777216)"],
        "kind": ["COLUMN", "COLUMN"],
        "null?": ["N", "Y"],
        "default": [None, None],
    }
    text = {"type": "text", "scale": None, "precision": None, "length": 99}
    columns = [
        ({"name": name, **text}, pa.array(values, pa.string()), {"charLength": "0"})
        for name, values in described.items()
    ]
    snowflake.answer("^DESCRIBE TABLE", columns)


class TestBigQuery(DatabaseContract):
    abilities = DatabaseAbilities(submits=True, stages=True)

    @pytest.fixture
    def database(self, bigquery: BigQuery) -> DatabaseStandIn:
        bigquery.run("CREATE SCHEMA staging")
        numbers = "UNNEST(GENERATE_ARRAY(1, 1000000))"
        return DatabaseStandIn(
            conn_id="bq",
            ids="SELECT n AS id FROM UNNEST([1, 2, 3]) AS n",
            key="id",
            types={
                "integer": "INT64",
                # The stand-in reads NUMERIC without digits as one of 18 digits.
                "decimal": "NUMERIC(31, 2)",
                "float": "FLOAT64",
                "text": "STRING",
                "boolean": "BOOL",
                "date": "DATE",
                "time": "TIME",
                "timestamp": "DATETIME",
                "timestamp with zone": "TIMESTAMP",
            },
            endless=f"SELECT a AS id FROM {numbers} a, {numbers} b WHERE a + b < 0",
            quoting=f"SELECT CAST(x AS INT64) AS id FROM UNNEST(['{CANARY}']) x",
            run=bigquery.run,
            takes_keys_for_equal=lambda: (
                bigquery.run("CREATE TABLE staging.people (id STRING, text STRING)"),
                bigquery.server.control(collation="und:ci"),
            ),
            swallow=lambda: bigquery.server.control(swallowed="MERGE|UPDATE|DELETE"),
            table="staging.people",
        )


def test_each_database_has_the_checks_of_what_it_declares_and_of_the_refusal_of_the_rest() -> None:
    def checks(contract: type[DatabaseContract], word: str) -> set[str]:
        return {name for name in dir(contract) if name.startswith("test_") and word in name and getattr(contract, name)}

    refusals = {"test_a_warehouse_workspace_is_refused"}
    assert checks(TestBigQuery, "warehouse") == checks(TestSnowflake, "warehouse")
    assert len(checks(TestBigQuery, "warehouse")) == 2
    assert checks(TestPostgres, "warehouse") == set()
    assert checks(TestDuckDb, "warehouse") == checks(TestSqlite, "warehouse") == refusals
    assert checks(TestPostgres, "staging") == checks(TestBigQuery, "staging") != checks(TestDuckDb, "staging") == set()
    assert (
        checks(TestSqlite, "swallowed") == checks(TestBigQuery, "swallowed") != checks(TestDuckDb, "swallowed") == set()
    )
    assert "test_a_deferrable_extraction_runs_in_the_worker" in checks(TestPostgres, "worker")
    assert "test_a_deferrable_extraction_runs_in_the_worker" not in checks(TestBigQuery, "worker")
