"""Segment's page on consent in Reverse ETL, and the draft before it, statement by statement: each has tests."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.conformance_page import STATEMENTS

from airflow_consent_retl.consent import (
    ColumnKind,
    ConsentObject,
    ConsentStatus,
    parse_consent_mapping,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.consent.readers.segment import segment_profile_column
from airflow_consent_retl.errors import PolicyError

REPO = Path(__file__).resolve().parents[2]
POLICY = parse_policy(
    {
        "categories": [
            {"id": "Ads", "name": "Ads", "destinations": ["google_ads"]},
            {"id": "Analytics", "name": "Analytics", "destinations": ["amplitude"]},
        ]
    }
)


def planned(consent: Any, columns: dict[str, ColumnKind]) -> Any:
    mapping = parse_consent_mapping(consent)
    at = datetime(2026, 11, 24, tzinfo=UTC)
    return plan_consent(POLICY, destinations=["google_ads", "amplitude"], mapping=mapping, columns=columns, at=at)


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda one: one["statement"][:60])
def test_each_statement_names_tests_that_exist(statement: dict[str, Any]) -> None:
    assert statement["tests"]
    for node in statement["tests"]:
        file, _, name = node.partition("::")
        tree = ast.parse((REPO / file).read_text())
        assert name in {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}, node


def test_the_statements_are_of_the_page_and_of_the_draft() -> None:
    assert {one["of"] for one in STATEMENTS} == {"page", "draft"}
    assert {one["verdict"] for one in STATEMENTS} <= {"the same", "stricter", "more", "another way", "does not apply"}


def test_the_model_with_a_column_for_each_category_is_mapped_as_it_stands() -> None:
    plan = planned({"Ads": "Ads", "Analytics": "Analytics"}, dict.fromkeys(("Ads", "Analytics"), ColumnKind.BOOLEAN))

    assert [signal.column for signal in plan.signals] == ["Ads", "Analytics"]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"consent": {"cookie": {"Ads": true}}}', ConsentStatus.GRANTED),
        ('{"consent": {"cookie": {"Ads": false}}}', ConsentStatus.DENIED),
        ('{"consent": {"cookie": {}}}', ConsentStatus.UNKNOWN),
        # Snowflake's CAST of each of these to a boolean is true.
        ('{"consent": {"cookie": {"Ads": "true"}}}', ConsentStatus.INVALID),
        ('{"consent": {"cookie": {"Ads": "yes"}}}', ConsentStatus.INVALID),
        ('{"consent": {"cookie": {"Ads": 2}}}', ConsentStatus.INVALID),
    ],
)
def test_the_model_with_one_blob_is_read_without_a_cast(text: str, status: ConsentStatus) -> None:
    signal = ConsentObject("CONSENT_OBJ", path="consent.cookie").for_category("Ads", "Ads")

    assert signal.status(signal.token(text)) is status


@pytest.mark.parametrize("raw", ["conflict", "Conflict", "yes"])
def test_a_conflict_of_the_draft_denies(raw: str) -> None:
    signal = segment_profile_column("ads")

    assert signal.status(signal.token(raw)) is ConsentStatus.INVALID


@pytest.mark.parametrize(("raw", "status"), [("true", ConsentStatus.GRANTED), ("false", ConsentStatus.DENIED)])
def test_the_other_values_of_the_draft_are_answers(raw: str, status: ConsentStatus) -> None:
    signal = segment_profile_column("ads")

    assert signal.status(signal.token(raw)) is status


def test_a_category_without_a_column_is_refused_before_a_run() -> None:
    with pytest.raises(PolicyError, match="category `Analytics`, required by `amplitude`, has no entry"):
        planned({"Ads": "Ads"}, {"Ads": ColumnKind.BOOLEAN})


def test_a_model_without_consent_information_is_refused() -> None:
    with pytest.raises(PolicyError, match="expected a mapping of category ids"):
        planned({}, {"user_id": ColumnKind.TEXT})


def test_the_page_has_every_statement() -> None:
    page = (REPO / "docs" / "conformance.md").read_text()

    assert all(one["statement"] in page for one in json.loads(json.dumps(STATEMENTS)))
