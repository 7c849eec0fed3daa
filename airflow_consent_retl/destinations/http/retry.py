"""Retries of requests: with growing waits, never before `Retry-After`, and with the doubt after lost answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

import tenacity

from airflow_consent_retl.destinations.http.attempt import AttemptError, RequestDoubt

if TYPE_CHECKING:
    from airflow_consent_retl.contract.account_rate import AccountRate
    from airflow_consent_retl.destinations.http.pace import Pace

T = TypeVar("T")

_LONGEST_BACKOFF_S = 60.0


class RetryLimits(Protocol):
    """The limits of retries, as the options of a destination have them."""

    @property
    def max_attempts(self) -> int:
        """Maximum number of tries of a request."""

    @property
    def max_retry_s(self) -> float:
        """Seconds after which a request is not retried."""

    @property
    def backoff_s(self) -> float:
        """Longest wait before the second try.

        It doubles with each try, up to a minute; the actual wait is a random part of it.
        """


class Retries:
    """Tries requests again while that may help; any number of threads may share it.

    Args:
        pace: all tries wait for it.
        limits: see there.
    """

    def __init__(self, pace: Pace, limits: RetryLimits) -> None:
        self.pace = pace
        self._max_attempts = limits.max_attempts
        self._max_retry_s = limits.max_retry_s
        self._backoff = tenacity.wait_random_exponential(multiplier=limits.backoff_s, max=_LONGEST_BACKOFF_S)
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """End all waits and all retries."""
        self._given_up.set()

    def pause(self, wait_s: float) -> bool:
        """Wait; return False if it ended before, because all waits end."""
        return not self._given_up.wait(wait_s)

    def run(
        self,
        attempt: Callable[[], T],
        *,
        doubt: RequestDoubt,
        before_request: Callable[[], None] | None = None,
        rates: Sequence[AccountRate] | None = None,
    ) -> T:
        """Return the result of the first try that has a final answer.

        Args:
            attempt: makes one try.
            doubt: filled in when a try may have been applied although its answer was lost.
            before_request: called just before each try; its errors are not caught.
            rates: the account's limits on this kind of requests; None: those on all requests.

        Raises:
            AttemptError: of the last try.
        """

        def once() -> T:
            self.pace.wait(at_most_s=self._max_retry_s, stop=self._given_up, rates=rates)
            # INVARIANT: all waits are over, so the check of the lease is as recent as possible.
            if before_request is not None:
                before_request()
            try:
                return attempt()
            except AttemptError as failure:
                if failure.maybe_applied:
                    doubt.code = failure.code
                raise

        result: T = self._retrying()(once)
        return result

    def _retrying(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(AttemptError),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self._max_attempts),
                tenacity.stop_before_delay(self._max_retry_s),
                tenacity.stop_when_event_set(self._given_up),
            ),
            wait=self._wait_s,
            sleep=tenacity.sleep_using_event(self._given_up),
            reraise=True,
        )

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        asked_s = failure.retry_after_s if isinstance(failure, AttemptError) else None
        # Never before the named time, and a random time after it, so that threads do not all come at once.
        return self._backoff(state) if asked_s is None else asked_s + min(self._backoff(state), 1.0)


def retry_after_s(value: bytes | None) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, or None for an unreadable one."""
    text = (value or b"").decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9]) if len(text) <= 9 else 1e9
    try:
        named = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return max(0.0, named.timestamp() - time.time())
