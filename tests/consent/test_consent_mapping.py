"""Tests of consent mappings: the signal of each category."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_consent_retl.consent import (
    Agreeing,
    BooleanColumn,
    Category,
    CategoryId,
    ConsentObject,
    ConsentObjectKey,
    EpochTime,
    ExcludedDestinations,
    Literals,
    Recorded,
    RowConsent,
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


COLUMN = "expected the name of a column"
TIME = "expected the name of a column, or EpochTime for numbers"


@pytest.mark.parametrize(
    ("row", "problems"),
    [
        (
            {"time": "", "notice_version": 7, "region": "", "gpc": "", "switches": "off"},
            [
                f"{COLUMN} @ consent.notice_version",
                f"{COLUMN} @ consent.region",
                f"{COLUMN} @ consent.gpc",
                f"{TIME} @ consent.time",
                "expected IntegrationsObject or ExcludedDestinations, found text @ consent.switches",
            ],
        ),
        ({"gpc": 7}, ["expected a column or Literals, found a number @ consent.gpc"]),
        (
            {"gpc": Literals("gpc", granted=("1",), expired=("0",))},
            ["Global Privacy Control does not expire: remove `expired` @ consent.gpc"],
        ),
        (
            {"categories": RowConsent({"C0004": "ads_ok"})},
            ["a RowConsent cannot contain another @ consent.categories"],
        ),
        (
            {"categories": parse_consent_mapping({"C0004": "ads_ok"})},
            ["a ConsentMapping cannot contain another @ consent.categories"],
        ),
    ],
)
def test_a_mapping_of_a_row_names_every_wrong_parameter(row: dict[str, Any], problems: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        RowConsent(**{"categories": {"C0004": "ads_ok"}, **row})

    assert [str(problem) for problem in caught.value.problems] == problems


def test_a_mapping_of_a_row_has_every_parameter_and_a_category_may_have_its_own() -> None:
    gpc = Literals("gpc", granted=("1",))
    switches = ExcludedDestinations("off")
    own = Recorded("ads_ok", time="ads_at", notice_version="ads_notice")

    mapping = parse_consent_mapping(
        RowConsent(
            {"C0002": "stats_ok", "C0004": own},
            time=EpochTime("at", "s"),
            notice_version="notice",
            region="country",
            gpc=gpc,
            switches=switches,
        )
    )

    assert (mapping.region, mapping.gpc, mapping.switches) == ("country", gpc, switches)
    assert mapping.records_for(ADS) == (own,)
    assert mapping.records_for(STATS) == (Recorded("stats_ok", time=EpochTime("at", "s"), notice_version="notice"),)
    assert mapping.columns == (
        "stats_ok", "ads_ok", "ads_at", "ads_notice", "at", "notice", "country", "gpc", "off",
    )  # fmt: skip
    assert parse_consent_mapping(RowConsent({"C0004": "ads_ok"}, gpc="gpc")).gpc == BooleanColumn("gpc")


def test_records_are_combined_as_they_are_declared() -> None:
    several: Any = {"C0002": Agreeing("crm_ok", "web_ok"), "C0004": "ads_ok"}
    mapping = parse_consent_mapping(several)

    assert (mapping.combining(STATS), mapping.combining(ADS)) == ("agreeing", "first")
