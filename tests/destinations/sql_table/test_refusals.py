"""What is refused before the first row: tables, fields, connections and names that do not suit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from support.databases import Database
from support.loading import deliver, load_of

from airflow_consent_retl.errors import ConfigurationError

CANARY = "canary-5f1c@example.org"
PEOPLE = pa.table({"id": [1, 2, 3], "email": ["a@example.org", None, CANARY], "age": [40, 41, None]})


def test_the_key_has_to_be_mapped(database: Database) -> None:
    rows = PEOPLE.select(["email"])

    with pytest.raises(ConfigurationError, match="primary key of model `customers` is not mapped"):
        deliver(database.destination(), rows, load_of(rows, key_field=None))


def test_a_missing_table_is_an_error_when_it_must_not_be_made(database: Database) -> None:
    database.execute("CREATE TABLE peeple (id BIGINT PRIMARY KEY)")

    with pytest.raises(ConfigurationError, match=r"table `people` does not exist, did you mean `peeple`\?"):
        deliver(database.destination(create_table=False), PEOPLE)


def test_a_view_is_no_table(database: Database) -> None:
    database.execute("CREATE VIEW people AS SELECT 1 AS id")

    with pytest.raises(ConfigurationError, match="`people` is a view"):
        deliver(database.destination(), PEOPLE)


def test_a_materialized_view_is_no_table(pg: Database) -> None:
    pg.execute("CREATE MATERIALIZED VIEW people AS SELECT 1 AS id")

    with pytest.raises(ConfigurationError, match="`people` is a view"):
        deliver(pg.destination(), PEOPLE)


def test_a_missing_schema_is_an_error(database: Database) -> None:
    with pytest.raises(ConfigurationError, match="there is no schema `nowhere`"):
        deliver(database.destination("nowhere.people"), PEOPLE)


def test_all_that_keeps_a_table_from_taking_the_rows_is_said_at_once(database: Database) -> None:
    database.execute(
        "CREATE TABLE people (id BIGINT, e_mail TEXT, age TEXT, must TEXT NOT NULL, may TEXT NOT NULL DEFAULT 'x')"
    )

    with pytest.raises(ConfigurationError) as raised:
        deliver(database.destination(), PEOPLE)

    shown = "VARCHAR" if database.kind == "duckdb" else "TEXT"
    assert str(raised.value) == (
        "table `people` does not suit the fields, 4 problems:\n"
        "- there is no column `email`, did you mean `e_mail`?\n"
        f"- field `age` (int64) does not fit column `age` ({shown}): cast it in the model\n"
        "- `id` is neither its primary key nor unique by itself\n"
        "- column `must` takes no NULL, has no default, and no field is mapped to it"
    )


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("BIGINT", pa.array(["2"])),
        ("BIGINT", pa.array([2.0])),
        ("BIGINT", pa.array([Decimal("2.0")])),
        ("DOUBLE PRECISION", pa.array([2])),
        ("REAL", pa.array([Decimal("0.1")])),
        ("TEXT", pa.array([True])),
        ("TEXT", pa.array([b"x"])),
        ("DATE", pa.array(["x"])),
        ("BOOLEAN", pa.array(["true"])),
    ],
)
def test_a_field_whose_values_would_change_in_the_column_is_refused(
    database: Database, column: str, values: pa.Array
) -> None:
    database.execute(f"CREATE TABLE people (id BIGINT PRIMARY KEY, x {column})")

    with pytest.raises(ConfigurationError, match=r"field `x` .* does not fit column `x`"):
        deliver(database.destination(), pa.table({"id": [1], "x": values}))


def test_a_moment_without_a_zone_is_no_moment_with_one(duck: Database, pg: Database) -> None:
    naive, zoned = pa.array([0], pa.timestamp("us")), pa.array([0], pa.timestamp("us", tz="UTC"))
    for database in (duck, pg):
        database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, a TIMESTAMP, b TIMESTAMP WITH TIME ZONE)")

        with pytest.raises(ConfigurationError, match="2 problems"):
            deliver(database.destination(), pa.table({"id": [1], "a": zoned, "b": naive}))


def test_a_decimal_that_would_be_rounded_is_refused(duck: Database, pg: Database) -> None:
    rows = pa.table({"id": [1], "price": pa.array([Decimal("0.125")], pa.decimal128(10, 3))})
    for database in (duck, pg):
        database.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, price NUMERIC(10, 2))")

        with pytest.raises(ConfigurationError, match="would be rounded by column `price`"):
            deliver(database.destination(), rows)


def test_a_decimal_column_of_sqlite_would_make_floats_and_is_refused(sqlite: Database) -> None:
    sqlite.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, price NUMERIC(10, 2))")

    with pytest.raises(ConfigurationError, match="does not fit column `price`"):
        deliver(sqlite.destination(), pa.table({"id": [1], "price": pa.array([Decimal("0.12")])}))


def test_a_partial_unique_index_is_no_key(sqlite: Database, pg: Database) -> None:
    for database in (sqlite, pg):
        database.execute("CREATE TABLE people (id BIGINT, email TEXT, age BIGINT)")
        database.execute("CREATE UNIQUE INDEX u ON people (id) WHERE age > 3")

        with pytest.raises(ConfigurationError, match="neither its primary key nor unique"):
            deliver(database.destination(), PEOPLE)


def test_a_generated_column_is_not_written_to(pg: Database) -> None:
    pg.execute(
        "CREATE TABLE people (id BIGINT PRIMARY KEY, email TEXT, age BIGINT GENERATED ALWAYS AS (id + 1) STORED)"
    )

    with pytest.raises(ConfigurationError, match="column `age` is generated by the database"):
        deliver(pg.destination(), PEOPLE)


def test_fields_of_a_type_that_no_column_holds_are_refused(database: Database) -> None:
    rows = pa.table({"id": [1], "took": pa.array([1], pa.duration("s"))})

    with pytest.raises(ConfigurationError, match=r"no column can hold `took`"):
        deliver(database.destination(), rows)


def test_fields_that_would_be_one_column_are_refused(sqlite: Database, duck: Database) -> None:
    for database in (sqlite, duck):
        with pytest.raises(ConfigurationError, match="`a` and `A` would be the same column"):
            deliver(database.destination(), pa.table({"id": [1], "a": [1], "A": [2]}))


@pytest.mark.parametrize("table", ["", ".", "a.", ".a", "a.b.c", '"a', "a\0b", '"a"b'])
def test_what_names_no_table_is_refused(sqlite: Database, table: str) -> None:
    with pytest.raises(ConfigurationError, match=r"names no table|table must not be empty"):
        sqlite.destination(table)


@pytest.mark.parametrize("options", [{"nulls": "drop"}, {"batch_rows": 0}])
def test_an_option_that_means_nothing_is_refused(sqlite: Database, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        sqlite.destination(**options)


def test_a_connection_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="there is no connection `nowhere`"):
        Database("none", "nowhere", list).destination()


@pytest.mark.parametrize("kind", ["consent_policy", "nosuch", "fs"])
def test_a_connection_that_is_no_database_is_refused(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": kind}))

    with pytest.raises(ConfigurationError, match="connection `other`"):
        Database("none", "other", list).destination()
