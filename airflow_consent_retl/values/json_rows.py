"""Arrow rows as JSON, exactly: nothing is rounded, guessed or dropped silently.

Every value arrives unchanged, or its row is refused with a code. The encoding works by columns, because one scalar at
a time costs ten times as much.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat
from typing import Any, Literal

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.record_shape import Record, RecordShape

NOT_A_NUMBER = "not_a_number"
YEAR_OUT_OF_RANGE = "year_out_of_range"
NOT_UTF8 = "not_utf8"

Nulls = Literal["null", "omit"]
Integers = Literal["number", "string"]
# Positions of values that JSON cannot represent, each with its code.
_Refused = dict[int, str]
_Values = tuple[list[object], _Refused]

# From year 1 to year 9999, in seconds since 1970.
_FIRST_S, _LAST_S = -62_135_596_800, 253_402_300_799
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class JsonRows:
    """The rows of a batch that JSON can represent, and codes for the other rows.

    Args:
        records: one object for each row that can be sent, in order.
        positions: the position in the batch of each record.
        refused: for the rows that cannot be sent, the code by position in the batch.
    """

    records: Sequence[Any]
    positions: Sequence[int]
    refused: _Refused


class RowEncoder:
    """An encoder for batches of one schema. Thread-safe.

    Args:
        schema: the fields, in the order in which they are sent.
        nulls: `"null"` sends JSON null, `"omit"` leaves the field out of the row's object.
        cleared: fields whose JSON null is sent in any case.
        omitted: other fields whose null is left out in any case.
        nested: whether a dotted name (`address.city`) is a field of a nested object, which is left out if all of its
            fields are; otherwise it is a name like any other.
        integers: `"number"` sends all digits as a JSON integer, `"string"` sends text.
        envelope: the field of the body's object that contains the rows; None sends a bare array.
        beside: other fields of that object.

    Raises:
        ConfigurationError: fields have a name or a type without an exact form in JSON; the message names all of them.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        nulls: Nulls,
        integers: Integers,
        envelope: str | None,
        beside: Mapping[str, str] | None = None,
        cleared: Collection[str] = (),
        omitted: Collection[str] = (),
        nested: bool = False,
    ) -> None:
        if not schema.names:
            raise ConfigurationError("fields names nothing to send")
        unfit = [f"`{field.name}` ({field.type})" for field in schema if not _expressible(field.type)]
        if unfit:
            raise ConfigurationError(f"no exact form in JSON for {', '.join(unfit)}: cast them in the model")
        # The encoder does not escape names.
        odd = [ascii(name) for name in schema.names if not name.isprintable() or not {'"', "\\"}.isdisjoint(name)]
        if odd:
            raise ConfigurationError(f"field names with quotes, backslashes or control characters: {', '.join(odd)}")
        # A field is left out where it has its default, which is the very object.
        left_out = {name for name in schema.names if nulls == "omit" or name in omitted} - {*cleared}
        self._names = schema.names
        self._record = RecordShape.of(schema.names, left_out=left_out, nested=nested)
        self._integers: Integers = integers
        self._envelope = envelope
        self._beside = dict(beside or {})

    def rows(self, batch: pa.RecordBatch) -> JsonRows:
        """Return the rows as records. The page of the webhook describes the form of each type."""
        refused: _Refused = {}
        columns: list[list[object]] = []
        for column in batch.columns:
            values, unfit = _values(column, integers=self._integers)
            columns.append(values)
            refused = {**unfit, **refused}
        records = self._record.records(dict(zip(self._names, columns, strict=True)))
        if not refused:
            return JsonRows(records, range(len(records)), refused)
        positions = [row for row in range(len(records)) if row not in refused]
        return JsonRows([records[row] for row in positions], positions, refused)

    def body(self, records: Sequence[Record]) -> bytes:
        """Return a request's body: `{"<envelope>": [...]}`, or the bare array."""
        return msgspec.json.encode(records if self._envelope is None else {**self._beside, self._envelope: records})


@dataclass(frozen=True, slots=True)
class SentObjects:
    """Records, or objects, as the objects that were sent, each built when it is read."""

    records: Sequence[Any]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, row: int) -> dict[str, object]:
        sent: dict[str, object] = msgspec.to_builtins(self.records[row])
        return sent


def is_utf8(array: pa.Array) -> bool:
    """Return whether every text of an array is UTF-8: nothing in Arrow or Parquet promises it."""
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


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
    # `flatten` omits the values below a null list; `list_parent_indices` does not, so rows are counted here.
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
    # With a null in an Arrow integer array, NumPy's copy would be floats, and ids would lose digits.
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
    if 0 <= array.type.scale <= 6:
        return values, {}
    # Arrow writes small values of other scales with an exponent, which not every reader of decimals accepts.
    return [format(Decimal(text), "f") if isinstance(text, str) and "E" in text else text for text in values], {}


def _dates(array: pa.Array) -> _Values:
    days = array.cast(pa.date32())
    values, refused = _within(days, days.view(pa.int32()), first=_FIRST_S // _DAY_S, last=_LAST_S // _DAY_S)
    return _text(values.cast(pa.string()))[0], refused


def _texts_of(array: pa.Array) -> _Values:
    return _text(array.cast(pa.string()))


def _timestamps(array: pa.Array) -> _Values:
    unit, zoned = array.type.unit, array.type.tz is not None
    naive, per_second = array.cast(pa.timestamp(unit)), _PER_SECOND[unit]
    last = _LAST_S * per_second + per_second - 1
    values, refused = _within(naive, naive.view(pa.int64()), first=_FIRST_S * per_second, last=last)
    text = pc.binary_replace_slice(values.cast(pa.string()), 10, 11, "T")
    return _text(pc.binary_join_element_wise(text, "+00:00", "") if zoned else text)[0], refused


def _within(array: pa.Array, numbers: pa.Array, *, first: int, last: int) -> tuple[pa.Array, _Refused]:
    bounds = pc.min_max(numbers).as_py()
    if bounds["min"] is None or (first <= bounds["min"] and bounds["max"] <= last):
        return array, {}
    outside = [number is not None and not first <= number <= last for number in numbers.to_pylist()]
    refused = {row: YEAR_OUT_OF_RANGE for row, out in enumerate(outside) if out}
    return pc.if_else(pa.array(outside), pa.scalar(None, array.type), array), refused


def _with_nulls(values: list[object], array: pa.Array) -> list[object]:
    if array.null_count:
        for row in pc.indices_nonzero(array.is_null()).to_pylist():
            values[row] = None
    return values


def _any_of(*names: str) -> Callable[[pa.DataType], bool]:
    # Older releases of pyarrow lack some types, and so their predicates.
    fits: list[Callable[[pa.DataType], bool]] = [
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
