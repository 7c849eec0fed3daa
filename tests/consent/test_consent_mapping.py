"""Tests of consent mappings: the signal of each category."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_consent_retl.consent import (
    BooleanColumn,
    Category,
    CategoryId,
    ConsentObject,
    ConsentObjectKey,
    Literals,
    Recorded,
    parse_consent_mapping,
)
from airflow_consent_retl.errors import PolicyError

ADS = Category(CategoryId("C0004"), "Advertising", ())
STATS = Category(CategoryId("C0002"), "Analytics", ())


def test_a_plain_column_name_means_a_boolean_column() -> None:
    mapping = parse_consent_mapping({"C0004": "ads_ok"})

    assert mapping.records_for(ADS) == (Recorded(BooleanColumn("ads_ok")),)
    assert mapping.records_for(STATS) == ()
    assert mapping.category_ids == ("C0004",)


def test_a_category_can_have_any_format() -> None:
    literals = Literals("stats", granted=(1,))
    key = ConsentObjectKey("consent", ("ads",))

    mapping = parse_consent_mapping({"C0002": literals, "C0004": key})

    assert mapping.records_for(STATS) == (Recorded(literals),)
    assert mapping.records_for(ADS) == (Recorded(key),)
    assert mapping.path_of("C0004") == "consent.C0004"
    assert mapping.path_of("ads-1") == 'consent["ads-1"]'


def test_one_object_contains_every_category() -> None:
    mapping = parse_consent_mapping(ConsentObject("consent", key_by="name"))

    assert mapping.records_for(ADS) == (Recorded(ConsentObjectKey("consent", ("categoryPreferences", "Advertising"))),)
    assert mapping.records_for(STATS) == (Recorded(ConsentObjectKey("consent", ("categoryPreferences", "Analytics"))),)
    assert mapping.category_ids == ()
    assert mapping.path_of("C0004") == "consent"


def test_a_checked_mapping_is_returned_unchanged() -> None:
    mapping = parse_consent_mapping({"C0004": "ads_ok"})

    assert parse_consent_mapping(mapping) is mapping


@pytest.mark.parametrize("mapping", [None, {}, [], "ads_ok", 1, [("C0004", "ads_ok")]])
def test_refuses_an_invalid_mapping(mapping: Any) -> None:
    with pytest.raises(PolicyError) as caught:
        parse_consent_mapping(mapping)

    assert [str(problem) for problem in caught.value.problems] == [
        "expected a mapping of category ids to columns, or a ConsentObject @ consent"
    ]


def test_refuses_every_invalid_entry() -> None:
    mapping: Any = {
        "C0001": "",
        "C0002": None,
        "C0003": True,
        "C0004": ConsentObject("consent"),
        "C0005": "fine",
        "C0006": ["ads_ok"],
        1: "ads_ok",
        "": "ads_ok",
    }

    with pytest.raises(PolicyError) as caught:
        parse_consent_mapping(mapping)

    assert [str(problem) for problem in caught.value.problems] == [
        "expected the name of a column @ consent.C0001",
        "expected a column or a consent format, found null @ consent.C0002",
        "expected a column or a consent format, found a boolean @ consent.C0003",
        "a ConsentObject contains all categories: pass it alone, as `consent` @ consent.C0004",
        "expected a column or a consent format, found a list @ consent.C0006",
        "expected category ids as text that is not empty @ consent",
        "expected category ids as text that is not empty @ consent",
    ]


def test_names_a_type_that_json_does_not_have() -> None:
    with pytest.raises(PolicyError, match=r"found a set @ consent\.C0004"):
        parse_consent_mapping({"C0004": {"ads_ok"}})  # type: ignore[dict-item]
