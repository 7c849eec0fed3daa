"""The lines of a Bulk API 2.0 job. No value is trimmed, guessed or dropped silently.

An empty value means "leave the field as it is" to Salesforce, and `#N/A` empties a field
(https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_prepare_csv.htm, read
2026-11-29). So a NULL and an empty text are sent as `#N/A`, and a text that is exactly `#N/A` is refused.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from airflow_consent_retl.destinations.http.text_values import without_text
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.values.json_rows import RowEncoder

EMPTY = "#N/A"
RESERVED_TEXT, NO_KEY, TOO_LARGE = "reserved_text", "no_key", "row_too_large"
# https://developer.salesforce.com/docs/atlas.en-us.api_bulk_v2.meta/api_bulk_v2/bulk_api_2_limits.htm, read 2026-11-29;
# the field's limit is the longest text area's, 131,072.
MAX_FIELD_CHARACTERS, MAX_ROW_CHARACTERS = 131_072, 400_000


@dataclass(frozen=True, slots=True)
class EncodedRecords:
    """The rows of a batch as lists of texts, the key first; and the codes of the rows that cannot be sent.

    `records` has one entry for each key, the last one; `keys` has the key of each row, or None for a refused row.
    """

    records: dict[str, list[str]]
    keys: list[str | None]
    refused: dict[int, str]


class RecordEncoder:
    """An encoder of rows for one object.

    Args:
        schema: the load's fields.
        key: the field that is the external id.
        keep_nulls: whether a NULL leaves the field at Salesforce as it is.
        cleared: fields that a NULL empties in any case.
        leave_out: fields that are no fields of the object.

    Raises:
        ConfigurationError: the key is missing, or a field has a type without a form in CSV.
    """

    def __init__(
        self,
        schema: pa.Schema,
        key: str,
        *,
        keep_nulls: bool = False,
        cleared: Collection[str] = (),
        leave_out: Collection[str] = (),
    ) -> None:
        if key not in schema.names:
            raise ConfigurationError(f"the external id `{key}` is not mapped: Salesforce knows records by it")
        self.fields = [key, *(name for name in schema.names if name != key and name not in leave_out)]
        sent = pa.schema([schema.field(name) for name in self.fields])
        if unfit := without_text(sent):
            raise ConfigurationError(f"no form in Salesforce's CSV for {', '.join(unfit)}: cast them in the model")
        self._encoder = RowEncoder(sent, nulls="null", integers="string", envelope=None)
        self._nulls = ["" if keep_nulls and name not in cleared else EMPTY for name in self.fields]

    def encode(self, rows: pa.RecordBatch) -> EncodedRecords:
        """Return the rows as texts."""
        json_rows = self._encoder.rows(rows.select(self.fields))
        refused = dict(json_rows.refused)
        keys: list[str | None] = [None] * rows.num_rows
        records: dict[str, list[str]] = {}
        for row, record in zip(json_rows.positions, json_rows.records, strict=True):
            values = msgspec.structs.astuple(record)
            if values[0] is None or values[0] == "":
                refused[row] = NO_KEY
                continue
            texts = [_text(value, null) for value, null in zip(values, self._nulls, strict=True)]
            if EMPTY in values:
                refused[row] = RESERVED_TEXT
            elif max(map(len, texts)) > MAX_FIELD_CHARACTERS or sum(map(len, texts)) > MAX_ROW_CHARACTERS:
                refused[row] = TOO_LARGE
            else:
                keys[row] = texts[0]
                records[texts[0]] = texts
        return EncodedRecords(records, keys, refused)


def _text(value: object, null: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return null if value is None else EMPTY if value == "" else str(value)
