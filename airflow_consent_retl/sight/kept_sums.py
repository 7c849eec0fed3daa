"""Sums of the runs of many syncs, kept in the process until the ledger has another run: pages ask for the same ones."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Final, Generic, TypeVar

Sums = TypeVar("Sums")
_MOST: Final = 8


class KeptSums(Generic[Sums]):
    """A few sums, each under a key that says everything on which it depends. Threads may share it."""

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Sums] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Sums]) -> Sums:
        """Return the sums of a key, and make them if they are not kept."""
        with self._lock:
            found = self._kept.get(key)
        # Two threads may make the same: neither waits for the other one's database.
        sums = make() if found is None else found
        with self._lock:
            self._kept[key] = sums
            self._kept.move_to_end(key)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return sums
