"""Tests of decisions and their reasons, case by case."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    CategoryId,
    ConsentStatus,
    Decision,
    Denied,
    Permitted,
    Reason,
    SubjectStatus,
    decide,
    parse_policy,
)

TABLES = json.loads((Path(__file__).parents[1] / "cases" / "decisions.json").read_text())
AT = datetime(2026, 11, 1, tzinfo=UTC)
POLICY = parse_policy({"categories": [{"id": "C0004", "name": "Ads", "destinations": ["webhook"]}]})
GRANTED = {CategoryId("C0004"): ConsentStatus.GRANTED}


def shown(decision: Decision) -> str | list[str]:
    return decision.ground if isinstance(decision, Permitted) else [str(reason) for reason in decision.reasons]


@pytest.mark.parametrize(
    ("policy", "case"),
    [(table["policy"], case) for table in TABLES for case in table["decisions"]],
    ids=[f"{table['name']} {index}" for table in TABLES for index, _ in enumerate(table["decisions"])],
)
def test_decides_as_in_the_table(policy: dict[str, Any], case: dict[str, Any]) -> None:
    consent = {CategoryId(category): ConsentStatus(status) for category, status in case["consent"].items()}
    subject = SubjectStatus(case.get("subject", "identified"))
    expected = case["permitted"] | case["denied"]

    decisions = {
        destination: decide(parse_policy(policy), destination, consent, subject=subject, at=AT)
        for destination in expected
    }

    assert {destination: shown(decision) for destination, decision in decisions.items()} == expected


def test_a_permission_names_the_categories_that_it_rests_on() -> None:
    permitted = decide(POLICY, "webhook", GRANTED, at=AT)
    unmapped = decide(POLICY, "lake", GRANTED, at=AT)

    assert isinstance(permitted, Permitted)
    assert permitted.categories == ("C0004",)
    assert isinstance(unmapped, Permitted)
    assert unmapped.categories == ()


@pytest.mark.parametrize("raw", ["granted", True, 1, None, "yes"])
def test_a_raw_value_in_place_of_a_status_denies_and_stays_out_of_the_reason(raw: Any) -> None:
    decision = decide(POLICY, "webhook", {CategoryId("C0004"): raw}, at=AT)

    assert decision == Denied((Reason("C0004:invalid"),))


def test_refuses_to_decide_at_a_time_without_a_zone() -> None:
    with pytest.raises(ValueError, match=r"^`at` needs a time zone$"):
        decide(POLICY, "webhook", GRANTED, at=datetime(2026, 11, 1))  # noqa: DTZ001


def test_a_denial_without_a_reason_cannot_be() -> None:
    with pytest.raises(ValueError, match=r"^a denial needs a reason$"):
        Denied(())
