"""The words for a changed policy, and the proof that a policy which opens nothing permits nobody more."""

from __future__ import annotations

from typing import Any

import pytest
from consent.test_properties import ASKED, AT, consents, documents
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    Circumstances,
    ConsentPolicy,
    ConsentStatus,
    Permitted,
    decide,
    opened,
    parse_policy,
    policy_differences,
    withheld_fields,
)
from airflow_consent_retl.consent.policy_words import unknown_parts
from airflow_consent_retl.errors import PolicyError

REGIMES = ("opt_in", "opt_out", "exempt")
circumstances = st.builds(
    Circumstances,
    region=st.sampled_from([None, "DE", "US-CA"]),
    gpc=st.sampled_from([ConsentStatus.UNKNOWN, ConsentStatus.DENIED]),
)


def _policy(*categories: dict[str, Any], **more: Any) -> ConsentPolicy:
    named = [{"id": "C0004", "name": "Advertising", **category} for category in categories]
    return parse_policy({"unmapped_destinations": "deny", "categories": named, **more})


@st.composite
def changed(draw: st.DrawFn) -> tuple[ConsentPolicy, ConsentPolicy]:
    """Two policies of which the second is the first with some parts changed, or another one."""
    before = draw(documents())
    after = draw(st.one_of(st.just(before), documents()))
    policies = []
    for document in (before, after):
        categories = [dict(category) for category in document["categories"]]
        for category in categories:
            regime = draw(st.sampled_from(REGIMES))
            category |= {"regime": regime}
            if draw(st.booleans()):
                category |= {"regions": {"US-CA": draw(st.sampled_from(REGIMES))}}
            if draw(st.booleans()):
                fields = draw(st.sampled_from([["phone"], ["a", "phone"]]))
                category |= {"fields": {category["destinations"][0]: fields}}
            if "exempt" in {regime, *category.get("regions", {}).values()}:
                category |= {"reason": "own store", "owner": "legal"}
            category["enabled"] = draw(st.booleans())
        rules = document.get("destinations", {})
        for rule in rules.values():
            if rule.get("match") == "any":
                rule |= {"any_may_permit_without_consent": True, "reason": "tried"}
        policies.append({**document, "categories": categories, **({"destinations": rules} if rules else {})})
    try:
        return parse_policy(policies[0]), parse_policy(policies[1])
    except PolicyError:
        # Such as `any` beside a single category that is enabled.
        reject()


@settings(max_examples=300)
@given(changed(), consents, circumstances)
def test_a_policy_that_opens_nothing_permits_nobody_more(
    policies: tuple[ConsentPolicy, ConsentPolicy], consent: Any, row: Circumstances
) -> None:
    before, after = policies
    if opened(before, after):
        return

    for name in ASKED:
        if isinstance(decide(after, name, consent, circumstances=row, at=AT), Permitted):
            assert isinstance(decide(before, name, consent, circumstances=row, at=AT), Permitted)
            withheld = withheld_fields(before, name, consent, circumstances=row)
            assert set(withheld) <= set(withheld_fields(after, name, consent, circumstances=row))


@given(documents())
def test_a_policy_does_not_differ_from_itself(document: dict[str, Any]) -> None:
    policy = parse_policy(document)

    assert opened(policy, parse_policy(document)) == []
    assert policy_differences(policy, parse_policy(document)) == []


ADS = {"destinations": ["webhook"]}
EXEMPT = {"regime": "exempt", "reason": "own", "owner": "legal"}
REGIONAL = {"regions": {"DE": "exempt"}, "reason": "own", "owner": "legal"}
EITHER = {"match": "any", "any_may_permit_without_consent": True, "reason": "tried"}
ANALYTICS = {"id": "C0002", "name": "Analytics", "destinations": ["webhook"]}


TERMS = {
    "regime": "opt_out",
    "regions": {"US-CA": "exempt", "DE": "opt_in"},
    "max_age": "13 months",
    "min_notice_version": "2.10",
    "reason": "own",
    "owner": "legal",
}


@pytest.mark.parametrize(
    ("before", "after", "sentences"),
    [
        (_policy(ADS, ANALYTICS), _policy(ADS), ["`webhook` needs C0002 and C0004 before, needs C0004 now"]),
        (
            _policy(ADS),
            _policy({**ADS, "enabled": False}, ANALYTICS),
            ["`webhook` needs C0004 before, needs C0002 now"],
        ),
        (
            _policy({**ADS, "max_age": "1 year"}),
            _policy({**ADS, "max_age": "2 years"}),
            ["`webhook` needs C0004 (C0004: at most 1 years old) before, needs C0004 (C0004: at most 2 years old) now"],
        ),
        (
            _policy(ADS),
            _policy({**ADS, "regime": "opt_out"}),
            ["`webhook` needs C0004 before, needs C0004 (C0004: opt_out) now"],
        ),
        (
            _policy({**ADS, "regime": "opt_out"}),
            _policy(ADS),
            ["`webhook` needs C0004 (C0004: opt_out) before, needs C0004 now"],
        ),
        (
            _policy({**ADS, "regions": {"DE": "opt_in"}}),
            _policy({**ADS, "regions": {"DE": "opt_out"}}),
            ["`webhook` needs C0004 (C0004: opt_in in DE) before, needs C0004 (C0004: opt_out in DE) now"],
        ),
        # Global Privacy Control denies where any category is not exempt.
        (
            _policy(ADS, {**ANALYTICS, **EXEMPT}, destinations={"webhook": EITHER}),
            _policy({**ANALYTICS, **EXEMPT}),
            ["`webhook` needs C0002 or C0004 (C0002: exempt) before, needs C0002 (C0002: exempt) now"],
        ),
        (
            _policy(ADS),
            _policy({"destinations": ["webhook", "crm"]}),
            ["`crm` receives no row before, needs C0004 now"],
        ),
        (
            _policy({**ADS, "fields": {"webhook": ["phone"]}}),
            _policy(ADS),
            ["`webhook`: category `C0004` does not guard field `phone` any more"],
        ),
        (
            _policy({**ADS, "fields": {"webhook": ["phone"]}}),
            _policy({**ADS, "fields": {"webhook": ["phone"]}, **EXEMPT}),
            [
                "`webhook` needs C0004 before, needs C0004 (C0004: exempt) now",
                "`webhook`: category `C0004` guards field `phone` on other terms",
            ],
        ),
        (
            _policy(ADS),
            _policy(ADS, unmapped_destinations="permit"),
            ["destinations that the policy does not name receive every row"],
        ),
        (
            _policy(ADS, destinations={"lake": {"consent": "not_required", "reason": "own"}}),
            _policy(ADS, unmapped_destinations="permit"),
            [
                "destinations that the policy does not name receive every row",
                "`lake` is not named any more, and unmapped destinations receive every row",
            ],
        ),
        (
            _policy(ADS, ANALYTICS),
            _policy(ADS, ANALYTICS, destinations={"webhook": {"match": "any"}}),
            ["`webhook` needs C0002 and C0004 before, needs C0002 or C0004 now"],
        ),
        (
            _policy(ADS),
            _policy({"destinations": ["crm"]}, destinations={"webhook": {"consent": "not_required", "reason": "own"}}),
            ["`crm` receives no row before, needs C0004 now", "`webhook` needs C0004 before, receives every row now"],
        ),
        (
            _policy(ADS, {**ANALYTICS, **REGIONAL}, destinations={"webhook": EITHER}),
            _policy({**ANALYTICS, **REGIONAL}),
            ["`webhook` needs C0002 or C0004 (C0002: exempt in DE) before, needs C0002 (C0002: exempt in DE) now"],
        ),
        (
            _policy({**ADS, **TERMS}, {**ANALYTICS, "regions": "preset:2026-11", "min_notice_version": 0}),
            _policy(ADS, {**ANALYTICS, "regime": "opt_out", "max_age": "30 days"}),
            [
                "`webhook` needs C0002 and C0004 (C0002: by region as in preset:2026-11, notice 0 or later; C0004: "
                "opt_out, opt_in in DE, exempt in US-CA, at most 13 months old, notice 2.10 or later) before, needs "
                "C0002 and C0004 (C0002: opt_out, at most 30 days old) now"
            ],
        ),
    ],
)
def test_each_opening_is_named(before: ConsentPolicy, after: ConsentPolicy, sentences: list[str]) -> None:
    assert opened(before, after) == sentences


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (_policy(ADS), _policy(ADS, ANALYTICS)),
        (_policy({"destinations": ["webhook", "crm"]}), _policy(ADS)),
        (_policy(ADS), _policy({**ADS, "max_age": "1 year"})),
        (_policy(ADS), _policy({**ADS, "min_notice_version": "2.1"})),
        (_policy(ADS), _policy({**ADS, "fields": {"webhook": ["phone"]}})),
        (_policy({**ADS, **EXEMPT}), _policy(ADS)),
        (_policy(ADS, unmapped_destinations="permit"), _policy(ADS)),
        (_policy(ADS, unmapped_destinations="permit"), _policy(ADS, ANALYTICS, unmapped_destinations="permit")),
        (_policy(ADS, ANALYTICS, destinations={"webhook": {"match": "any"}}), _policy(ADS)),
        (_policy(ADS), _policy({**ADS, "name": "Ads"})),
        (_policy({**ADS, "enabled": False}, unmapped_destinations="permit"), _policy(ADS)),
    ],
)
def test_what_only_takes_away_opens_nothing(before: ConsentPolicy, after: ConsentPolicy) -> None:
    assert opened(before, after) == []
    assert policy_differences(before, after)


def test_differences_are_told_part_by_part() -> None:
    before = _policy(ADS, ANALYTICS, destinations={"lake": {"consent": "not_required", "reason": "own"}})
    after = _policy(
        {"destinations": ["crm", "lists"], "name": "Ads", "enabled": False},
        {"id": "C0003", "name": "Functional", "destinations": ["webhook"]},
        unmapped_destinations="error",
        destinations={"lake": {"consent": "not_required", "reason": "analytics"}},
    )

    assert policy_differences(before, after) == [
        "`unmapped_destinations` was `deny`, is `error`",
        "category `C0002` is gone",
        "category `C0004`: `name` was `Advertising`, is `Ads`",
        "category `C0004`: `enabled` was true, is false",
        "category `C0004`: `destinations` now without `webhook` and now with `crm`, `lists`",
        "category `C0003` is new",
        "destination `lake`: `reason` was `own`, is `analytics`",
    ]


def test_the_officers_part_is_told_value_by_value_and_every_change_of_it_may_open() -> None:
    before = _policy(ADS, officer={"destinations": {"webhook": {"fields": ["id"], "purpose": "mail"}}})
    after = _policy(ADS, officer={"destinations": {"webhook": {"fields": ["id", "phone"], "purpose": "ads"}}})

    words = [
        "`officer.destinations.webhook.fields` now with `phone`",
        "`officer.destinations.webhook.purpose` was `mail`, is `ads`",
    ]
    assert policy_differences(before, after) == words
    assert opened(before, after) == words
    assert opened(_policy(ADS), before) == [
        "`officer.destinations.webhook.fields` now with `id`",
        "`officer.destinations.webhook.purpose` was not set, is `mail`",
    ]


def test_a_term_that_is_not_compared_by_meaning_counts_as_a_part() -> None:
    document = {
        "categories": [{"id": "C1", "name": "One", "mood": 1}, {"id": "C2", "regime": "opt_in", "mood": 2}],
        "destinations": {"crm": {"match": "any", "mood": 3}, "lake": {"mood": 4}},
        "unmapped_destinations": "deny",
        "mood": 5,
    }

    assert unknown_parts(document) == {
        "mood": 5,
        "categories.C1.mood": 1,
        "categories.C2.mood": 2,
        "destinations.crm.mood": 3,
        "destinations.lake.mood": 4,
    }
    assert unknown_parts({"categories": []}) == {}
