"""Tests of Segment's view of a row: a missing object differs from an empty one, and the view decides nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    ColumnKind,
    ConsentMappingLike,
    ConsentObject,
    ExcludedDestinations,
    IntegrationsObject,
    RowConsent,
    parse_consent_mapping,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.migration.segment_view import ObjectPresence, SegmentView

AT = datetime(2026, 11, 24, tzinfo=UTC)
ABSENT, THERE, EMPTY, UNREADABLE = range(4)
POLICY = parse_policy(
    {
        "categories": [
            {"id": "ads", "name": "Advertising", "destinations": ["facebook"]},
            {"id": "stats", "name": "Analytics", "destinations": ["amplitude"]},
        ]
    }
)
OBJECT = ConsentObject("consent")
EVENT = RowConsent(OBJECT, switches=IntegrationsObject("integrations"))


def view_of(consent: ConsentMappingLike, *, rules: Any = "connections") -> SegmentView:
    mapping = parse_consent_mapping(consent)
    kinds = dict.fromkeys(("consent", "integrations", "excluded"), ColumnKind.TEXT)
    kinds["ads"] = ColumnKind.BOOLEAN
    plan = plan_consent(POLICY, destinations=["facebook", "amplitude"], mapping=mapping, columns=kinds, at=AT)
    return SegmentView.of(plan, mapping, rules=rules)


def tokens_of(view: SegmentView, **row: object) -> tuple[int, ...]:
    return tuple(0 if signal is None else signal.token(row.get(signal.column)) for signal in view.plan.signals)


@pytest.mark.parametrize(
    ("raw", "token"),
    [
        (None, ABSENT),
        ("null", ABSENT),
        ("{}", ABSENT),
        ('{"consent": null}', ABSENT),
        ('{"consent": {}}', EMPTY),
        ('{"consent": {"categoryPreferences": null}}', EMPTY),
        ('{"consent": {"categoryPreferences": {}}}', THERE),
        ('{"consent": {"categoryPreferences": {"ads": true}}}', THERE),
        ('{"consent": {"categoryPreferences": true}}', UNREADABLE),
        ('{"consent": {"categoryPreferences": {}, "categoryPreferences": {}}}', UNREADABLE),
        ('{"consent": []}', UNREADABLE),
        ("[]", UNREADABLE),
        ("{", UNREADABLE),
        (7, UNREADABLE),
    ],
)
def test_distinguishes_a_missing_object_from_an_empty_one(raw: object, token: int) -> None:
    signal = ObjectPresence("context", ("consent", "categoryPreferences"))

    assert signal.token(raw) == token


@pytest.mark.parametrize(("raw", "token"), [(None, ABSENT), ("{}", THERE), ('{"a": 1}', THERE), ("[]", UNREADABLE)])
def test_without_a_path_the_value_itself_is_the_object(raw: object, token: int) -> None:
    assert ObjectPresence("preferences", ()).token(raw) == token


@pytest.mark.parametrize(
    ("row", "preferences"),
    [
        ({}, None),
        ({"consent": "{}"}, None),
        ({"consent": "{}", "integrations": "{}"}, None),
        # Segment's table has a row for this case.
        ({"consent": "{}", "integrations": '{"facebook": true}'}, {}),
        ({"integrations": '{"facebook": true}'}, None),
        ({"consent": '{"categoryPreferences": {}}'}, {}),
        ({"consent": '{"categoryPreferences": {"ads": true}}'}, {"ads": True}),
        ({"consent": '{"categoryPreferences": {"ads": "true", "stats": false}}'}, {"ads": False, "stats": False}),
        ({"consent": "["}, {"ads": False, "stats": False}),
    ],
)
def test_knows_of_an_event_what_segment_documents(row: dict[str, object], preferences: object) -> None:
    view = view_of(EVENT)

    assert view.preferences(tokens_of(view, **row)) == preferences


def test_only_a_switch_that_is_off_takes_away() -> None:
    view = view_of(EVENT)
    row = {"consent": '{"categoryPreferences": {"ads": true}}'}

    assert view.integrations(tokens_of(view, **row, integrations='{"facebook": false}')) == {"facebook": False}
    assert view.integrations(tokens_of(view, **row, integrations='{"All": false, "facebook": true}')) == {
        "amplitude": False
    }
    assert view.integrations(tokens_of(view, **row, integrations="[")) == {}
    assert view.integrations(tokens_of(view, **row)) == {}


def test_reverse_etl_knows_neither_objects_nor_switches() -> None:
    view = view_of(EVENT, rules="reverse_etl")
    tokens = tokens_of(view, integrations='{"facebook": false}')

    assert view.preferences(tokens) == {}
    assert view.integrations(tokens) == {}


def test_exclusions_of_another_kind_are_not_segments() -> None:
    view = view_of(RowConsent(OBJECT, switches=ExcludedDestinations("excluded")))

    assert view.integrations(tokens_of(view, excluded='["facebook"]')) == {}


@pytest.mark.parametrize("consent", [OBJECT, EVENT])
@pytest.mark.parametrize("text", [None, "{}", '{"categoryPreferences": {"ads": true}}', "["])
def test_what_is_read_for_segment_decides_nothing(consent: ConsentMappingLike, text: str | None) -> None:
    plain, view = view_of(consent, rules="reverse_etl"), view_of(consent)
    row = {"consent": text, "integrations": '{"facebook": false}'}

    assert view.plan.decide_signature(tokens_of(view, **row), at=AT) == plain.plan.decide_signature(
        tokens_of(plain, **row), at=AT
    )
    assert view.plan.consent_columns == plain.plan.consent_columns


@pytest.mark.parametrize(
    ("consent", "rules", "problem"),
    [
        (
            {"ads": "ads", "stats": "ads"},
            "connections",
            "Segment's rules for events are about a ConsentObject @ consent",
        ),
        (OBJECT, "events", "expected `reverse_etl` or `connections` @ rules"),
    ],
)
def test_refuses_rules_that_are_not_about_what_is_mapped(consent: Any, rules: str, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        view_of(consent, rules=rules)

    assert [str(found) for found in caught.value.problems] == [problem]
