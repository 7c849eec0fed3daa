"""Upserts into real SQLite, DuckDB and PostgreSQL tables, driven through the destination's interface."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from support.loading import deliver, load_of, rejected

if TYPE_CHECKING:
    from support.databases import Database
    from support.postgres import Postgres

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
CANARY = "canary-5f1c@example.org"
PEOPLE = pa.table({"id": [1, 2, 3], "email": ["a@example.org", None, CANARY], "age": [40, 41, None]})


def test_makes_the_table_and_inserts_every_row(database: Database) -> None:
    outcomes = deliver(database.destination(), PEOPLE)

    assert rejected(outcomes) == {}
    assert database.rows() == [(1, "a@example.org", 40), (2, None, 41), (3, CANARY, None)]


def test_the_same_load_again_changes_nothing(database: Database) -> None:
    deliver(database.destination(), PEOPLE)
    before = database.rows()

    outcomes = deliver(database.destination(batch_rows=2), PEOPLE)

    assert rejected(outcomes) == {}
    assert database.rows() == before


def test_of_several_rows_with_one_key_the_last_wins(database: Database) -> None:
    rows = pa.table({"id": [1, 2, 1, 1], "email": ["first", "b", "second", "last"]})

    outcomes = [deliver(database.destination(), rows) for _ in range(2)]

    assert list(map(rejected, outcomes)) == [{}, {}]
    assert database.rows() == [(1, "last"), (2, "b")]


def test_a_row_that_is_there_is_overwritten_also_with_null(database: Database) -> None:
    deliver(database.destination(), PEOPLE)

    deliver(database.destination(), pa.table({"id": [1, 4], "email": [None, "d@example.org"], "age": [50, 1]}))

    assert database.rows() == [(1, None, 50), (2, None, 41), (3, CANARY, None), (4, "d@example.org", 1)]


def test_null_keeps_what_is_there_when_told_to(database: Database) -> None:
    deliver(database.destination(), PEOPLE)
    changes = pa.table({"id": [1, 3, 4], "email": pa.array([None, "c@example.org", None]), "age": [50, None, None]})

    deliver(database.destination(nulls="keep"), changes)

    assert database.rows() == [(1, "a@example.org", 50), (2, None, 41), (3, "c@example.org", None), (4, None, None)]


def test_columns_that_are_not_mapped_stay_as_they_are(database: Database) -> None:
    database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, note TEXT DEFAULT 'new', email TEXT)")
    database.execute("INSERT INTO people VALUES (1, 'mine', 'old')")

    deliver(database.destination(), PEOPLE.select(["id", "email"]))

    assert database.rows(columns="id, note, email") == [
        (1, "mine", "a@example.org"),
        (2, "new", None),
        (3, "new", CANARY),
    ]


@pytest.mark.parametrize("nulls", ["overwrite", "keep"])
def test_a_load_of_keys_alone_inserts_the_new_ones(database: Database, nulls: str) -> None:
    deliver(database.destination(), pa.table({"id": [1, 2]}))

    outcomes = deliver(database.destination(nulls=nulls), pa.table({"id": [2, 3]}))

    assert rejected(outcomes) == {}
    assert database.rows() == [(1,), (2,), (3,)]


def test_a_load_without_rows_makes_the_table_and_leaves_what_is_in_it(database: Database) -> None:
    deliver(database.destination(), PEOPLE.slice(0, 0))
    assert database.rows() == []
    deliver(database.destination(), PEOPLE)

    deliver(database.destination(), PEOPLE.slice(0, 0))

    assert len(database.rows()) == 3


def test_a_unique_constraint_serves_as_key(database: Database) -> None:
    database.execute("CREATE TABLE people (nr INTEGER PRIMARY KEY, id BIGINT UNIQUE, email TEXT, age BIGINT)")
    if database.kind != "sqlite":
        database.execute("DROP TABLE people")
        database.execute("CREATE SEQUENCE numbers")
        database.execute(
            "CREATE TABLE people "
            "(nr INTEGER PRIMARY KEY DEFAULT nextval('numbers'), id BIGINT UNIQUE, email TEXT, age BIGINT)"
        )

    deliver(database.destination(), PEOPLE)
    outcomes = deliver(database.destination(), PEOPLE)

    assert rejected(outcomes) == {}
    assert database.rows(columns="id, email") == [(1, "a@example.org"), (2, None), (3, CANARY)]


AWKWARD = [
    'select "x"',
    "order",
    "Zoë 🦊",
    "a b",
    "x%s",
    ":y",
    "(z)",
    "a.b",
    "'; DROP TABLE people; --",
    "?",
    "[q]",
    "value0",
    "%",
]


def test_names_are_quoted_whatever_they_hold(database: Database) -> None:
    rows = pa.table({"group": [1, 2], **{name: ["x", "y"] for name in AWKWARD}})
    table = '"a.b""; DROP TABLE people; --"'

    deliver(database.destination(table), rows, load_of(rows, key_field="group"))
    outcomes = deliver(database.destination(table, nulls="keep"), rows, load_of(rows, key_field="group"))

    assert rejected(outcomes) == {}
    assert database.rows(table) == [(1, *["x"] * len(AWKWARD)), (2, *["y"] * len(AWKWARD))]


def test_writes_into_the_schema_that_is_named(duck: Database, pg: Database) -> None:
    for database in (duck, pg):
        database.execute('CREATE SCHEMA "my crm"')

        deliver(database.destination("my crm.people"), PEOPLE)
        deliver(database.destination("my crm.people", nulls="keep"), PEOPLE)

        assert len(database.rows('"my crm".people')) == 3


EXACT = pa.table(
    {
        "id": pa.array(["2", "02", "1e5"], pa.string()),
        "big": pa.array([2**63 - 1, -(2**63), None], pa.int64()),
        "unsigned": pa.array([2**32 - 1, 0, None], pa.uint32()),
        "flag": pa.array([True, False, None], pa.bool_()),
        "price": pa.array(
            [Decimal("12345678901234567890.12345678"), Decimal("0.00000001"), None], pa.decimal128(38, 8)
        ),
        "ratio": pa.array([0.1, -1e300, None], pa.float64()),
        "name": pa.array(["Zoë 🦊", "", None], pa.string()),
        "at": pa.array([MOMENT, MOMENT, None], pa.timestamp("us", tz="Europe/Amsterdam")),
        "local": pa.array([MOMENT.replace(tzinfo=None), None, None], pa.timestamp("us")),
        "day": pa.array([date(2026, 2, 3), None, None], pa.date32()),
        "hour": pa.array([time(4, 5, 6, 7), None, None], pa.time64("us")),
        "raw": pa.array([b"\x00\xff", b"", None], pa.binary()),
        "tags": pa.array([["a", "b"], [], None], pa.list_(pa.string())),
        "tier": pa.array(["gold", "1", None]).dictionary_encode(),
    }
)


def test_sqlite_holds_every_value_exactly(sqlite: Database) -> None:
    deliver(sqlite.destination(), EXACT)
    deliver(sqlite.destination(), EXACT)

    found = {row[0]: row[1:] for row in sqlite.rows()}
    assert found["2"] == (
        2**63 - 1,
        2**32 - 1,
        1,
        "12345678901234567890.12345678",
        0.1,
        "Zoë 🦊",
        "2026-02-03 04:05:06.789012+00:00",
        "2026-02-03 04:05:06.789012",
        "2026-02-03",
        "04:05:06.000007",
        b"\x00\xff",
        '["a","b"]',
        "gold",
    )
    assert found["02"][:6] == (-(2**63), 0, 0, "0.00000001", -1e300, "")
    assert found["02"][-1] == "1"
    assert found["1e5"] == (None,) * 13


def test_postgres_holds_every_value_exactly(pg: Database) -> None:
    deliver(pg.destination(), EXACT)
    deliver(pg.destination(), EXACT)

    assert pg.rows() == sorted((tuple(row.values()) for row in EXACT.to_pylist()), key=str)
    kinds = dict(
        pg.execute("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'people'")
    )
    assert kinds["at"] == "timestamp with time zone"
    assert kinds["tags"] == "jsonb"


def test_duckdb_holds_every_value_exactly(duck: Database) -> None:
    deliver(duck.destination(), EXACT)
    deliver(duck.destination(), EXACT)

    assert duck.rows() == sorted((tuple(row.values()) for row in EXACT.to_pylist()), key=str)


def test_values_that_sqlite_cannot_hold_exactly_are_rejected(sqlite: Database) -> None:
    rows = pa.table(
        {
            "id": [1, 2, 3, 4],
            "ratio": [float("nan"), 1.0, 1.0, 1.0],
            "at": pa.array([0, 1, 10**18 + 1, 10**18], pa.timestamp("ns")),
        }
    )

    outcomes = deliver(sqlite.destination(), rows)

    assert rejected(outcomes) == {0: "not_a_number", 1: "too_precise", 2: "too_precise"}
    assert [row[0] for row in sqlite.rows()] == [4]


def test_years_that_no_driver_can_bind_are_rejected(pg: Database, sqlite: Database) -> None:
    rows = pa.table({"id": [1, 2], "at": pa.array([4 * 10**17, 0], pa.timestamp("us", tz="UTC"))})

    for database in (pg, sqlite):
        assert rejected(deliver(database.destination(), rows)) == {0: "year_out_of_range"}


def test_numbers_that_are_none_are_numbers_in_postgres_and_duckdb(pg: Database, duck: Database) -> None:
    for database in (pg, duck):
        deliver(database.destination(), pa.table({"id": [1], "ratio": [float("inf")]}))

        assert database.rows() == [(1, float("inf"))]


def test_text_that_is_not_utf_8_is_rejected(pg: Database, sqlite: Database) -> None:
    rows = pa.table({"id": [1, 2], "email": pa.array([b"\xff", b"ok"]).view(pa.string())})

    for database in (pg, sqlite):
        assert rejected(deliver(database.destination(), rows)) == {0: "not_utf8"}
        assert database.rows() == [(2, "ok")]


def test_a_row_without_its_key_is_rejected(database: Database) -> None:
    outcomes = deliver(database.destination(), pa.table({"id": [1, None, 3], "email": ["a", "b", "c"]}))

    assert rejected(outcomes) == {1: "not_null"}
    assert [row[0] for row in database.rows()] == [1, 3]


def people_with_rules(database: Database) -> None:
    database.execute(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, email VARCHAR(20) NOT NULL, "
        "age SMALLINT CHECK (age >= 18), code TEXT UNIQUE)"
    )


@pytest.mark.parametrize("batch_rows", [1, 7, 100])
def test_only_the_rows_that_break_a_rule_are_rejected(database: Database, batch_rows: int) -> None:
    people_with_rules(database)
    rows = pa.table(
        {
            "id": range(20),
            "email": [None if row == 3 else f"{row}@example.org" for row in range(20)],
            "age": pa.array([17 if row in {5, 6} else 20 for row in range(20)], pa.int16()),
            "code": ["same" if row in {8, 19} else str(row) for row in range(20)],
        }
    )

    outcomes = deliver(database.destination(batch_rows=batch_rows), rows)

    assert rejected(outcomes) == {3: "not_null", 5: "check", 6: "check", 19: "unique"}
    assert {row[0] for row in database.rows()} == set(range(20)) - {3, 5, 6, 19}


def test_values_too_large_or_too_long_are_rejected_one_by_one(pg: Database) -> None:
    people_with_rules(pg)
    rows = pa.table(
        {
            "id": range(4),
            "email": ["a", "x" * 21, "c", "nul\0"],
            "age": pa.array([20, 20, 10**6, 20], pa.int64()),
        }
    )

    outcomes = deliver(pg.destination(), rows)

    assert rejected(outcomes) == {1: "too_long", 2: "value_out_of_range", 3: "data_error"}
    assert pg.rows(columns="id, email") == [(0, "a")]


def test_values_too_large_for_duckdb_columns_are_rejected_one_by_one(duck: Database) -> None:
    duck.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, age TINYINT)")

    outcomes = deliver(duck.destination(), pa.table({"id": [1, 2, 2**40], "age": [1, 1000, 1]}))

    assert set(rejected(outcomes)) == {1, 2}
    assert duck.rows() == [(1, 1)]


def test_integers_too_large_for_sqlite_are_rejected(sqlite: Database) -> None:
    sqlite.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, age BIGINT)")

    outcomes = deliver(sqlite.destination(), pa.table({"id": [1, 2], "age": pa.array([1, 2**64 - 1], pa.uint64())}))

    assert rejected(outcomes) == {1: "value_out_of_range"}
    assert sqlite.rows() == [(1, 1)]


def test_text_that_the_database_parses_itself_is_rejected_where_it_cannot(pg: Database) -> None:
    pg.execute("CREATE TABLE people (id UUID PRIMARY KEY, at INET, extra JSONB)")
    key = "0190163d-8694-739b-aea5-966c26f8ad91"
    rows = pa.table(
        {"id": [key, "no-uuid", key.replace("0", "1")], "at": ["10.0.0.1", None, CANARY], "extra": ["{}"] * 3}
    )

    outcomes = deliver(pg.destination(), rows)

    assert rejected(outcomes) == {1: "sqlstate_22P02", 2: "sqlstate_22P02"}
    assert [str(row[0]) for row in pg.rows()] == [key]


def test_a_trigger_that_refuses_a_row_rejects_it(pg: Database) -> None:
    deliver(pg.destination(), PEOPLE)
    pg.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.age = 41 THEN RAISE 'no % here', NEW.email; END IF; RETURN NEW; END $$"
    )
    pg.execute("CREATE TRIGGER t BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION refuse()")

    assert rejected(deliver(pg.destination(), PEOPLE)) == {1: "sqlstate_P0001"}


@pytest.fixture
def pg_by_psycopg2(pg: Database, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Database:
    connection = json.loads(postgres.airflow_connection(database="crm"))
    connection["extra"] = {"sqlalchemy_scheme": "postgresql+psycopg2"}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_POSTGRES", json.dumps(connection))
    return pg


def test_the_older_driver_of_postgres_holds_every_value_exactly(pg_by_psycopg2: Database) -> None:
    deliver(pg_by_psycopg2.destination(), EXACT)
    deliver(pg_by_psycopg2.destination(nulls="keep"), EXACT)

    assert pg_by_psycopg2.rows() == sorted((tuple(row.values()) for row in EXACT.to_pylist()), key=str)


def test_the_older_driver_of_postgres_rejects_the_same_rows(pg_by_psycopg2: Database) -> None:
    people_with_rules(pg_by_psycopg2)
    rows = pa.table({"id": range(3), "email": ["a", "x" * 21, "c"], "age": pa.array([20, 20, 10**6], pa.int64())})

    outcomes = deliver(pg_by_psycopg2.destination(), rows)

    assert rejected(outcomes) == {1: "too_long", 2: "value_out_of_range"}
