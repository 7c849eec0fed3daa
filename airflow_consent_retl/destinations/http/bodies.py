"""Bodies in a vendor's own form: an object of any shape for each row, as JSON, NDJSON, CSV or a form.

Values have the exact forms of `values.json_rows`: nothing is rounded, guessed or dropped silently.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode

import msgspec

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import Integers, JsonRows, Nulls, RowEncoder

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Load

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
FORM = "application/x-www-form-urlencoded"

REPEATED_IDENTIFIER = "repeated_identifier"

Row = dict[str, Any]


class UnfitRowError(Exception):
    """A row that the vendor would not take; it is rejected with this code, which is a word of this package's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ShapedRows:
    """An encoder of rows in a vendor's own shape. Thread-safe.

    Args:
        schema: the fields. A dotted name (`properties.city`) is a field of a nested object.
        body: makes a request's body from the objects of its rows, also of none: `json_body({…})` or one of the others.
        shape: makes a row's object from its values, by their names; by default the nested values themselves. It may
            raise `UnfitRowError`.
        nulls: `"omit"` leaves out a NULL, `"null"` keeps it, before `shape` sees the row.
        cleared: fields whose NULL is kept in any case: `Load.nulls_sent`, where the vendor takes a null for empty.
        omitted: other fields whose NULL is left out in any case: `Load.nulls_omitted`.
        integers: `"string"` makes them text.
        trace: a field that each object gets: a text that is unique in a request, and the same at every try.
        unique: returns what makes an object unique, for a vendor that refuses a request with two of them: the first
            is sent, and the others are rejected as `repeated_identifier`.

    Raises:
        ConfigurationError: fields have a name or a type without an exact form in JSON, or two names exclude each other.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        body: Callable[[Sequence[Any]], bytes],
        shape: Callable[[Row], Any] | None = None,
        nulls: Nulls = "omit",
        cleared: Collection[str] = (),
        omitted: Collection[str] = (),
        integers: Integers = "number",
        trace: str = "",
        unique: Callable[[Any], str] | None = None,
    ) -> None:
        self._trace = trace
        self._unique = unique
        self._encoder = RowEncoder(
            schema, nulls=nulls, integers=integers, envelope=None, cleared=cleared, omitted=omitted
        )
        self._body = body
        self._shape = shape
        names = set(schema.names)
        self._nests = any("." in name for name in names)
        clashes = sorted(name for name in names if any(other.startswith(f"{name}.") for other in names))
        if clashes:
            raise ConfigurationError(f"fields that are a value and an object at once: {', '.join(clashes)}")

    @classmethod
    def of_load(cls, load: Load, *, keeps_nulls: bool = False, **others: Any) -> Self:
        """Return the encoder of a load's rows, with its choices for fields that are NULL.

        Args:
            load: see there.
            keeps_nulls: whether a NULL leaves the field at the vendor as it is, unless the load says otherwise.
            **others: as above.
        """
        if load.write == "fill_empty":
            # A NULL fills nothing, and leaves every value as it is.
            return cls(load.schema, nulls="omit", **others)
        nulls: Nulls = "omit" if keeps_nulls else "null"
        return cls(load.schema, nulls=nulls, cleared=load.nulls_sent, omitted=load.nulls_omitted, **others)

    def rows(self, batch: pa.RecordBatch) -> JsonRows:
        """Return an object for each row that has one."""
        plain = self._encoder.rows(batch)
        objects: list[Any] = []
        positions: list[int] = []
        refused = dict(plain.refused)
        sent: set[str] = set()
        for position, record in zip(plain.positions, plain.records, strict=True):
            values: Row = msgspec.to_builtins(record)
            row = nested(values) if self._nests else values
            try:
                one = row if self._shape is None else self._shape(row)
            except UnfitRowError as unfit:
                refused[position] = unfit.code
                continue
            if self._unique is not None:
                name = self._unique(one)
                if name in sent:
                    refused[position] = REPEATED_IDENTIFIER
                    continue
                sent.add(name)
            if self._trace:
                one[self._trace] = f"row-{position}"
            objects.append(one)
            positions.append(position)
        return JsonRows(objects, positions, refused)

    def body(self, records: Sequence[Any]) -> bytes:
        """Return the body of a request."""
        return self._body(records)


def nested(values: Mapping[str, Any]) -> Row:
    """Return an object whose dotted names became nested objects: `{"a.b": 1}` is `{"a": {"b": 1}}`."""
    whole: Row = {}
    for name, value in values.items():
        *parents, last = name.split(".")
        place = whole
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return whole


def without_place(
    names: Collection[str], plain: Collection[str], parts: Mapping[str, Collection[str] | None]
) -> list[str]:
    """Return the names of fields that have no place in a vendor's object.

    Args:
        names: of the fields.
        plain: the names that stand for themselves.
        parts: the names of nested objects, each with those of its fields; None: they are the account's own.
    """

    def has_place(name: str) -> bool:
        whole, _, part = name.partition(".")
        if not part or whole not in parts:
            return name in plain
        known = parts[whole]
        return known is None or part in known

    return [name for name in names if not has_place(name)]


def json_body(around: Callable[[Sequence[Any]], object]) -> Callable[[Sequence[Any]], bytes]:
    """Return the maker of JSON bodies; `around` makes the document from the objects: `lambda rows: {"users": rows}`."""
    return lambda objects: msgspec.json.encode(around(objects))


def ndjson_body(objects: Sequence[Any]) -> bytes:
    """Return one line of JSON for each object."""
    return b"".join(msgspec.json.encode(one) + b"\n" for one in objects)


def csv_body(columns: Sequence[str]) -> Callable[[Sequence[Mapping[str, Any]]], bytes]:
    """Return the maker of CSV bodies: a header, then one line for each object, with `\\n` at its end (RFC 4180).

    A missing or null value is empty, true and false are these words, and anything that is no text or number is JSON.
    """

    def body(objects: Sequence[Mapping[str, Any]]) -> bytes:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([[_cell(one.get(name)) for name in columns] for one in objects])
        return text.getvalue().encode()

    return body


def form_body(around: Callable[[Sequence[Any]], Mapping[str, object]]) -> Callable[[Sequence[Any]], bytes]:
    """Return the maker of form bodies; a value that is no text or number is JSON."""
    return lambda objects: urlencode({name: _cell(value) for name, value in around(objects).items()}).encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
