"""A vendor's limit on the requests of one account, and the rule by which its workers share it. Pure.

The time is cut into slots. Workers reserve blocks of requests; a block has to be used within its slot, and counts for
as long as any window of the vendor may contain a request of it. So a worker that dies has spent its block, and no more.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

# A rolling window is this many slots, and may touch one more: of N requests, N in 21/20 of the period are possible.
_SLOTS = 20
_SHORT_S = 60.0
_MICROS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRate:
    """A limit on the requests of one account in a window of time, over all workers and syncs.

    Args:
        account: what the vendor counts by: the account's id, or the secret that stands for it. It is never shown, and
            only a keyed digest is stored.
        requests: the most requests in a window.
        period_s: the length of a window.
        by_clock: whether windows begin at whole multiples of their length since 1970, UTC. If not, the limit is on any
            window of this length.
        vendor: its name, for the log, perhaps with the part of its API that the limit is on. The limits of one account
            that have another vendor, length or kind of window are counted apart.

    Raises:
        ValueError: a value is out of its range.
    """

    account: str = field(repr=False)
    requests: int
    period_s: float
    by_clock: bool = False
    vendor: str = "the vendor"

    def __post_init__(self) -> None:
        if not self.account or self.requests < 1 or not self.period_s > 0:
            raise ValueError("account must not be empty, requests must be at least 1, and period_s above 0")

    @property
    def identity(self) -> str:
        """The text that a store digests to keep the limit's counts."""
        return f"{self.vendor}\n{self.account}\n{self.period_s:g}\n{self.by_clock}"

    @property
    def block_requests(self) -> int:
        """The most requests of a block: a part of the limit, so that no worker takes all of it."""
        return max(1, self.requests // _SLOTS)

    @property
    def words(self) -> str:
        """The limit for people: `Acme takes 190 requests in 10 s from an account`."""
        window = f"{self.period_s:g} s" + (" of its clock" if self.by_clock else "")
        return f"{self.vendor} takes {self.requests:,} requests in {window} from an account"


@dataclass(frozen=True, slots=True)
class RateBlock:
    """Requests that a worker may make.

    Args:
        requests: their number; 0: none now.
        valid_s: seconds in which they may be made.
        wait_s: where there are none, seconds until there may be.
    """

    requests: int
    valid_s: float = 0.0
    wait_s: float = 0.0


Reserve = Callable[[AccountRate, int], RateBlock]
"""Reserves at most so many requests for this worker."""


def reserved(
    rate: AccountRate, used: Mapping[int, int], wanted: int, *, now_us: int
) -> tuple[RateBlock, dict[int, int]]:
    """Return a block of at most `wanted` requests, and the counts with it.

    Args:
        rate: the limit.
        used: the requests that are reserved, by slot.
        wanted: at least 1.
        now_us: microseconds since 1970, by the clock that all workers share.
    """
    length_us = max(1, round(rate.period_s * _MICROS / _SLOTS))
    present = now_us // length_us
    oldest = present - present % _SLOTS if rate.by_clock else present - _SLOTS
    counts: dict[int, int] = {}
    for slot, requests in used.items():
        if slot >= oldest:
            # A clock that was ahead is back: the requests were made by now, and count from now.
            at = min(slot, present)
            counts[at] = counts.get(at, 0) + requests
    # Near the end of the vendor's window, a request could arrive in the next one.
    window_us = (oldest + _SLOTS) * length_us
    ends_us = window_us - min(_MICROS, length_us) if rate.by_clock else (present + 1) * length_us
    free = rate.requests - sum(counts.values())
    granted = min(wanted, rate.block_requests, free, _slot_requests(rate) - counts.get(present, 0))
    if granted > 0 and ends_us > now_us:
        counts[present] = counts.get(present, 0) + granted
        return RateBlock(granted, valid_s=(min(ends_us, (present + 1) * length_us) - now_us) / _MICROS), counts
    if rate.by_clock:
        free_us = window_us if free <= 0 or ends_us <= now_us else (present + 1) * length_us
    else:
        free_us = ((min(counts) + _SLOTS) if free <= 0 else present) * length_us + length_us
    return RateBlock(0, wait_s=max(1, free_us - now_us) / _MICROS), counts


def _slot_requests(rate: AccountRate) -> int:
    """Return the most requests in a slot: in a short window, each slot has its part, so that workers take turns."""
    return -(-rate.requests // _SLOTS) if rate.period_s <= _SHORT_S else rate.requests


class LocalReserve:
    """A store of counts in this process, where no ledger is at hand. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used: dict[str, dict[int, int]] = {}

    def __call__(self, rate: AccountRate, wanted: int) -> RateBlock:
        """Reserve, as `Reserve`."""
        with self._lock:
            now_us = time.time_ns() // 1000
            block, self._used[rate.identity] = reserved(rate, self._used.get(rate.identity, {}), wanted, now_us=now_us)
            return block
