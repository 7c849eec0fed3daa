"""SQL expressions that differ between warehouses: exact text of a value, digests of text, parts of a JSON column.

All other SQL is written once, in Ibis. This module neither reads rows nor decides.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import ibis
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops

from airflow_consent_retl.consent.match_forms import EXPANDED, PHONE_DIGITS, WHITE_SPACE, MatchForm, folding
from airflow_consent_retl.databases.registry import database_speaking
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from airflow_consent_retl.consent.document_parts import DocumentPart, Leaf

# Stands for a table until its name is known. No table and no column has such a name.
_PLACE = "consent-retl:{}"
_HEX = "0123456789abcdef"


@cache
def _translated() -> Any:
    return ibis.udf.scalar.builtin(
        lambda text, known, by: None, name="TRANSLATE", signature=(("string", "string", "string"), "string")
    )


@cache
def function(
    name: str, arguments: int, *, first: str = "string", second: str = "string", returns: str = "string"
) -> Any:
    """Return a function of the warehouse that Ibis does not know. Its arguments are passed without a cast."""
    if arguments == 1:
        return ibis.udf.scalar.builtin(lambda one: None, name=name, signature=((first,), returns))
    return ibis.udf.scalar.builtin(lambda one, other: None, name=name, signature=((first, second), returns))


def joined_texts(texts: ir.ArrayValue, separator: str = ",") -> ir.StringValue:
    """Return the texts of an array, joined; empty text for an empty array."""
    joined: ir.StringValue = function("ARRAY_TO_STRING", 2, first="array<string>")(texts, separator)
    return joined


@cache
def moment_function(name: str, *arguments: str) -> Any:
    """Return a function of the warehouse that makes a timestamp with a zone of arguments of these types."""
    declared = (lambda first: None) if len(arguments) == 1 else (lambda first, second: None)
    made = ibis.udf.scalar.builtin(declared, name=name, signature=(arguments, "timestamp"))
    # A cast that changes nothing in the warehouse itself: its stand-in makes timestamps without a zone.
    return lambda *values: made(*values).cast("timestamp('UTC')")


def placeholder(name: str, columns: Mapping[str, str]) -> ir.Table:
    """Return a table whose real name `Dialect.compile` fills in.

    Args:
        name: of the placeholder.
        columns: Ibis' type of each column; `string` if the type does not matter.
    """
    return ibis.table(dict(columns), name=_PLACE.format(name))


_DRAWN_NAME = re.compile(r"ibis_bq_arr_[a-z0-9]+")
_TRAILING_ZEROS = r"\.?0+$"
# Keys whose only change is that capitals become small letters; of phone numbers, only the digits matter.
_PLAIN = "^[!-~]+$"
_PLAIN_PHONE = "^[ -~]+$"
# Opening brackets. With fewer of them, no document is nested too deeply for a reader of JSON.
_SURELY_SHALLOW = 400


# A load asks the same question many times, and to compile it takes longer than many an answer.
@lru_cache(maxsize=512)
def _compiled(name: str, asked: ops.Relation) -> str:
    # `ibis.to_sql` would import the warehouse's client, which is needed only to read.
    compiler = import_module(f"ibis.backends.sql.compilers.{name}").compiler
    sql = str(compiler.to_sqlglot(asked.to_expr()).sql(dialect=compiler.dialect, pretty=True))
    # Ibis draws a new name each time, and the same question is the same SQL.
    return _DRAWN_NAME.sub("consent_retl_item", sql)


class Dialect:
    """The SQL that most warehouses share.

    Args:
        name: of the SQL in Ibis and sqlglot.
        id_type: Arrow's name of the ids' type.
    """

    # Native types of JSON, in lower case, that hold each key once.
    json_types: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, name: str, id_type: str = "string") -> None:
        self.name = name
        self._is_decimal_id = id_type.startswith("decimal")

    def compile(self, expression: ir.Table, tables: Mapping[str, str] | None = None) -> str:
        """Return the SQL.

        Args:
            expression: that reads placeholders.
            tables: the full, quoted name of each placeholder's table.
        """
        sql = _compiled(self.name, expression.op())
        for name, full in (tables or {}).items():
            for mark in '"`':
                sql = sql.replace(f"{mark}{_PLACE.format(name)}{mark}", full)
        return sql

    def text(self, value: ir.Value) -> ir.StringValue:
        """Return the text of any plain value; different values have different texts."""
        # `value.cast` omits the cast if the placeholder declares `string`, even if the column has another type.
        text: ir.StringValue = ops.Cast(value, dt.string).to_expr()
        return text

    def person(self, subject: ir.Value) -> ir.StringValue:
        """Return the text of an id. Equal ids have the same text, however many digits their columns keep."""
        text = self.text(subject)
        if not self._is_decimal_id:
            return text
        return ibis.cases((text.contains("."), text.re_replace(_TRAILING_ZEROS, "")), else_=text)

    def written(self, value: ir.Value, native: str) -> ir.StringValue:
        """Return the text of any value, plain or nested, for comparisons with other texts of the same column only.

        Args:
            native: the warehouse's name of its type.
        """
        return self.text(value)

    def exact(self, text: ir.Value) -> ir.StringValue:
        """Return text that equals another text only if every byte does."""
        return text

    def uncollated(self, text: ir.Value) -> ir.StringValue:
        """Return text that functions for patterns and characters accept."""
        return self.exact(text)

    def small_letters(self, text: ir.StringValue) -> ir.StringValue:
        """Return text of ASCII with small letters for capitals."""
        return text.lower()

    def exact_key(self, key: ir.Value) -> ir.StringValue:
        """Return the text of a key, text or integer. It equals another key's text only if every byte does."""
        return self.exact(self.text(key))

    def key_in_form(self, key: ir.Value, form: MatchForm) -> ir.StringValue:
        """Return the text of a key in the form in which it is compared: see `consent.match_forms`; NULL for no key."""
        if form is MatchForm.EXACT:
            return self.exact_key(key)
        text = self.uncollated(self.text(key))
        # Most keys have only letters and signs of ASCII. All letters of all scripts take many times as long.
        is_plain = text.re_search(_PLAIN_PHONE if form is MatchForm.PHONE else _PLAIN)
        # In some engines `$` matches also before a line break at the end.
        is_plain &= ~text.contains("\n")
        folded = ibis.cases((is_plain, self.small_letters(text)), else_=_folded(text, form))
        if form is MatchForm.SHA256:
            folded = folded.re_replace(r"^(0x|\\x)", "")
        elif form is MatchForm.PHONE:
            digits = folded.re_replace("[^0-9]", "").re_replace("^0+", "")
            folded = ibis.cases((digits.length() > PHONE_DIGITS, digits.right(PHONE_DIGITS)), else_=digits)
        in_form: ir.StringValue = self.exact(folded.nullif(""))
        return in_form

    def json_column(self, value: ir.Value) -> ir.StringValue:
        """Return a JSON column as the text that an extraction reads, comparable like `exact` text."""
        return self.exact(value)

    def band(self, moment: ir.Value, bounds: Sequence[datetime | int]) -> ir.Value:
        """Return the number of `bounds`, in ascending order, that are not after a time or number; NULL for NULL."""
        earlier = [
            (
                moment < (ibis.literal(bound, "int64") if isinstance(bound, int) else self.moment(bound)),
                ibis.literal(place, "int64"),
            )
            for place, bound in enumerate(bounds)
        ]
        return ibis.cases((moment.isnull(), ibis.null("int64")), *earlier, else_=ibis.literal(len(bounds), "int64"))

    def moment(self, moment: datetime) -> ir.Value:
        """Return a time with a zone as a timestamp of the warehouse."""
        return ibis.literal(moment.astimezone(UTC).isoformat()).cast("timestamp('UTC')")

    def moment_of(self, microseconds: ir.Value) -> ir.Value:
        """Return the time of a number of microseconds since 1970 in UTC."""
        return moment_function("TO_TIMESTAMP_TZ", "int64", "int64")(microseconds, 6)

    def is_array(self, native: str) -> bool:
        """Return whether a native type holds arrays."""
        return native.lower().partition("(")[0] == "array"

    def array_text(self, value: ir.Value) -> ir.StringValue:
        """Return an array as JSON text."""
        return self.json_text(value)

    def md5(self, text: ir.Value) -> ir.StringValue:
        """Return 32 hex digits in lower case."""
        digest: ir.StringValue = function("MD5", 1)(text)
        return digest

    def number_of_hex(self, digest: ir.StringValue, digits: int) -> ir.IntegerValue:
        """Return the number that the first digits of a digest write, at most 7 of them."""
        number: ir.IntegerValue = ibis.literal(0, "int64")
        for place in range(digits):
            number = number * 16 + ibis.literal(_HEX).find(digest.substr(place, 1)).cast("int64")
        return number

    def sha256(self, text: ir.Value) -> ir.StringValue:
        """Return 64 hex digits in lower case."""
        # 256 bits are the default.
        digest: ir.StringValue = function("SHA2", 1)(text)
        return digest

    def json_kind(self, value: ir.Value) -> ir.StringValue:
        """Return the kind of a JSON value: `object`, `boolean`, `null` or another word; NULL for NULL."""
        raise self._no_json()

    def json_get(self, value: ir.Value, key: str) -> ir.Value:
        """Return the value of an object's key; NULL if it has no such key."""
        raise self._no_json()

    def json_text(self, value: ir.Value) -> ir.StringValue:
        """Return a JSON value as JSON text."""
        raise self._no_json()

    def json_names(self, value: ir.Value, *, besides: Sequence[str]) -> ir.StringValue | None:
        """Return `,"key":0` for each key of an object besides some; None if the database cannot list keys."""
        return None

    def _no_json(self) -> ConfigurationError:
        return ConfigurationError(f"{self.name} has no JSON columns that consent can be read from")

    def json_items(self, value: ir.Value, each: Callable[[ir.Value], ir.StringValue]) -> ir.StringValue:
        """Return the texts of the entries of a JSON array, joined by commas; empty text for an empty array.

        Args:
            value: the array.
            each: returns the text of an entry.
        """
        raise self._no_json()

    def json_skeleton(self, value: ir.Value, part: DocumentPart) -> ir.StringValue:
        """Return a small JSON text with only a part of the document: see `consent.document_parts`."""
        # The law does not read documents that are nested too deeply: it gets such a document as a whole.
        whole = self.json_text(value)
        opened = whole.length() * 2 - whole.replace("{", "").length() - whole.replace("[", "").length()
        return ibis.cases(
            (value.isnull(), ibis.null("string")),
            (opened >= _SURELY_SHALLOW, whole),
            else_=self._skeleton(value, part),
        )

    def _skeleton(self, value: ir.Value, part: DocumentPart) -> ir.StringValue:
        """Return the text of a part of a value that is not NULL."""
        kind = self.json_kind(value)
        if part.is_leaf:
            return self._leaf(value, kind, part.leaf)
        branches = [(kind == "null", ibis.literal("null"))]
        if part.keys:
            branches.append((kind == "object", self._members(value, part)))
        if part.items is not None:
            items = part.items
            entries = self.json_items(value, lambda entry: self._skeleton(entry, items))
            branches.append((kind == "array", concat([ibis.literal("["), entries, ibis.literal("]")])))
        return ibis.cases(*branches, else_="0")

    def _leaf(self, value: ir.Value, kind: ir.StringValue, leaf: Leaf) -> ir.StringValue:
        text = self.json_text(value)
        if leaf == "whole":
            return text
        if leaf == "scalar":
            return ibis.cases((kind.isin(["object", "array"]), ibis.literal("[]")), else_=text)
        return ibis.cases((kind == "boolean", text), (kind == "null", ibis.literal("null")), else_="0")

    def _members(self, value: ir.Value, part: DocumentPart) -> ir.StringValue:
        """Return the text of an object with only some keys, and with the names of others."""
        children = {key: self.json_get(value, key) for key, _ in part.keys}
        members = []
        for key, below in part.keys:
            member = concat([ibis.literal(f",{json.dumps(key)}:"), self._skeleton(children[key], below)])
            members.append(ibis.cases((children[key].isnull(), ibis.literal("")), else_=member))
        if part.names:
            names = self.json_names(value, besides=list(children))
            if names is None:
                return self.json_text(value)
            is_complete = ibis.and_(*(child.notnull() for child in children.values()))
            members.append(ibis.cases((is_complete, ibis.literal("")), else_=names))
        # Without the first comma. Ibis' own function repeats the text, at each level of the document.
        without = function("SUBSTR", 2, second="int64")(concat(members), 2)
        return concat([ibis.literal("{"), without, ibis.literal("}")])


def _folded(text: ir.StringValue, form: MatchForm) -> ir.StringValue:
    # Trimmed first: a pattern of Snowflake's does not look past the end of a line.
    text = function("TRIM", 2)(text, WHITE_SPACE)
    known, by = folding()
    folded: ir.StringValue = ibis.cases(
        (text.re_search("[^ -~]"), _expanded(_translated()(text, known, by))),
        else_=with_small_letters(text),
    )
    if form is MatchForm.EMAIL:
        folded = _translated()(folded, WHITE_SPACE, "")
    return folded


def with_small_letters(text: ir.StringValue) -> ir.StringValue:
    """Return text with small letters for the capitals of ASCII, letter by letter, whatever the collation."""
    small: ir.StringValue = _translated()(text, string.ascii_uppercase, string.ascii_lowercase)
    return small


def _expanded(text: ir.StringValue) -> ir.StringValue:
    for letter, letters in EXPANDED.items():
        text = text.replace(letter, letters)
    return text


def name_besides(known: Sequence[str], key: ir.Value, written: ir.Value | None = None) -> ir.StringValue:
    """Return `,"key":0` for a key, written as JSON, that is not among the known ones; empty text for these."""
    written = key if written is None else written
    name = concat([ibis.literal(","), written, ibis.literal(":0")])
    return ibis.cases((key.isin(known), ibis.literal("")), else_=name)


def dialect_of(name: str, id_type: object = "string") -> Dialect:
    """Return the dialect with this name in Ibis, for ids of an Arrow type or of the type with this name."""
    database = database_speaking(name)
    class_: type[Dialect] = database.load(database.dialect)
    return class_(name, str(id_type))


def concat(texts: Sequence[ir.Value]) -> ir.StringValue:
    """Return texts joined; NULL if one of them is NULL."""
    joined: ir.StringValue = ops.StringConcat(tuple(texts)).to_expr() if len(texts) > 1 else texts[0]
    return joined
