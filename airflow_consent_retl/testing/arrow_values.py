"""Values of every Arrow type that differ only a little: values that arrive equal were confused on the way."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pyarrow as pa

_DAYS = [date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31), None]
_TIMESTAMPS = [datetime(1969, 12, 31, 23, 59, 59), datetime(2026, 3, 29, 1, 30), datetime(2026, 10, 25, 0, 30), None]  # noqa: DTZ001


def arrow_values() -> dict[str, pa.Array]:
    """Return, by the type's name, values of every type; the values of one array all differ."""
    arrays = [*_numbers(), *_texts(), *_times(), *_nested()]
    return {str(array.type): array for array in arrays}


def _numbers() -> list[pa.Array]:
    integers = [
        pa.array([-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 2 ** (bits - 1) - 2, None], f"int{bits}")
        for bits in (8, 16, 32, 64)
    ]
    integers += [pa.array([0, 2**bits - 1, 2**bits - 2, None], f"uint{bits}") for bits in (8, 16, 32, 64)]
    decimals = [
        pa.array([Decimal("0.00001"), Decimal("-0.00001"), largest, None], kind)
        for kind, largest in (
            (pa.decimal32(9, 5), Decimal("9999")),
            (pa.decimal64(18, 5), Decimal("9" * 13)),
            (pa.decimal128(38, 5), Decimal("9" * 33)),
            (pa.decimal256(60, 5), Decimal("9" * 55)),
        )
    ]
    return [
        pa.nulls(2),
        pa.array([True, False, None]),
        *integers,
        pa.array([0.5, 0.50048828125, 65504.0, None], pa.float64()).cast(pa.float16()),
        pa.array([0.5, 0.5 + 2**-24, 1e38, None], pa.float32()),
        pa.array([0.1, 0.1 + 2**-56, 1e308, float("nan"), float("inf"), None], pa.float64()),
        *decimals,
    ]


def _texts() -> list[pa.Array]:
    texts, raw = ["", "a", "a ", None], [b"", b"\x00", b"\x00\xff", None]
    return [
        *(pa.array(texts, kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
        *(pa.array(raw, kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
        pa.array([b"\x00\x00", b"\x00\xff", None], pa.binary(2)),
        pa.array(texts).dictionary_encode(),
        pa.array([UUID(int=0).bytes, UUID(int=1).bytes, None], pa.uuid()),
        pa.ExtensionArray.from_storage(pa.json_(), pa.array(["true", '"true"', '{"a": 1}', None])),
        pa.array([0, 1, None], pa.int8()).cast(pa.bool8()),
    ]


def _times() -> list[pa.Array]:
    zones: Sequence[str | None] = (None, "UTC", "Europe/Amsterdam")
    timestamps = [
        pa.array(_TIMESTAMPS, pa.timestamp(unit, tz=zone)) for unit in ("s", "ms", "us", "ns") for zone in zones
    ]
    return [
        pa.array(_DAYS, pa.date32()),
        pa.array(_DAYS, pa.date64()),
        pa.array([time(0), time(23, 59, 59), None], pa.time32("s")),
        pa.array([time(0), time(0, 0, 0, 1000), None], pa.time32("ms")),
        pa.array([time(0), time(0, 0, 0, 1), None], pa.time64("us")),
        pa.array([0, 1000, None], pa.time64("ns")),
        *timestamps,
        pa.array([timedelta(0), timedelta(microseconds=1), None], pa.duration("us")),
        pa.array([(1, 0, 0), (0, 30, 0), None], pa.month_day_nano_interval()),
    ]


def _nested() -> list[pa.Array]:
    lists = [[], [None], ["a"], ["a", "b"], None]
    return [
        *(pa.array(lists, kind(pa.string())) for kind in (pa.list_, pa.large_list, pa.list_view, pa.large_list_view)),
        pa.array([[1, 2], [2, 1], None], pa.list_(pa.int64(), 2)),
        pa.array([{"a": 1, "b": None}, {"a": None, "b": "1"}, None], pa.struct({"a": pa.int64(), "b": pa.string()})),
        pa.array([[("a", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array(["a", "b"])),
    ]
