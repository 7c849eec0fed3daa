"""Sorting of many 64-bit numbers in bounded memory: sorted runs in a temporary file, read slice by slice.

The file is private and has no name, and disappears with the process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from airflow_consent_retl.values.temporary import temporary_file

Numbers = NDArray[np.uint64]

_SLICES = 4096
_SLICE_BOUNDS = np.arange(_SLICES, dtype=np.uint64) << np.uint64(64 - 12)


class SortedNumbers:
    """Numbers that are added in any order and read in ascending order. A context manager.

    Args:
        memory_limit_bytes: roughly how much memory it may use.
    """

    def __init__(self, *, memory_limit_bytes: int) -> None:
        # A run is collected, then joined and sorted: that takes twice its size.
        self._run_length = max(_SLICES, memory_limit_bytes // 16)
        self._pending: list[Numbers] = []
        self._pending_count = 0
        # For each spilled run, where its slices begin in the file and where the last one ends, in numbers.
        self._cuts: list[NDArray[np.int64]] = []
        self._spilled_count = 0
        self._spill: IO[bytes] | None = None

    def add(self, numbers: Numbers) -> None:
        """Add numbers."""
        self._pending.append(numbers)
        self._pending_count += len(numbers)
        if self._pending_count >= self._run_length:
            self._spill_run()

    def slices(self) -> Iterator[Numbers]:
        """Yield all numbers in ascending order, as often as it is called; then none can be added any more.

        Numbers whose first 12 bits are equal are in one slice.
        """
        if not self._cuts:
            run = self._take_pending()
            run.sort()
            self._pending = [run]
            yield run.copy()
            return
        if self._pending:
            self._spill_run()
        self._spill_file().flush()
        # Read as many slices at once as fit.
        step = max(1, _SLICES * self._run_length // self._spilled_count)
        for start in range(0, _SLICES, step):
            found = self._read_slices(start, min(start + step, _SLICES))
            # A few ascending runs, which the stable sort merges.
            found.sort(kind="stable")
            yield found

    def close(self) -> None:
        """Close the file, which deletes it."""
        if self._spill is not None:
            self._spill.close()

    def _read_slices(self, start: int, end: int) -> Numbers:
        descriptor = self._spill_file().fileno()
        pieces = [os.pread(descriptor, (cuts[end] - cuts[start]) * 8, cuts[start] * 8) for cuts in self._cuts]
        return np.concatenate([np.frombuffer(piece, np.uint64) for piece in pieces])

    def _take_pending(self) -> Numbers:
        taken = np.concatenate(self._pending) if self._pending else np.empty(0, np.uint64)
        self._pending, self._pending_count = [], 0
        return taken

    def _spill_run(self) -> None:
        run = self._take_pending()
        run.sort()
        self._spill_file().write(run.data)
        cuts = np.concatenate([np.searchsorted(run, _SLICE_BOUNDS), [len(run)]])
        self._cuts.append(cuts + self._spilled_count)
        self._spilled_count += len(run)

    def _spill_file(self) -> IO[bytes]:
        if self._spill is None:
            self._spill = temporary_file()
        return self._spill

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
