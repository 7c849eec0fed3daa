"""Column types of a model: types that a DAG declares, the common type of two parts, and casts that lose nothing.

Nothing is guessed: if two types have no common type that keeps every value, an error names the column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from airflow_consent_retl.errors import ConfigurationError, ModelError, PermanentError
from airflow_consent_retl.near import suggestion

MAX_NAME_CHARACTERS = 128
_RESERVED = "consent_retl_"
_NAMES_SHOWN = 20
_MAX_DECIMAL_DIGITS = 38
_DECIMAL = re.compile(r"decimal(?:128)?\((\d+),\s*(\d+)\)")
_TIMESTAMP = re.compile(r"timestamp\[(ms|us|ns)(?:,\s*tz=(\S+))?\]")
# Decimal digits that are enough for every value of an Arrow integer type.
_INTEGER_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}


def declared_types(declared: Mapping[str, str] | None) -> dict[str, pa.DataType]:
    """Parse `column_types`.

    Raises:
        ConfigurationError: a name is not the name of an Arrow type.
    """
    return {column: _parse_type(name, column=column) for column, name in (declared or {}).items()}


def check_names(names: Iterable[str], *, primary_key: str, declared: Iterable[str]) -> None:
    """Refuse results whose columns later stages could confuse.

    Raises:
        ModelError: there is no column or no primary key, or a name is empty, too long, not unique or reserved.
        ConfigurationError: a type is declared for a column that does not exist.
    """
    columns = list(names)
    if not columns:
        raise ModelError("the query returns no columns")
    by_folded: dict[str, str] = {}
    for column in columns:
        _check_name(column)
        # Engines ignore case: `id` and `ID` would become one column.
        twin = by_folded.setdefault(column.casefold(), column)
        if twin != column:
            raise ModelError(f"the query returns columns `{twin}` and `{column}`, which differ by case only")
    for column in by_folded.values():
        if columns.count(column) > 1:
            raise ModelError(f"the query returns column `{column}` {columns.count(column)} times: rename it in the SQL")
    if primary_key not in columns:
        returned = ", ".join(f"`{column}`" for column in columns[:_NAMES_SHOWN])
        raise ModelError(
            f"the query does not return the primary key `{primary_key}`{suggestion(primary_key, columns)} "
            f"(it returns {returned}{', …' if len(columns) > _NAMES_SHOWN else ''})"
        )
    for column in declared:
        if column not in columns:
            raise ConfigurationError(
                f"column_types names `{column}`, which the query does not return{suggestion(column, columns)}"
            )


def _check_name(column: str) -> None:
    if not column or len(column) > MAX_NAME_CHARACTERS:
        raise ModelError(
            f"column `{column[:MAX_NAME_CHARACTERS]}` has a name of {len(column)} characters: "
            f"1 to {MAX_NAME_CHARACTERS} are allowed"
        )
    if column.casefold().startswith(_RESERVED):
        raise ModelError(
            f"column `{column}` begins with `{_RESERVED}`, which is reserved for columns of this package: rename it in "
            "the SQL"
        )


def check_key_type(type_: pa.DataType, *, primary_key: str) -> None:
    """Refuse ids that have no exact equality.

    Raises:
        ModelError: floats and nested values.
    """
    if pt.is_floating(type_):
        raise ModelError(
            f"primary key `{primary_key}` is {type_}: an id that passes through a float loses digits; cast it in the "
            f"SQL to an integer, a decimal or text"
        )
    if pt.is_nested(type_):
        raise ModelError(f"primary key `{primary_key}` is {type_}: an id is one plain value")


def common_schema(first: pa.Schema, second: pa.Schema, *, primary_key: str) -> pa.Schema:
    """Return the narrowest schema that can represent every value of both.

    Raises:
        ModelError: a column has no such type.
    """
    return pa.schema(
        pa.field(ours.name, common_type(ours.type, theirs.type, column=ours.name, is_key=ours.name == primary_key))
        for ours, theirs in zip(first, second, strict=True)
    )


def common_type(first: pa.DataType, second: pa.DataType, *, column: str, is_key: bool) -> pa.DataType:
    """Return the narrowest type that can represent every value of both types.

    Integers and floats become floats, except for the primary key; the cast checks that each integer is exact.

    Raises:
        ModelError: there is no such type.
    """
    if first == second or pt.is_null(second):
        return first
    if pt.is_null(first):
        return second
    pair = first, second
    if all(pt.is_integer(type_) or pt.is_decimal(type_) for type_ in pair):
        if all(pt.is_signed_integer(type_) for type_ in pair):
            return max(pair, key=lambda type_: type_.bit_width)
        whole, scale = _digits(first), _digits(second)
        fraction = max(whole[1], scale[1])
        precision = max(whole[0] - whole[1], scale[0] - scale[1]) + fraction
        if precision <= _MAX_DECIMAL_DIGITS:
            return pa.decimal128(precision, fraction)
    if not is_key and any(map(pt.is_floating, pair)) and all(pt.is_floating(t) or pt.is_integer(t) for t in pair):
        return pa.float64()
    raise mixed_types(column, first, second)


def mixed_types(column: str, first: object, second: object) -> ModelError:
    """Return the error for a column whose values have no common type."""
    names = sorted({str(first), str(second)})
    return ModelError(
        f"column `{column}` holds {' and '.join(names)}, which have no common type that keeps every value: cast it "
        f'in the SQL, or declare column_types={{"{column}": "string"}} or another type'
    )


def cast(array: pa.Array, type_: pa.DataType, *, column: str) -> pa.Array:
    """Cast to a type from `common_type`, or to a declared type, without changing any value.

    Text becomes a number only if the number is written as the same text, so `007` never becomes 7.

    Raises:
        ModelError: a value cannot be represented; the message names its column, never the value.
    """
    if array.type == type_:
        return array
    try:
        converted = _cast(array, type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        converted = None
    # Arrow's own message quotes the value: it must not leave this function.
    if converted is None:
        raise ModelError(f"column `{column}` holds {array.type} values that are not exactly {type_}")
    return converted


def cast_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Cast every column to `schema`, which has the same names in the same order.

    Raises:
        ModelError: a value would change.
    """
    return pa.RecordBatch.from_arrays(
        [cast(array, field.type, column=field.name) for array, field in zip(batch.columns, schema, strict=True)],
        schema=schema,
    )


def _cast(array: pa.Array, type_: pa.DataType) -> pa.Array | None:
    source = array.type
    if pt.is_null(source):
        return pa.nulls(len(array), type_)
    if pt.is_boolean(type_):
        return _booleans(array)
    if pt.is_integer(type_) and pt.is_string(source):
        numbers = array.cast(type_)
        return numbers if numbers.cast(pa.string()).equals(array) else None
    if pt.is_decimal(type_) and pt.is_integer(source):
        # Arrow first requires the digits of the widest integer, even if the values are small.
        return array.cast(pa.decimal256(76, type_.scale)).cast(type_)
    return array.cast(type_) if _is_exact(source, type_) else None


def _booleans(array: pa.Array) -> pa.Array | None:
    if not pt.is_integer(array.type):
        return None
    others = pc.invert(pc.is_in(array, value_set=pa.array([0, 1, None], array.type)))
    count = pc.sum(others, min_count=0).as_py()
    return None if count else array.cast(pa.bool_())


def _is_exact(source: pa.DataType, target: pa.DataType) -> bool:
    """Return whether Arrow's safe cast between these types either keeps each value or fails."""
    if pt.is_string(target) or pt.is_large_string(target):
        exact = not (pt.is_floating(source) or pt.is_nested(source))
    elif pt.is_string(source):
        exact = True
    elif pt.is_floating(target):
        exact = pt.is_integer(source) or (pt.is_floating(source) and source.bit_width <= target.bit_width)
    elif pt.is_timestamp(target):
        # A time zone is neither invented nor dropped.
        exact = pt.is_timestamp(source) and (source.tz is None) == (target.tz is None)
    elif pt.is_integer(target):
        exact = pt.is_integer(source) or pt.is_decimal(source) or pt.is_floating(source)
    else:
        exact = pt.is_decimal(target) and pt.is_decimal(source)
    return bool(exact)


def _digits(type_: pa.DataType) -> tuple[int, int]:
    if pt.is_decimal(type_):
        return type_.precision, type_.scale
    return _INTEGER_DIGITS[type_.bit_width], 0


def _parse_type(name: object, *, column: str) -> pa.DataType:
    if not isinstance(name, str):
        raise ConfigurationError(f'column_types["{column}"] is {type(name).__name__}, expected the name of a type')
    problem: PermanentError
    try:
        if match := _DECIMAL.fullmatch(name):
            return pa.decimal128(int(match[1]), int(match[2]))
        if match := _TIMESTAMP.fullmatch(name):
            return pa.timestamp(match[1], match[2])
        return pa.string() if name == "json" else pa.type_for_alias(name)
    except ValueError:
        known = ("bool", "int32", "int64", "float64", "string", "binary", "date32", "timestamp[us]", "json")
        near = suggestion(name, known)
        problem = ConfigurationError(
            f'column_types["{column}"] names no type: `{name}`{near or "; known are, for example, " + ", ".join(known)}'
        )
    raise problem
