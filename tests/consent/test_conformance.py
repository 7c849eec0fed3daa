"""Tests of the conformance cases: Segment's published rules, this package's answers, and the settings for the same."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from support.conformance_page import CASES, PAGE, TOPICS, page

from airflow_consent_retl.consent import (
    ColumnKind,
    Denied,
    SignatureDecision,
    parse_mapping_document,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.migration import segment_would_send

AT = datetime(2026, 11, 24, tzinfo=UTC)
ALL = [
    pytest.param(case, id=f"{topic}: {case['name']}")
    for topic in TOPICS
    for case in json.loads((CASES / f"{topic}.json").read_text())["cases"]
]

OBJECTS: list[dict[str, Any]] = json.loads((CASES / "consent_objects.json").read_text())["cases"]


def decided(case: dict[str, Any], policy: dict[str, Any]) -> SignatureDecision:
    plan = plan_consent(
        parse_policy(policy),
        destinations=case["destinations"],
        mapping=parse_mapping_document(case["consent"]),
        columns={name: ColumnKind(kind) for name, kind in case["columns"].items()},
        at=AT,
    )
    tokens = tuple(0 if signal is None else signal.token(case["row"].get(signal.column)) for signal in plan.signals)
    return plan.decide_signature(tokens, at=AT)


@pytest.mark.parametrize("case", ALL)
def test_this_package_decides_as_in_the_case(case: dict[str, Any]) -> None:
    if "error" in case["ours"]:
        with pytest.raises(PolicyError) as caught:
            decided(case, case["policy"])
        assert any(case["ours"]["error"] in str(problem) for problem in caught.value.problems)
        return

    found = decided(case, case["policy"])

    assert list(found.recipients) == case["ours"]["sends"]
    reasons = {n: [str(r) for r in a.reasons] for n, a in found.decisions.items() if isinstance(a, Denied)}
    assert reasons == case["ours"]["reasons"]


@pytest.mark.parametrize("case", ALL)
def test_the_setting_gives_the_documented_result(case: dict[str, Any]) -> None:
    setting = case["setting"]
    if setting is None:
        # No setting is needed because both agree or Segment documents nothing, or no setting gives the same.
        agrees = case["reference"]["sends"] in (None, case["ours"].get("sends"))
        assert agrees or "error" in case["ours"]
        return

    assert list(decided(case, setting["policy"]).recipients) == setting["sends"]
    assert case["reference"]["sends"] in (None, setting["sends"])


def opted_out(case: dict[str, Any], *, missing: str) -> list[str]:
    """Return the recipients of a case under `opt_out`."""
    policy = {**case["policy"], "categories": [{**one, "regime": "opt_out"} for one in case["policy"]["categories"]]}
    changed = {**case, "consent": {**case["consent"], "missing": missing}}
    return list(decided(changed, policy).recipients)


@pytest.mark.parametrize("case", [one for one in OBJECTS if one["reference"]["sends"] is not None])
def test_opt_out_in_which_a_missing_category_is_a_no_is_segments_behaviour_for_every_consent_object(
    case: dict[str, Any],
) -> None:
    assert opted_out(case, missing="denied") == case["reference"]["sends"]


def test_opt_out_alone_sends_more_than_segment_does() -> None:
    (case,) = [one for one in OBJECTS if one["name"] == "partial preferences"]

    assert set(opted_out(case, missing="unknown")) > set(case["reference"]["sends"])


@pytest.mark.parametrize("case", ALL)
def test_segments_rules_give_what_segment_documents(case: dict[str, Any]) -> None:
    reference = case["reference"]
    if reference["sends"] is None:
        assert reference["says"] is None
        return
    policy = parse_policy(case["policy"])
    known = {key: reference[key] for key in ("integrations", "unenforced") if key in reference}

    sends = [
        name
        for name in sorted(case["destinations"])
        if segment_would_send(policy, name, reference["preferences"], **known).sends
    ]

    assert sends == reference["sends"]


def test_the_page_is_rendered_from_the_cases() -> None:
    assert PAGE.read_text() == page()
