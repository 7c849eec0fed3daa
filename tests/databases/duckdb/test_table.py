"""What only DuckDB has: columns that count in other units, views, files of its own, and types that it does not take."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from support.loading import deliver, load_of, rejected, take_back

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from support.databases import Database

LARGEST = 2**63 - 1
TOO_PRECISE, OUT_OF_RANGE = "too_precise", "value_out_of_range"
NOON = datetime(2026, 2, 3, 12)  # noqa: DTZ001
HALF = pa.array([0.5], pa.float64()).cast(pa.float16())


def moments(values: list[int | None], unit: str, zone: str | None = None) -> pa.Table:
    return pa.table({"id": range(len(values)), "seen": pa.array(values, pa.timestamp(unit, tz=zone))})


def kinds(duck: Database) -> dict[str, Any]:
    return dict(duck.execute("SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'people'"))


@pytest.mark.parametrize("kind", [pa.string_view(), pa.dictionary(pa.int32(), pa.string_view())], ids=str)
def test_text_that_is_viewed_arrives_and_is_found(duck: Database, kind: pa.DataType) -> None:
    texts = pa.array(["a", None, "Zoë 🦊", "long enough to be no part of the view"], pa.string_view())
    if pa.types.is_dictionary(kind):
        texts = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), texts)
    people = pa.table({"id": texts})

    outcomes = deliver(duck.destination(), people)
    removed = take_back(duck.destination(), people.slice(2), load_of(people, rows_sent=0))

    assert rejected(outcomes) == {1: "not_null"}
    assert rejected(removed) == {}
    assert duck.rows() == [("a",)]


def test_bytes_that_are_viewed_arrive_and_are_found(duck: Database) -> None:
    people = pa.table({"id": pa.array([b"", b"\x00\xff", b"a"], pa.binary_view())})

    deliver(duck.destination(), people)
    take_back(duck.destination(), people.slice(1, 1), load_of(people, rows_sent=0))

    assert duck.rows() == [(b"",), (b"a",)]


def test_views_inside_of_lists_and_structs_arrive(duck: Database) -> None:
    rows = pa.table(
        {
            "id": [1],
            "tags": pa.array([["a", None]], pa.list_(pa.string_view())),
            "raw": pa.array([{"x": b"\xff"}], pa.struct({"x": pa.binary_view()})),
        }
    )

    deliver(duck.destination(), rows)

    assert duck.rows() == [(1, ["a", None], {"x": b"\xff"})]


@pytest.mark.parametrize(
    ("unit", "zone", "column"),
    [
        ("s", None, "TIMESTAMP"),
        ("ms", None, "TIMESTAMP"),
        ("ns", None, "TIMESTAMP_NS"),
        ("s", "UTC", "TIMESTAMP WITH TIME ZONE"),
        ("ns", "Europe/Amsterdam", "TIMESTAMP WITH TIME ZONE"),
    ],
)
def test_moments_of_every_unit_get_a_column_that_takes_them_again(
    duck: Database, unit: str, zone: str | None, column: str
) -> None:
    rows = pa.table({"id": [1, 2], "seen": pa.array([NOON, None], pa.timestamp(unit, tz=zone))})

    first = deliver(duck.destination(), rows)
    second = deliver(duck.destination(nulls="keep"), rows)

    assert rejected(first) == rejected(second) == {}
    assert kinds(duck)["seen"] == column
    assert duck.rows() == [(1, rows["seen"][0].as_py()), (2, None)]


@pytest.mark.parametrize("nulls", ["overwrite", "keep"])
@pytest.mark.parametrize(
    ("column", "unit", "values", "refused"),
    [
        ("TIMESTAMP_S", "s", [0, None, -1, LARGEST], {3: OUT_OF_RANGE}),
        ("TIMESTAMP_S", "ms", [1000, 1001, -1000, -1], {1: TOO_PRECISE, 3: TOO_PRECISE}),
        ("TIMESTAMP_S", "us", [10**6, 10**6 + 1], {1: TOO_PRECISE}),
        ("TIMESTAMP_S", "ns", [10**9, 10**9 + 1], {1: TOO_PRECISE}),
        ("TIMESTAMP_MS", "s", [1, 10**16], {1: OUT_OF_RANGE}),
        ("TIMESTAMP_MS", "us", [1000, 999], {1: TOO_PRECISE}),
        ("TIMESTAMP", "s", [1, 10**15, -(10**15)], {1: OUT_OF_RANGE, 2: OUT_OF_RANGE}),
        ("TIMESTAMP", "ms", [1, 10**17], {1: OUT_OF_RANGE}),
        ("TIMESTAMP", "ns", [1000, 1], {1: TOO_PRECISE}),
        ("TIMESTAMP_NS", "us", [1, 10**17], {1: OUT_OF_RANGE}),
        ("TIMESTAMP_NS", "ns", [1, 2], {}),
    ],
)
def test_a_column_of_another_unit_takes_the_moments_that_fit_exactly(
    duck: Database, column: str, unit: str, values: list[int | None], refused: dict[int, str], nulls: str
) -> None:
    duck.execute(f"CREATE TABLE people (id BIGINT PRIMARY KEY, seen {column})")
    rows = moments(values, unit)
    nanoseconds = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[unit]

    outcomes = deliver(duck.destination(nulls=nulls), rows)
    again = deliver(duck.destination(nulls=nulls), rows)

    kept = [(row, value) for row, value in enumerate(values) if row not in refused]
    assert rejected(outcomes) == rejected(again) == refused
    assert duck.rows(columns="id, epoch_ns(seen)") == [
        (row, None if value is None else value * nanoseconds) for row, value in kept
    ]


def test_a_zoned_column_of_nanoseconds_takes_moments_of_every_unit(duck: Database) -> None:
    duck.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, seen TIMESTAMPTZ_NS)")

    exact = deliver(duck.destination(nulls="keep"), moments([1, 2], "ns", "Europe/Amsterdam"))
    coarse = deliver(duck.destination(nulls="keep"), moments([1, 10**17], "us", "UTC"))

    assert rejected(exact) == {}
    assert rejected(coarse) == {1: OUT_OF_RANGE}
    assert duck.rows(columns="id, seen::VARCHAR LIKE '%:00.000000002%'") == [(0, False), (1, True)]


def test_moments_with_a_zone_that_microseconds_cannot_tell_are_rejected(duck: Database) -> None:
    outcomes = deliver(duck.destination(), moments([1000, 1001, None], "ns", "UTC"))

    assert rejected(outcomes) == {1: TOO_PRECISE}
    assert duck.rows(columns="id, epoch_us(seen)") == [(0, 1), (2, None)]


def test_times_of_day_in_nanoseconds_fit_their_own_column_and_others_where_they_are_exact(duck: Database) -> None:
    rows = pa.table({"id": [1, 2], "seen": pa.array([1000, 1], pa.time64("ns"))})

    own = deliver(duck.destination(), rows)
    duck.execute("CREATE TABLE other (id BIGINT PRIMARY KEY, seen TIME)")
    other = deliver(duck.destination("other", nulls="keep"), rows)

    assert kinds(duck)["seen"] == "TIME_NS"
    assert rejected(own) == {}
    assert rejected(other) == {1: TOO_PRECISE}


def test_a_key_that_the_column_would_round_takes_nobody_else_out(duck: Database) -> None:
    duck.execute("CREATE TABLE people (id TIMESTAMP_S PRIMARY KEY)")
    people = pa.table({"id": pa.array([10**6, 2 * 10**6], pa.timestamp("us"))})
    near = pa.table({"id": pa.array([10**6 + 1, 2 * 10**6 - 1], pa.timestamp("us"))})
    deliver(duck.destination(), people)

    outcomes = take_back(duck.destination(), near, load_of(near, rows_sent=0))

    assert rejected(outcomes) == {}
    assert len(duck.rows()) == 2


def test_a_key_in_nanoseconds_takes_its_person_out(duck: Database) -> None:
    people = pa.table({"id": pa.array([1, 2, 3], pa.timestamp("ns"))})
    deliver(duck.destination(), people)

    take_back(duck.destination(), people.slice(1, 1), load_of(people, rows_sent=0))

    assert duck.rows(columns="epoch_ns(id)") == [(1,), (3,)]


@pytest.mark.parametrize("column", ["TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ_NS"])
def test_marks_a_column_of_every_unit(duck: Database, column: str) -> None:
    duck.execute(f"CREATE TABLE people (id BIGINT PRIMARY KEY, removed_at {column})")
    options = {"on_remove": "mark", "mark_column": "removed_at"}
    people = pa.table({"id": [1, 2]})
    deliver(duck.destination(**options), people)

    for _ in range(2):
        outcomes = take_back(duck.destination(**options), people.slice(1), load_of(people, rows_sent=0))
        assert rejected(outcomes) == {}

    assert duck.rows(columns="id, removed_at IS NULL") == [(1, True), (2, False)]


UNFIT = {
    "half": HALF,
    "wide": pa.array([Decimal("9" * 55)], pa.decimal256(60, 5)),
    "tens": pa.array([Decimal("100")], pa.decimal128(38, -2)),
    "halves": pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), HALF),
}


def test_fields_that_duckdb_does_not_take_are_named_before_anything_is_made(
    unopened_duck: Database, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        deliver(unopened_duck.destination(), pa.table({"id": [1], **UNFIT}))

    assert str(raised.value) == (
        "no column of DuckDB can hold `half` (halffloat), `wide` (decimal256(60, 5)), `tens` (decimal128(38, -2)), "
        "`halves` (list<item: halffloat>): cast them in the model"
    )
    assert not (tmp_path / "crm.duckdb").exists()


def test_fields_that_duckdb_does_not_take_are_refused_by_a_table_that_is_there(duck: Database) -> None:
    duck.execute("CREATE TABLE people (id BIGINT PRIMARY KEY, half FLOAT)")

    with pytest.raises(ConfigurationError, match=r"can hold `half` \(halffloat\)"):
        deliver(duck.destination(), pa.table({"id": [1], "half": HALF}))


def test_a_field_that_duckdb_does_not_take_keeps_nobody_in(duck: Database) -> None:
    deliver(duck.destination(), pa.table({"id": [1, 2]}))
    people = pa.table({"id": [1], "half": HALF})

    outcomes = take_back(duck.destination(), people.select(["id"]), load_of(people, rows_sent=0))

    assert rejected(outcomes) == {}
    assert duck.rows() == [(2,)]


def test_decimals_arrive_whatever_their_width_where_38_digits_hold_them(duck: Database) -> None:
    rows = pa.table(
        {
            "id": [1],
            "wide": pa.array([Decimal("9" * 33 + ".00001")], pa.decimal256(38, 5)),
            "tens": pa.array([Decimal("12300")], pa.decimal128(5, -2)),
        }
    )

    deliver(duck.destination(), rows)

    assert duck.rows() == [(1, Decimal("9" * 33 + ".00001"), Decimal("12300"))]


@pytest.mark.parametrize("content", [b"", b"x", b"no database " * 1000], ids=["empty", "short", "long"])
def test_a_file_that_is_no_duckdb_database_is_worth_no_other_try(
    unopened_duck: Database, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "crm.duckdb"
    file.write_bytes(content)

    with pytest.raises(ConfigurationError, match="connection `crm_duckdb`: its file is no DuckDB database"):
        deliver(unopened_duck.destination(), pa.table({"id": [1]}))

    assert file.read_bytes() == content


def test_a_file_of_sqlite_is_worth_no_other_try(
    unopened_duck: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # DuckDB would fetch its extension for such files.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with closing(sqlite3.connect(tmp_path / "crm.duckdb")) as other:
        other.execute("CREATE TABLE people (id INTEGER PRIMARY KEY)")

    with pytest.raises(ConfigurationError, match="its file is no DuckDB database"):
        deliver(unopened_duck.destination(), pa.table({"id": [1]}))
