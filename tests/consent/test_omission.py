"""A destination that was guarded never becomes open by an omission."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_consent_retl.consent import ConsentPolicy, parse_policy
from airflow_consent_retl.consent.omission import fell_out

GUARDED: dict[str, Any] = {"id": "C0004", "name": "Advertising", "destinations": ["ads", "crm"]}
OTHER: dict[str, Any] = {"id": "C0002", "name": "Analytics", "destinations": ["crm"]}
NOT_REQUIRED = {"destinations": {"ads": {"consent": "not_required", "reason": "own store"}}}


def policy(*categories: dict[str, Any], **more: Any) -> ConsentPolicy:
    return parse_policy({"categories": list(categories), **more})


BEFORE = policy(GUARDED, OTHER)


@pytest.mark.parametrize(
    "present",
    [
        policy(OTHER),
        policy({**GUARDED, "destinations": ["crm"]}, OTHER),
        policy({**GUARDED, "enabled": False}, OTHER),
    ],
    ids=["category removed", "fell out of its category", "category disabled"],
)
def test_a_destination_that_would_become_open_is_named_with_what_guarded_it(present: ConsentPolicy) -> None:
    problem = fell_out(BEFORE, present, "ads")

    assert problem is not None
    assert "required `C0004` at the last run" in problem
    assert '"consent": "not_required" and a reason' in problem


def test_everything_that_guarded_it_is_named() -> None:
    assert fell_out(BEFORE, policy({**OTHER, "destinations": ["ads"]}), "crm") == (
        "destination `crm` required `C0002`, `C0004` at the last run, and would receive every row now: map it to an "
        "enabled category, or map it to none and name it in the policy's `destinations` section with "
        '"consent": "not_required" and a reason'
    )


@pytest.mark.parametrize(
    ("before", "present", "destination"),
    [
        (BEFORE, BEFORE, "ads"),
        (BEFORE, policy({**GUARDED, "enabled": False}, OTHER), "crm"),
        (BEFORE, policy(OTHER, unmapped_destinations="deny"), "ads"),
        (BEFORE, policy(OTHER, **NOT_REQUIRED), "ads"),
        (policy(OTHER), policy(OTHER), "ads"),
    ],
    ids=["as before", "another category guards it", "unmapped is denied", "not required", "never guarded"],
)
def test_any_other_change_is_accepted(before: ConsentPolicy, present: ConsentPolicy, destination: str) -> None:
    assert fell_out(before, present, destination) is None
