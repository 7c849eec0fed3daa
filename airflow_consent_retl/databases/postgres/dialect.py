"""Exact text, digests and JSON in PostgreSQL's SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from airflow_consent_retl.databases.dialect import Dialect, function

if TYPE_CHECKING:
    import ibis.expr.types as ir


class PostgresDialect(Dialect):
    """PostgreSQL 14 or newer. `json`, unlike `jsonb`, keeps a key that occurs twice: it is read as text."""

    json_types = frozenset({"jsonb"})

    def text(self, value: ir.Value) -> ir.StringValue:
        """Return what the type's own output function writes: a cast would cut the blanks of `char(n)`.

        It is under the database's collation: a column's own may take different texts for equal.
        """
        octets = function("convert_to", 2)(function("format", 2)("%s", value), "UTF8")
        # The text of NULL would be empty.
        return ibis.cases((value.isnull(), ibis.null("string")), else_=function("convert_from", 2)(octets, "UTF8"))

    def exact(self, text: ir.Value) -> ir.StringValue:
        """Return text under the database's collation."""
        return self.text(text)

    def is_array(self, native: str) -> bool:
        """Tell whether a native type holds arrays."""
        return native.endswith("[]")

    def array_text(self, value: ir.Value) -> ir.StringValue:
        """Return an array as JSON text."""
        return self.text(function("to_json", 1)(value))

    def sha256(self, text: ir.Value) -> ir.StringValue:
        """Return 64 hex digits in lower case."""
        octets = function("convert_to", 2)(text, "UTF8")
        digest: ir.StringValue = function("encode", 2)(function("sha256", 1)(octets), "hex")
        return digest

    def json_kind(self, value: ir.Value) -> ir.StringValue:
        """Return `jsonb_typeof`."""
        kind: ir.StringValue = function("jsonb_typeof", 1)(value)
        return kind

    def json_get(self, value: ir.Value, key: str) -> ir.Value:
        """Return what an object has under a key: whoever asks an array gets an item."""
        return function("jsonb_extract_path", 2)(value, key)

    def json_text(self, value: ir.Value) -> ir.StringValue:
        """Return a JSON value as JSON text."""
        return self.text(value)
