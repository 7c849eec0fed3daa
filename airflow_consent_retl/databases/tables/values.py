"""Arrow columns as the Python values that DB-API drivers bind. A value that would change on the way is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.databases.tables.writer import Family, Refused, family
from airflow_consent_retl.values.json_rows import NOT_A_NUMBER, YEAR_OUT_OF_RANGE, _values, is_utf8

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.dialects import TableDialect

TOO_PRECISE = "too_precise"

_Values = tuple[list[object], Refused]


def bound_values(array: pa.Array, *, dialect: TableDialect) -> _Values:
    """Return one value per row, and codes for the rows whose value the database cannot hold exactly.

    Integers, booleans, text and bytes stay as they are. Decimals become `Decimal`, nested values JSON text. Timestamps
    with a zone are in UTC, and keep the zone where the database has zones. Families that the dialect binds as text
    become text.
    """
    if pa.types.is_dictionary(array.type):
        return bound_values(array.dictionary_decode(), dialect=dialect)
    group = family(array.type)
    if isinstance(array.type, pa.BaseExtensionType):
        return _json_text(array, dialect)
    special = _SPECIAL.get(group)
    if special is not None:
        return special(array, dialect)
    return array.to_pylist(), {}


def unfit_values(array: pa.Array, *, dialect: TableDialect) -> Refused:
    """Return codes for the rows whose value the database cannot hold exactly: those of `bound_values`, in less time."""
    group = family(array.type)
    is_plain = not isinstance(array.type, pa.BaseExtensionType) and not pa.types.is_dictionary(array.type)
    if is_plain and (group not in _SPECIAL or (group == "text" and is_utf8(array))):
        return {}
    return bound_values(array, dialect=dialect)[1]


def too_precise(array: pa.Array) -> list[int]:
    """Return the positions of the timestamps and times of day that are finer than a microsecond."""
    if not (pa.types.is_timestamp(array.type) or pa.types.is_time64(array.type)) or array.type.unit != "ns":
        return []
    nanoseconds = array.cast(pa.int64())
    return _places(pc.not_equal(pc.multiply(pc.divide(nanoseconds, 1000), 1000), nanoseconds))


def _text(array: pa.Array, _: TableDialect) -> _Values:
    try:
        return array.to_pylist(), {}
    except UnicodeDecodeError:
        return _values(array, integers="number")


def _json_text(array: pa.Array, _: TableDialect) -> _Values:
    values, refused = _values(array, integers="number")
    return [
        value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode() for value in values
    ], refused


def _floats(array: pa.Array, dialect: TableDialect) -> _Values:
    if dialect.floats == "all":
        return array.to_pylist(), {}
    bad = pc.is_nan(array) if dialect.floats == "all_but_nan" else pc.invert(pc.is_finite(array))
    return array.to_pylist(), dict.fromkeys(_places(bad), NOT_A_NUMBER)


def _decimals(array: pa.Array, dialect: TableDialect) -> _Values:
    values = array.to_pylist()
    if "decimal" in dialect.as_text:
        return [value if value is None else format(value, "f") for value in values], {}
    return values, {}


def _timestamps(array: pa.Array, dialect: TableDialect) -> _Values:
    as_text = family(array.type) in dialect.as_text
    zoned = pa.types.is_timestamp(array.type) and array.type.tz is not None
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp(array.type.unit))
    year = pc.year(array)
    outside = pc.or_(pc.less(year, 1), pc.greater(year, 9999))
    refused = dict.fromkeys(_places(outside), YEAR_OUT_OF_RANGE)
    array = pc.if_else(pc.fill_null(outside, False), pa.scalar(None, array.type), array)
    if pa.types.is_timestamp(array.type):
        refused |= dict.fromkeys(too_precise(array), TOO_PRECISE)
        array = array.cast(pa.timestamp("us"), safe=False)
    if as_text:
        text = array.cast(pa.string())
        return (pc.binary_join_element_wise(text, "+00:00", "") if zoned else text).to_pylist(), refused
    if zoned and dialect.has_zones:
        return [value if value is None else value.replace(tzinfo=UTC) for value in array.to_pylist()], refused
    return array.to_pylist(), refused


def _times(array: pa.Array, dialect: TableDialect) -> _Values:
    microseconds = array.cast(pa.time64("us"), safe=False)
    refused = dict.fromkeys(too_precise(array), TOO_PRECISE)
    return (microseconds.cast(pa.string()) if "time" in dialect.as_text else microseconds).to_pylist(), refused


def _places(mask: pa.Array) -> list[int]:
    return pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()  # type: ignore[no-any-return]


_SPECIAL: dict[Family | None, Callable[[pa.Array, TableDialect], _Values]] = {
    "nested": _json_text,
    "text": _text,
    "decimal": _decimals,
    "float": _floats,
    "float32": _floats,
    "date": _timestamps,
    "timestamp": _timestamps,
    "timestamptz": _timestamps,
    "time": _times,
}
