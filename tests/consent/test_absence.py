"""Tests of what no row says: opt-out categories without any answer, and regions that no row has."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    ConsentMappingLike,
    ConsentObject,
    ConsentPlan,
    FirstOf,
    OptOut,
    RowConsent,
    SubjectStatus,
    dead_regions,
    parse_policy,
    plan_consent,
    silent_categories,
)


def planned(consent: ConsentMappingLike, **terms: Any) -> ConsentPlan:
    policy = parse_policy({"categories": [{"id": "C0004", "name": "Ads", "destinations": ["webhook"], **terms}]})
    return plan_consent(policy, destinations=["webhook"], mapping=consent, columns=None)


def counted(plan: ConsentPlan, *rows: dict[str, Any]) -> list[tuple[SubjectStatus, tuple[int, ...], int]]:
    tokens = Counter(
        tuple(0 if signal is None else signal.token(row.get(signal.column)) for signal in plan.signals) for row in rows
    )
    return [(SubjectStatus.IDENTIFIED, signature, count) for signature, count in tokens.items()]


NULL: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("consent", "silent", "answers"),
    [
        ({"C0004": "ads"}, [NULL, {"ads": None}], [{"ads": True}, {"ads": False}, {"ads": "?"}]),
        ({"C0004": OptOut("opted_out")}, [NULL], [{"opted_out": True}, {"opted_out": False}]),
        ({"C0004": FirstOf("crm", "web")}, [NULL, {"crm": None}], [{"crm": False}, {"web": True}]),
        (
            ConsentObject("consent"),
            [NULL, {"consent": "{}"}, {"consent": '{"context": {"C0004": false}}'}, {"consent": "null"}],
            [
                {"consent": '{"categoryPreferences": {"C0004": false}}'},
                {"consent": "{"},
                {"consent": '{"CATEGORYPREFERENCES": {}}'},
            ],
        ),
    ],
)
def test_an_opt_out_category_is_silent_until_one_row_has_an_answer(
    consent: ConsentMappingLike, silent: list[dict[str, Any]], answers: list[dict[str, Any]]
) -> None:
    plan = planned(consent, regime="opt_out")

    assert silent_categories(plan, counted(plan, *silent * 500)) == ("C0004",)
    for answer in answers:
        assert silent_categories(plan, counted(plan, *silent * 500, answer)) == ()


def test_without_rows_no_category_is_silent() -> None:
    plan = planned({"C0004": "ads"}, regime="opt_out")

    assert silent_categories(plan, []) == ()
    assert silent_categories(plan, [(SubjectStatus.IDENTIFIED, (0,), 0)]) == ()


def test_a_category_is_silent_also_where_a_signature_with_an_answer_was_counted_for_none() -> None:
    plan = planned({"C0004": "ads"}, regime="opt_out")
    absent, silent = (SubjectStatus.IDENTIFIED, (1,), 0), (SubjectStatus.IDENTIFIED, (0,), 1)

    assert silent_categories(plan, [absent, silent]) == ("C0004",)
    assert silent_categories(plan, [(*absent[:2], 1), silent]) == ()


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, ()),
        ({"regime": "exempt", "reason": "no law", "owner": "legal"}, ()),
        ({"regions": {"US": "opt_out"}}, ("C0004",)),
        ({"regime": "opt_out", "regions": {"DE": "opt_in"}}, ("C0004",)),
    ],
)
def test_silence_counts_wherever_it_may_permit(terms: dict[str, Any], expected: tuple[str, ...]) -> None:
    plan = planned(RowConsent({"C0004": "ads"}, region="country"), **terms)

    assert silent_categories(plan, counted(plan, NULL, NULL)) == expected


def test_each_category_is_looked_at_by_itself() -> None:
    categories = [
        {"id": name, "name": name, "destinations": ["webhook"], "regime": "opt_out"} for name in ("C1", "C2", "C3")
    ]
    mapping = {"C1": "ads", "C2": "calls", "C3": "mail"}
    plan = plan_consent(
        parse_policy({"categories": categories}), destinations=["webhook"], mapping=mapping, columns=None
    )

    assert silent_categories(plan, counted(plan, NULL, {"calls": False})) == ("C1", "C3")


@pytest.mark.parametrize(
    ("countries", "dead"),
    [
        (["US-CA", "DE", "FR"], ()),
        (["DE", "DE"], ("US-CA",)),
        (["FR", None], ("DE", "US-CA")),
        (["us-ca", "US", "DE "], ("DE", "US-CA")),
        ([], ()),
    ],
)
def test_a_region_that_no_row_has_is_dead(countries: list[str | None], dead: tuple[str, ...]) -> None:
    plan = planned(RowConsent({"C0004": "ads"}, region="country"), regions={"US-CA": "opt_out", "DE": "opt_in"})

    assert dead_regions(plan, counted(plan, *({"country": country} for country in countries))) == dead


def test_a_region_of_no_row_is_dead_also_where_a_signature_with_it_was_counted_for_none() -> None:
    plan = planned(RowConsent({"C0004": "ads"}, region="country"), regions={"US-CA": "opt_out", "DE": "opt_in"})
    present, absent = counted(plan, {"country": "DE"}, {"country": "US-CA"})

    assert dead_regions(plan, [present, (*absent[:2], 0)]) == ("US-CA",)


def test_a_policy_without_regions_has_no_dead_region() -> None:
    plan = planned({"C0004": "ads"})

    assert dead_regions(plan, counted(plan, NULL)) == ()
