"""The pace of requests: a maximum number in a period, over all threads. It sends nothing itself."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.http.attempt import AttemptError, end_of

if TYPE_CHECKING:
    from airflow_consent_retl.contract.account_rate import AccountRate

_NEVER = threading.Event()


class Pace:
    """A maximum number of requests in any period, over all threads, and none before a time that the other side named.

    Args:
        requests: maximum number in any period; None: any number.
        period_s: seconds.
        code: the error's code when the wait is too long.
    """

    def __init__(self, *, requests: int | None = None, period_s: float = 60, code: str = "paused") -> None:
        self._period_s = 0.0 if requests is None else period_s
        self._limited = requests is not None
        self._code = code
        self._lock = threading.Lock()
        self._made: deque[float] = deque(maxlen=requests)
        self._not_before = 0.0

    @classmethod
    def per_second(cls, requests_per_s: float | None, *, burst: int | None = None) -> Pace:
        """Return a pace of a number of requests a second on average.

        Args:
            requests_per_s: the number; None: any.
            burst: requests that may follow each other without a pause; by default those of one second.
        """
        if requests_per_s is None:
            return cls()
        at_once = burst or max(1, math.floor(requests_per_s))
        return cls(requests=at_once, period_s=at_once / requests_per_s)

    def hold(self, seconds: float) -> None:
        """Allow no request for this time."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def wait(
        self, *, at_most_s: float, stop: threading.Event = _NEVER, rates: Sequence[AccountRate] | None = None
    ) -> None:
        """Wait until the next request may be made, and count it.

        Args:
            at_most_s: seconds.
            stop: ends the wait.
            rates: the account's limits on this kind of requests, for a pace that keeps them; None: those on all.

        Raises:
            AttemptError: the other side named a time that is later than `at_most_s` seconds from now, or `stop` was
                set.
        """
        begun = time.monotonic()
        while left_s := self._take():
            if time.monotonic() + left_s > begun + max(at_most_s, self._period_s):
                words = f"it asked for a pause that ends at {end_of(left_s)}"
                raise AttemptError(self._code, maybe_applied=False, retry_after_s=left_s, words=words)
            if stop.wait(left_s):
                break
        if stop.is_set():
            raise AttemptError("given_up", maybe_applied=False)

    def _take(self) -> float:
        with self._lock:
            now = time.monotonic()
            free_at = self._not_before
            if self._limited and len(self._made) == self._made.maxlen:
                free_at = max(free_at, self._made[0] + self._period_s)
            if free_at > now:
                return free_at - now
            if self._limited:
                self._made.append(now)
            return 0.0
