"""Arrow columns as the Python values that DB-API drivers bind; a value that would change on the way is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.destinations._json_rows import NOT_A_NUMBER, NOT_UTF8, YEAR_OUT_OF_RANGE, json_rows
from airflow_consent_retl.destinations._sql_target import Family, Refused, family

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


def _text(array: pa.Array, _: str) -> _Values:
    try:
        return array.to_pylist(), {}
    except UnicodeDecodeError:
        encoded = json_rows(pa.RecordBatch.from_arrays([array], names=["cell"]), nulls="null", integers="number")
    values: list[object] = [None] * len(array)
    for row, record in zip(encoded.positions, encoded.records, strict=True):
        values[row] = record["cell"]
    return values, dict.fromkeys(encoded.refused, NOT_UTF8)


def _json_text(array: pa.Array, _: str = "") -> _Values:
    encoded = json_rows(pa.RecordBatch.from_arrays([array], names=["cell"]), nulls="null", integers="number")
    values: list[object] = [None] * len(array)
    for row, record in zip(encoded.positions, encoded.records, strict=True):
        cell = record["cell"]
        values[row] = cell if cell is None or isinstance(cell, str) else orjson.dumps(cell).decode()
    return values, encoded.refused


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
        microseconds = array.cast(pa.timestamp("us"), safe=False)
        exact = pc.equal(microseconds.cast(array.type), array)
        refused |= dict.fromkeys(_places(pc.invert(exact)), TOO_PRECISE)
        array = microseconds
    if dialect == "sqlite":
        text = array.cast(pa.string())
        return (pc.binary_join_element_wise(text, "+00:00", "") if zoned else text).to_pylist(), refused
    if zoned and dialect not in {"mysql", "mariadb"}:
        return [value if value is None else value.replace(tzinfo=UTC) for value in array.to_pylist()], refused
    return array.to_pylist(), refused


def _times(array: pa.Array, dialect: str) -> _Values:
    microseconds = array.cast(pa.time64("us"), safe=False)
    exact = pc.equal(microseconds.cast(array.type), array) if array.type == pa.time64("ns") else None
    refused = {} if exact is None else dict.fromkeys(_places(pc.invert(exact)), TOO_PRECISE)
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
