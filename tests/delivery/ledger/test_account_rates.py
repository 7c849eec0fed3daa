"""A vendor's limit on an account: kept by all workers together, whatever becomes of one of them."""

from __future__ import annotations

import itertools
import logging
import re
import threading
import time

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledgers import SYNC, opened
from support.log_lines import unwrapped
from support.processes import StartedProgram

from airflow_consent_retl.contract.account_rate import AccountRate, LocalReserve, RateBlock, reserved
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.account_rates import LedgerReserve
from airflow_consent_retl.destinations.http.account_pace import AccountPace
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.pace import Pace

SECRET = "pat-canary-6f21"
RATE = AccountRate(account=SECRET, requests=20, period_s=1, vendor="Acme")


def most_in_a_window(times: list[float], rate: AccountRate) -> int:
    """Return the most requests in one window of the vendor."""
    if rate.by_clock:
        windows = [int(at // rate.period_s) for at in times]
        return max(len(list(same)) for _, same in itertools.groupby(sorted(windows)))
    ordered = sorted(times)
    return max(sum(1 for at in ordered if first <= at < first + rate.period_s) for first in ordered)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 60),
    st.sampled_from([1.0, 3.0, 60.0]),
    st.booleans(),
    st.lists(st.tuples(st.floats(0, 0.3), st.integers(1, 30), st.floats(0, 1)), min_size=1, max_size=120),
)
def test_no_window_of_the_vendor_has_more_requests_than_the_limit(
    requests: int, period_s: float, by_clock: bool, steps: list[tuple[float, int, float]]
) -> None:
    rate = AccountRate(account="a", requests=requests, period_s=period_s, by_clock=by_clock)
    now_us, used, times = 1_700_000_000_000_000, dict[int, int](), list[float]()

    for pause, wanted, late in steps:
        now_us += round(pause * period_s * 1e6)
        block, used = reserved(rate, used, wanted, now_us=now_us)
        assert bool(block.requests) != bool(block.wait_s)
        # At any time while the block is valid.
        times += [now_us / 1e6 + late * block.valid_s * 0.999] * block.requests

    assert not times or most_in_a_window(times, rate) <= requests


@pytest.mark.parametrize("by_clock", [False, True])
def test_most_of_the_limit_can_be_used_and_the_wait_that_is_named_is_long_enough(by_clock: bool) -> None:
    rate = AccountRate(account="a", requests=40, period_s=2, by_clock=by_clock)
    now_us, used, made = 1_700_000_000_000_000, dict[int, int](), 0
    end_us = now_us + 20_000_000

    while now_us < end_us:
        block, used = reserved(rate, used, 5, now_us=now_us)
        made += block.requests
        now_us += round(block.wait_s * 1e6) or 1000

    assert 0.9 * 400 <= made <= 440
    assert len(used) <= 22


def test_a_clock_that_was_ahead_blocks_an_account_for_one_window_at_most() -> None:
    ahead_us, now_us = 1_700_000_999_000_000, 1_700_000_000_000_000
    _, used = reserved(RATE, {}, 1, now_us=ahead_us)
    used = dict.fromkeys(used, 20)

    block, used = reserved(RATE, used, 1, now_us=now_us)
    assert block == RateBlock(0, wait_s=block.wait_s)
    block, _ = reserved(RATE, used, 1, now_us=now_us + round(block.wait_s * 1e6))

    assert block.requests == 1


def test_syncs_and_workers_of_a_ledger_share_an_account_and_others_do_not(ledger_url: str) -> None:
    rate = AccountRate(account=SECRET, requests=40, period_s=600, vendor="Acme", by_clock=False)
    other = AccountRate(account="another account", requests=40, period_s=600, vendor="Acme")

    def taken(reserve: LedgerReserve, rate: AccountRate) -> int:
        return sum(reserve(rate, 2).requests for _ in range(30))

    with opened(ledger_url) as one, opened(ledger_url) as two:
        first, second = LedgerReserve(one._database), LedgerReserve(two._database)
        assert first(rate, 5) == RateBlock(2, valid_s=first(rate, 1).valid_s) or first(rate, 1).requests == 1
        assert taken(second, rate) <= 37
        assert taken(first, rate) == 0
        assert taken(first, other) == 40


def test_the_ledger_has_no_name_of_an_account(ledger: Ledger, ledger_url: str) -> None:
    with ledger.acquire(SYNC, holder="test") as lease:
        assert lease.reserve(RATE, 1).requests == 1

    engine = sa.create_engine(ledger_url)
    with engine.connect() as connection:
        stored = connection.execute(sa.text("SELECT * FROM consent_retl_account_rates")).all()
    engine.dispose()
    assert len(stored) == 1
    assert SECRET not in str(stored)
    assert SECRET not in f"{RATE!r} {RATE.words}"


WORKER = """
import sys, time
from support.ledgers import opened
from airflow_consent_retl.contract.account_rate import AccountRate
from airflow_consent_retl.delivery.ledger.account_rates import LedgerReserve
from airflow_consent_retl.destinations.http.account_pace import AccountPace
from airflow_consent_retl.destinations.http.pace import Pace
with opened(sys.argv[1]) as ledger:
    rate = AccountRate(account="pat-canary-6f21", requests=int(sys.argv[2]), period_s=1, vendor="Acme")
    pace = AccountPace(Pace(), [rate], LedgerReserve(ledger._database), requests=0)
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        pace.wait(at_most_s=10)
        print(f"at {time.time()} ", flush=True)
"""


def test_processes_keep_the_limit_together_when_one_of_them_is_killed(ledger_url: str) -> None:
    requests = 100
    with opened(ledger_url):
        pass
    workers = [StartedProgram(WORKER, ledger_url, str(requests)) for _ in range(3)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()

    time.sleep(1.2)
    workers[0].kill()
    time.sleep(1.8)
    for worker in workers:
        worker.kill()
    written = [worker.ended()[1].splitlines() for worker in workers]
    times = [[float(line.split()[1]) for line in lines if re.fullmatch(r"at \S+ ", line)] for lines in written]

    every = [at for of_one in times for at in of_one]
    assert all(of_one for of_one in times)
    # A process that gets no processor notes its times late: at most those of one block.
    assert most_in_a_window(every, AccountRate(account="a", requests=1, period_s=0.95)) <= 1.2 * requests
    assert len(every) > 0.25 * requests * (max(every) - min(every))


def test_a_block_of_requests_costs_one_question(ledger: Ledger) -> None:
    rate = AccountRate(account="a", requests=2000, period_s=3600)
    asked = []

    def reserve(rate: AccountRate, wanted: int) -> RateBlock:
        asked.append(wanted)
        return LedgerReserve(ledger._database)(rate, wanted)

    pace = AccountPace(Pace(), [rate], reserve, requests=500)
    for _ in range(500):
        pace.wait(at_most_s=1)

    assert len(asked) <= 12
    assert max(asked) == 100


def test_a_limit_that_bounds_a_load_is_named_with_the_time_that_is_left(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rate = AccountRate(account=SECRET, requests=1, period_s=0.4, vendor="Acme")
    pace = AccountPace(Pace(), [rate], LocalReserve(), requests=1000)

    for _ in range(5):
        pace.wait(at_most_s=10)

    news = [unwrapped(record.getMessage()) for record in caplog.records]
    assert len(news) == 1
    assert news[0].startswith("Acme takes 1 requests in 0.4 s from an account, all its workers together, and this")
    assert "requests that are left take at least 7 min" in news[0]
    assert SECRET not in caplog.text


def test_a_wait_beyond_the_time_of_retries_is_an_answer_and_not_a_wait() -> None:
    rate = AccountRate(account="a", requests=1, period_s=86_400, by_clock=False, vendor="Acme")
    pace = AccountPace(Pace(), [rate], LocalReserve(), requests=2)
    pace.wait(at_most_s=1)

    with pytest.raises(AttemptError) as over:
        pace.wait(at_most_s=60)

    assert over.value.code == "over_account_rate"
    assert not over.value.maybe_applied
    assert 80_000 < (over.value.retry_after_s or 0) < 95_000


def test_a_load_that_is_stopped_waits_no_longer() -> None:
    rate = AccountRate(account="a", requests=1, period_s=50)
    pace = AccountPace(Pace(), [rate], LocalReserve(), requests=2)
    pace.wait(at_most_s=100)
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()

    begun = time.monotonic()
    with pytest.raises(AttemptError, match="given_up"):
        pace.wait(at_most_s=100, stop=stop)

    assert time.monotonic() - begun < 5
