"""PostgreSQL as a workspace: what is PostgreSQL's own, through both drivers of Airflow's hook."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import pyarrow as pa
import pytest
from support.postgres import Postgres, postgres

from airflow_consent_retl.databases.staging import Warehouse, warehouse
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.sql import sql_hook

__all__ = ["postgres"]
AT = dt.datetime(2026, 11, 24, 2, 13, tzinfo=dt.UTC)


@pytest.fixture(params=["psycopg", "psycopg2"])
def staging(request: pytest.FixtureRequest, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    from airflow.providers.postgres.hooks import postgres as hook

    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    monkeypatch.setattr(hook, "USE_PSYCOPG3", request.param == "psycopg")
    with postgres.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS staging CASCADE; CREATE SCHEMA staging")
    with warehouse(sql_hook("pg"), "staging", conn_id="pg") as entered:
        yield entered


def table_of(warehouse: Warehouse, query: str) -> pa.Table:
    with warehouse.read(query) as rows:
        batches = list(rows.batches)
    return pa.Table.from_batches(batches, rows.schema if not batches else None)


def test_a_table_is_made_of_a_query_with_a_comment_at_its_end(staging: Warehouse) -> None:
    table = staging.table("snapshot", at=AT)

    rows = staging.create_as(table, "SELECT n AS id, '100 %s'::text AS odd FROM generate_series(1, 5) n -- all of them")

    assert rows == 5
    assert staging.tables() == [table]
    assert table_of(staging, f"SELECT odd FROM {staging.name_of(table)}")["odd"].to_pylist() == ["100 %s"] * 5


def test_staged_tables_are_unlogged_and_delivered_ones_are_not(staging: Warehouse, postgres: Postgres) -> None:
    staged, kept = staging.table("permitted", at=AT), staging.table("delivered", at=AT)

    staging.create_as(staged, "SELECT 1 AS id")
    staging.create_as(kept, "SELECT 1 AS id", expires=False)

    with postgres.connect() as connection:
        found = connection.execute("SELECT relname, relpersistence::text FROM pg_class").fetchall()
    assert {(staged.name, "u"), (kept.name, "p")} <= set(found)


def test_a_schema_that_is_not_there_and_one_without_rights_are_distinguished(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS closed CASCADE; CREATE SCHEMA closed")
        connection.execute("DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN")
    guest = json.loads(postgres.airflow_connection()) | {"login": "reader"}
    monkeypatch.setenv("AIRFLOW_CONN_GUEST", json.dumps(guest))

    with pytest.raises(ConfigurationError, match="there is no staging schema `nowhere`"):
        warehouse(sql_hook("guest"), "nowhere", conn_id="guest").__enter__()
    with pytest.raises(ConfigurationError, match="may not write to staging schema `closed`: GRANT USAGE, CREATE"):
        warehouse(sql_hook("guest"), "closed", conn_id="guest").__enter__()


def test_types_are_named_as_the_server_has_them(staging: Warehouse) -> None:
    table = staging.table("snapshot", at=AT)
    staging.create_as(table, "SELECT 1::bigint AS id, 'a'::char(3) AS flag, '{}'::jsonb AS doc")

    types = staging.native_types(table)

    assert types == {"id": "bigint", "flag": "character(3)", "doc": "jsonb"}
