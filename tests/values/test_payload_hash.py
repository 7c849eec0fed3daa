"""The payload hash is the same for the same values, whatever holds them, and never changes from version to version."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.errors import GuardError, ModelError
from airflow_consent_retl.values.canonical import canonical
from airflow_consent_retl.values.payload_hash import HASH_TAG, Digests, PayloadHash

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hashes(rows: pa.RecordBatch | dict[str, pa.Array], **kwargs: Any) -> list[str]:
    batch = pa.record_batch(rows) if isinstance(rows, dict) else rows
    with Digests() as digests:
        return [value.hex() for value in PayloadHash(batch.schema.names, digests, **kwargs).of(batch).to_pylist()]


def hash_of(array: pa.Array) -> str:
    (found,) = hashes({"field": array})
    return found


# The form, written a second time


def bytes_of(value: Any) -> tuple[bytes, bytes]:
    """Return the canonical bytes of a Python value in two parts: without the bytes of a text, and those."""
    if isinstance(value, str | bytes):
        content = value.encode() if isinstance(value, str) else value
        return bytes_of_length(b"s" if isinstance(value, str) else b"b", len(content)), content
    return FORMS[type(value)](value), b""


def bytes_of_length(tag: bytes, size: int) -> bytes:
    return tag.upper() + struct.pack("<I", size) if size > 255 else tag + struct.pack("<B", size)


def bytes_of_float(value: float) -> bytes:
    return b"f" + (b"\0\0\0\0\0\0\xf8\x7f" if math.isnan(value) else struct.pack("<d", value + 0.0))


def bytes_of_moment(value: datetime) -> bytes:
    return (b"z" if value.tzinfo else b"t") + bytes_of_duration(value.replace(tzinfo=value.tzinfo or UTC) - EPOCH)


def bytes_of_time(value: time) -> bytes:
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return b"c" + struct.pack("<q", seconds * 10**9 + value.microsecond * 1_000)


def bytes_of_list(value: list[Any]) -> bytes:
    return b"l" + struct.pack("<I", len(value)) + b"".join(b"".join(bytes_of(item)) for item in value)


def bytes_of_struct(value: dict[str, Any]) -> bytes:
    return (
        b"r"
        + struct.pack("<I", len(value))
        + b"".join(
            struct.pack("<I", len(name.encode())) + name.encode() + b"".join(bytes_of(item))
            for name, item in sorted(value.items())
        )
    )


def bytes_of_number(number: Decimal) -> bytes:
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    whole, places = int("".join(map(str, digits))), max(0, -exponent)
    whole *= 10 ** max(0, exponent)
    while places and whole % 10 == 0:
        whole, places = whole // 10, places - 1
    whole = -whole if sign else whole
    if -(2**63) <= whole < 2**63:
        return b"i" + struct.pack("<q", whole) if not places else b"d" + struct.pack("<Bq", places, whole)
    tag, width = (b"e", 16) if -(2**127) <= whole < 2**127 else (b"g", 32)
    return tag + struct.pack("<B", places) + int(whole).to_bytes(width, "little", signed=True)


def bytes_of_duration(duration: timedelta) -> bytes:
    seconds = duration // timedelta(seconds=1)
    return struct.pack("<qI", seconds, (duration - timedelta(seconds=seconds)).microseconds * 1_000)


FORMS: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"N",
    bool: lambda value: b"T" if value else b"F",
    int: lambda value: bytes_of_number(Decimal(value)),
    Decimal: bytes_of_number,
    float: bytes_of_float,
    datetime: bytes_of_moment,
    timedelta: lambda value: b"u" + bytes_of_duration(value),
    date: lambda value: b"D" + struct.pack("<q", (value - EPOCH.date()).days),
    time: bytes_of_time,
    list: bytes_of_list,
    dict: bytes_of_struct,
}


def expected_hash(row: dict[str, Any], tag: str = "p1") -> str:
    names = sorted(row)
    heading = tag.encode() + b"".join(struct.pack("<I", len(name.encode())) + name.encode() for name in names)
    heads, bodies = zip(*(bytes_of(row[name]) for name in names), strict=True)
    content = hashlib.md5(heading, usedforsecurity=False).digest()[:8] + b"".join(heads) + b"".join(bodies)
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


BIG = 2**63
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "flag": (pa.bool_(), st.booleans()),
    "small": (pa.int8(), st.integers(-128, 127)),
    "whole": (pa.int64(), st.integers(-BIG, BIG - 1)),
    "unsigned": (pa.uint64(), st.integers(0, 2 * BIG - 1)),
    "price": (pa.decimal128(38, 9), st.decimals(-(10**28), 10**28, places=9) | st.integers(-(10**28), 10**28)),
    "huge": (pa.decimal256(76, 20), st.integers(-(10**55), 10**55).map(Decimal) | st.decimals(-9, 9, places=20)),
    "ratio": (pa.float64(), st.floats()),
    "text": (pa.string(), st.text(max_size=8) | st.text(min_size=200, max_size=300)),
    "bytes": (pa.binary(), st.binary(max_size=8)),
    "instant": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
    "timestamp": (pa.timestamp("us"), st.datetimes()),
    "day": (pa.date32(), st.dates()),
    "clock": (pa.time64("us"), st.times()),
    "wait": (pa.duration("us"), st.timedeltas(timedelta(days=-9), timedelta(days=9))),
    "tags": (pa.list_(pa.string()), st.lists(st.none() | st.text(max_size=3), max_size=3)),
    "place": (
        pa.struct([("city", pa.string()), ("at", pa.list_(pa.int32()))]),
        st.fixed_dictionaries({"city": st.none() | st.text(max_size=3), "at": st.lists(st.integers(0, 9), max_size=2)}),
    ),
}


@given(
    rows=st.lists(
        st.fixed_dictionaries({name: st.none() | values for name, (_, values) in VALUES.items()}),
        min_size=1,
        max_size=6,
    ),
    skipped=st.integers(0, 2),
)
def test_the_hash_is_the_md5_of_the_written_form(rows: list[dict[str, Any]], skipped: int) -> None:
    schema = pa.schema([(name, type_) for name, (type_, _) in VALUES.items()])
    batch = pa.RecordBatch.from_pylist(rows, schema=schema).slice(skipped)

    assert hashes(batch) == [expected_hash(row) for row in rows[skipped:]]


@given(values=st.lists(st.none() | VALUES["price"][1].map(Decimal), min_size=1, max_size=20))
def test_columns_of_large_and_small_decimals_keep_their_order(values: list[Decimal | None]) -> None:
    array = pa.array(values, pa.decimal128(38, 9))

    assert canonical(array).to_pylist() == [bytes_of(value)[0] for value in values]


# Golden vectors: hashes are kept for years

GOLDEN_ROWS = pa.record_batch(
    {
        "id": pa.array([1, 2, 3], pa.int64()),
        "email": ["ann@example.com", "", None],
        "price": pa.array([Decimal("19.90"), Decimal("-20"), None], pa.decimal128(10, 2)),
        "ratio": [0.1, -0.0, math.nan],
        "seen_at": pa.array([EPOCH, EPOCH - timedelta(microseconds=1), None], pa.timestamp("us", "UTC")),
        "born": pa.array([date(2000, 2, 29), date(1900, 1, 1), None]),
        "ok": [True, False, None],
        "tags": [["a", None], [], None],
        "note": ["é" * 200, "\0", None],
    }
)
GOLDEN = ["dc50e72068c86267d5263b399b067adb", "ce56343c25dc28c0cb5b422be266281e", "532cbfcae9365209e91f555638ca376f"]


def test_hashes_are_those_of_every_version_before() -> None:
    found = hashes(GOLDEN_ROWS)

    assert found == GOLDEN == [expected_hash(row) for row in GOLDEN_ROWS.to_pylist()]


# The same values in other types


SAME: dict[str, list[pa.Array]] = {
    "a whole number": [
        *(pa.array([7], type_) for type_ in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
        *(pa.array([7], type_) for type_ in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
        pa.array([Decimal("7.00")], pa.decimal128(5, 2)),
        pa.array([Decimal(7)], pa.decimal256(50, 0)),
        pa.array([7], pa.int32()).dictionary_encode(),
    ],
    "a large whole number": [
        pa.array([2**63], pa.uint64()),
        pa.array([Decimal(2**63)], pa.decimal128(19, 0)),
        pa.array([Decimal(2**63)], pa.decimal128(38, 9)),
        pa.array([Decimal(2**63)], pa.decimal256(60, 30)),
    ],
    "a number with decimal places": [
        pa.array([Decimal("-1.5")], pa.decimal128(2, 1)),
        pa.array([Decimal("-1.50")], pa.decimal128(38, 20)),
        pa.array([Decimal("-1.50")], pa.decimal256(70, 60)),
    ],
    "zero": [
        pa.array([0], pa.int32()),
        pa.array([Decimal("0.000")], pa.decimal128(5, 3)),
        pa.array([Decimal("0")], pa.decimal256(70, 60)),
    ],
    "text": [
        pa.array(["Zoë"], pa.string()),
        pa.array(["Zoë"], pa.large_string()),
        pa.array(["Zoë"], pa.string_view()),
        pa.array(["Zoë"]).dictionary_encode(),
        pa.array(["x", "Zoë"]).slice(1),
    ],
    "bytes": [
        pa.array([b"\0\xff"], pa.binary()),
        pa.array([b"\0\xff"], pa.large_binary()),
        pa.array([b"\0\xff"], pa.binary(2)),
    ],
    "an instant": [
        pa.array([EPOCH + timedelta(seconds=-1)], pa.timestamp("s", "UTC")),
        pa.array([EPOCH + timedelta(seconds=-1)], pa.timestamp("us", "Europe/Berlin")),
        pa.array([EPOCH + timedelta(seconds=-1)], pa.timestamp("ns", "+03:00")),
    ],
    "a timestamp": [
        pa.array([EPOCH.replace(tzinfo=None) + timedelta(milliseconds=4)], pa.timestamp(unit))
        for unit in ("ms", "us", "ns")
    ],
    "a day": [pa.array([date(1969, 1, 1)], pa.date32()), pa.array([date(1969, 1, 1)], pa.date64())],
    "a time of day": [pa.array([time(1, 2, 3)], type_) for type_ in (pa.time32("s"), pa.time64("ns"))],
    "a list": [
        pa.array([[1, None]], pa.list_(pa.int8())),
        pa.array([[1, None]], pa.large_list(pa.int64())),
        pa.array([[1, None]], pa.list_(pa.int32(), 2)),
        pa.array([[9], [1, None]], pa.list_(pa.int32())).slice(1),
    ],
    "a struct": [pa.array([{"a": 1, "b": None}]), pa.array([{"b": None, "a": 1}])],
    "NULL": [pa.nulls(1, type_) for type_ in (pa.null(), pa.int32(), pa.string(), pa.list_(pa.int8()), pa.bool_())],
    "a float": [pa.array([0.5], type_) for type_ in (pa.float32(), pa.float64())],
    "zero as a float": [pa.array([0.0]), pa.array([-0.0])],
    "not a number": [pa.array([math.nan]), pa.array([struct.unpack("<d", b"\1\0\0\0\0\0\xf8\xff")[0]])],
}


@pytest.mark.parametrize("values", SAME.values(), ids=SAME.keys())
def test_the_same_value_has_the_same_hash_in_every_type(values: list[pa.Array]) -> None:
    assert len({hash_of(array) for array in values}) == 1


def test_different_values_have_different_hashes() -> None:
    values = [
        *(arrays[0] for arrays in SAME.values()),
        *(pa.array([text]) for text in ("", "NULL", "7", "0", "N", "Zoe\u0308", "zoë", "a" * 255, "a" * 256)),
        pa.array([""], pa.binary()),
        pa.array([7.0]),
        pa.array([True]),
        pa.array([False]),
        pa.array([[]], pa.list_(pa.int8())),
        pa.array([[None]], pa.list_(pa.int8())),
        pa.array([["a", "b"]]),
        pa.array([["ab"]]),
        pa.array([{"a": 1}]),
        pa.array([{"b": 1}]),
        pa.array([{"a": 1, "b": 2}]),
        pa.array([{"a": 2, "b": 1}]),
        pa.array([{}], pa.struct([])),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array([EPOCH.replace(tzinfo=None) - timedelta(seconds=1)], pa.timestamp("us")),
        pa.array([2**53 + 1]),
        pa.array([2**53]),
        pa.array([Decimal("0.1")]),
        pa.array([Decimal("0.01")]),
    ]

    assert len({hash_of(array) for array in values}) == len(values)


def test_maps_and_calendar_intervals_count_where_they_differ_only() -> None:
    maps = pa.array([[("a", 1), ("b", None)], [("a", 1), ("b", 0)], None, []], pa.map_(pa.string(), pa.int16()))
    wide = maps.cast(pa.map_(pa.string(), pa.int64()))
    intervals = pa.array([(1, 2, 3), (1, 2, 4), None], pa.month_day_nano_interval())

    assert hashes({"field": maps}) == hashes({"field": wide})
    assert hashes({"field": maps})[2:] == hashes({"field": maps.slice(2)})
    assert len(set(hashes({"field": maps}))) == 4
    assert len(set(hashes({"field": intervals}))) == 3


def test_a_value_does_not_run_into_its_neighbour() -> None:
    rows = pa.record_batch(
        {
            "a": ["x", "xy", None, "", "xy", None],
            "b": ["yz", "z", "xyz", "xyz", None, None],
            "c": ["", "", "", None, "z", "xyz"],
        }
    )

    assert len(set(hashes(rows))) == 6


def test_the_names_of_the_fields_count_and_their_order_does_not() -> None:
    one, two = pa.array(["1"]), pa.array(["2"])

    assert hashes({"a": one, "b": two}) == hashes({"b": two, "a": one})
    assert hashes({"a": one, "b": two}) != hashes({"a": two, "b": one})
    assert hashes({"ab": one, "c": two}) != hashes({"a": one, "bc": two})


def test_many_threads_may_ask_at_once() -> None:
    rows = pa.record_batch({"a": [f"person-{number}" for number in range(50_000)]})
    with Digests() as digests, ThreadPoolExecutor(4) as threads:
        function = PayloadHash(["a"], digests)

        answers: Iterable[pa.Array] = threads.map(
            lambda start: function.of(rows.slice(start, 5_000)), range(0, 50_000, 5_000)
        )

        assert pa.concat_arrays(list(answers)).equals(function.of(rows))
        assert len(function.of(rows.slice(0, 0))) == 0


def test_rows_of_many_bytes_are_hashed_a_few_at_a_time() -> None:
    rows = pa.record_batch({"a": pa.array(["x" * 30_000_000, "y" * 30_000_000, "z" * 30_000_000, None])})

    assert hashes(rows) == [expected_hash({"a": value}) for value in rows["a"].to_pylist()]


def test_a_tag_that_this_version_does_not_know_is_refused() -> None:
    with pytest.raises(GuardError, match="the payload hashes of this sync have the tag `p0`, this version knows p1"):
        hashes({"a": pa.array([1])}, tag="p0")
    assert HASH_TAG == "p1"


def test_a_type_without_a_canonical_form_is_refused_by_its_name() -> None:
    unions = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])

    with pytest.raises(ModelError, match=r"values of type sparse_union<.*> cannot be compared from run to run"):
        hash_of(unions)
