"""Tests of the parts of documents that engines cut out: paths, and several parts of one value together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.records import FILES, has_repeated_keys, tables

from airflow_consent_retl.consent import ConsentObject
from airflow_consent_retl.consent.document_parts import (
    BOOLEAN,
    SCALAR,
    WHOLE,
    DocumentPart,
    part_along,
    parts_together,
    with_names,
)
from airflow_consent_retl.consent.formats.consent_object import ConsentObjectKey
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_document


def keys(**parts: DocumentPart) -> DocumentPart:
    return DocumentPart(tuple(parts.items()))


@pytest.mark.parametrize(
    ("path", "end", "expected"),
    [
        ((), WHOLE, WHOLE),
        (("a",), SCALAR, keys(a=SCALAR)),
        (("a", "b"), BOOLEAN, keys(a=keys(b=BOOLEAN))),
    ],
)
def test_the_first_key_of_a_path_is_outermost(path: tuple[str, ...], end: DocumentPart, expected: DocumentPart) -> None:
    assert part_along(path, end) == expected
    assert part_along(path) == part_along(path, SCALAR)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((BOOLEAN,), BOOLEAN),
        ((WHOLE, WHOLE), WHOLE),
        ((keys(a=SCALAR), keys(b=BOOLEAN)), keys(a=SCALAR, b=BOOLEAN)),
        ((keys(a=keys(x=SCALAR)), keys(a=keys(y=WHOLE))), keys(a=keys(x=SCALAR, y=WHOLE))),
        ((keys(a=SCALAR, b=SCALAR), keys(b=SCALAR, c=SCALAR)), keys(a=SCALAR, b=SCALAR, c=SCALAR)),
        ((DocumentPart(items=keys(id=SCALAR)),), DocumentPart(items=keys(id=SCALAR))),
        ((keys(a=SCALAR), DocumentPart(items=BOOLEAN)), DocumentPart((("a", SCALAR),), BOOLEAN)),
        ((DocumentPart(leaf="boolean"), keys(a=SCALAR)), DocumentPart((("a", SCALAR),), leaf="boolean")),
    ],
)
def test_parts_of_one_value_are_one_part(parts: tuple[DocumentPart, ...], expected: DocumentPart) -> None:
    assert parts_together(*parts) == expected


def test_a_leaf_has_neither_keys_nor_items() -> None:
    assert SCALAR.is_leaf
    assert not keys(a=SCALAR).is_leaf
    assert not DocumentPart(items=SCALAR).is_leaf


@pytest.mark.parametrize(("down", "path"), [(0, ("a", "b", "C1")), (1, ("b", "C1")), (2, ("C1",))])
def test_a_key_is_the_same_in_a_document_that_starts_further_down(down: int, path: tuple[str, ...]) -> None:
    key: Any = ConsentObject("doc", path="a.b", missing="denied").for_category("C1", "Ads")

    assert key.below(down) == ConsentObjectKey("doc", path, "denied")


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (SCALAR, SCALAR),
        (keys(a=WHOLE), DocumentPart((("a", WHOLE),), names=True)),
        (
            DocumentPart(items=keys(a=keys(b=BOOLEAN))),
            DocumentPart(
                items=DocumentPart((("a", DocumentPart((("b", BOOLEAN),), names=True)),), names=True),
            ),
        ),
        (
            DocumentPart((("a", SCALAR),), SCALAR, "boolean"),
            DocumentPart((("a", SCALAR),), SCALAR, "boolean", names=True),
        ),
    ],
)
def test_names_belong_to_each_object_of_a_part(part: DocumentPart, expected: DocumentPart) -> None:
    assert with_names(part) == expected


def cut(value: Any, part: DocumentPart) -> Any:
    """Return a part of a document, as an engine may cut it out."""
    if value is None:
        return None
    if part.is_leaf:
        is_kept = {"whole": True, "scalar": not isinstance(value, dict | list), "boolean": isinstance(value, bool)}
        return value if is_kept[part.leaf] else [] if part.leaf == "scalar" else 0
    if isinstance(value, dict) and part.keys:
        names = [] if {key for key, _ in part.keys} <= set(value) or not part.names else list(value)
        return dict.fromkeys(names, 0) | {key: cut(value[key], below) for key, below in part.keys if key in value}
    if isinstance(value, list) and part.items is not None:
        return [cut(entry, part.items) for entry in value]
    return 0


def renamed(document: Any) -> Iterator[Any]:
    """Yield the document with each of its keys in another form, and without it."""
    if isinstance(document, dict):
        for key, value in document.items():
            others = {name: one for name, one in document.items() if name != key}
            yield others
            for form in (key.swapcase(), f"{key} ", f"{key}s"):
                yield others | {form: value}
            for below in renamed(value):
                yield document | {key: below}
    elif isinstance(document, list):
        for place, value in enumerate(document):
            for below in renamed(value):
                yield [*document[:place], below, *document[place + 1 :]]


def documents(raw: str | None) -> list[Any]:
    """Return a document that a column of JSON can contain, and others that differ in one key."""
    try:
        found = read_document(raw or "")
        json.dumps(found, allow_nan=False)
    except (MalformedJsonError, ValueError):
        return []
    return [] if has_repeated_keys(raw or "") else [found, *renamed(found)]


@pytest.mark.parametrize("file", FILES)
def test_a_part_has_the_answer_of_the_whole_document(file: str) -> None:
    seen = {(signal, raw) for table in tables(file) for signal, raw, _ in table.rows}
    for signal, raw in seen:
        for lookup in (signal, signal.where_silence_permits()):
            part = lookup.document_part
            for document in documents(raw) if part is not None else []:
                assert part is not None
                text, cut_out = json.dumps(document), json.dumps(cut(document, part))
                assert lookup.token(cut_out) == lookup.token(text), (lookup, text, cut_out)
