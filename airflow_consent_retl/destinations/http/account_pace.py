"""The pace of requests under a vendor's limits for a whole account, shared with all other workers through the load."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.pace import Pace
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.contract.account_rate import AccountRate, RateBlock, Reserve
    from airflow_consent_retl.contract.destination import Load

log = module_log(__name__)

OVER_ACCOUNT_RATE = "over_account_rate"
# A limit that costs less time than this is no news; then it is named again at this interval.
_NEWS_S = 1.0
_EVERY_S = 60.0
_SPREAD_S = 0.05
_NEVER = threading.Event()


class AccountPace(Pace):
    """A pace that also keeps the limits of an account, over all workers.

    Args:
        own: the pace of this load alone.
        rates: the limits on requests of a purpose without limits of its own.
        reserve: of the load.
        requests: how many requests the load will make, about.
    """

    def __init__(self, own: Pace, rates: Sequence[AccountRate], reserve: Reserve, *, requests: int) -> None:
        super().__init__()
        self._own = own
        self._rates = rates
        self._reserve = reserve
        self._requests = requests
        self._shares: dict[AccountRate, _Share] = {}
        self._shares_lock = threading.Lock()

    @classmethod
    def of_load(cls, own: Pace, rates: Sequence[AccountRate], load: Load, *, batch_rows: int) -> AccountPace:
        """Return the pace of a load whose requests have so many rows."""
        return cls(own, rates, load.reserve, requests=-(-load.rows // batch_rows))

    def hold(self, seconds: float) -> None:
        """Allow no request for this time."""
        self._own.hold(seconds)

    def wait(
        self, *, at_most_s: float, stop: threading.Event = _NEVER, rates: Sequence[AccountRate] | None = None
    ) -> None:
        """Wait until the next request may be made, and count it; raises as `Pace.wait`.

        It waits for other workers for as long as the limit gives a turn within `at_most_s`.
        """
        self._own.wait(at_most_s=at_most_s, stop=stop)
        for rate in self._rates if rates is None else rates:
            self._share(rate).wait(at_most_s=at_most_s, stop=stop)

    def _share(self, rate: AccountRate) -> _Share:
        with self._shares_lock:
            return self._shares.setdefault(rate, _Share(rate, self._reserve, requests=self._requests))


class _Share:
    """This worker's part of one limit: a block at a time, larger while blocks are used up."""

    def __init__(self, rate: AccountRate, reserve: Reserve, *, requests: int) -> None:
        self._rate = rate
        self._reserve = reserve
        self._requests = requests
        self._lock = threading.Lock()
        self._wanted = 1
        self._left = 0
        self._ends_at = 0.0
        self._free_at = 0.0
        self._made = 0
        self._waited_s = 0.0
        self._news_at = 0.0

    def wait(self, *, at_most_s: float, stop: threading.Event) -> None:
        while (wait_s := self._take()) > 0:
            if wait_s > at_most_s:
                raise AttemptError(OVER_ACCOUNT_RATE, maybe_applied=False, retry_after_s=wait_s, words=self._words())
            # Not always the same worker first.
            wait_s += random.uniform(0.0, min(wait_s, _SPREAD_S))  # noqa: S311
            self._note(wait_s)
            if stop.wait(wait_s):
                raise AttemptError("given_up", maybe_applied=False)

    def _take(self) -> float:
        """Take one request; return 0, or the seconds until there may be one."""
        with self._lock:
            asked_at = time.monotonic()
            if asked_at < self._free_at:
                # Another thread asked.
                return self._free_at - asked_at
            if not self._left or asked_at >= self._ends_at:
                self._wanted = max(1, self._wanted // 2) if self._left else self._wanted
                block: RateBlock = self._reserve(self._rate, self._wanted)
                if not block.requests:
                    self._free_at = asked_at + block.wait_s
                    return block.wait_s
                if block.requests == self._wanted:
                    self._wanted = min(2 * self._wanted, self._rate.block_requests)
                # The first one is made at once, even if the answer took longer than the slot.
                self._left, self._ends_at = block.requests, asked_at + block.valid_s
            self._left -= 1
            self._made += 1
            return 0.0

    def _note(self, wait_s: float) -> None:
        with self._lock:
            self._waited_s += wait_s
            now = time.monotonic()
            if self._waited_s < _NEWS_S or now < self._news_at:
                return
            self._news_at = now + _EVERY_S
            words = self._words()
        log.info("%s", words)

    def _words(self) -> str:
        left = max(0, self._requests - self._made)
        left_s = left * self._rate.period_s / self._rate.requests
        for_it = f", so the {left:,} requests that are left take at least {_time(left_s)}" if left else ""
        return f"{self._rate.words}, all its workers together, and this bounds the load{for_it}"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
