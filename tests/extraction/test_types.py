"""Tests of types: a snapshot contains exactly the values of its source."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from support.log_lines import task_fails

ODD_TEXTS = ["007", "7", " 7", "😀🇩🇪", "a\u0000b", "e\u0301", "é", "", "'; DROP TABLE x; --", "\u202eabc"]

DUCKDB_TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "9223372036854775807::BIGINT": (pa.int64(), 2**63 - 1),
    "18446744073709551615::UBIGINT": (pa.uint64(), 2**64 - 1),
    "99999999999999999999999999999999999999::HUGEINT": (pa.decimal128(38, 0), Decimal(10**38 - 1)),
    "1.500::DECIMAL(18,3)": (pa.decimal128(18, 3), Decimal("1.500")),
    "'b'::ENUM('a', 'b')": (pa.string(), "b"),
    "'00000000-0000-0000-0000-0000000000ff'::UUID": (pa.string(), "00000000-0000-0000-0000-0000000000ff"),
    """'{"n": 9007199254740993}'::JSON""": (pa.string(), '{"n": 9007199254740993}'),
    "[1, NULL]": (pa.list_(pa.int32()), [1, None]),
    "{'a': 1, 'b': 'x'}": (pa.struct({"a": pa.int32(), "b": pa.string()}), {"a": 1, "b": "x"}),
    "TIMESTAMPTZ '2026-01-01 00:00:00.123456+05:30'": (
        pa.timestamp("us", "UTC"),
        datetime(2025, 12, 31, 18, 30, 0, 123456, UTC),
    ),
    "TIMESTAMP '2026-01-01 00:00:00.123456'": (pa.timestamp("us"), datetime(2026, 1, 1, 0, 0, 0, 123456)),  # noqa: DTZ001
    "'2026-01-01 00:00:01'::TIMESTAMP_S": (pa.timestamp("us"), datetime(2026, 1, 1, 0, 0, 1)),  # noqa: DTZ001
    "DATE '2026-02-28'": (pa.date32(), date(2026, 2, 28)),
    "TIME '01:02:03.000004'": (pa.time64("us"), time(1, 2, 3, 4)),
    "'01:02:03+05'::TIMETZ": (pa.string(), "01:02:03+05"),
    "INTERVAL '1 month 2 days'": (pa.string(), "1 month 2 days"),
    "'101'::BIT": (pa.string(), "101"),
    "'\\xAA'::BLOB": (pa.binary(), b"\xaa"),
    "NULL::BOOLEAN": (pa.bool_(), None),
    "1.5::FLOAT": (pa.float32(), 1.5),
    "'nan'::DOUBLE::VARCHAR": (pa.string(), "nan"),
    "NULL": (pa.null(), None),
}
POSTGRES_TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "9223372036854775807::bigint": (pa.int64(), 2**63 - 1),
    "7::int": (pa.int32(), 7),
    "18446744073709551616::numeric": (pa.decimal128(20, 0), Decimal(2**64)),
    "1.50::numeric(10,2)": (pa.decimal128(10, 2), Decimal("1.50")),
    "0.1::numeric": (pa.decimal128(1, 1), Decimal("0.1")),
    "true": (pa.bool_(), True),
    "NULL::boolean": (pa.bool_(), None),
    "0.1::float8": (pa.float64(), 0.1),
    "'a'::char(3)": (pa.string(), "a  "),
    """'{"b": 1,  "a": 9007199254740993.10}'::json""": (pa.string(), '{"b": 1,  "a": 9007199254740993.10}'),
    """'{"a": 9007199254740993.10}'::jsonb""": (pa.string(), '{"a": 9007199254740993.10}'),
    "'[null]'::jsonb": (pa.string(), "[null]"),
    "'00000000-0000-0000-0000-0000000000ff'::uuid": (pa.string(), "00000000-0000-0000-0000-0000000000ff"),
    "'2026-01-01 00:00:00.123456+05:30'::timestamptz": (
        pa.timestamp("us", "UTC"),
        datetime(2025, 12, 31, 18, 30, 0, 123456, UTC),
    ),
    "'2026-01-01 00:00:00.5'::timestamp": (pa.timestamp("us"), datetime(2026, 1, 1, 0, 0, 0, 500000)),  # noqa: DTZ001
    "'2026-02-28'::date": (pa.date32(), date(2026, 2, 28)),
    "'01:02:03.000004'::time": (pa.time64("us"), time(1, 2, 3, 4)),
    "'01:02:03+05'::timetz": (pa.string(), "01:02:03+05"),
    "'1 month 2 days'::interval": (pa.string(), "P1M2D"),
    "'\\xaa'::bytea": (pa.binary(), b"\xaa"),
    "ARRAY[1, NULL]": (pa.string(), "[1,null]"),
    "ARRAY[1.10]": (pa.string(), "[1.10]"),
    "'10.0.0.1'::inet": (pa.string(), "10.0.0.1"),
    "int4range(1, 5)": (pa.string(), "[1,5)"),
    "NULL": (pa.string(), None),
}
SQLITE_VALUES: dict[str, tuple[pa.DataType, list[object]]] = {
    "integers": (pa.int64(), [2**63 - 1, None, -(2**63)]),
    "texts": (pa.string(), ["007", "7", None]),
    "blobs": (pa.binary(), [b"\x00\xff", None, b""]),
    "numbers": (pa.float64(), [1, 0.1, None]),
    "never": (pa.null(), [None, None, None]),
}


@pytest.mark.parametrize("expression", DUCKDB_TYPES)
def test_keeps_the_values_of_duckdb(expression: str, workspace: Any, run_duckdb: Any) -> None:
    extracted = workspace.extract(f"SELECT 1 AS id, {expression} AS x", conn_id="duck")

    expected_type, expected = DUCKDB_TYPES[expression]
    # The names of a list's items are DuckDB's own.
    assert extracted.table.schema.field("x").type.equals(expected_type) or pa.types.is_list(expected_type)
    assert extracted.column("x") == [expected]


@pytest.mark.parametrize("expression", POSTGRES_TYPES)
def test_keeps_the_values_of_postgres(expression: str, workspace: Any, postgres_driver: Any) -> None:
    extracted = workspace.extract(f"SELECT 1 AS id, {expression} AS x", conn_id="pg")

    expected_type, expected = POSTGRES_TYPES[expression]
    assert extracted.table.schema.field("x").type == expected_type
    assert extracted.column("x") == [expected]


def test_keeps_the_values_of_sqlite(workspace: Any, run_sqlite: Any) -> None:
    run_sqlite(f"CREATE TABLE people (id, {', '.join(SQLITE_VALUES)})")
    rows = list(zip([1, 2, 3], *(values for _, values in SQLITE_VALUES.values()), strict=True))
    run_sqlite(f"INSERT INTO people VALUES ({', '.join('?' * 6)})", rows)

    extracted = workspace.extract("SELECT * FROM people", conn_id="lite")

    assert {name: (extracted.table.schema.field(name).type, extracted.column(name)) for name in SQLITE_VALUES} == (
        SQLITE_VALUES
    )


@pytest.mark.parametrize("conn_id", ["duck", "lite"])
def test_keeps_any_unicode_text_as_an_id(conn_id: str, workspace: Any, run_duckdb: Any, run_sqlite: Any) -> None:
    values = ", ".join(
        "(" + " || ".join(f"chr({ord(c)})" for c in text) + ")" if text else "('')" for text in ODD_TEXTS
    )
    sql = f"SELECT * FROM (VALUES {values}) AS t(id)"
    if conn_id == "lite":
        run_sqlite("CREATE TABLE people (id)")
        run_sqlite("INSERT INTO people VALUES (?)", [(text,) for text in ODD_TEXTS])
        sql = "SELECT id FROM people"

    extracted = workspace.extract(sql, conn_id=conn_id)

    assert sorted(extracted.column("id")) == sorted(ODD_TEXTS)


def test_postgres_keeps_any_unicode_text_as_an_id(workspace: Any, postgres_driver: Any) -> None:
    texts = [text for text in ODD_TEXTS if "\u0000" not in text]
    with postgres_driver.connect() as connection:
        connection.execute("DROP TABLE IF EXISTS odd; CREATE TABLE odd (id text)")
        connection.cursor().executemany("INSERT INTO odd VALUES (%s)", [(text,) for text in texts])

    extracted = workspace.extract("SELECT id FROM odd", conn_id="pg")

    assert sorted(extracted.column("id")) == sorted(texts)


def test_widens_the_first_parts_when_later_rows_show_a_wider_type(workspace: Any, run_sqlite: Any) -> None:
    run_sqlite("CREATE TABLE people (id, late, number)")
    run_sqlite("INSERT INTO people VALUES (?, ?, ?)", [(i, None, i) for i in range(30)])
    run_sqlite("INSERT INTO people VALUES (?, ?, ?)", [(100, "x", 0.5)])

    extracted = workspace.extract("SELECT * FROM people", conn_id="lite", batch_rows=7, part_bytes=1)

    assert extracted.column("late") == [None] * 30 + ["x"]
    assert extracted.column("number") == [*map(float, range(30)), 0.5]
    assert [(c.name, c.type) for c in extracted.manifest.columns] == [
        ("id", "int64"),
        ("late", "string"),
        ("number", "double"),
    ]
    assert len(workspace.files()) == len(extracted.manifest.parts) + 1


def test_widens_decimals_that_grow_batch_by_batch(workspace: Any, postgres_driver: Any) -> None:
    sql = "SELECT i AS id, (10::numeric ^ i) / 7 AS x FROM generate_series(1, 12) AS i"

    extracted = workspace.extract(sql, conn_id="pg", batch_rows=1)

    with postgres_driver.connect() as connection:
        assert extracted.column("x") == [row[1] for row in connection.execute(sql).fetchall()]


@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("bool", [0, 1, None], [False, True, None]),
        ("int64", ["7", 8, None], [7, 8, None]),
        ("string", ["07", 7, None], ["07", "7", None]),
        ("decimal128(10, 2)", [1, "1.5", None], [Decimal("1.00"), Decimal("1.50"), None]),
        ("timestamp[us, tz=UTC]", ["2026-01-01 00:00:00+01:00", None], [datetime(2025, 12, 31, 23, tzinfo=UTC), None]),
        ("date32", ["2026-02-28"], [date(2026, 2, 28)]),
        ("json", ['{"a": true}'], ['{"a": true}']),
    ],
)
def test_reads_a_column_as_the_type_declared(
    declared: str, values: list[object], expected: list[object], workspace: Any, run_sqlite: Any
) -> None:
    run_sqlite("CREATE TABLE people (id, x)")
    run_sqlite("INSERT INTO people VALUES (?, ?)", list(enumerate(values)))

    extracted = workspace.extract("SELECT * FROM people", conn_id="lite", column_types={"x": declared})

    assert extracted.column("x") == expected


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("bool", 2),
        ("bool", "true"),
        ("bool", 1.0),
        ("int64", "007"),
        ("int64", " 7"),
        ("int64", "0x1F"),
        ("int64", 7.25),
        ("int32", 2**40),
        ("decimal128(10, 2)", "1.555"),
        ("decimal128(10, 2)", 1.5),
        ("float64", 2**53 + 1),
        ("timestamp[us, tz=UTC]", "2026-01-01 00:00:00"),
        ("timestamp[us]", "2026-01-01 00:00:00+01:00"),
        ("string", 0.25),
    ],
)
def test_refuses_a_value_that_is_not_exactly_of_the_type_declared(
    declared: str, value: object, workspace: Any, run_sqlite: Any
) -> None:
    run_sqlite("CREATE TABLE people (id, x)")
    run_sqlite("INSERT INTO people VALUES (?, ?)", [(1, value)])

    with task_fails(match=r"column `x` holds .* values that are not exactly") as refusal:
        workspace.extract("SELECT * FROM people", conn_id="lite", column_types={"x": declared})

    assert not workspace.files()
    assert str(value) not in str(refusal.value).replace("int64", "").replace("decimal128", "")


def test_reads_integers_of_duckdb_as_the_booleans_declared(workspace: Any, run_duckdb: Any) -> None:
    sql = "SELECT id, CASE id WHEN 0 THEN 0 WHEN 1 THEN 1 END AS ok FROM range(3) AS r(id) ORDER BY id"

    extracted = workspace.extract(sql, conn_id="duck", column_types={"ok": "bool"})

    assert extracted.column("ok") == [False, True, None]
