"""Arrow rows as Python objects that `orjson` writes exactly; it never rounds, guesses or drops a value silently.

Every value arrives at the other side as itself, or its row is refused with a code. Works by columns, because a scalar
at a time costs ten times as much.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from typing import Literal

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.errors import ConfigurationError

NOT_A_NUMBER = "not_a_number"
YEAR_OUT_OF_RANGE = "year_out_of_range"
NOT_UTF8 = "not_utf8"

Nulls = Literal["null", "omit"]
Integers = Literal["number", "string"]
Record = dict[str, object]
# Positions of values that JSON cannot hold, each with its code.
_Refused = dict[int, str]
_Values = tuple[list[object], _Refused]


@dataclass(frozen=True, slots=True)
class JsonRows:
    """The rows of a batch that JSON can hold, and codes for those it cannot.

    Args:
        records: one object per row that can be sent, in order.
        positions: the position in the batch of each record.
        refused: position in the batch -> code, for the rows that cannot be sent.
    """

    records: list[Record]
    positions: range | list[int]
    refused: _Refused


def check_fields(schema: pa.Schema) -> None:
    """Raise `ConfigurationError` for the fields whose type has no exact form in JSON; names all of them."""
    unfit = [f"`{field.name}` ({field.type})" for field in schema if not _expressible(field.type)]
    if unfit:
        raise ConfigurationError(f"no exact form in JSON for {', '.join(unfit)}: cast them in the model")


def json_rows(rows: pa.RecordBatch, *, nulls: Nulls, integers: Integers) -> JsonRows:
    """Return the rows as JSON objects; see `webhook` for the form of each type.

    Args:
        rows: any batch whose schema passed `check_fields`.
        nulls: `"null"` sends JSON null, `"omit"` leaves the field out of the row's object.
        integers: `"number"` sends all digits as a JSON integer, `"string"` sends text.
    """
    refused: _Refused = {}
    columns: list[list[object]] = []
    for column in rows.columns:
        values, unfit = _values(column, integers=integers)
        columns.append(values)
        refused = {**unfit, **refused}
    names = rows.schema.names
    # Half of the encoder's time is spent here: `map` takes two thirds of a comprehension's.
    records: list[Record] = list(map(dict, map(zip, repeat(names), zip(*columns, strict=True))))
    if nulls == "omit" and any(column.null_count for column in rows.columns):
        records = [{name: value for name, value in record.items() if value is not None} for record in records]
    if not refused:
        return JsonRows(records, range(len(records)), refused)
    positions = [row for row in range(len(records)) if row not in refused]
    return JsonRows([records[row] for row in positions], positions, refused)


def body_of(records: list[Record], *, envelope: str | None) -> bytes:
    """Return the request's body: `{"<envelope>": [...]}`, or the bare array where `envelope` is None."""
    return orjson.dumps(records if envelope is None else {envelope: records})


def _expressible(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name in {"arrow.json", "arrow.uuid"}
    if pa.types.is_dictionary(kind) or _is_list(kind):
        return _expressible(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_expressible(kind.field(child).type) for child in range(kind.num_fields))
    return any(fits(kind) for fits, _ in _SCALARS)


def _values(array: pa.Array, *, integers: Integers) -> _Values:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _uuids(array) if kind.extension_name == "arrow.uuid" else _values(array.storage, integers=integers)
    if pa.types.is_dictionary(kind):
        return _values(array.dictionary_decode(), integers=integers)
    if pa.types.is_struct(kind):
        return _structs(array, integers=integers)
    if _is_list(kind):
        return _lists(array, integers=integers)
    encode = (
        _texts_of
        if integers == "string" and pa.types.is_integer(kind)
        else next(encode for fits, encode in _SCALARS if fits(kind))
    )
    return encode(array)


def _structs(array: pa.StructArray, *, integers: Integers) -> _Values:
    names = [array.type.field(child).name for child in range(array.type.num_fields)]
    children = [_values(child, integers=integers) for child in array.flatten()]
    if children:
        objects: list[object] = [
            dict(zip(names, row, strict=True)) for row in zip(*(values for values, _ in children), strict=True)
        ]
    else:
        objects = [{} for _ in range(len(array))]
    return _with_nulls(objects, array), {row: code for _, unfit in children for row, code in unfit.items()}


def _lists(array: pa.ListArray, *, integers: Integers) -> _Values:
    # `flatten` leaves out what lies under a null list; `list_parent_indices` does not, so rows are counted here.
    items, unfit = _values(array.flatten(), integers=integers)
    lists: list[object] = []
    parents: list[int] = []
    start = 0
    for row, length in enumerate(pc.list_value_length(array).to_pylist()):
        lists.append(None if length is None else items[start : start + length])
        parents.extend(repeat(row, length or 0))
        start += length or 0
    return lists, {parents[item]: code for item, code in unfit.items()}


def _uuids(array: pa.Array) -> _Values:
    return [value and str(value) for value in array.to_pylist()], {}


def _plain(array: pa.Array) -> _Values:
    # A null in an Arrow integer array would turn NumPy's copy into floats, and ids with them.
    if array.null_count:
        filler = pa.scalar(False) if pa.types.is_boolean(array.type) else pa.scalar(0, array.type)
        filled = pc.fill_null(array, filler)
    else:
        filled = array
    return _with_nulls(filled.to_numpy(zero_copy_only=False).tolist(), array), {}


def _floats(array: pa.Array) -> _Values:
    values, _ = _plain(array)
    finite = pc.is_finite(array)
    if pc.all(finite, min_count=0).as_py():
        return values, {}
    return values, dict.fromkeys(pc.indices_nonzero(pc.invert(finite)).to_pylist(), NOT_A_NUMBER)


def _text(array: pa.Array) -> _Values:
    try:
        return array.cast(pa.large_string()).to_numpy(zero_copy_only=False).tolist(), {}
    except (UnicodeDecodeError, pa.ArrowException):
        pass  # nothing in Arrow or Parquet promises that text is UTF-8
    values: list[object] = []
    refused: _Refused = {}
    for row, raw in enumerate(array.cast(pa.large_binary()).to_pylist()):
        try:
            values.append(raw if raw is None else raw.decode())
        except UnicodeDecodeError:
            values.append(None)
            refused[row] = NOT_UTF8
    return values, refused


def _base64(array: pa.Array) -> _Values:
    return [raw if raw is None else base64.b64encode(raw).decode() for raw in array.to_pylist()], {}


def _decimals(array: pa.Array) -> _Values:
    values, _ = _text(array.cast(pa.string()))
    # Arrow writes small decimals with an exponent; not every reader of decimals takes one.
    return [format(Decimal(text), "f") if isinstance(text, str) and "E" in text else text for text in values], {}


def _dates(array: pa.Array) -> _Values:
    values, refused = _within_years(array)
    return _text(values.cast(pa.string()))[0], refused


def _texts_of(array: pa.Array) -> _Values:
    return _text(array.cast(pa.string()))


def _timestamps(array: pa.Array) -> _Values:
    zoned = array.type.tz is not None
    values, refused = _within_years(array.cast(pa.timestamp(array.type.unit)))
    text = pc.replace_substring(values.cast(pa.string()), " ", "T")
    return _text(pc.binary_join_element_wise(text, "+00:00", "") if zoned else text)[0], refused


def _within_years(array: pa.Array) -> tuple[pa.Array, _Refused]:
    year = pc.year(array)
    outside = pc.fill_null(pc.or_(pc.less(year, 1), pc.greater(year, 9999)), False)
    if not pc.any(outside, min_count=0).as_py():
        return array, {}
    refused = dict.fromkeys(pc.indices_nonzero(outside).to_pylist(), YEAR_OUT_OF_RANGE)
    return pc.if_else(outside, pa.scalar(None, array.type), array), refused


def _with_nulls(values: list[object], array: pa.Array) -> list[object]:
    if array.null_count:
        for row in pc.indices_nonzero(array.is_null()).to_pylist():
            values[row] = None
    return values


def _any_of(*names: str) -> Callable[[pa.DataType], bool]:
    # Older releases of pyarrow lack some types, and so their predicates.
    fits: Collection[Callable[[pa.DataType], bool]] = [
        predicate for name in names if (predicate := getattr(pa.types, f"is_{name}", None)) is not None
    ]
    return lambda kind: any(predicate(kind) for predicate in fits)


_is_list = _any_of("list", "large_list", "fixed_size_list")
_SCALARS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], _Values]], ...] = (
    (_any_of("null"), lambda array: ([None] * len(array), {})),
    (_any_of("boolean", "integer"), _plain),
    (_any_of("floating"), _floats),
    (_any_of("string", "large_string", "string_view"), _text),
    (_any_of("binary", "large_binary", "fixed_size_binary", "binary_view"), _base64),
    (_any_of("decimal"), _decimals),
    (_any_of("date"), _dates),
    (_any_of("time"), _texts_of),
    (_any_of("timestamp"), _timestamps),
)
