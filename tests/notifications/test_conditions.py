"""Conditions of notices: each at its border, and wrong parameters refused when the DAG is parsed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.notifications import (
    AudienceDown,
    Condition,
    DataAgeOver,
    LagOver,
    NothingSent,
    PartialSuccess,
    PolicyChanged,
    RejectedRate,
)
from airflow_consent_retl.signals.outcome import SyncOutcome

NUMBERS = {"read": 100, "permitted": 50, "denied": 50, "accepted": 50, "unchanged": 0, "rejected": 0, "removed": 0}
LOAD = SyncOutcome(stage="load", model="people", destination="webhook", numbers=NUMBERS)


def load(**numbers: int) -> SyncOutcome:
    return replace(LOAD, numbers=NUMBERS | numbers)


def people(before: int | None, after: int | None) -> SyncOutcome:
    return replace(LOAD, delivered_before=before, delivered=after)


def lag(**seconds: float) -> SyncOutcome:
    return replace(LOAD, stage="withdrawals", lag_s=seconds)


CHANGED = replace(LOAD, stage="filter", policy_digest="sha256:" + "b" * 64, previous_policy_digest="sha256:" + "a" * 64)
OLD = replace(LOAD, data_time=datetime.now(UTC) - timedelta(hours=25))


@pytest.mark.parametrize(
    ("condition", "outcome", "sentence"),
    [
        (PartialSuccess(), load(accepted=40, rejected=10), "40 rows were, and 10 rejected"),
        (PartialSuccess(), load(accepted=40, unsent=10), "10 not sent"),
        (PartialSuccess(), load(accepted=0, removed=3, not_removed=1), "3 rows were, and 1 not removed"),
        (RejectedRate(over=0.1), load(rejected=6), "12.0% of the permitted, and the limit is 10.0%"),
        (LagOver(60), lag(oldest=61, p95=5), "the oldest lag"),
        (LagOver(60, of="p95"), lag(oldest=61, p95=60.5), "0:01:00"),
        (DataAgeOver(86_400), OLD, "the data are 1 day, 1:"),
        (PolicyChanged(), CHANGED, "from aaaaaaaaaaaa to bbbbbbbbbbbb: it permits 50 of 100 rows"),
        (NothingSent(), load(accepted=0), "of 100 rows read, 50 are permitted"),
        (NothingSent(although_unchanged=True), load(accepted=0, unchanged=50), "nothing was sent"),
        (AudienceDown(by=0.2), people(50, 40), "from 50 to 40 people, down by 20.0%"),
        (AudienceDown(by=1), people(50, 0), "down by 100.0%"),
    ],
)
def test_a_condition_says_what_it_found(condition: Condition, outcome: SyncOutcome, sentence: str) -> None:
    assert sentence in (condition.found(outcome) or "")


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        (PartialSuccess(), LOAD),
        (PartialSuccess(), load(accepted=0, rejected=50)),
        (PartialSuccess(), replace(load(rejected=5), stage="filter")),
        (RejectedRate(over=0.1), load(rejected=5)),
        (RejectedRate(over=0), load(permitted=0)),
        (RejectedRate(over=0), CHANGED),
        (LagOver(60), lag(oldest=60)),
        (LagOver(60), LOAD),
        (DataAgeOver(86_400), LOAD),
        (DataAgeOver(100_000), OLD),
        (PolicyChanged(), LOAD),
        (NothingSent(), load(accepted=0, unchanged=1)),
        (NothingSent(), replace(load(accepted=0), stage="withdrawals")),
        (AudienceDown(by=0.2), people(50, 41)),
        (AudienceDown(by=0), people(50, 50)),
        (AudienceDown(by=0.2), people(0, 0)),
        (AudienceDown(by=0.2), people(50, None)),
        (AudienceDown(by=0.2), people(None, 40)),
    ],
)
def test_a_condition_is_silent_up_to_its_limit(condition: Condition, outcome: SyncOutcome) -> None:
    assert condition.found(outcome) is None


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (RejectedRate, {"over": 1.5}),
        (RejectedRate, {"over": True}),
        (AudienceDown, {"by": "0.2"}),
        (AudienceDown, {"by": -0.1}),
        (LagOver, {"limit_s": -1}),
        (LagOver, {"limit_s": 5, "of": "mean"}),
        (DataAgeOver, {"limit_s": "a day"}),
    ],
)
def test_a_wrong_limit_is_refused_when_the_dag_is_parsed(kind: type[Condition], wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=kind.__name__):
        kind(**wrong)
