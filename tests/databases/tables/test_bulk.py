"""What is loaded of an Arrow column, and which values are refused before, whatever the warehouse."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from airflow_consent_retl.databases.tables.bulk import Capacity, is_stageable, staged

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
LOCAL = MOMENT.replace(tzinfo=None)
NARROW, WIDE = Capacity(second_digits=3), Capacity(second_digits=9)


@pytest.mark.parametrize(
    ("values", "capacity", "loaded"),
    [
        (pa.nulls(1), Capacity(), pa.array([None], pa.string())),
        (pa.array([200], pa.uint8()), Capacity(), pa.array([200], pa.int64())),
        (pa.array([2**64 - 1], pa.uint64()), Capacity(), pa.array([Decimal(2**64 - 1)], pa.decimal128(20, 0))),
        (pa.array([2**63 - 1], pa.uint64()), Capacity(is_int64=True), pa.array([2**63 - 1], pa.int64())),
        (pa.array([-99], pa.int8()), Capacity(whole_digits=2), pa.array([-99], pa.int64())),
        (pa.array([-(2**63)], pa.int64()), Capacity(whole_digits=38), pa.array([-(2**63)], pa.int64())),
        (
            pa.array([Decimal("1.5")], pa.decimal256(38, 1)),
            Capacity(),
            pa.array([Decimal("1.5")], pa.decimal128(38, 1)),
        ),
        (pa.array([Decimal(1200)], pa.decimal128(4, -2)), Capacity(), pa.array([Decimal(1200)], pa.decimal128(6, 0))),
        (pa.array([0.5], pa.float16()), Capacity(), pa.array([0.5], pa.float64())),
        (pa.array(["é"], pa.large_string()), Capacity(length=1), pa.array(["é"])),
        (pa.array(["é"], pa.string_view()), Capacity(), pa.array(["é"])),
        (pa.array([b"ab"], pa.binary(2)), Capacity(length=2), pa.array([b"ab"], pa.binary())),
        (pa.array(["a", None, "a"]).dictionary_encode(), Capacity(), pa.array(["a", None, "a"])),
        (pa.array([date(2026, 2, 3)], pa.date64()), Capacity(), pa.array([date(2026, 2, 3)], pa.date32())),
        (pa.array([time(4, 5, 6)], pa.time32("s")), Capacity(), pa.array(["04:05:06.000000"])),
        (pa.array([1], pa.time64("ns")), WIDE, pa.array(["00:00:00.000000001"])),
        (pa.array([LOCAL], pa.timestamp("ms")), NARROW, pa.array([LOCAL], pa.timestamp("us"))),
        (pa.array([1], pa.timestamp("ns")), WIDE, pa.array([1], pa.timestamp("ns"))),
        (pa.array([MOMENT], pa.timestamp("s", "Asia/Tokyo")), NARROW, pa.array([MOMENT.replace(microsecond=0)])),
        (pa.array([{"a": [1, None]}]), Capacity(), pa.array(['{"a":[1,null]}'])),
    ],
)
def test_values_are_loaded_in_the_few_types_of_a_bulk_load(
    values: pa.Array, capacity: Capacity, loaded: pa.Array
) -> None:
    taken, refused = staged(values, capacity)

    assert refused == {}
    assert taken.type == (pa.timestamp("us", "UTC") if str(loaded.type).endswith("tz=UTC]") else loaded.type)
    assert taken.to_pylist() == loaded.to_pylist()


@pytest.mark.parametrize(
    ("values", "capacity", "code"),
    [
        (pa.array([None, 100, 99], pa.int16()), Capacity(whole_digits=2), "value_out_of_range"),
        (pa.array([None, -100, -99], pa.int64()), Capacity(whole_digits=2), "value_out_of_range"),
        (pa.array([None, 2**63, 0], pa.uint64()), Capacity(is_int64=True), "value_out_of_range"),
        (pa.array([None, 2**63, 0], pa.uint64()), Capacity(whole_digits=18), "value_out_of_range"),
        (pa.array([None, Decimal("-10.00"), Decimal("9.99")]), Capacity(whole_digits=1), "value_out_of_range"),
        (pa.array([None, Decimal("1.00"), Decimal("0.99")]), Capacity(whole_digits=0), "value_out_of_range"),
        (pa.array([None, "éé", "é"]), Capacity(length=1), "too_long"),
        (pa.array([None, b"\xc3\xa9", b"a"]), Capacity(length=1), "too_long"),
        (pa.array([None, b"\xff", b"a"]).view(pa.string()), Capacity(), "not_utf8"),
        (pa.array([None, 1, 1000], pa.timestamp("ns", "UTC")), Capacity(), "too_precise"),
        (pa.array([None, 1, 1000], pa.timestamp("us")), NARROW, "too_precise"),
        (pa.array([None, 1, 1000], pa.time64("ns")), Capacity(), "too_precise"),
        (pa.array([None, 1, 1000], pa.time32("ms")), Capacity(second_digits=0), "too_precise"),
        (pa.array([None, 10**12, 0], pa.timestamp("s")), Capacity(), "year_out_of_range"),
        (pa.array([None, -(2**30), 0], pa.date32()), Capacity(), "year_out_of_range"),
        (pa.array([None, [float("nan")], [1.0]]), Capacity(), "not_a_number"),
    ],
)
def test_only_the_value_that_the_column_cannot_hold_is_refused(values: pa.Array, capacity: Capacity, code: str) -> None:
    taken, refused = staged(values, capacity)

    assert refused == {1: code}
    assert len(taken) == 3
    assert taken[0].as_py() is None
    assert taken[2].as_py() is not None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (pa.decimal128(38, 38), True),
        (pa.decimal256(39, 0), False),
        (pa.decimal128(38, -1), False),
        (pa.dictionary(pa.int8(), pa.decimal256(50, 2)), False),
        (pa.list_(pa.decimal256(50, 2)), True),
    ],
)
def test_numbers_of_more_than_38_digits_are_not_loaded(kind: Any, expected: bool) -> None:
    assert is_stageable(kind) is expected
