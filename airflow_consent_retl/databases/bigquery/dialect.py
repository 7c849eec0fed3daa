"""Exact text, digests and JSON in BigQuery's SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import ibis

from airflow_consent_retl.databases.dialect import Dialect, function, joined_texts, moment_function
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    import ibis.expr.types as ir


class BigQueryDialect(Dialect):
    """The SQL of BigQuery. A JSON column holds each key once."""

    json_types = frozenset({"json"})

    def written(self, value: ir.Value, native: str) -> ir.StringValue:
        """Return any value as JSON: arrays and structs have no other text."""
        return self.json_text(value)

    def exact(self, text: ir.Value) -> ir.StringValue:
        """Return text without a collation: a column's own collation may treat different texts as equal."""
        exact: ir.StringValue = function("COLLATE", 2)(text, "")
        return exact

    def moment_of(self, microseconds: ir.Value) -> ir.Value:
        """Return the time of a number of microseconds since 1970 in UTC."""
        return moment_function("TIMESTAMP_MICROS", "int64")(microseconds)

    def is_array(self, native: str) -> bool:
        """Return whether a native type holds arrays."""
        return native.lower().startswith("array<")

    def array_text(self, value: ir.Value) -> ir.StringValue:
        """Return an array as JSON text."""
        return self.json_column(value)

    def json_column(self, value: ir.Value) -> ir.StringValue:
        """Return the column as JSON text: values of type JSON can neither be compared nor collated."""
        # TO_JSON_STRING converts NULL to text as well.
        text: ir.StringValue = ibis.cases((value.isnull(), ibis.null("string")), else_=self.json_text(value))
        return text

    def md5(self, text: ir.Value) -> ir.StringValue:
        """Return 32 hex digits in lower case."""
        digest: ir.StringValue = function("TO_HEX", 1)(function("MD5", 1)(text))
        return digest

    def sha256(self, text: ir.Value) -> ir.StringValue:
        """Return 64 hex digits in lower case."""
        digest: ir.StringValue = function("TO_HEX", 1)(function("SHA256", 1)(text))
        return digest

    def json_kind(self, value: ir.Value) -> ir.StringValue:
        """Return `JSON_TYPE`."""
        kind: ir.StringValue = function("JSON_TYPE", 1)(value)
        return kind

    def json_get(self, value: ir.Value, key: str) -> ir.Value:
        """Return the value of an object's key.

        Raises:
            ConfigurationError: the key cannot be written in a JSONPath.
        """
        if '"' in key or "\\" in key or "'" in key:
            raise ConfigurationError(
                f"BigQuery cannot be asked for the key {json.dumps(key)} of a JSON column: select "
                "TO_JSON_STRING(…) of it in the model"
            )
        return function("JSON_QUERY", 2)(value, f'$."{key}"')

    def json_items(self, value: ir.Value, each: Callable[[ir.Value], ir.StringValue]) -> ir.StringValue:
        """Return the texts of the entries of an array, sorted, because BigQuery keeps no order."""
        entries = function("JSON_QUERY_ARRAY", 1, returns="array<string>")(value)
        return joined_texts(entries.map(each).sort())

    def json_text(self, value: ir.Value) -> ir.StringValue:
        """Return a JSON value as JSON text."""
        text: ir.StringValue = function("TO_JSON_STRING", 1)(value)
        return text
