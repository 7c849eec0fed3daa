"""The figures of all syncs and of one: what is there now, what happened in a period, and what needs a person's eye."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.ledgers import advanced, begun
from support.noted_runs import FIRST_DAY, a_load, withdrawals

from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import parsed_sync_name
from airflow_consent_retl.delivery.ledger.run_records import RunState
from airflow_consent_retl.sight.days import Period
from airflow_consent_retl.sight.figures import Health, Overview, overview, sync_history

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
PERIOD = Period(since=FIRST_DAY, until=FIRST_DAY + 3 * DAY)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.sqlite(tmp_path / "ledger.db") as found:
        yield found


def delivered(ledger: Ledger, name: str, *, people: int) -> None:
    """Have a sync deliver to some people now."""
    with ledger.acquire(parsed_sync_name(name), holder="a test") as lease:
        lease.target("https://crm.example.com")
        lease.serve("customers", [])
        advanced(lease, begun(lease), rows=people)
        lease.note_served()


def figures(ledger: Ledger, **changes: object) -> Overview:
    arguments = {"at": datetime.now(UTC), "unserved_days": 7.0, "shows": lambda one: True, **changes}
    return overview(ledger, PERIOD, **arguments)  # type: ignore[arg-type]


def test_a_ledger_without_syncs_has_days_and_nothing_else(ledger: Ledger) -> None:
    found = figures(ledger)

    assert (found.syncs, found.people, found.lags, found.denied_by_reason) == ([], 0, None, {})
    assert [one.permitted for one in found.days] == [None, None, None]


def test_a_sync_shows_its_people_its_target_and_its_last_load(ledger: Ledger) -> None:
    delivered(ledger, "customers/webhook", people=60)
    ledger.note_run(a_load(at=FIRST_DAY + HOUR))
    ledger.note_run(withdrawals(at=FIRST_DAY + 2 * HOUR))

    (sync,) = figures(ledger).syncs

    assert (sync.model, sync.destination, sync.people) == ("customers", "webhook", 60)
    assert (sync.target, sync.dag, sync.health) == ("https://crm.example.com", "customers", Health.FINE)
    assert (sync.permitted, sync.denied, sync.counts.accepted, sync.counts.removed) == (60, 40, 10, 3)
    assert sync.totals is not None
    assert sync.totals.lags is not None
    assert sync.totals.lags.in_seconds() == {"median_s": 120.0, "p95_s": 552.0, "oldest_s": 600.0}


def test_a_day_without_a_load_of_a_sync_counts_with_its_last_one(ledger: Ledger) -> None:
    for name in ("customers/webhook", "leads/webhook"):
        delivered(ledger, name, people=1)
    ledger.note_run(a_load("leads/webhook", at=FIRST_DAY - 5 * DAY, denied=30))
    ledger.note_run(a_load(at=FIRST_DAY + HOUR, denied=40))
    ledger.note_run(a_load("leads/webhook", at=FIRST_DAY + DAY + HOUR, denied=50))

    days = figures(ledger).days

    assert [(one.permitted, one.denied) for one in days] == [(130, 70), (110, 90), (110, 90)]
    assert [one.by_reason for one in days] == [
        {"C0004:denied": 50, "C0004:unknown": 20},
        {"C0004:denied": 70, "C0004:unknown": 20},
        {"C0004:denied": 70, "C0004:unknown": 20},
    ]
    assert [one.sent for one in days] == [10, 10, 0]


def test_reasons_are_those_of_the_last_load_of_each_sync(ledger: Ledger) -> None:
    for name in ("customers/webhook", "leads/webhook"):
        delivered(ledger, name, people=1)
    ledger.note_run(a_load(at=FIRST_DAY, denied=90))
    ledger.note_run(a_load(at=FIRST_DAY + HOUR, denied=40))
    ledger.note_run(a_load("leads/webhook", at=FIRST_DAY, denied=20))

    assert figures(ledger).denied_by_reason == {"C0004:denied": 40, "C0004:unknown": 20}


def test_lags_are_those_of_all_withdrawals_in_the_period(ledger: Ledger) -> None:
    for name in ("customers/webhook", "leads/webhook"):
        delivered(ledger, name, people=1)
    ledger.note_run(withdrawals(at=FIRST_DAY - DAY, lags_s=[9_999_999]))
    ledger.note_run(withdrawals(at=FIRST_DAY, lags_s=[100, 100, 100]))
    ledger.note_run(withdrawals("leads/webhook", at=FIRST_DAY, lags_s=[5000]))

    lags = figures(ledger).lags

    assert lags is not None
    assert (lags.people, lags.oldest_s) == (4, 5000)
    assert lags.median_s == pytest.approx(100, rel=0.03)


def test_a_sync_that_no_run_served_for_days_is_unserved_while_it_has_people(ledger: Ledger) -> None:
    delivered(ledger, "customers/webhook", people=60)
    delivered(ledger, "customers/empty", people=0)
    later = datetime.now(UTC) + 8 * DAY

    found = figures(ledger, at=later)

    assert [one.sync for one in found.unserved] == ["customers/webhook"]
    assert figures(ledger, at=later, unserved_days=0).unserved == []


def test_people_who_were_not_removed_wait(ledger: Ledger) -> None:
    delivered(ledger, "customers/webhook", people=60)
    ledger.note_run(withdrawals(not_removed=2))

    (sync,) = figures(ledger).waiting

    assert (sync.waiting.not_removed, sync.health) == (2, Health.FAILED)
    assert sync.last is not None
    assert sync.last.failure == "DestinationError"


def test_an_open_delivery_waits_and_a_running_one_says_so(ledger: Ledger) -> None:
    with ledger.acquire(parsed_sync_name("customers/webhook"), holder="a test") as lease:
        began_at = begun(lease).began_at
        (running,) = figures(ledger).syncs
    (left,) = figures(ledger).syncs

    assert (running.health, running.waiting.since) == (Health.RUNNING, began_at)
    assert (left.health, left.waiting.since) == (Health.WAITING, began_at)


def test_only_the_syncs_that_are_asked_for_are_counted(ledger: Ledger) -> None:
    for name in ("customers/webhook", "leads/webhook"):
        delivered(ledger, name, people=10)
        ledger.note_run(a_load(name))

    found = figures(ledger, shows=lambda one: one.sync == "leads/webhook")

    assert [one.sync for one in found.syncs] == ["leads/webhook"]
    assert (found.people, found.counts.accepted, found.days[0].permitted) == (10, 10, 60)


def test_one_sync_shows_its_runs_their_causes_and_the_destinations_codes(ledger: Ledger) -> None:
    delivered(ledger, "customers/webhook", people=60)
    ledger.note_run(a_load(delivery=1, state=RunState.FAILED, rejected=1))
    ledger.note_run(a_load(delivery=1, at=FIRST_DAY + HOUR, rejected=2))
    ledger.note_run(withdrawals(at=FIRST_DAY + 2 * HOUR))
    ledger.note_run(a_load("leads/webhook"))

    found = sync_history(
        ledger, "customers/webhook", PERIOD, at=datetime.now(UTC), unserved_days=7, shows=lambda one: True, limit=3
    )

    assert found is not None
    assert [run.ended_at for run in found.runs] == [FIRST_DAY + 2 * HOUR, FIRST_DAY + HOUR, FIRST_DAY]
    assert (found.number, found.codes) == (3, {"rejected:invalid_email": 2})
    assert found.removals_by_cause == {"consent_withdrawn": 3}
    assert found.days[0].sent == 10


def test_a_sync_that_the_ledger_does_not_know_has_no_figures(ledger: Ledger) -> None:
    assert sync_history(ledger, "no/where", PERIOD, at=FIRST_DAY, unserved_days=7, shows=lambda one: True) is None


@pytest.mark.parametrize(("days", "columns", "together"), [(1, 1, 1), (30, 30, 1), (90, 13, 7), (365, 53, 7)])
def test_a_long_period_is_shown_in_whole_weeks_that_end_today(days: int, columns: int, together: int) -> None:
    now = datetime(2026, 11, 29, 13, 37, tzinfo=UTC)

    period = Period.of_days(days, until=now)

    assert (len(period.days), period.together) == (columns, together)
    assert period.days[-1] + together * DAY == datetime(2026, 11, 30, tzinfo=UTC)
    assert period.since == period.days[0] <= datetime(2026, 11, 30, tzinfo=UTC) - days * DAY


def test_a_week_has_the_decision_of_its_last_load_and_what_all_its_days_sent(ledger: Ledger) -> None:
    delivered(ledger, "customers/webhook", people=60)
    period = Period.of_days(70, until=FIRST_DAY + 6 * DAY)
    for number in range(7):
        ledger.note_run(a_load(at=FIRST_DAY + number * DAY, denied=40 + number))

    found = overview(ledger, period, at=FIRST_DAY + 6 * DAY, unserved_days=7, shows=lambda one: True)

    last = found.days[-1]
    assert (last.day, last.permitted, last.denied, last.sent) == (FIRST_DAY, 54, 46, 70)
