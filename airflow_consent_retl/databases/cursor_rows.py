"""Conversion of cursor rows to Arrow: types from the driver's declaration, otherwise from the values.

A batch gets the narrowest type that holds all its values. A later batch may need a wider type; the writer of the
batches then widens the earlier ones. Never changes a value, and never quotes one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Protocol
from uuid import UUID

import pyarrow as pa

from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.values.columns import cast, check_key_type, mixed_types

_EXACT_IN_FLOAT = 2**53
_MOST_DIGITS = 76
_ZONED = pa.timestamp("us", "UTC")
_NAIVE = pa.timestamp("us")


class Cast(Protocol):
    """A function that casts an array to a type without changing a value."""

    def __call__(self, array: pa.Array, type_: pa.DataType, /, *, column: str) -> pa.Array:
        """Return the array in the type; `column` is for the message of a `ModelError`."""


@dataclass(frozen=True, slots=True)
class RowColumn:
    """A column of a cursor: the type that the driver declares, or None if only the values show it."""

    name: str
    type: pa.DataType | None = None


class RowConverter:
    """Converts rows of a cursor to Arrow batches.

    Args:
        columns: in the order of the rows' values.
        primary_key: name of the column that holds the ids.
        declared: types that the DAG declares; they win over the driver's.
        exact: casts an array to a type without changing a value, as `values.columns.cast` does.
    """

    def __init__(
        self,
        columns: Sequence[RowColumn],
        *,
        primary_key: str,
        declared: Mapping[str, pa.DataType],
        exact: Cast = cast,
    ) -> None:
        self.columns = tuple(columns)
        self._exact = exact
        self._primary_key = primary_key
        self._declared = declared
        self.empty_schema = pa.schema(
            pa.field(column.name, declared.get(column.name, column.type or pa.null())) for column in columns
        )

    def batch(self, rows: Sequence[Sequence[object]]) -> pa.RecordBatch:
        """Convert at least one row.

        Raises:
            ModelError: values of a column have no common type, or do not have the declared type.
        """
        return self.arrow_batch(
            [
                column_array(
                    column.name,
                    values,
                    is_key=column.name == self._primary_key,
                    mixed_as_text=column.name in self._declared,
                )
                for column, values in zip(self.columns, zip(*rows, strict=True), strict=True)
            ]
        )

    def arrow_batch(self, arrays: Sequence[pa.Array]) -> pa.RecordBatch:
        """Make a batch of the columns' arrays, each in its declared type.

        Raises:
            ModelError: values do not have the declared type, or the key has a type that no key may have.
        """
        fitted = [self._fitted(column, array) for column, array in zip(self.columns, arrays, strict=True)]
        return pa.RecordBatch.from_arrays(fitted, names=[column.name for column in self.columns])

    def _fitted(self, column: RowColumn, array: pa.Array) -> pa.Array:
        if column.name == self._primary_key:
            check_key_type(array.type, primary_key=column.name)
        wanted = self._declared.get(column.name) or column.type
        return array if wanted is None else self._exact(array, wanted, column=column.name)


def column_array(name: str, values: Sequence[object], *, is_key: bool, mixed_as_text: bool = False) -> pa.Array:
    """Convert the values of one column to the narrowest Arrow type that holds them all.

    Args:
        mixed_as_text: convert a mix of text and integers to text, because a declared type is applied next.

    Raises:
        ModelError: no type holds all values, or a value has no Arrow counterpart.
    """
    kinds = {_kind(kind, column=name) for kind in set(map(type, values))} - {type(None)}
    problem: ModelError
    try:
        if not kinds:
            return pa.nulls(len(values))
        if len(kinds) == 1:
            return _CONVERSIONS[kinds.pop()](values)
        if kinds == {int, Decimal}:
            return pa.array([Decimal(value) if isinstance(value, int) else value for value in values])
        if kinds == {int, float} and not is_key and _all_exact_in_float(values):
            return pa.array(values, pa.float64())
        if kinds == {dict, list}:
            return _json_texts(values)
        if kinds == {int, str} and mixed_as_text:
            return pa.array([str(value) if isinstance(value, int) else value for value in values], pa.string())
        problem = mixed_types(name, *_type_names(kinds))
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        # The messages of Arrow and of codecs quote the value.
        problem = _misfits(name, values, type(error).__name__)
    raise problem


def _misfits(name: str, values: Sequence[object], failure: str) -> ModelError:
    """Return the error for values without an Arrow type, with their kind and number."""
    for kind, is_of, remedy in _MISFITS:
        rows = sum(map(is_of, values))
        if rows:
            counted = "1 row" if rows == 1 else f"{rows:,} rows"
            return ModelError(
                f"column `{name}` holds {kind} in {counted}, which a snapshot cannot hold: leave the rows out, or "
                f"{remedy} in the SQL"
            )
    return ModelError(f"column `{name}` holds a value that Arrow cannot hold ({failure}): cast it to text in the SQL")


def _is_no_number(value: object) -> bool:
    return isinstance(value, Decimal) and not value.is_finite()


def _is_too_long(value: object) -> bool:
    if isinstance(value, int):
        return len(str(abs(value))) > _MOST_DIGITS
    if not isinstance(value, Decimal) or not value.is_finite():
        return False
    _, digits, exponent = value.as_tuple()
    return max(len(digits), len(digits) + int(exponent), -int(exponent)) > _MOST_DIGITS


def _has_no_json(value: object) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return False
    try:
        json_text(value)
    except (ValueError, TypeError):
        return True
    return False


def _integers(values: Sequence[object]) -> pa.Array:
    try:
        return pa.array(values, pa.int64())
    except OverflowError:
        return pa.array([None if value is None else Decimal(value) for value in values])  # type: ignore[arg-type]


def _times(values: Sequence[object]) -> pa.Array:
    if any(isinstance(value, time) and value.tzinfo is not None for value in values):
        return _texts(values, time.isoformat)
    return pa.array(values, pa.time64("us"))


def _timestamps(values: Sequence[object]) -> pa.Array:
    zoned = {value.tzinfo is not None for value in values if isinstance(value, datetime)}
    if len(zoned) > 1:
        raise ValueError
    return pa.array(values, _ZONED if zoned == {True} else _NAIVE)


def _durations(values: Sequence[object]) -> pa.Array:
    return _texts(values, _duration_text)


def _duration_text(duration: timedelta) -> str:
    """Return a duration in ISO 8601, in days and seconds, to the microsecond."""
    sign = "-" if duration < timedelta(0) else ""
    size = abs(duration)
    return f"{sign}P{size.days}DT{size.seconds}.{size.microseconds:06d}S"


def _texts(values: Iterable[object], text: Callable[..., str]) -> pa.Array:
    return pa.array([None if value is None else text(value) for value in values], pa.string())


def _json_texts(values: Iterable[object]) -> pa.Array:
    return _texts(values, json_text)


def json_text(value: object) -> str:
    """Return a nested value as JSON, with every digit of its numbers.

    Raises:
        ValueError: JSON cannot represent a number.
        TypeError: JSON cannot represent a value.
    """
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json_text(str(key))}:{json_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError
    if isinstance(value, date | time | UUID):
        return json.dumps(str(value))
    return json.dumps(value, ensure_ascii=False)


def _all_exact_in_float(values: Iterable[object]) -> bool:
    return all(abs(value) <= _EXACT_IN_FLOAT for value in values if isinstance(value, int))


def _kind(kind: type, *, column: str) -> type:
    if kind is type(None):
        return kind
    for base in kind.__mro__:
        if base in _CONVERSIONS:
            return base
    raise ModelError(
        f"column `{column}` holds values of Python type {kind.__name__}, which is not known: cast it in the SQL"
    )


def _type_names(kinds: Iterable[type]) -> tuple[str, str]:
    first, second, *_ = sorted({str: "text", int: "integer"}.get(kind, kind.__name__) for kind in kinds)
    return first, second


_CONVERSIONS: dict[type, Callable[[Sequence[object]], pa.Array]] = {
    bool: lambda values: pa.array(values, pa.bool_()),
    int: _integers,
    float: lambda values: pa.array(values, pa.float64()),
    str: lambda values: pa.array(values, pa.string()),
    bytes: lambda values: pa.array(values, pa.binary()),
    bytearray: lambda values: pa.array(values, pa.binary()),
    memoryview: lambda values: pa.array(values, pa.binary()),
    Decimal: pa.array,
    datetime: _timestamps,
    date: lambda values: pa.array(values, pa.date32()),
    time: _times,
    timedelta: _durations,
    UUID: lambda values: _texts(values, str),
    dict: _json_texts,
    list: _json_texts,
    tuple: _json_texts,
}
# For each kind of value that has no Arrow type: its name, the test for it, and how to do without it.
_MISFITS: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("NaN or infinity as a decimal", _is_no_number, "replace them with NULL"),
    (f"a number of more than {_MOST_DIGITS} digits", _is_too_long, "cast it to text"),
    ("a nested value that JSON cannot represent, such as NaN,", _has_no_json, "cast it to text"),
)
