"""Tests of the parts of documents that engines cut out: paths, and several parts of one value together."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_consent_retl.consent import ConsentObject
from airflow_consent_retl.consent.document_parts import (
    BOOLEAN,
    SCALAR,
    WHOLE,
    DocumentPart,
    part_along,
    parts_together,
)
from airflow_consent_retl.consent.formats.consent_object import ConsentObjectKey


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
