"""The pace of calls that a quota allows, over all threads. Calls nobody itself."""

from __future__ import annotations

import threading
import time
from collections import deque

from airflow_consent_retl.destinations.google_customer_match.faults import PassingFaultError

_NEVER = threading.Event()


class Pace:
    """At most so many calls in any period, over all threads, and none before a time that the vendor named.

    Args:
        calls: per period.
        period_s: seconds.
    """

    def __init__(self, *, calls: int, period_s: float = 60) -> None:
        self._period_s = period_s
        self._lock = threading.Lock()
        self._made: deque[float] = deque(maxlen=calls)
        self._not_before = 0.0

    def hold(self, seconds: float) -> None:
        """Let nobody call for so long."""
        with self._lock:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def wait(self, *, at_most_s: float, stop: threading.Event = _NEVER) -> None:
        """Return when the next call may be made; it counts from then on.

        Raises:
            PassingFaultError: the vendor named a time that is later than `at_most_s` seconds from now, or `stop` was
                set.
        """
        begun = time.monotonic()
        while left_s := self._take():
            if time.monotonic() + left_s > begun + max(at_most_s, self._period_s):
                raise PassingFaultError("resource_exhausted", maybe_applied=False, retry_after_s=left_s)
            if stop.wait(left_s):
                break
        if stop.is_set():
            raise PassingFaultError("given_up", maybe_applied=False)

    def _take(self) -> float:
        with self._lock:
            now = time.monotonic()
            free_at = self._not_before
            if len(self._made) == self._made.maxlen:
                free_at = max(free_at, self._made[0] + self._period_s)
            if free_at > now:
                return free_at - now
            self._made.append(now)
            return 0.0
