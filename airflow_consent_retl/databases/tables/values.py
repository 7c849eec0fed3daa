"""Arrow columns as the Python values that DB-API drivers bind; a value that would change on the way is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.databases.tables.target import Family, Refused, family
from airflow_consent_retl.values.json_rows import NOT_A_NUMBER, YEAR_OUT_OF_RANGE, _values

TOO_PRECISE = "too_precise"

_Values = tuple[list[object], Refused]


def bound_values(array: pa.Array, *, dialect: str) -> _Values:
    """Return one value per row, and codes for the rows whose value the database cannot hold exactly.

    Integers, booleans, text and bytes are themselves; decimals are `Decimal`; nested values are JSON text; moments
    with a zone are in UTC. SQLite has neither decimals nor moments: they are text, the way its own functions write
    them. MySQL has no zones.
    """
    if pa.types.is_dictionary(array.type):
        return bound_values(array.dictionary_decode(), dialect=dialect)
    group = family(array.type)
    if isinstance(array.type, pa.BaseExtensionType):
        return _json_text(array)
    special = _SPECIAL.get(group)
    if special is not None:
        return special(array, dialect)
    return array.to_pylist(), {}


def too_precise(array: pa.Array) -> list[int]:
    """Return the positions of the moments and times of day that microseconds cannot tell."""
    if not (pa.types.is_timestamp(array.type) or pa.types.is_time64(array.type)) or array.type.unit != "ns":
        return []
    nanoseconds = array.cast(pa.int64())
    return _places(pc.not_equal(pc.multiply(pc.divide(nanoseconds, 1000), 1000), nanoseconds))


def _text(array: pa.Array, _: str) -> _Values:
    try:
        return array.to_pylist(), {}
    except UnicodeDecodeError:
        return _values(array, integers="number")


def _json_text(array: pa.Array, _: str = "") -> _Values:
    values, refused = _values(array, integers="number")
    return [
        value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode() for value in values
    ], refused


def _floats(array: pa.Array, dialect: str) -> _Values:
    if dialect == "postgresql":
        return array.to_pylist(), {}
    # SQLite stores NaN as NULL, without a word.
    bad = pc.is_nan(array) if dialect == "sqlite" else pc.invert(pc.is_finite(array))
    return array.to_pylist(), dict.fromkeys(_places(bad), NOT_A_NUMBER)


def _decimals(array: pa.Array, dialect: str) -> _Values:
    values = array.to_pylist()
    if dialect == "sqlite":
        return [value if value is None else format(value, "f") for value in values], {}
    return values, {}


def _moments(array: pa.Array, dialect: str) -> _Values:
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
    if dialect == "sqlite":
        text = array.cast(pa.string())
        return (pc.binary_join_element_wise(text, "+00:00", "") if zoned else text).to_pylist(), refused
    if zoned and dialect not in {"mysql", "mariadb"}:
        return [value if value is None else value.replace(tzinfo=UTC) for value in array.to_pylist()], refused
    return array.to_pylist(), refused


def _times(array: pa.Array, dialect: str) -> _Values:
    microseconds = array.cast(pa.time64("us"), safe=False)
    refused = dict.fromkeys(too_precise(array), TOO_PRECISE)
    return (microseconds.cast(pa.string()) if dialect == "sqlite" else microseconds).to_pylist(), refused


def _places(mask: pa.Array) -> list[int]:
    return pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist()  # type: ignore[no-any-return]


_SPECIAL: dict[Family | None, Callable[[pa.Array, str], _Values]] = {
    "nested": _json_text,
    "text": _text,
    "decimal": _decimals,
    "float": _floats,
    "float32": _floats,
    "date": _moments,
    "timestamp": _moments,
    "timestamptz": _moments,
    "time": _times,
}
