"""Whole numbers that lie close together, by position: such as ids that a database counts upwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FREE = -1
_LEAST_ENTRIES, _AT_A_TIME = 1 << 10, 1 << 17
_LEAST_NUMBER = int(np.iinfo(np.int64).min)


class NumberTable:
    """Different numbers by position.

    Memory: 4 to 5 bytes for each number from the lowest to the highest, and as much again while it grows.

    Args:
        most: how many numbers there may be from the lowest to the highest, at most 2³¹.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        # Those that were added; the entries begin with the number `_base`.
        self._lowest = self._highest = self._base = 0
        self._entries = np.empty(0, np.int32)

    def add(self, numbers: NDArray[np.int64], start: int) -> bool:
        """Add numbers at the positions from `start` on. Return False, and add none, if one repeats or is too far."""
        if not len(numbers):
            return True
        if not self._has_room(int(numbers.min()), int(numbers.max())):
            return False
        places = self._places(numbers)
        if (self._entries[places] != _FREE).any():
            return False
        positions = np.arange(start, start + len(numbers), dtype=np.int32)
        self._entries[places] = positions
        if (self._entries[places] == positions).all():
            return True
        self._entries[places] = _FREE
        return False

    def positions(self, numbers: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the position of each number; -1 for a number that was not added."""
        if not len(self._entries):
            return np.full(len(numbers), _FREE, np.int32)
        last = np.uint64(len(self._entries) - 1)
        places = self._places(numbers)
        found: NDArray[np.int32] = self._entries[np.minimum(places, last)]
        found[places > last] = _FREE
        return found

    def numbers(self) -> Iterator[NDArray[np.int64]]:
        """Yield all numbers in the order of their positions, which begin at 0, some at a time."""
        ordered = np.empty(int(self._entries.max(initial=_FREE)) + 1, np.int32)
        for start in range(0, len(self._entries), _AT_A_TIME):
            entries = self._entries[start : start + _AT_A_TIME]
            places = np.flatnonzero(entries != _FREE)
            ordered[entries[places]] = places + start
        for start in range(0, len(ordered), _AT_A_TIME):
            yield ordered[start : start + _AT_A_TIME] + np.int64(self._base)

    def _places(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        # Without a sign a number below the lowest is beyond the end, whatever overflows.
        return numbers.view(np.uint64) - np.array(self._base).view(np.uint64)

    def _has_room(self, lowest: int, highest: int) -> bool:
        """Tell whether the table can hold numbers from the lowest to the highest, and make room for them."""
        size = len(self._entries)
        first, last = (min(lowest, self._lowest), max(highest, self._highest)) if size else (lowest, highest)
        if last - first >= self._most:
            return False
        if first < self._base or last >= self._base + size:
            # A quarter more at least, on the side that grows: few copies, in whichever order the numbers come.
            entries = max(size + size // 4, last - first + 1, _LEAST_ENTRIES)
            grown = np.full(min(entries, self._most), _FREE, np.int32)
            base = max(last - len(grown) + 1, _LEAST_NUMBER) if size and first < self._base else first
            if size:
                old = self._entries[self._lowest - self._base : self._highest - self._base + 1]
                grown[self._lowest - base : self._highest - base + 1] = old
            self._base, self._entries = base, grown
        self._lowest, self._highest = first, last
        return True
