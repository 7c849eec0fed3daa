"""Types of Snowflake: a model's rows have the exact values of the table, to the last digit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from support.snowflake_server import Snowflake

from airflow_consent_retl.errors import ModelError

UTC_US = pa.timestamp("us", "UTC")
TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "7::NUMBER(2, 0)": (pa.int64(), 7),
    "12345678901234567890::NUMBER(37, 0)": (pa.decimal128(38, 0), Decimal(12345678901234567890)),
    "-1.50::NUMBER(10, 2)": (pa.decimal128(10, 2), Decimal("-1.50")),
    "9007199254740993.1::NUMBER(38, 1)": (pa.decimal128(38, 1), Decimal("9007199254740993.1")),
    "NULL::NUMBER(10, 2)": (pa.decimal128(10, 2), None),
    "TO_BINARY('00FF', 'HEX')": (pa.binary(), b"\x00\xff"),
    """PARSE_JSON('{"a": [1, null, true]}')""": (pa.string(), '{"a":[1,null,true]}'),
    "PARSE_JSON('\"true\"')": (pa.string(), '"true"'),
    "PARSE_JSON('true')": (pa.string(), "true"),
}
# As Snowflake sends them: two columns for a timestamp and a third for its zone, or one number where it has few digits.
EPOCH = 1_767_225_600
AT = dt.datetime(2026, 1, 1)  # noqa: DTZ001
LAST_SECOND = dt.datetime(1969, 12, 31, 23, 59, 59, 999999, dt.UTC)
ITEM = {"type": "fixed", "nullable": True, "scale": 0, "precision": 38, "length": None}
WHOLE = {"logicalType": "FIXED", "scale": "0"}


def timestamps(epochs: list[int], fractions: list[int], zones: list[int] | None = None) -> pa.Array:
    children = {"epoch": pa.array(epochs, pa.int64()), "fraction": pa.array(fractions, pa.int32())}
    if zones:
        children["timezone"] = pa.array(zones, pa.int32())
    return pa.StructArray.from_arrays(list(children.values()), names=list(children))


def column(name: str, kind: str, array: pa.Array, *, scale: int = 0, **more: Any) -> tuple[Any, pa.Array, Any]:
    described = {"name": name, "type": kind, "scale": scale, "precision": more.pop("precision", 0), "length": None}
    metadata = {"logicalType": kind.upper(), "scale": str(scale), "precision": "38", "charLength": "0", **more}
    return described, array, metadata


def ids(rows: int) -> tuple[Any, pa.Array, Any]:
    return column("ID", "fixed", pa.array(range(rows), pa.int8()), precision=38)


def test_keeps_what_snowflake_holds(extracted: Callable[..., pa.Table]) -> None:
    columns = [f"{expression} AS x{place}" for place, expression in enumerate(TYPES)]

    table = extracted(f"SELECT 1 AS id, {', '.join(columns)}").drop_columns("ID")

    found = zip(table.schema.types, table.to_pylist()[0].values(), strict=True)
    assert dict(zip(TYPES, found, strict=True)) == TYPES


def test_an_empty_result_has_a_schema(extracted: Callable[..., pa.Table]) -> None:
    table = extracted("SELECT 1 AS id, 1.5::NUMBER(10, 2) AS x, TRUE AS ok WHERE 1 = 0")

    assert table.schema == pa.schema({"ID": pa.int64(), "X": pa.decimal128(10, 2), "OK": pa.bool_()})
    assert table.num_rows == 0


def test_an_integer_beyond_64_bits_widens_its_column_and_stays_exact(extracted: Callable[..., pa.Table]) -> None:
    table = extracted("SELECT 99999999999999999999999999999999999::NUMBER(37, 0) AS id")

    assert table["ID"].to_pylist() == [Decimal(10**35 - 1)]


TIMESTAMPS: list[tuple[str, pa.Array, int, dt.datetime]] = [
    ("timestamp_ntz", timestamps([EPOCH], [123_456_000]), 9, AT.replace(microsecond=123456)),
    ("timestamp_ntz", pa.array([EPOCH]), 0, AT),
    ("timestamp_ntz", pa.array([EPOCH * 1000 + 5]), 3, AT.replace(microsecond=5000)),
    ("timestamp_ntz", pa.array([EPOCH * 10**6 + 7]), 6, AT.replace(microsecond=7)),
    ("timestamp_ltz", timestamps([EPOCH], [1000]), 9, AT.replace(microsecond=1, tzinfo=dt.UTC)),
    ("timestamp_ltz", pa.array([EPOCH * 10**6]), 6, AT.replace(tzinfo=dt.UTC)),
    ("timestamp_tz", timestamps([EPOCH], [1000], [1440 + 330]), 9, AT.replace(microsecond=1, tzinfo=dt.UTC)),
    ("timestamp_tz", timestamps([-1], [999_999_000], [1440 - 480]), 9, LAST_SECOND),
]


@pytest.mark.parametrize("timezone", ["UTC", "America/Los_Angeles"])
def test_a_timestamp_is_the_same_in_every_session_time_zone(
    timezone: str, snowflake: Snowflake, extracted: Callable[..., pa.Table]
) -> None:
    columns = [
        column(f"AT{place}", kind, sent, scale=scale, byteLength="16")
        for place, (kind, sent, scale, _) in enumerate(TIMESTAMPS)
    ]
    snowflake.answer("^SELECT", [ids(1), *columns], timezone=timezone)

    table = extracted("SELECT * FROM t").drop_columns("ID")

    kinds = [pa.timestamp("us") if kind == "timestamp_ntz" else UTC_US for kind, *_ in TIMESTAMPS]
    assert table.schema.types == kinds
    assert list(table.to_pylist()[0].values()) == [expected for *_, expected in TIMESTAMPS]


@pytest.mark.parametrize("kind", ["timestamp_ntz", "timestamp_ltz"])
def test_nanoseconds_are_refused_not_cut(kind: str, snowflake: Snowflake, extracted: Callable[..., pa.Table]) -> None:
    snowflake.answer("^SELECT", [ids(1), column("AT", kind, timestamps([EPOCH], [123_456_789]), scale=9)])

    with pytest.raises(ModelError, match=rf"`AT` is {kind.upper()} with nanoseconds.*{kind.upper()}\(6\)") as refusal:
        extracted("SELECT * FROM t")

    assert "123456789" not in str(refusal.value)


def test_nanoseconds_are_kept_where_they_are_declared(snowflake: Snowflake, extracted: Callable[..., pa.Table]) -> None:
    snowflake.answer("^SELECT", [ids(1), column("AT", "timestamp_ntz", timestamps([EPOCH], [123_456_789]), scale=9)])

    table = extracted("SELECT * FROM t", column_types={"AT": "timestamp[ns]"})

    assert table["AT"].cast(pa.int64()).to_pylist() == [EPOCH * 10**9 + 123_456_789]


def test_nanoseconds_in_a_column_with_a_far_year_are_asked_for_since_the_connector_cuts_them(
    snowflake: Snowflake, extracted: Callable[..., pa.Table]
) -> None:
    far = 253_402_300_799
    sent = column("AT", "timestamp_ntz", timestamps([far, EPOCH], [0, 1]), scale=9)
    snowflake.answer("^SELECT [*]", [ids(2), sent])
    snowflake.answer("COUNT_IF", [column("N", "fixed", pa.array([1], pa.int8()), precision=38)])

    with pytest.raises(ModelError, match="`AT` is TIMESTAMP_NTZ with nanoseconds"):
        extracted("SELECT * FROM t")


def test_nanoseconds_in_a_far_year_are_refused(snowflake: Snowflake, extracted: Callable[..., pa.Table]) -> None:
    sent = column("AT", "timestamp_ntz", timestamps([253_402_300_799], [123]), scale=9)
    snowflake.answer("^SELECT", [ids(1), sent])

    with pytest.raises(ModelError, match="outside of the years 1678 to 2261") as refusal:
        extracted("SELECT * FROM t")

    assert "253402300799" not in str(refusal.value)


def test_timestamps_of_seven_digits_are_read_with_nine_since_the_connector_lets_them_run_over(
    snowflake: Snowflake, extracted: Callable[..., pa.Table]
) -> None:
    far = 253_402_300_799
    one_number = column("AT", "timestamp_ntz", pa.array([far * 10**7]), scale=7)
    snowflake.answer("^SELECT [*]", [ids(1), one_number])
    snowflake.answer(
        r'CAST\("AT" AS TIMESTAMP_NTZ\(9\)\)', [ids(1), column("AT", "timestamp_ntz", timestamps([far], [0]), scale=9)]
    )
    snowflake.answer("COUNT_IF", [column("N", "fixed", pa.array([0], pa.int8()), precision=38)])

    table = extracted("SELECT * FROM t")

    assert table["AT"].to_pylist() == [dt.datetime(9999, 12, 31, 23, 59, 59)]  # noqa: DTZ001


def test_a_time_with_nanoseconds_is_refused_not_cut(snowflake: Snowflake, extracted: Callable[..., pa.Table]) -> None:
    snowflake.answer("^SELECT [*]", [ids(1), column("T", "time", pa.array([1], pa.int64()), scale=9)])
    text = column("T", "text", pa.array(["00:00:00.000000001"]))
    snowflake.answer(r'CAST\("T" AS VARCHAR\)', [ids(1), text])

    with pytest.raises(ModelError, match=r"`T` is TIME with nanoseconds.*TIME\(6\)"):
        extracted("SELECT * FROM t")


def test_integers_of_changing_width_have_one_type(snowflake: Snowflake, extracted: Callable[..., pa.Table]) -> None:
    table = extracted(
        "SELECT seq AS id, CASE WHEN seq < 100000 THEN 1 ELSE 4000000000 END::NUMBER(38, 0) AS x, "
        "(seq / 4)::NUMBER(20, 2) AS y FROM (SELECT SEQ8() AS seq FROM TABLE(GENERATOR(ROWCOUNT => 200000)))"
    )

    assert len(snowflake.server.control()["downloads"]) > 2
    assert table.schema == pa.schema({"ID": pa.int64(), "X": pa.int64(), "Y": pa.decimal128(20, 2)})
    assert table["ID"].to_pylist() == list(range(200_000))
    assert table["X"].to_pylist() == [1] * 100_000 + [4_000_000_000] * 100_000
    assert table["Y"].to_pylist() == [Decimal(number) / 4 for number in range(200_000)]


@pytest.mark.parametrize(
    ("kind", "array", "described"),
    [
        ("vector", pa.array([[1, 2]], pa.list_(pa.int32(), 2)), {"fields": [ITEM], "vectorDimension": 2}),
        ("array", pa.array([[1]], pa.list_(pa.field("item", pa.int64(), metadata=WHOLE))), {"fields": [ITEM]}),
        ("interval_year_month", pa.array([1], pa.int64()), {}),
    ],
)
def test_a_type_without_an_exact_counterpart_asks_for_a_cast(
    kind: str, array: pa.Array, described: Any, snowflake: Snowflake, extracted: Callable[..., pa.Table]
) -> None:
    plain, sent, metadata = column("X", kind, array)
    snowflake.answer("^SELECT", [ids(1), ({**plain, **described}, sent, metadata)])

    with pytest.raises(ModelError, match=r"column `X` is .*cast it in the SQL"):
        extracted("SELECT * FROM t")
