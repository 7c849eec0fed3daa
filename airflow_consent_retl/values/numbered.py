"""Distinct whole numbers, without sorting where they are small."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A table of this many entries is filled in less time than as many numbers are sorted.
_TABLE_NUMBERS = 1 << 17


def numbered(numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct numbers, ascending, and for each number its place among them.

    Args:
        numbers: none of which is negative.
    """
    highest = int(numbers.max(initial=0))
    if highest >= _TABLE_NUMBERS:
        distinct, places = np.unique(numbers, return_inverse=True)
        return distinct, places
    is_there = np.zeros(highest + 1, dtype=np.bool_)
    is_there[numbers] = True
    return np.flatnonzero(is_there), (np.cumsum(is_there) - 1)[numbers]
