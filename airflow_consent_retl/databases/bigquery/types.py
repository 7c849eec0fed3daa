"""Conversions from BigQuery's types to Arrow's: the type of a result's column, and arrays and structs as JSON text.

The Storage API already sends every column in the type that is named here; no value is narrowed or rounded.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as pt

from airflow_consent_retl.databases.cursor_rows import json_text
from airflow_consent_retl.errors import ModelError

if TYPE_CHECKING:
    from google.cloud.bigquery import SchemaField

# https://docs.cloud.google.com/bigquery/docs/reference/storage#arrow_schema_details (not read again). The keys are the
# names of REST and of SQL.
_TYPES = {
    "INTEGER": pa.int64(),
    "INT64": pa.int64(),
    "FLOAT": pa.float64(),
    "FLOAT64": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "BOOL": pa.bool_(),
    "STRING": pa.string(),
    "JSON": pa.string(),
    "GEOGRAPHY": pa.string(),
    "BYTES": pa.binary(),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "DATETIME": pa.timestamp("us"),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal256(76, 38),
}
_STRUCTS = frozenset({"RECORD", "STRUCT"})
_SQL_NAMES = {"INTEGER": "INT64", "FLOAT": "FLOAT64", "BOOLEAN": "BOOL", "RECORD": "STRUCT"}
_MICROSECONDS = 6


@dataclass(frozen=True, slots=True)
class BigQueryColumn:
    """A column of a result, as BigQuery describes it."""

    name: str
    field: SchemaField

    @classmethod
    def of(cls, field: SchemaField) -> BigQueryColumn:
        """Return the column for a field of a schema.

        Raises:
            ModelError: the type has no exact counterpart.
        """
        _check(field, column=field.name)
        return cls(field.name, field)

    @property
    def is_nested(self) -> bool:
        """Whether values are arrays or structs, which become JSON text."""
        return self.field.mode == "REPEATED" or self.field.field_type in _STRUCTS

    @property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        return pa.string() if self.is_nested else _TYPES[self.field.field_type]

    def array(self, sent: pa.Array) -> pa.Array:
        """Return values of a batch in the column's type.

        Raises:
            ModelError: they have another type, or JSON cannot represent a value.
        """
        if self.is_nested:
            return self._json(sent)
        if sent.type == self.type:
            return sent
        raise ModelError(f"column `{self.name}` is {sql_type(self.field)}, but came as {sent.type}")

    def _json(self, sent: pa.Array) -> pa.Array:
        if not pt.is_nested(sent.type):
            raise ModelError(f"column `{self.name}` is {sql_type(self.field)}, but came as {sent.type}")
        write = _writer(self.field)
        try:
            return pa.array([None if value is None else write(value) for value in sent.to_pylist()], pa.string())
        except (ValueError, TypeError):
            # Their messages may quote the value.
            problem = ModelError(
                f"column `{self.name}` is {sql_type(self.field)} and holds a value that JSON has no form for, such as "
                "NaN: cast it in the SQL"
            )
        raise problem


def sql_type(field: SchemaField) -> str:
    """Return a type as BigQuery's SQL names it: `INT64`, `ARRAY<STRING>`, `STRUCT<a INT64>`."""
    name = _SQL_NAMES.get(field.field_type, field.field_type)
    if name == "STRUCT":
        name = "STRUCT<" + ", ".join(f"{child.name} {sql_type(child)}" for child in field.fields) + ">"
    return f"ARRAY<{name}>" if field.mode == "REPEATED" else name


def as_plain_text(field: SchemaField) -> SchemaField:
    """Return the field to read through REST, with JSON as text: the client would parse it and lose digits."""
    from google.cloud.bigquery import SchemaField

    kind = "STRING" if field.field_type == "JSON" else field.field_type
    return SchemaField(field.name, kind, mode=field.mode, fields=[as_plain_text(child) for child in field.fields])


def _check(field: SchemaField, *, column: str) -> None:
    if field.field_type in _STRUCTS:
        for child in field.fields:
            _check(child, column=column)
        return
    precision = getattr(getattr(field, "timestamp_precision", None), "value", None)
    if field.field_type not in _TYPES or (precision or _MICROSECONDS) > _MICROSECONDS:
        raise ModelError(
            f"column `{column}` is {sql_type(field)}, which a snapshot cannot hold exactly: cast it in the SQL, for "
            f"example CAST({column} AS STRING)"
        )


def _writer(field: SchemaField) -> Callable[[Any], str]:
    """Return a function that writes a value of the field as JSON: bytes in base64, as BigQuery does; JSON unchanged."""
    one = _value_writer(field)
    if field.mode != "REPEATED":
        return one
    return lambda values: "[" + ",".join(map(one, values)) + "]"


def _value_writer(field: SchemaField) -> Callable[[Any], str]:
    if field.field_type in _STRUCTS:
        children = [(child.name, json_text(child.name) + ":", _writer(child)) for child in field.fields]

        def struct(value: Any) -> str:
            if value is None:
                return "null"
            parts = (key + ("null" if value[name] is None else write(value[name])) for name, key, write in children)
            return "{" + ",".join(parts) + "}"

        return struct
    if field.field_type == "JSON":
        return lambda value: "null" if value is None else str(value)
    if field.field_type == "BYTES":
        return lambda value: "null" if value is None else json_text(base64.b64encode(value).decode())
    return json_text
