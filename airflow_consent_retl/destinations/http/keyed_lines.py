"""Rows as lines of texts, the key first, for vendors that take files. No value is trimmed, guessed or dropped."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import msgspec
import pyarrow as pa

from airflow_consent_retl.destinations.http.text_values import without_text
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import RowEncoder

RESERVED_TEXT, NO_KEY, TOO_LARGE = "reserved_text", "no_key", "row_too_large"
_BOOLEANS: Final = {True: "true", False: "false"}


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
class EncodedRecords:
    """The rows of a batch as lists of texts, the key first; and the codes of the rows that cannot be sent.

    `records` has one entry for each key, the last one; `keys` has the key of each row, or None for a refused row.
    """

    records: dict[str, list[str]]
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
        self._encoder = RowEncoder(sent, nulls="null", integers="string", envelope=None)
        self._nulls = ["" if keep_nulls and name not in cleared else form.empty for name in self.fields]

    def encode(self, rows: pa.RecordBatch) -> EncodedRecords:
        """Return the rows as texts."""
        form, json_rows = self._form, self._encoder.rows(rows.select(self.fields))
        refused = dict(json_rows.refused)
        keys: list[str | None] = [None] * rows.num_rows
        records: dict[str, list[str]] = {}
        for row, record in zip(json_rows.positions, json_rows.records, strict=True):
            values = msgspec.structs.astuple(record)
            if values[0] is None or values[0] == "":
                refused[row] = NO_KEY
                continue
            texts = [self._text(value, null) for value, null in zip(values, self._nulls, strict=True)]
            lengths = [len(text) for text in texts]
            if form.empty in values:
                refused[row] = RESERVED_TEXT
            elif max(lengths) > form.max_field_characters or sum(lengths) > form.max_row_characters:
                refused[row] = TOO_LARGE
            else:
                keys[row] = texts[0]
                records[texts[0]] = texts
        return EncodedRecords(records, keys, refused)

    def _text(self, value: object, null: str) -> str:
        if isinstance(value, bool):
            return _BOOLEANS[value]
        return null if value is None else self._form.empty if value == "" else str(value)
