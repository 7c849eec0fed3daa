"""Arrow columns in the form of a bulk load, and codes for values that the target's column cannot hold.

A value that is found here costs no statement. A value that the warehouse refuses costs one statement for each half of
the batch. This module runs no SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from airflow_consent_retl.databases.tables.dialects import STANDARD
from airflow_consent_retl.databases.tables.values import TOO_PRECISE, bound_values
from airflow_consent_retl.databases.tables.writer import Family, Refused, family
from airflow_consent_retl.values.json_rows import YEAR_OUT_OF_RANGE

TOO_LONG, OUT_OF_RANGE = "too_long", "value_out_of_range"
_MOST_DIGITS = 38
_LARGEST_INT64_DIGITS = 18
_INT64_MAX = 2**63 - 1
_UNIT_DIGITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
_MICROSECONDS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The limits of a column.

    Args:
        length: characters of text, or bytes; None for any number.
        whole_digits: digits of a number before the point; None for any number.
        is_int64: whether integers have 64 bits, with a sign.
        second_digits: digits after the second, of a timestamp or a time of day.
    """

    length: int | None = None
    whole_digits: int | None = None
    is_int64: bool = False
    second_digits: int = _MICROSECONDS


_Staged = tuple[pa.Array, Refused]


def is_stageable(kind: pa.DataType) -> bool:
    """Return whether `staged` takes values of a type: all that a column can hold, except decimals of over 38 digits."""
    if pt.is_dictionary(kind):
        return is_stageable(kind.value_type)
    return not pt.is_decimal(kind) or _plain_decimal(kind) is not None


def staged(values: pa.Array, capacity: Capacity) -> _Staged:
    """Return the values in the form of the bulk load, and codes for those that the column cannot hold exactly.

    They are bool, int8 to int64, decimal128, float64, string, binary, date32, or timestamps in microseconds or
    nanoseconds, in UTC or without a zone. Times of day (`12:30:00.5`), nested values (JSON) and NULLs without a type
    are text. The caller must not write the value in place of a refused one.
    """
    if pt.is_dictionary(values.type):
        return staged(values.dictionary_decode(), capacity)
    group = family(values.type)
    if group == "nested" or isinstance(values.type, pa.BaseExtensionType):
        texts, refused = bound_values(values, dialect=STANDARD)
        return pa.array(texts, pa.string()), refused
    return _CONVERSIONS[group](values, capacity)


def last_of_each(rows: pa.Table, *, key: str, position: str) -> pa.Table:
    """Return the last row of each key, as if rows were written one by one; NULL is a key too.

    Args:
        rows: in order.
        key: its column.
        position: a column of integers that rise from row to row.
    """
    if pc.count_distinct(rows[key], mode="all").as_py() == rows.num_rows:
        return rows
    last = rows.select([key, position]).group_by(key).aggregate([(position, "max")])
    return rows.filter(pc.is_in(rows[position], value_set=last[f"{position}_max"].combine_chunks()))


def _as_is(values: pa.Array, _: Capacity) -> _Staged:
    return values, {}


def _nulls(values: pa.Array, _: Capacity) -> _Staged:
    return pa.nulls(len(values), pa.string()), {}


def _text(values: pa.Array, capacity: Capacity) -> _Staged:
    refused: Refused = {}
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        texts, refused = bound_values(values, dialect=STANDARD)
        values = pa.array(texts, pa.string())
    values = values.cast(pa.string())
    if capacity.length is not None:
        refused |= _where(pc.greater(pc.utf8_length(values), capacity.length), TOO_LONG)
    return values, refused


def _bytes(values: pa.Array, capacity: Capacity) -> _Staged:
    values = values.cast(pa.binary())
    if capacity.length is None:
        return values, {}
    return values, _where(pc.greater(pc.binary_length(values), capacity.length), TOO_LONG)


def _integers(values: pa.Array, capacity: Capacity) -> _Staged:
    if not pt.is_uint64(values.type):
        wide = values.cast(pa.int64())
        digits = capacity.whole_digits
        # A column of more digits than 64 bits have holds every such number.
        if digits is None or digits > _LARGEST_INT64_DIGITS:
            return wide, {}
        return wide, _where(_beyond(wide, pa.scalar(10**digits, pa.int64())), OUT_OF_RANGE)
    if capacity.is_int64:
        outside = pc.greater(values, pa.scalar(_INT64_MAX, pa.uint64()))
        return pc.if_else(outside, None, values).cast(pa.int64()), _where(outside, OUT_OF_RANGE)
    return _decimals(values.cast(pa.decimal128(20, 0)), capacity)


def _decimals(values: pa.Array, capacity: Capacity) -> _Staged:
    plain = _plain_decimal(values.type)
    if plain is None:
        raise ValueError(f"{values.type} has more digits than a warehouse's decimal; ask `is_stageable` first")
    values = values.cast(plain)
    digits = capacity.whole_digits
    if digits is None or digits >= plain.precision - plain.scale:
        return values, {}
    limit = pa.scalar(10**digits, pa.decimal128(digits + 1, 0)).cast(plain)
    return values, _where(_beyond(values, limit), OUT_OF_RANGE)


def _floats(values: pa.Array, _: Capacity) -> _Staged:
    return values.cast(pa.float32() if pt.is_float16(values.type) else values.type).cast(pa.float64()), {}


def _dates(values: pa.Array, _: Capacity) -> _Staged:
    values, refused = _in_calendar(values)
    return values.cast(pa.date32()), refused


def _times(values: pa.Array, capacity: Capacity) -> _Staged:
    refused = _too_precise(values, capacity)
    kind = pa.time64("ns" if values.type.unit == "ns" and capacity.second_digits > _MICROSECONDS else "us")
    return values.cast(kind, safe=False).cast(pa.string()), refused


def _timestamps(values: pa.Array, capacity: Capacity) -> _Staged:
    zone = None if values.type.tz is None else "UTC"
    unit = values.type.unit
    values, refused = _in_calendar(values.cast(pa.timestamp(unit)))
    refused |= _too_precise(values, capacity)
    kept = "ns" if unit == "ns" and capacity.second_digits > _MICROSECONDS else "us"
    return values.cast(pa.timestamp(kept), safe=False).cast(pa.timestamp(kept, zone)), refused


def _in_calendar(values: pa.Array) -> _Staged:
    year = pc.year(values)
    outside = pc.fill_null(pc.or_(pc.less(year, 1), pc.greater(year, 9999)), False)
    return pc.if_else(outside, pa.scalar(None, values.type), values), _where(outside, YEAR_OUT_OF_RANGE)


def _too_precise(values: pa.Array, capacity: Capacity) -> Refused:
    surplus = _UNIT_DIGITS[values.type.unit] - capacity.second_digits
    if surplus <= 0:
        return {}
    counted = values.cast(pa.int32() if pt.is_time32(values.type) else pa.int64()).cast(pa.int64())
    step = 10**surplus
    return _where(pc.not_equal(pc.multiply(pc.divide(counted, step), step), counted), TOO_PRECISE)


def _beyond(values: pa.Array, limit: pa.Scalar) -> pa.Array:
    lowest = pc.negate(limit)
    return pc.or_(pc.greater_equal(values, limit), pc.less_equal(values, lowest))


def _plain_decimal(kind: pa.DataType) -> pa.DataType | None:
    digits = kind.precision - min(kind.scale, 0)
    if digits > _MOST_DIGITS or kind.scale > kind.precision:
        return None
    return pa.decimal128(digits, max(kind.scale, 0))


def _where(mask: pa.Array, code: str) -> Refused:
    return dict.fromkeys(pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist(), code)


_CONVERSIONS: dict[Family | None, Callable[[pa.Array, Capacity], _Staged]] = {
    "null": _nulls,
    "boolean": _as_is,
    "integer": _integers,
    "decimal": _decimals,
    "float32": _floats,
    "float": _floats,
    "text": _text,
    "binary": _bytes,
    "date": _dates,
    "time": _times,
    "timestamp": _timestamps,
    "timestamptz": _timestamps,
}
