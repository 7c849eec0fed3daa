"""Records of runs: what was written is read back, and sums count no person twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from support.ledgers import SYNC, begun, opened
from support.noted_runs import FIRST_DAY, a_load, withdrawals

from airflow_consent_retl.delivery.lags import Lags
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.ledger.run_records import RunKind, RunState

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SINCE, UNTIL = FIRST_DAY - DAY, FIRST_DAY + 30 * DAY


def test_a_record_is_read_back_as_it_was_written(ledger: Ledger) -> None:
    written = [a_load(), withdrawals(at=FIRST_DAY + HOUR)]
    for one in written:
        ledger.note_run(one)

    with ledger.history() as history:
        found = history.runs()

    assert [one.id for one in found] == [2, 1]
    assert [replace(one, id=0) for one in reversed(found)] == written


def test_runs_are_chosen_by_sync_and_by_time_the_latest_first(ledger: Ledger) -> None:
    for number in range(5):
        ledger.note_run(a_load(at=FIRST_DAY + number * DAY))
        ledger.note_run(a_load("leads/webhook", at=FIRST_DAY + number * DAY))

    with ledger.history() as history:
        found = history.runs(["leads/webhook"], since=FIRST_DAY + DAY, until=FIRST_DAY + 4 * DAY, limit=2)
        number = history.count(["leads/webhook"], since=FIRST_DAY + DAY, until=FIRST_DAY + 4 * DAY)
        rest = history.runs(["leads/webhook"], since=FIRST_DAY + DAY, until=FIRST_DAY + 4 * DAY, offset=2, limit=9)

    assert [(one.sync, one.ended_at) for one in found] == [
        ("leads/webhook", FIRST_DAY + 3 * DAY),
        ("leads/webhook", FIRST_DAY + 2 * DAY),
    ]
    assert number == 3
    assert [one.ended_at for one in rest] == [FIRST_DAY + DAY]


def test_a_try_that_a_later_one_resumed_is_shown_and_not_summed(ledger: Ledger) -> None:
    ledger.note_run(a_load(delivery=7, state=RunState.FAILED, failure="DestinationUnavailableError", accepted=6))
    ledger.note_run(a_load(delivery=7, at=FIRST_DAY + HOUR, accepted=10, attempt=2))
    ledger.note_run(a_load(delivery=8, at=FIRST_DAY + 2 * HOUR, accepted=5))

    with ledger.history() as history:
        (total,) = history.totals(since=SINCE, until=UNTIL).values()
        (day,) = history.work(since=SINCE, until=UNTIL)
        resumed = [one.is_resumed for one in history.runs()]

    assert (total.runs, total.failed, total.counts.accepted) == (3, 1, 15)
    assert day.sent == 15
    assert resumed == [False, False, True]


def test_decisions_are_not_summed_since_each_run_decides_about_the_same_people(ledger: Ledger) -> None:
    for number in range(3):
        ledger.note_run(a_load(at=FIRST_DAY + number * HOUR, denied=40 + number))

    with ledger.history() as history:
        (total,) = history.totals(since=SINCE, until=UNTIL).values()
        ((day, sync, decision),) = history.decisions(since=SINCE, until=UNTIL)

    assert (total.counts.permitted, total.counts.denied) == (0, 0)
    assert (day, sync) == (FIRST_DAY, "customers/webhook")
    assert (decision.permitted, decision.denied) == (58, 42)
    assert decision.by_reason == {"C0004:denied": 32, "C0004:unknown": 10}


def test_a_day_has_the_decision_of_its_last_load_and_what_all_its_runs_removed(ledger: Ledger) -> None:
    ledger.note_run(a_load(at=FIRST_DAY + 23 * HOUR))
    ledger.note_run(withdrawals(at=FIRST_DAY + 23.5 * HOUR))
    ledger.note_run(withdrawals(at=FIRST_DAY + DAY))

    with ledger.history() as history:
        first, second = sorted(history.work(since=SINCE, until=UNTIL), key=lambda one: one.day)
        ((day, _, decision),) = history.decisions(since=SINCE, until=UNTIL)

    assert [(one.day, one.removed) for one in (first, second)] == [(FIRST_DAY, 3), (FIRST_DAY + DAY, 3)]
    assert (day, decision.permitted, decision.denied) == (FIRST_DAY, 60, 40)


def test_the_decision_before_a_time_is_that_of_the_last_load_of_each_sync(ledger: Ledger) -> None:
    for number in range(3):
        ledger.note_run(a_load(at=FIRST_DAY + number * DAY, denied=40 + number))
    ledger.note_run(a_load("leads/webhook", at=FIRST_DAY + DAY, denied=20))
    ledger.note_run(withdrawals(at=FIRST_DAY + DAY + HOUR))

    with ledger.history() as history:
        found = history.decided_before(FIRST_DAY + 2 * DAY)
        of_one = history.decided_before(FIRST_DAY + DAY, syncs=["customers/webhook", "leads/webhook"])

    assert {name: one.denied for name, one in found.items()} == {"customers/webhook": 41, "leads/webhook": 20}
    assert {name: one.by_reason["C0004:denied"] for name, one in of_one.items()} == {"customers/webhook": 30}


def test_the_last_run_of_each_sync_is_found_by_kind(ledger: Ledger) -> None:
    ledger.note_run(a_load())
    ledger.note_run(a_load("leads/webhook"))
    ledger.note_run(withdrawals(at=FIRST_DAY + HOUR))

    with ledger.history() as history:
        last, loads = history.last(), history.last(RunKind.LOAD)
        named = history.last(RunKind.WITHDRAWALS, syncs=["customers/webhook", "leads/webhook", "no/runs"])

    assert {name: one.kind for name, one in last.items()} == {
        "customers/webhook": RunKind.WITHDRAWALS,
        "leads/webhook": RunKind.LOAD,
    }
    assert {name: one.kind for name, one in loads.items()} == dict.fromkeys(last, RunKind.LOAD)
    assert set(named) == {"customers/webhook"}


def test_the_runs_of_one_task_are_found_at_all_of_its_syncs(ledger: Ledger) -> None:
    ledger.note_run(withdrawals())
    ledger.note_run(withdrawals("customers/crm_table"))
    ledger.note_run(a_load())
    task = withdrawals().task

    with ledger.history() as history:
        found = history.of_task(task.dag, task.run, task.task)
        none = history.of_task(task.dag, task.run, task.task, map_index=0)

    assert {one.sync for one in found} == {"customers/webhook", "customers/crm_table"}
    assert none == []


def test_lags_of_many_runs_together_are_those_of_all_their_people(ledger: Ledger) -> None:
    lags_s = [1.003**number * (1 + number % 7) for number in range(3000)]
    for number in range(30):
        ledger.note_run(withdrawals(at=FIRST_DAY + number * HOUR, lags_s=lags_s[number * 100 : number * 100 + 100]))

    with ledger.history() as history:
        (total,) = history.totals(since=SINCE, until=UNTIL).values()

    exact = Lags.of(lags_s)
    assert total.lags is not None
    assert exact is not None
    assert total.lags.people == 3000
    assert total.lags.oldest_s == exact.oldest_s
    assert total.lags.median_s == pytest.approx(exact.median_s, rel=0.03)
    assert total.lags.p95_s == pytest.approx(exact.p95_s, rel=0.03)


def test_a_renamed_sync_keeps_its_runs(ledger: Ledger) -> None:
    new = sync_name("clients", "webhook")
    ledger.note_run(a_load(str(SYNC)))
    with ledger.acquire(SYNC, holder="a") as old, ledger.acquire(new, holder="b") as other:
        old.rename_to(other, None)

    with ledger.history() as history:
        assert [one.sync for one in history.runs()] == [new]


def test_a_ledger_of_the_third_version_gets_the_records_of_runs_and_keeps_what_it_has(ledger_url: str) -> None:
    with opened(ledger_url) as ledger, ledger.acquire(SYNC, holder="first") as lease:
        delivery = begun(lease)
    engine = sa.create_engine(ledger_url)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE consent_retl_runs"))
        connection.execute(sa.text("UPDATE consent_retl_schema SET version = 3"))
    engine.dispose()

    with opened(ledger_url) as ledger:
        ledger.note_run(a_load())
        with ledger.history() as history:
            assert history.count() == 1
        with ledger.acquire(SYNC, holder="second") as lease:
            assert lease.open_delivery() == delivery
