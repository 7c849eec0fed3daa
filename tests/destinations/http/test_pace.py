"""The pace of requests: bursts, the average over them, and the times that the other side names."""

from __future__ import annotations

import threading
import time

import pytest

from airflow_consent_retl.contract import Limits
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.pace import Pace


def test_threads_share_the_pace_and_may_burst() -> None:
    pace = Pace.per_second(20, burst=4)
    made: list[float] = []

    def request() -> None:
        pace.wait(at_most_s=60)
        made.append(time.monotonic())

    threads = [threading.Thread(target=request) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Four at once, and never more than four in the 0.2 s that four requests take at 20 a second. Only lower bounds, so
    # that a busy machine changes nothing; each time is taken a little after the request was allowed.
    made.sort()
    assert made[11] - made[0] >= 0.35


@pytest.mark.parametrize("requests_per_s", [0.5, 1, 2.5])
def test_without_a_burst_the_requests_of_one_second_may_follow_each_other(requests_per_s: float) -> None:
    pace = Pace.per_second(requests_per_s)

    for _ in range(max(1, int(requests_per_s))):
        pace.wait(at_most_s=0)
    stop = threading.Event()
    stop.set()
    with pytest.raises(AttemptError, match="given_up"):
        pace.wait(at_most_s=60, stop=stop)


def test_a_destination_without_a_limit_never_waits() -> None:
    pace = Pace.per_second(None)

    for _ in range(100_000):
        pace.wait(at_most_s=0)


def test_a_time_that_the_other_side_named_is_waited_for_or_refused() -> None:
    pace = Pace(code="over_quota")
    pace.hold(0.1)
    begun = time.monotonic()

    pace.wait(at_most_s=5)

    assert time.monotonic() - begun >= 0.1
    pace.hold(60)
    with pytest.raises(AttemptError, match="over_quota") as failure:
        pace.wait(at_most_s=5)
    assert failure.value.retry_after_s == pytest.approx(60, abs=5)
    assert not failure.value.maybe_applied


@pytest.mark.parametrize("limits", [{"requests_per_s": 0}, {"requests_per_s": -1}, {"burst_requests": 0}])
def test_limits_that_allow_nothing_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(limits))} must be"):
        Limits(batch_rows=1, **limits)  # type: ignore[arg-type]
