"""Exact text, digests and JSON in PostgreSQL's SQL."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import ibis
import ibis.expr.operations as ops

from airflow_consent_retl.databases.dialect import (
    Dialect,
    function,
    joined_texts,
    moment_function,
    name_besides,
    with_small_letters,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import ibis.expr.types as ir


class PostgresDialect(Dialect):
    """The SQL of PostgreSQL 14 or newer. `json` is read as text: unlike `jsonb`, it keeps a key that occurs twice."""

    json_types = frozenset({"jsonb"})

    def text(self, value: ir.Value) -> ir.StringValue:
        """Return the text that the type's own output function writes: a cast would cut the blanks of `char(n)`.

        It has the database's collation: a column's own collation may treat different texts as equal.
        """
        return _unless_null(value, _in_database_collation(_output(value)))

    def written(self, value: ir.Value, native: str) -> ir.StringValue:
        """Return `text` with the value's own collation, which `md5` ignores: a row's hash takes a third less time."""
        return _unless_null(value, _output(value))

    def md5(self, text: ir.Value) -> ir.StringValue:
        """Return 32 hex digits with the database's collation: joined texts of several columns may have none."""
        return _in_database_collation(function("md5", 1)(text))

    def number_of_hex(self, digest: ir.StringValue, digits: int) -> ir.IntegerValue:
        """Return the same number by reading all digits at once; a digit at a time computes the digest for each."""
        bits = ibis.udf.scalar.builtin(
            lambda text, element, length: None, name="bit_in", signature=(("string", "int32", "int32"), "string")
        )
        read = bits(function("textout", 1)(ibis.literal("x") + digest.substr(0, digits)), 0, 4 * digits)
        number: ir.IntegerValue = function("int4", 1, returns="int32")(read)
        return number

    def exact(self, text: ir.Value) -> ir.StringValue:
        """Return text with the database's collation."""
        return self.text(text)

    def small_letters(self, text: ir.StringValue) -> ir.StringValue:
        """Return the same in every collation: in some, the small letter of `I` is another one."""
        return with_small_letters(text)

    def moment_of(self, microseconds: ir.Value) -> ir.Value:
        """Return the time of a number of microseconds since 1970 in UTC."""
        # A float has enough digits for microseconds until the year 2112, and the function rounds to them.
        return moment_function("to_timestamp", "float64")(microseconds / 1_000_000)

    def is_array(self, native: str) -> bool:
        """Return whether a native type holds arrays."""
        return native.endswith("[]")

    def array_text(self, value: ir.Value) -> ir.StringValue:
        """Return an array as JSON text."""
        return self.text(function("to_json", 1)(value))

    def sha256(self, text: ir.Value) -> ir.StringValue:
        """Return 64 hex digits in lower case."""
        encoded = function("convert_to", 2)(text, "UTF8")
        digest: ir.StringValue = function("encode", 2)(function("sha256", 1)(encoded), "hex")
        return digest

    def json_kind(self, value: ir.Value) -> ir.StringValue:
        """Return `jsonb_typeof`."""
        kind: ir.StringValue = function("jsonb_typeof", 1)(value)
        return kind

    def json_get(self, value: ir.Value, key: str) -> ir.Value:
        """Return the value of an object's key. For an array it returns an item."""
        return function("jsonb_extract_path", 2)(value, key)

    def json_items(self, value: ir.Value, each: Callable[[ir.Value], ir.StringValue]) -> ir.StringValue:
        """Return the texts of the entries of an array, in their order."""
        return joined_texts(_entries(function("to_jsonb", 1, returns="jsonb")(value)).map(each))

    def json_names(self, value: ir.Value, *, besides: Sequence[str]) -> ir.StringValue:
        """Return `,"key":0` for each key of an object besides some."""
        found = function("jsonb_path_query_array", 2, returns="jsonb")(value, '$.keyvalue()."key"')
        known = [json.dumps(key, ensure_ascii=False) for key in besides]
        return joined_texts(_entries(found).map(lambda key: name_besides(known, self.text(key))), "")

    def json_text(self, value: ir.Value) -> ir.StringValue:
        """Return a JSON value as JSON text."""
        return self.text(value)


def _output(value: ir.Value) -> ir.StringValue:
    """Return the text that the type's own output function writes; empty text for NULL."""
    output: ir.StringValue = function("format", 2)("%s", value)
    return output


def _in_database_collation(text: ir.Value) -> ir.StringValue:
    """Return text with the database's collation."""
    same: ir.StringValue = function("convert_from", 2)(function("convert_to", 2)(text, "UTF8"), "UTF8")
    return same


def _unless_null(value: ir.Value, text: ir.StringValue) -> ir.StringValue:
    return ibis.cases((value.isnull(), ibis.null("string")), else_=text)


def _entries(array: ir.Value) -> ir.ArrayValue:
    """Return the entries of a JSON array."""
    # `to_jsonb` returns the value itself. Ibis knows arrays of JSON only, and the other functions here only text.
    as_text = function("to_jsonb", 1, first="jsonb")
    entries: ir.ArrayValue = ops.ToJSONArray(array).to_expr()
    return entries.map(as_text)
