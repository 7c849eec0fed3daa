"""Exact text, digests and JSON in Snowflake's SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ibis

from airflow_consent_retl.databases.dialect import Dialect, concat, function, joined_texts, name_besides

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import ibis.expr.types as ir


class SnowflakeDialect(Dialect):
    """The SQL of Snowflake. VARIANT and OBJECT hold each key once."""

    json_types = frozenset({"variant", "object"})

    def written(self, value: ir.Value, native: str) -> ir.StringValue:
        """Return nested values as JSON: a cast of a VARIANT gives `true` and `"true"` the same text."""
        type_ = native.lower().partition("(")[0]
        if type_ in {"float", "double", "real"}:
            number = value.cast("float64")
            text = self.text(number)
            # The text of a float may have fewer digits than the float: the difference is added behind it.
            return concat([text, ":", self.text(number - text.cast("float64"))])
        return self.json_text(value) if type_ in {"variant", "object", "array"} else self.text(value)

    def exact(self, text: ir.Value) -> ir.StringValue:
        """Return text without a collation: a column's own collation may treat different texts as equal."""
        exact: ir.StringValue = function("COLLATE", 2)(text, "utf8")
        return exact

    def json_column(self, value: ir.Value) -> ir.StringValue:
        """Return a VARIANT or OBJECT as JSON text: it has no collation, and is no text."""
        return self.exact(self.json_text(value))

    def uncollated(self, text: ir.Value) -> ir.StringValue:
        """Return text without any collation: functions for patterns accept none."""
        plain: ir.StringValue = function("COLLATE", 2)(text, "")
        return plain

    def json_kind(self, value: ir.Value) -> ir.StringValue:
        """Return `TYPEOF` with JSON's names."""
        kind = function("TYPEOF", 1)(value)
        return ibis.cases((kind == "NULL_VALUE", ibis.literal("null")), else_=kind.lower())

    def json_get(self, value: ir.Value, key: str) -> ir.Value:
        """Return the value of an object's key."""
        return function("GET", 2)(value, key)

    def json_items(self, value: ir.Value, each: Callable[[ir.Value], ir.StringValue]) -> ir.StringValue:
        """Return the texts of the entries of an array, in their order."""
        return joined_texts(function("AS_ARRAY", 1, returns="array<string>")(value).map(each))

    def json_names(self, value: ir.Value, *, besides: Sequence[str]) -> ir.StringValue:
        """Return `,"key":0` for each key of an object besides some."""
        found = function("OBJECT_KEYS", 1, returns="array<string>")(function("AS_OBJECT", 1)(value))
        return joined_texts(found.map(lambda key: name_besides(besides, key, self.json_text(key))), "")

    def json_text(self, value: ir.Value) -> ir.StringValue:
        """Return a JSON value as JSON text."""
        text: ir.StringValue = function("TO_JSON", 1)(value)
        return text
