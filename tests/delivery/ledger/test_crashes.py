"""Workers that die: at each step of a delivery, and anywhere in a transaction."""

from __future__ import annotations

import time

import pytest
from support.ledgers import SYNC, opened, workers

STEPS = [
    ("begin", {}),
    ("intend", {"number": 0}),
    ("end_and_intend", {"number": 0}),
    ("end", {"number": 1}),
    ("advance", {}),
    ("release", {}),
]


@pytest.mark.diagonal("new_ledger_url")
@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_the_next_try_goes_on_from_whichever_step_was_the_last(ledger_url: str, done: int) -> None:
    with workers(ledger_url) as (worker,):
        worker.do("acquire", ttl_s=0.5)
        for step, arguments in STEPS[:done]:
            assert worker.do(step, **arguments) is None
        worker.kill()

    with opened(ledger_url) as ledger, ledger.acquire(SYNC, holder="next", wait_s=10) as lease:
        delivery, current = lease.open_delivery(), lease.current()
        attempts = lease.attempts(ledger.deliveries(SYNC)[0]) if done else []

    assert (delivery is not None) == (1 <= done < 5)
    assert (current is not None) == (done >= 5)
    ends = [attempt.outcomes is not None for attempt in attempts]
    assert ends == {0: [], 1: [], 2: [False], 3: [True, False]}.get(done, [True, True])


@pytest.mark.diagonal("new_ledger_url")
def test_a_worker_killed_anywhere_in_a_transaction_leaves_all_of_it_or_nothing(ledger_url: str) -> None:
    for pause_s in (0.0, 0.013, 0.031, 0.057, 0.083, 0.119):
        with workers(ledger_url) as (worker,):
            worker.do("acquire", ttl_s=0.5, wait_s=10)
            worker.do("begin")
            worker.ask("record_on_and_on")
            assert worker.answer() == "recording"
            time.sleep(pause_s)
            worker.kill()

        with opened(ledger_url) as ledger, ledger.acquire(SYNC, holder="next", wait_s=10) as lease:
            delivery = lease.open_delivery()
            assert delivery is not None
            attempts = lease.attempts(delivery)
            lease.advance(delivery, uri="file:///state", sha256="", rows=0, decided_at=delivery.decided_at)

        # Each transaction ended one batch and began the next: one is always in progress.
        assert [attempt.number for attempt in attempts] == list(range(len(attempts)))
        assert [attempt.ended_at is None for attempt in attempts] == [False] * (len(attempts) - 1) + [True]
        assert attempts[-1].lost_at is not None
