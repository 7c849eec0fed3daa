"""Conversions between Arrow's types and DuckDB's: types of new columns, and values in the form that a column takes.

Uses no database but an empty one in memory, for the names of types.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.databases.tables.values import TOO_PRECISE
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.bounded_engine import bounded_engine

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.writer import Family, Refused

OUT_OF_RANGE = "value_out_of_range"

_MOST_DIGITS = 38
_MEMORY_LIMIT = "16MiB"
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Units of the columns for timestamps and times of day that do not count in microseconds.
_UNITS = {"TIMESTAMP_S": "s", "TIMESTAMP_MS": "ms", "TIMESTAMP_NS": "ns", "TIMESTAMPTZ_NS": "ns", "TIME_NS": "ns"}
_ACCEPTED: dict[str, frozenset[Family]] = {
    "BOOLEAN": frozenset({"boolean"}),
    "FLOAT": frozenset({"float32"}),
    "DOUBLE": frozenset({"float32", "float"}),
    "DECIMAL": frozenset({"integer", "decimal"}),
    "VARCHAR": frozenset({"text"}),
    "UUID": frozenset({"text"}),
    "ENUM": frozenset({"text"}),
    "JSON": frozenset({"text", "nested"}),
    "BLOB": frozenset({"binary"}),
    "DATE": frozenset({"date"}),
    "TIME": frozenset({"time"}),
    "TIME_NS": frozenset({"time"}),
    "TIMESTAMP": frozenset({"timestamp"}),
    "TIMESTAMP_S": frozenset({"timestamp"}),
    "TIMESTAMP_MS": frozenset({"timestamp"}),
    "TIMESTAMP_NS": frozenset({"timestamp"}),
    "TIMESTAMP WITH TIME ZONE": frozenset({"timestamptz"}),
    "TIMESTAMPTZ_NS": frozenset({"timestamptz"}),
}


def column_types(fields: Iterable[pa.Field]) -> dict[str, str]:
    """Return the type of a new column for each field, as DuckDB itself names it.

    Raises:
        ConfigurationError: DuckDB cannot hold some of the fields; names all of them.
    """
    kinds, unfit = {}, []
    for field in fields:
        try:
            values = _plain(pa.nulls(0, field.type))
            made = values.take(pa.array([], pa.int64())).cast(_made(values.type))
            # One for each: an internal error ends an engine.
            with bounded_engine(_MEMORY_LIMIT) as connection:
                kinds[field.name] = str(connection.from_arrow(pa.table({"x": made})).types[0])
        except (duckdb.NotSupportedError, duckdb.InternalError, pa.ArrowNotImplementedError):
            unfit.append(f"`{field.name}` ({field.type})")
    if unfit:
        raise ConfigurationError(f"no column of DuckDB can hold {', '.join(unfit)}: cast them in the model")
    return kinds


def accepted_by(shown: str) -> frozenset[Family]:
    """Return the families of values that a column of this type holds."""
    name = shown.partition("(")[0].strip()
    if name.endswith("]") or shown.endswith("]") or name in {"STRUCT", "MAP", "UNION"}:
        return frozenset({"nested"})
    if name.endswith(("INT", "INTEGER")):
        return frozenset({"integer"})
    return _ACCEPTED.get(name, frozenset())


def fitted(values: pa.Array, *, shown: str) -> tuple[pa.Array, Refused]:
    """Return the values in the form that a column of this type takes, and codes for those that it cannot hold exactly.

    The caller must not write the value that is returned in place of a refused one.
    """
    values = _plain(values)
    if not (pa.types.is_timestamp(values.type) or pa.types.is_time(values.type)):
        return values, {}
    unit = _UNITS.get(shown, "us")
    kind = pa.timestamp(unit, tz=values.type.tz) if pa.types.is_timestamp(values.type) else pa.time64(unit)
    refused = _changed(values, kind)
    if unit in {"s", "ms"}:
        # DuckDB 2.0 would store years outside its calendar, and fail an assertion when they are read.
        refused |= _changed(values, pa.timestamp("us"))
    return values.cast(kind, safe=False), refused


def _changed(values: pa.Array, kind: pa.DataType) -> Refused:
    if values.type.unit == kind.unit:
        return {}
    back = values.cast(kind, safe=False).cast(values.type, safe=False)
    places = pc.indices_nonzero(pc.fill_null(pc.not_equal(back, values), False)).to_pylist()
    coarser = _PER_SECOND[kind.unit] < _PER_SECOND[values.type.unit]
    return dict.fromkeys(places, TOO_PRECISE if coarser else OUT_OF_RANGE)


def _plain(values: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(values.type):
        return pa.DictionaryArray.from_arrays(values.indices, _plain(values.dictionary)).dictionary_decode()
    kind = _plain_type(values.type)
    return values if kind == values.type else values.cast(kind)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    # Arrow cannot take rows of views, and DuckDB has no decimals of 256 bits or with a negative scale.
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_decimal(kind) and (pa.types.is_decimal256(kind) or kind.scale < 0):
        digits = kind.precision - min(kind.scale, 0)
        return pa.decimal128(digits, max(kind.scale, 0)) if digits <= _MOST_DIGITS else kind
    return _plain_nested(kind)


def _plain_nested(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_plain_field(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(_plain_field(kind.value_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_plain_field(kind.value_field), kind.list_size)
    return pa.struct([_plain_field(field) for field in kind]) if pa.types.is_struct(kind) else kind


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain_type(field.type))


def _made(kind: pa.DataType) -> pa.DataType:
    # DuckDB 2.0 can neither compare, truncate nor add to nanoseconds with a zone.
    if pa.types.is_timestamp(kind) and (kind.tz is not None or kind.unit != "ns"):
        return pa.timestamp("us", tz=kind.tz)
    return kind
