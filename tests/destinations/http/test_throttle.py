"""Answers that ask to come again later, and budgets of an account: declared as data, with the time of the next try."""

from __future__ import annotations

import json
import time

import pytest

from airflow_consent_retl.contract import DestinationUnavailableError
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.budget import Budget
from airflow_consent_retl.destinations.http.client import Answer
from airflow_consent_retl.destinations.http.throttle import Throttle, UsedUp

DAY = UsedUp("policy", "DAY", 3600, "daily_limit", "the requests of today are used up")
THROTTLE = Throttle(waits={423: 2, 429: 10}, window_header="x-window-ms", used_up=DAY)


def answer(status: int, document: object = None, retry_after_s: float | None = None, **headers: str) -> Answer:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(document or {}).encode(), retry_after_s, headers=named)


@pytest.mark.parametrize(
    ("given", "wait_s"),
    [
        (answer(423), 2),
        (answer(429), 10),
        (answer(429, retry_after_s=3.0), 3),
        (answer(429, x_window_ms="1500"), 1.5),
        (answer(429, retry_after_s=3.0, x_window_ms="1500"), 3),
        (answer(429, x_window_ms="soon"), 10),
        (answer(429, {"policy": "DAY"}), 3600),
        (answer(423, {"policy": "DAY"}), 2),
    ],
)
def test_a_declared_status_asks_for_another_try_after_the_time_that_it_names(given: Answer, wait_s: float) -> None:
    with pytest.raises(AttemptError) as asked:
        THROTTLE.check(given)

    assert asked.value.retry_after_s == wait_s
    assert not asked.value.maybe_applied


def test_a_window_of_the_clock_is_waited_for_until_its_end() -> None:
    clock = Throttle(reset_header="x-reset")

    with pytest.raises(AttemptError) as asked:
        clock.check(answer(429, retry_after_s=1.0, x_reset=str(int(time.time()) + 50)))

    assert asked.value.retry_after_s is not None
    assert 40 < asked.value.retry_after_s <= 50


@pytest.mark.parametrize("status", [200, 400, 500, 503])
def test_any_other_status_is_left_to_the_usual_rules(status: int) -> None:
    THROTTLE.check(answer(status, {"policy": "DAY"}))


def budget(used: int) -> Budget:
    return Budget(
        account="the Acme account",
        used=used,
        limit=100,
        window="24 hours",
        share=0.9,
        option="max_share",
        again_s=3600,
    )


@pytest.mark.parametrize(("used", "left"), [(0, 90), (89, 1), (90, 0), (120, 0)])
def test_a_budget_leaves_what_its_share_leaves(used: int, left: int) -> None:
    assert budget(used).left == left


def test_a_budget_refuses_more_at_its_share_and_names_the_time_of_the_next_try() -> None:
    budget(89).check()

    words = r"max_share=0.9 .* [0-9]{2}:[0-9]{2} UTC or later"
    with pytest.raises(DestinationUnavailableError, match=words) as refused:
        budget(90).check()

    assert refused.value.retry_after_s == 3600
