"""Rows as lines of texts, the key first, for vendors that take files. No value is trimmed, guessed or dropped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, Self

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.destinations.http.text_values import without_text
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import RowEncoder, is_utf8

_BOOLEANS: Final = {True: "true", False: "false"}
RESERVED_TEXT, NO_KEY, TOO_LARGE = "reserved_text", "no_key", "row_too_large"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineForm:
    """The form of a vendor's lines.

    Args:
        vendor: its name, for messages.
        empty: the text that empties a field; a row that has this very text as a value is refused.
        max_field_characters, max_row_characters: the vendor's limits.
    """

    vendor: str
    empty: str
    max_field_characters: int
    max_row_characters: int


@dataclass(frozen=True, slots=True)
class KeyedLines:
    """Lines for a file.

    Args:
        owners: the key of the person of each line.
        table: texts, a column for each field of the file; none is NULL.
    """

    owners: Sequence[str]
    table: pa.RecordBatch

    @classmethod
    def of_people(cls, header: Sequence[str], lines: Mapping[str, Sequence[Sequence[str]]]) -> Self:
        """Return the lines of people, by key; a person may have several."""
        owners = [key for key, some in lines.items() for _ in some]
        every = [line for some in lines.values() for line in some]
        arrays = [pa.array([line[place] for line in every], pa.string()) for place in range(len(header))]
        return cls(owners, pa.RecordBatch.from_arrays(arrays, names=list(header)))

    def after(self, name: str, texts: Mapping[str, str]) -> KeyedLines:
        """Return the lines of people who have such a text, with it as a first column."""
        rows = [row for row, owner in enumerate(self.owners) if owner in texts]
        owners = [self.owners[row] for row in rows]
        first = pa.array([texts[owner] for owner in owners], pa.string())
        kept = self.table.take(pa.array(rows, pa.int64()))
        arrays, names = [first, *kept.columns], [name, *kept.schema.names]
        return KeyedLines(owners, pa.RecordBatch.from_arrays(arrays, names=names))


@dataclass(frozen=True, slots=True)
class EncodedRecords:
    """The rows of a batch as lines, and the codes of the rows that cannot be sent.

    `lines` has one line for each key, of its last row; `keys` has the key of each row, or None for a refused row.
    """

    lines: KeyedLines
    keys: list[str | None]
    refused: dict[int, str]


class RecordEncoder:
    """An encoder of rows.

    Args:
        form: see there.
        schema: the load's fields.
        key: the field with the key.
        keep_nulls: whether a NULL leaves the field at the vendor as it is: an empty text.
        cleared: fields that a NULL empties in any case.
        leave_out: fields that are in no line.

    Raises:
        ConfigurationError: the key is missing, or a field has a type without a form as text.
    """

    def __init__(
        self,
        form: LineForm,
        schema: pa.Schema,
        key: str,
        *,
        keep_nulls: bool = False,
        cleared: Collection[str] = (),
        leave_out: Collection[str] = (),
    ) -> None:
        if key not in schema.names:
            raise ConfigurationError(f"the external id `{key}` is not mapped: {form.vendor} knows records by it")
        self._form = form
        self.fields = [key, *(name for name in schema.names if name != key and name not in leave_out)]
        sent = pa.schema([schema.field(name) for name in self.fields])
        if unfit := without_text(sent):
            raise ConfigurationError(f"no form in {form.vendor}'s CSV for {', '.join(unfit)}: cast them in the model")
        # Each column is encoded for itself; this checks that the fields can be.
        RowEncoder(sent, nulls="null", integers="string", envelope=None)
        self._nulls = ["" if keep_nulls and name not in cleared else form.empty for name in self.fields]

    def encode(self, rows: pa.RecordBatch) -> EncodedRecords:
        """Return the rows as texts."""
        form = self._form
        refused: dict[int, str] = {}
        values: list[pa.Array] = []
        for name in self.fields:
            texts, unfit = _texts(rows.column(name))
            values.append(texts)
            refused = {**unfit, **refused}
        sent = [
            pc.fill_null(pc.if_else(pc.equal(texts, ""), form.empty, texts), null)
            for texts, null in zip(values, self._nulls, strict=True)
        ]
        lengths = [pc.utf8_length(texts) for texts in sent]
        reserved = reduce(pc.or_, [pc.fill_null(pc.equal(texts, form.empty), False) for texts in values])
        longest, length = pc.max_element_wise(*lengths), reduce(pc.add, lengths)
        too_large = pc.or_(pc.greater(longest, form.max_field_characters), pc.greater(length, form.max_row_characters))
        for code, found in (
            (NO_KEY, pc.fill_null(pc.equal(values[0], ""), True)),
            (RESERVED_TEXT, reserved),
            (TOO_LARGE, too_large),
        ):
            refused = {**dict.fromkeys(pc.indices_nonzero(found).to_pylist(), code), **refused}
        keys: list[str | None] = sent[0].to_pylist()
        for row in refused:
            keys[row] = None
        last = {key: row for row, key in enumerate(keys) if key is not None}
        table = pa.RecordBatch.from_arrays(sent, names=self.fields)
        if len(last) != rows.num_rows:
            table = table.take(pa.array(last.values(), pa.int64()))
        return EncodedRecords(KeyedLines(list(last), table), keys, refused)


def _texts(array: pa.Array) -> tuple[pa.Array, dict[int, str]]:
    """Return the values as texts, as `RowEncoder` makes them, and the codes of the rows whose value has none."""
    kind = array.type
    if pa.types.is_boolean(kind):
        return pc.if_else(array, "true", "false"), {}
    if pa.types.is_integer(kind) or (pa.types.is_string(kind) and is_utf8(array)):
        return array.cast(pa.string()), {}
    # Without its own name: a dotted one is a nested object.
    column = pa.RecordBatch.from_arrays([array], names=["text"])
    found = RowEncoder(column.schema, nulls="null", integers="string", envelope=None).rows(column)
    texts: list[str | None] = [None] * len(array)
    for row, record in zip(found.positions, found.records, strict=True):
        (value,) = msgspec.structs.astuple(record)
        texts[row] = None if value is None else _BOOLEANS[value] if isinstance(value, bool) else str(value)
    return pa.array(texts, pa.string()), found.refused
