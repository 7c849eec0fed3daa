"""Tests of readers that are consent sources: the answer of each person is the one that the vendor's history means."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    CategorySignal,
    ConsentSource,
    ConsentStatus,
    Doubt,
    FirstOf,
    MostRestrictive,
    commanders_act_categories,
    commanders_act_hits,
    consent_record_events,
    counted_answers,
    dpv_status,
    onetrust_consent_updates,
    onetrust_status,
    parse_policy,
    parse_source_document,
    plan_consent,
    source_document,
)

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DOUBTFUL = {Doubt.CONFLICT: "conflict", Doubt.FUTURE: "invalid"}


def onetrust() -> ConsentSource:
    return onetrust_consent_updates("SELECT 1", purposes={"ads": "ads_status"})


def records() -> ConsentSource:
    return consent_record_events("SELECT 1", purposes={"ads": "ads_state"})


def hits() -> ConsentSource:
    return commanders_act_hits("SELECT 1")


def status(source: ConsentSource, signal: CategorySignal, events: list[tuple[str, float]], **others: Any) -> str:
    """Return the status of a person with these events: each a value, and its time in hours after ten o'clock."""
    assert source.time is not None
    rows = [
        {
            source.subject: "p",
            source.time: AT.replace(hour=10) + timedelta(hours=hours),
            **others,
            **_value(source, value),
        }
        for value, hours in events
    ]
    found = counted_answers(source, rows, at=AT)
    ((_, answer),) = found.items()
    if answer.values is None:
        return DOUBTFUL[answer.doubt]
    return str(signal.status(signal.token(answer.values[0])))


def _value(source: ConsentSource, value: str) -> dict[str, Any]:
    if source.value is None:
        return {source.columns[0][0]: value}
    return {str(source.category): source.columns[0][0], source.value: value}


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([("ACTIVE", 0)], "granted"),
        ([("ACTIVE", 0), ("WITHDRAWN", 1)], "denied"),
        ([("WITHDRAWN", 1), ("ACTIVE", 0)], "denied"),
        ([("PENDING", 0)], "unknown"),
        ([("PENDING", 0), ("ACTIVE", 0.08)], "granted"),
        ([("NO_CONSENT", 0)], "denied"),
        ([("OPT_OUT", 0)], "denied"),
        ([("HARD_OPT_OUT", 0)], "denied"),
        ([("HARD_OPT_OUT", 0), ("NOT_OPTED_OUT", 1)], "unknown"),
        ([("NOT_OPTED_OUT", 0)], "unknown"),
        ([("ACTIVE", 0), ("EXPIRED", 1)], "expired"),
        ([("ACTIVE", 0), ("WITHDRAWN", 0)], "conflict"),
        ([("WITHDRAWN", 0), ("ACTIVE", 24)], "invalid"),
        ([("active", 0)], "invalid"),
    ],
)
def test_the_latest_status_of_a_purpose_of_onetrust_counts(events: list[tuple[str, float]], expected: str) -> None:
    assert status(onetrust(), onetrust_status("ads_status"), events) == expected


@pytest.mark.parametrize(
    ("regime", "value", "recipients"),
    [
        ("opt_in", "NOT_OPTED_OUT", 0),
        ("opt_out", "NOT_OPTED_OUT", 1),
        ("opt_out", "PENDING", 1),
        ("opt_out", "HARD_OPT_OUT", 0),
        ("opt_out", "OPT_OUT", 0),
        ("opt_in", "ACTIVE", 1),
    ],
)
def test_not_opted_out_is_enough_only_where_silence_permits(regime: str, value: str, recipients: int) -> None:
    category = {"id": "C0004", "name": "Ads", "destinations": ["webhook"], "regime": regime}
    signal = onetrust_status("ads_status")
    plan = plan_consent(
        parse_policy({"categories": [category]}), destinations=["webhook"], mapping={"C0004": signal}, columns=None
    )

    assert len(plan.decide_signature((signal.token(value),), at=AT).recipients) == recipients


@pytest.mark.parametrize(
    ("purpose", "topic", "expected"),
    [
        ("ACTIVE", True, "granted"),
        ("ACTIVE", False, "denied"),
        ("ACTIVE", None, "unknown"),
        ("WITHDRAWN", True, "denied"),
    ],
)
def test_a_topic_may_say_no_under_an_active_purpose(purpose: str, topic: bool | None, expected: str) -> None:
    category = {"id": "C0004", "name": "Ads", "destinations": ["webhook"]}
    plan = plan_consent(
        parse_policy({"categories": [category]}),
        destinations=["webhook"],
        mapping={"C0004": MostRestrictive(onetrust_status("ads_status"), "topic_social")},
        columns=None,
    )
    row = {"ads_status": purpose, "topic_social": topic}

    (found,) = plan.statuses(tuple(0 if one is None else one.token(row[one.column]) for one in plan.signals))

    assert found == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([("dpv:ConsentRequested", 0)], "unknown"),
        ([("dpv:ConsentRequested", 0), ("dpv:ConsentGiven", 1)], "granted"),
        ([("dpv:ConsentGiven", 0), ("dpv:ConsentExpired", 1)], "expired"),
        ([("dpv:ConsentGiven", 0), ("dpv:ConsentInvalidated", 1)], "denied"),
        ([("dpv:ConsentExpired", 0), ("dpv:RenewedConsentGiven", 1)], "granted"),
        ([("dpv:ConsentGiven", 0), ("dpv:ConsentWithdrawn", 0)], "conflict"),
        ([("dpv:ConsentGiven", 0), ("dpv:ConsentRequestDeferred", 1)], "unknown"),
    ],
)
def test_the_latest_event_of_a_consent_record_counts(events: list[tuple[str, float]], expected: str) -> None:
    assert status(records(), dpv_status("ads_state"), events) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [([("1,2", 0)], "granted"), ([("1,2", 0), ("1", 1)], "denied"), ([("1", 0), ("2", 0)], "conflict")],
)
def test_the_latest_hit_of_a_device_counts(events: list[tuple[str, float]], expected: str) -> None:
    signal = commanders_act_categories().for_category("2", "Ads")

    assert status(hits(), signal, events) == expected


def test_the_columns_that_sources_bring_are_named() -> None:
    assert onetrust().brought == ("ads_status", "ads_status_doubt")
    assert records().brought == ("ads_state", "ads_state_doubt")
    assert hits().brought == ("cookie", "cookie_doubt")
    for source in (onetrust(), records(), hits()):
        assert parse_source_document(source_document(source)) == source


def test_an_expired_status_leaves_the_decision_to_the_next_record() -> None:
    category = {"id": "C0004", "name": "Ads", "destinations": ["webhook"]}
    plan = plan_consent(
        parse_policy({"categories": [category]}),
        destinations=["webhook"],
        mapping={"C0004": FirstOf(onetrust_status("ads_status"), "web")},
        columns=None,
    )
    tokens = {
        name: signal.token(value)
        for signal in plan.signals
        if signal
        for name, value in ((signal.column, {"ads_status": "EXPIRED", "web": True}[signal.column]),)
    }

    assert plan.statuses(tuple(tokens.values())) == (ConsentStatus.GRANTED,)
