"""PostgreSQL takes a batch in bulk: the same rows as one by one, with each driver, and with fewer rights too."""

from __future__ import annotations

import json
import logging
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from support.loading import deliver, rejected
from support.log_lines import unwrapped

if TYPE_CHECKING:
    from support.databases import Database
    from support.postgres import Postgres

VALUES = {
    "bigint": (pa.int64(), -(2**63)),
    "numeric(20, 0)": (pa.uint64(), 2**64 - 1),
    "numeric(38, 9)": (pa.decimal128(38, 9), Decimal("-12345678901234567890123456789.123456789")),
    "numeric(50, 2)": (pa.decimal256(50, 2), Decimal("123456789012345678901234567890123456789012345678.25")),
    "double precision": (pa.float64(), 0.1),
    "real": (pa.float32(), 0.5),
    "text": (pa.string(), 'a,"b"\r\n\\.\té😀'),
    "varchar(3)": (pa.string(), ""),
    "boolean": (pa.bool_(), True),
    "bytea": (pa.binary(), b"\x00\\\xff"),
    "date": (pa.date32(), date(1, 1, 1)),
    "time": (pa.time64("us"), time(23, 59, 59, 999_999)),
    "timestamp": (pa.timestamp("us"), datetime(9999, 12, 31, 23, 59, 59, 999_999)),  # noqa: DTZ001
    "timestamptz": (pa.timestamp("us", "Europe/Amsterdam"), datetime(2026, 7, 1, 12, 0, 0, 1, UTC)),
    "jsonb": (pa.list_(pa.string()), ["a", None]),
}


@pytest.fixture(params=["psycopg", "psycopg2"])
def crm(request: pytest.FixtureRequest, pg: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    from airflow.providers.postgres.hooks import postgres as hook

    # The hook takes psycopg2 where psycopg is not installed; here both are.
    monkeypatch.setattr(hook, "USE_PSYCOPG3", request.param == "psycopg")
    return pg


def test_every_value_arrives_as_it_is_and_null_as_null(crm: Database) -> None:
    columns = {f"c{place}": kind for place, kind in enumerate(VALUES)}
    crm.execute(f"CREATE TABLE people (id int PRIMARY KEY, {', '.join(f'{n} {k}' for n, k in columns.items())})")
    arrays = {name: pa.array([VALUES[kind][1], None], VALUES[kind][0]) for name, kind in columns.items()}

    outcomes = deliver(crm.destination(), pa.table({"id": pa.array([1, 2], pa.int32()), **arrays}))

    assert rejected(outcomes) == {}
    assert crm.rows() == [(1, *(value for _, value in VALUES.values())), (2, *[None] * len(VALUES))]


def test_a_batch_leaves_one_statement_and_no_table(crm: Database) -> None:
    crm.execute("CREATE TABLE people (id int PRIMARY KEY, x int); CREATE TABLE fired (rows bigint)")
    crm.execute(
        "CREATE FUNCTION fired() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO fired SELECT count(*) FROM new_rows; RETURN NULL; END $$"
    )
    crm.execute(
        "CREATE TRIGGER fired AFTER INSERT ON people REFERENCING NEW TABLE AS new_rows "
        "FOR EACH STATEMENT EXECUTE FUNCTION fired()"
    )

    deliver(crm.destination(batch_rows=40), pa.table({"id": range(100), "x": range(100)}))

    assert crm.rows("fired") == [(20,), (40,), (40,)]
    assert crm.execute("SELECT relname FROM pg_class WHERE relname LIKE 'consent_retl%'") == []


def test_refused_rows_are_found_one_by_one_and_the_others_arrive(crm: Database) -> None:
    crm.execute("CREATE TABLE people (id int PRIMARY KEY, x varchar(2) UNIQUE CHECK (x <> 'no'))")
    crm.execute("INSERT INTO people VALUES (100, 'me')")
    texts = ["a", "abc", "no", "b", "me", "c\0", None]

    outcomes = deliver(crm.destination(), pa.table({"id": pa.array(range(len(texts)), pa.int32()), "x": texts}))

    assert rejected(outcomes) == {1: "too_long", 2: "check", 4: "unique", 5: "data_error"}
    assert crm.rows() == [(0, "a"), (100, "me"), (3, "b"), (6, None)]


def test_a_user_s_table_of_the_same_name_is_not_touched(crm: Database) -> None:
    crm.execute("CREATE TABLE consent_retl_batch (id int); CREATE TABLE people (id int PRIMARY KEY, position int)")
    rows = pa.table({"id": pa.array([1], pa.int32()), "position": pa.array([7], pa.int32())})

    deliver(crm.destination(), rows)

    assert crm.rows() == [(1, 7)]
    assert crm.rows("consent_retl_batch") == []


def test_a_role_that_may_make_no_temporary_tables_upserts_row_by_row_and_is_told(
    crm: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    crm.execute("DROP ROLE IF EXISTS loader; CREATE ROLE loader LOGIN; REVOKE TEMPORARY ON DATABASE crm FROM PUBLIC")
    crm.execute("CREATE TABLE people (id int PRIMARY KEY, x varchar(9)); GRANT ALL ON people TO loader")
    crm.execute("GRANT USAGE ON SCHEMA public TO loader")
    connection = json.loads(postgres.airflow_connection(database="crm")) | {"login": "loader"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", json.dumps(connection))
    rows = pa.table({"id": pa.array([1, 2, 3], pa.int32()), "x": ["canary", None, "canary too long"]})

    with caplog.at_level(logging.WARNING):
        outcomes = deliver(crm.destination(), rows)
    found = crm.rows()
    crm.execute("DROP OWNED BY loader; DROP ROLE loader; GRANT TEMPORARY ON DATABASE crm TO PUBLIC")

    assert rejected(outcomes) == {2: "too_long"}
    assert outcomes[2].field == "x"
    assert found == [(1, "canary"), (2, None)]
    assert "cannot make temporary tables (SQLSTATE 42501)" in unwrapped(caplog.text)
    assert "canary" not in caplog.text
