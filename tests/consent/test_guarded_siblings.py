"""An instance beside a guarded instance does not become open because the policy does not name it."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_consent_retl.consent import ColumnKind, parse_policy, plan_consent
from airflow_consent_retl.errors import PolicyError

KINDS = {"ads": ColumnKind.BOOLEAN}
NOT_REQUIRED = {"consent": "not_required", "reason": "our own logs"}


def plan(destination: str, *mapped: str, **policy: Any) -> tuple[str, ...]:
    category = {"id": "C0004", "name": "Advertising", "destinations": list(mapped), **policy.pop("category", {})}
    parsed = parse_policy({"categories": [category], **policy})
    plan_consent(parsed, destinations=[destination], mapping={"C0004": "ads"}, columns=KINDS)
    return parsed.required_for(destination)


@pytest.mark.parametrize(
    ("destination", "guarded"),
    [("webhook:emea", "webhook:apac"), ("google_ads:apac", "google_ads:emea"), ("lake.raw:x1", "lake.raw:prod")],
)
@pytest.mark.parametrize("category", [{}, {"enabled": False}, {"regime": "opt_out"}])
def test_a_sibling_of_a_guarded_instance_is_refused(destination: str, guarded: str, category: dict[str, Any]) -> None:
    with pytest.raises(PolicyError, match=f"but its sibling `{guarded}` is guarded: map it to a category"):
        plan(destination, guarded, "crm", category=category)


def test_an_instance_that_a_category_covers_needs_no_name_of_its_own() -> None:
    assert plan("webhook:emea", "webhook", "webhook:apac") == ("C0004",)


@pytest.mark.parametrize("named", ["webhook:emea", "webhook"])
def test_a_sibling_that_the_policy_names_with_a_reason_is_not_refused(named: str) -> None:
    assert plan("webhook:emea", "webhook:apac", destinations={named: NOT_REQUIRED}) == ()


def test_a_sibling_that_would_receive_nothing_is_not_refused() -> None:
    assert plan("webhook:emea", "webhook:apac", unmapped_destinations="deny") == ()


def test_another_base_with_the_same_instance_is_no_sibling() -> None:
    assert plan("crm:apac", "webhook:apac") == ()
