"""Leases: one writer per sync, even if a worker is paused, killed or late."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.ledgers import SYNC, Worker, advanced, begun, ended, intended, numbers, opened, sqlite_url, workers
from support.log_lines import unwrapped
from support.postgres import Postgres

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.delivery.attempts import combined
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.errors import LeaseLostError, LedgerUnavailableError, SyncBusyError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger

_LOCKED_BY_NOBODY_AT_WORK = """
    SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE state = 'idle in transaction' AND mode = 'RowShareLock' AND relation = 'paused.consent_retl_syncs'::regclass
"""


def test_a_lease_that_is_taken_is_refused_with_its_holder_and_its_expiry(ledger: Ledger) -> None:
    with (
        ledger.acquire(SYNC, holder="dag.load run 1", ttl_s=40),
        pytest.raises(
            SyncBusyError, match=r"`customers/webhook` is being loaded by `dag.load run 1`, .* (39|40) s"
        ) as busy,
    ):
        ledger.acquire(SYNC, holder="dag.load run 2")

    assert busy.value.retry_after_s is not None
    assert 30 < busy.value.retry_after_s <= 40


def test_another_sync_has_a_lease_of_its_own(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="a"), ledger.acquire(sync_name("customers", "lake"), holder="b") as other:
        assert other.epoch == 1


def test_a_released_lease_is_free_at_once_with_a_higher_epoch(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="a") as first:
        pass

    with ledger.acquire(SYNC, holder="b") as second:
        assert (first.epoch, second.epoch) == (1, 2)


def test_a_lease_ends_with_its_block_also_when_that_fails(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.acquire(SYNC, holder="a"):
        raise RuntimeError

    with ledger.acquire(SYNC, holder="b") as second:
        second.check()


def test_a_lease_that_is_not_renewed_expires_and_is_waited_for(ledger: Ledger) -> None:
    ledger.acquire(SYNC, holder="dead", ttl_s=0.5)
    began = time.monotonic()

    with ledger.acquire(SYNC, holder="next", wait_s=10) as lease:
        waited_s = time.monotonic() - began

        assert lease.epoch == 2
    assert 0.3 < waited_s < 5


def test_waiting_ends_when_it_was_long_enough(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="a"), pytest.raises(SyncBusyError):
        ledger.acquire(SYNC, holder="b", wait_s=0.2)


def test_a_lease_renews_itself_for_as_long_as_its_block_lasts(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="a", ttl_s=1.5) as lease:
        with pytest.raises(SyncBusyError):
            ledger.acquire(SYNC, holder="b", wait_s=2.5)
        lease.check()


def test_an_expired_lease_continues_if_no_other_task_took_it(ledger: Ledger) -> None:
    lease = ledger.acquire(SYNC, holder="a", ttl_s=3)
    time.sleep(3.1)

    lease.check()
    delivery = begun(lease)

    with pytest.raises(SyncBusyError):
        ledger.acquire(SYNC, holder="b")
    assert lease.open_delivery() == delivery
    lease.release()


def test_a_superseded_lease_refuses_every_write(ledger: Ledger) -> None:
    old = ledger.acquire(SYNC, holder="old", ttl_s=0.2)
    delivery = begun(old)
    with ledger.acquire(SYNC, holder="new", wait_s=5) as new:
        before = ledger.syncs()

        for write in (
            old.check,
            lambda: old.target("elsewhere"),
            lambda: old.note_decision(delivery.decided_at + timedelta(days=1)),
            lambda: begun(old, key="k2"),
            lambda: old.record(delivery, intended=[intended(0)]),
            lambda: advanced(old, delivery),
            lambda: old.drop(delivery),
        ):
            with pytest.raises(LeaseLostError, match="was taken over by another task"):
                write()
        old.release()

        assert ledger.syncs() == before
        assert new.attempts(delivery) == []
        new.check()


def test_a_lease_that_is_released_late_leaves_the_next_one_alone(ledger: Ledger) -> None:
    late = ledger.acquire(SYNC, holder="late", ttl_s=0.2)
    with ledger.acquire(SYNC, holder="next", wait_s=5):
        late.release()

        with pytest.raises(SyncBusyError, match="`next`"):
            ledger.acquire(SYNC, holder="third")


def test_a_released_lease_refuses_every_write(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="a") as lease:
        delivery = begun(lease)
        lease.record(delivery, intended=[intended(0)])

    with pytest.raises(LeaseLostError, match="was released"):
        lease.check()
    with pytest.raises(LeaseLostError, match="was released"):
        lease.record(delivery, intended=[intended(1)])
    lease.release()

    assert numbers(ledger.attempts(delivery), with_end=False) == [0]


def test_a_superseded_lease_still_notes_how_its_own_attempts_ended_and_nothing_else(ledger: Ledger) -> None:
    old = ledger.acquire(SYNC, holder="old", ttl_s=0.2)
    delivery = begun(old)
    old.record(delivery, intended=[intended(0), intended(1)])
    old.record(delivery, ended=[ended(1)])
    with ledger.acquire(SYNC, holder="new", wait_s=5) as new:
        new.record(delivery, intended=[intended(0)])

        with pytest.raises(LeaseLostError):
            old.record(
                delivery,
                ended=[ended(0), ended(1, Outcomes.rejected(10, "again")), ended(0, epoch=new.epoch), ended(5)],
                intended=[intended(2)],
            )

        found = {(attempt.epoch, attempt.number): attempt.outcomes for attempt in new.attempts(delivery)}
        assert found == {(1, 0): Outcomes.accepted(10), (1, 1): Outcomes.accepted(10), (2, 0): None}


def test_a_superseded_lease_notes_nothing_in_a_closed_delivery(ledger: Ledger) -> None:
    old = ledger.acquire(SYNC, holder="old", ttl_s=0.2)
    delivery = begun(old)
    old.record(delivery, intended=[intended(0)])
    with ledger.acquire(SYNC, holder="new", wait_s=5) as new:
        advanced(new, delivery)

        with pytest.raises(LeaseLostError):
            old.record(delivery, ended=[ended(0)])

        assert numbers(new.attempts(delivery), with_end=True) == []


def test_an_attempt_that_never_ended_was_over_when_its_lease_ran_out(ledger: Ledger) -> None:
    dead = ledger.acquire(SYNC, holder="dead", ttl_s=1.0)
    delivery = begun(dead)
    dead.record(delivery, intended=[intended(0), intended(1)])
    dead.record(delivery, ended=[ended(1)])
    (overview,) = ledger.syncs()
    for holder in ("next", "last"):
        with ledger.acquire(SYNC, holder=holder, wait_s=5) as lease:
            pass

    lost, answered = lease.attempts(delivery)

    assert lost.lost_at == overview.expires_at
    assert answered.lost_at is None
    assert [batch.unsettled_at for batch in combined([lost, answered])] == [lost.lost_at, None]


def test_a_valid_lease_is_checked_without_the_ledger_and_lost_when_it_cannot_be_renewed(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with (
        opened(sqlite_url(file), busy_s=0.05) as ledger,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
    ):
        lease = ledger.acquire(SYNC, holder="a", ttl_s=1.0)
        other.execute("BEGIN IMMEDIATE")

        lease.check()
        time.sleep(1.1)

        with pytest.raises(LeaseLostError, match=r"expired and cannot be renewed: .* does not answer"):
            lease.check()
        with pytest.raises(LedgerUnavailableError):
            begun(lease)
        other.execute("ROLLBACK")
        lease.check()
        lease.release()


def test_a_lease_outlives_an_outage_that_is_shorter_than_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ledger.db"
    with (
        opened(sqlite_url(file), busy_s=0.05) as ledger,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
        ledger.acquire(SYNC, holder="a", ttl_s=3) as lease,
    ):
        other.execute("BEGIN IMMEDIATE")
        time.sleep(1.3)
        other.execute("ROLLBACK")
        time.sleep(2.2)

        with pytest.raises(SyncBusyError):
            ledger.acquire(SYNC, holder="b")
        lease.check()
    assert "the lease of sync `customers/webhook` was not renewed: the ledger" in unwrapped(caplog.text)


def test_a_lease_whose_release_fails_expires(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "ledger.db"
    with opened(sqlite_url(file), busy_s=0.05) as ledger, closing(sqlite3.connect(file, isolation_level=None)) as other:
        with ledger.acquire(SYNC, holder="a", ttl_s=0.6):
            other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")

        with ledger.acquire(SYNC, holder="b", wait_s=5) as lease:
            lease.check()
    assert "was not released and has to expire" in unwrapped(caplog.text)


def test_many_threads_may_check_and_record_at_a_time(ledger: Ledger) -> None:
    with ledger.acquire(SYNC, holder="a", ttl_s=0.3) as lease:
        delivery = begun(lease)

        def send(first: int) -> None:
            for number in range(first, first + 10):
                lease.check()
                lease.record(delivery, intended=[intended(number)])
                lease.check()
                lease.record(delivery, ended=[ended(number)])

        threads = [threading.Thread(target=send, args=(10 * index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert numbers(lease.attempts(delivery), with_end=True) == list(range(80))


@pytest.mark.parametrize("ttl_s", [0, -1])
def test_a_lease_that_never_holds_is_refused(ledger: Ledger, ttl_s: float) -> None:
    with pytest.raises(ValueError, match="ttl_s"):
        ledger.acquire(SYNC, holder="a", ttl_s=ttl_s)


@pytest.mark.diagonal("new_ledger_url")
def test_two_processes_never_hold_one_lease_together(ledger_url: str, tmp_path: Path) -> None:
    with workers(ledger_url, 2) as both:
        for worker in both:
            worker.ask("contend", rounds=30, file=str(tmp_path / "held"))

        first, second = (worker.answer() for worker in both)

    assert sorted(first + second) == list(range(1, 61))
    for epochs in (first, second):
        assert all(earlier < later for earlier, later in pairwise(epochs))
    assert min(second) < max(first)
    assert min(first) < max(second)


def test_a_worker_that_was_paused_notes_its_last_answer_and_sends_nothing_more(ledger_url: str) -> None:
    with workers(ledger_url) as (worker,), opened(ledger_url) as ledger:
        worker.do("acquire", ttl_s=2)
        worker.do("begin")
        worker.do("intend", number=0)
        worker.stop()

        with ledger.acquire(SYNC, holder="successor", wait_s=20) as lease:
            worker.go_on()
            delivery = lease.open_delivery()
            assert delivery is not None

            assert worker.do("check") == "LeaseLostError"
            assert worker.do("intend", number=1) == "LeaseLostError"
            assert worker.do("end_and_intend", number=0) == "LeaseLostError"
            assert worker.do("advance") == "LeaseLostError"
            assert worker.do("begin") == "LeaseLostError"
            assert worker.do("release") is None

            (attempt,) = lease.attempts(delivery)
            assert attempt.outcomes == Outcomes.rejected(10, "late")
            assert (attempt.number, attempt.epoch, lease.epoch) == (0, 1, 2)
            assert lease.current() is None
            lease.check()


def test_a_paused_worker_continues_if_no_other_took_over(ledger_url: str) -> None:
    with workers(ledger_url) as (worker,):
        worker.do("acquire", ttl_s=1)
        worker.stop()
        time.sleep(1.5)
        worker.go_on()

        assert worker.do("check") is None
        assert worker.do("begin") is None


def test_a_worker_paused_in_a_transaction_of_postgres_does_not_lock_others_out(postgres: Postgres) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE SCHEMA paused")
    url = f"postgresql+psycopg://postgres@/postgres?host={postgres.socket_folder}&options=-csearch_path%3Dpaused"
    with workers(url) as (worker,), opened(url) as ledger:
        _pause_in_transaction(worker, postgres)

        with ledger.acquire(SYNC, holder="successor", wait_s=30) as lease:
            delivery = lease.open_delivery()
            assert delivery is not None
            before = lease.attempts(delivery)
            worker.go_on()

            assert worker.answer() in {"LeaseLostError", "LedgerUnavailableError"}
            assert worker.do("check") == "LeaseLostError"
            assert len(lease.attempts(delivery)) == len(before)


def _pause_in_transaction(worker: Worker, postgres: Postgres) -> None:
    """Stop a worker that records on and on, until that is between the beginning and the end of a transaction."""
    worker.do("acquire", ttl_s=1)
    worker.do("begin")
    worker.ask("record_on_and_on")
    assert worker.answer() == "recording"
    with postgres.connect() as connection:
        for _ in range(500):
            worker.stop()
            time.sleep(0.02)
            if connection.execute(_LOCKED_BY_NOBODY_AT_WORK).fetchall() != [(0,)]:
                return
            worker.go_on()
            time.sleep(0.003)
    raise AssertionError("the worker was never stopped in a transaction")
