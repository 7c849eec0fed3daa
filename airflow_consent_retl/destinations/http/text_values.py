"""Values as texts, for vendors that take nothing else, and the types that have such a form."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import msgspec
import pyarrow as pa

from airflow_consent_retl.destinations.http.bodies import ShapedRows, UnfitRowError, json_body


def without_text(schema: pa.Schema, *, lists: bool = False, times: bool = True) -> list[str]:
    """Return the fields whose types have no form as text, each with its type, for a message.

    Args:
        schema: of the fields. A timestamp has to have a time zone: without one, the vendor would choose it.
        lists: whether lists of plain values have one.
        times: whether times of a day have one.
    """
    return [f"`{one.name}` ({one.type})" for one in schema if not _has_text(one.type, lists=lists, times=times)]


def text_of(value: object) -> str | None:
    """Return a JSON value as text: numbers and booleans as in JSON, lists joined by semicolons; None for NULL.

    Raises:
        UnfitRowError: a list has a NULL, or a text with a semicolon.
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        if any(one is None or ";" in str(one) for one in value):
            raise UnfitRowError("unfit_list")
        return ";".join(str(text_of(one)) for one in value)
    return msgspec.json.encode(value).decode()


def folded(text: object, field: str) -> str:
    """Return an identifier for comparison: the case of the letters of an e-mail address does not count."""
    return str(text).casefold() if field == "email" else str(text)


def texts_of(rows: pa.RecordBatch, name: str) -> list[str | None]:
    """Return the values of one column as texts; None for NULL, and for a value that has no text."""
    # Without its own name: a dotted one is a nested object.
    column = pa.RecordBatch.from_arrays([rows.column(name)], names=["text"])
    found = ShapedRows(column.schema, body=json_body(list), nulls="null", integers="string").rows(column)
    texts: list[str | None] = [None] * rows.num_rows
    for one, row in zip(found.records, found.positions, strict=True):
        with suppress(UnfitRowError):
            texts[row] = text_of(one["text"])
    return texts


def in_groups(texts: Sequence[str], *, most: int, most_characters: int) -> list[list[str]]:
    """Return texts in groups of so many, and of so many characters with a comma between them."""
    groups: list[list[str]] = []
    characters = most_characters
    for text in texts:
        if characters + len(text) > most_characters or len(groups[-1]) == most:
            groups.append([])
            characters = 0
        groups[-1].append(text)
        characters += len(text) + 1
    return groups


def is_nested(kind: pa.DataType) -> bool:
    """Return whether values of a type are objects, or lists of objects or of lists."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(pa.types.is_nested(kind.value_type) if is_list else pa.types.is_nested(kind))


def _has_text(kind: pa.DataType, *, lists: bool, times: bool) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.extension_name in {"arrow.json", "arrow.uuid"}
    if pa.types.is_dictionary(kind):
        return _has_text(kind.value_type, lists=lists, times=times)
    if lists and (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)):
        return _has_text(kind.value_type, lists=False, times=times)
    if pa.types.is_timestamp(kind):
        return kind.tz is not None
    return not (pa.types.is_nested(kind) or "binary" in str(kind) or (pa.types.is_time(kind) and not times))
