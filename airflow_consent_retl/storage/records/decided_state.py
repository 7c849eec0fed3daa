"""What is decided about everyone of a model: one number for each person, sorted, and the changes between two runs.

The first 52 bits of a number are those of the person's subject, the other ones number the class of the decision. Two
runs are compared by reading both in ascending order, a slice at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from airflow_consent_retl.storage.manifest import Part
from airflow_consent_retl.storage.records.subjects import DECIDED_BITS, DECIDED_MASK
from airflow_consent_retl.storage.verified_file import check_digests, read_fully

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.folder import Folder

CLASS_MASK: Final = ~DECIDED_MASK
MAX_CLASSES: Final = 1 << (64 - DECIDED_BITS)
NO_CLASS: Final = -1
_STORED = np.dtype("<u8")
_SLICE_ROWS = 1_048_576
# States of earlier releases are Parquet files.
_EARLIER = ".parquet"
_NONE = np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class ChangedDecisions:
    """People whose decision changed: their subjects, and the classes now and before, `NO_CLASS` for none."""

    subjects: NDArray[np.uint64]
    now: NDArray[np.int16]
    before: NDArray[np.int16]


class StateWriter:
    """Writes the numbers of a run, slice by slice in ascending order, 8 bytes for each.

    The numbers are as good as random: an encoding would cost time and save nothing.

    Args:
        folder: of the file.
        name: of the file.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self._name = name
        self._files = ExitStack()
        self._file = self._files.enter_context(folder.create(name))
        self._sha256 = hashlib.sha256()
        self._people = 0

    def write(self, values: NDArray[np.uint64]) -> None:
        """Append a slice."""
        written = values.astype(_STORED, copy=False).view(np.uint8).data
        self._file.write(written)
        self._sha256.update(written)
        self._people += len(values)

    def close(self) -> Part:
        """Finish the file and describe it."""
        self._files.close()
        size_bytes = self._people * _STORED.itemsize
        return Part(name=self._name, sha256=self._sha256.hexdigest(), rows=self._people, size_bytes=size_bytes)

    def abort(self) -> None:
        """Close an unfinished file."""
        self._files.close()


def read_state(folder: Folder, part: Part | None) -> Iterator[NDArray[np.uint64]]:
    """Yield the numbers of a state in ascending order; none without a file.

    They are verified when all have been read, so that the file is read only once.

    Raises:
        RefusedError: the file is gone, or was changed.
    """
    if part is None:
        return
    if part.name.endswith(_EARLIER):
        folder.verify(part)
        for rows in folder.read_rows([part], batch_rows=_SLICE_ROWS):
            yield np.asarray(rows.column(0))
        return
    sha256, size_bytes = hashlib.sha256(), 0
    with folder.fs.open(folder.file_path(part.name), "rb") as file:
        while block := read_fully(file, _SLICE_ROWS * _STORED.itemsize):
            sha256.update(block)
            size_bytes += len(block)
            yield np.frombuffer(block, _STORED, len(block) // _STORED.itemsize)
    check_digests(part, sha256.hexdigest(), size_bytes, place=f"{folder.uri}/{part.name}")


def changes(
    before: Iterable[NDArray[np.uint64]], now: Iterable[NDArray[np.uint64]]
) -> Iterator[tuple[NDArray[np.uint64], ChangedDecisions]]:
    """Yield each slice of the present numbers, with the changes that it makes.

    Args:
        before: the numbers of the last run, ascending.
        now: the numbers of this run, ascending, each once. All numbers of a person are in one slice.
    """
    earlier = _Ascending(before)
    for values in now:
        if len(values):
            yield values, _changed(earlier.up_to(values[-1] | CLASS_MASK), values)
    rest = earlier.rest()
    if len(rest):
        yield _NONE, _changed(rest, _NONE)


def _changed(before: NDArray[np.uint64], now: NDArray[np.uint64]) -> ChangedDecisions:
    once = _once(before, now)
    is_new, _ = _found_in(now, once)
    new, gone = once[is_new], once[~is_new]
    subjects, lost = new & DECIDED_MASK, gone & DECIDED_MASK
    # The class before of each person with a new number; of people with several rows, the first one.
    was_known, places = _found_in(lost, subjects)
    classes_before = np.full(len(subjects), NO_CLASS, dtype=np.int16)
    classes_before[was_known] = (gone[places[was_known]] & CLASS_MASK).astype(np.int16)
    # Ascending also where a person has several rows: the subject is in the first bits.
    is_left = ~_have_subject(now, lost)
    left, left_before = lost[is_left], gone[is_left] & CLASS_MASK
    return ChangedDecisions(
        np.concatenate([subjects, left]),
        np.concatenate([(new & CLASS_MASK).astype(np.int16), np.full(len(left), NO_CLASS, dtype=np.int16)]),
        np.concatenate([classes_before, left_before.astype(np.int16)]),
    )


def _once(before: NDArray[np.uint64], now: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return, ascending, the numbers that only one of two ascending arrays has; each has a number at most once."""
    if len(before) == len(now):
        # Most runs have the people of the run before: then only their new classes differ, place by place.
        differ = before != now
        before, now = before[differ], now[differ]
    both = np.concatenate([before, now])
    # The stable sort merges two ascending runs in one pass. Nearly all numbers are in both.
    both.sort(kind="stable")
    differs = both[1:] != both[:-1]
    is_once = np.ones(len(both), dtype=np.bool_)
    is_once[1:] &= differs
    is_once[:-1] &= differs
    return both[is_once]


def _have_subject(numbers: NDArray[np.uint64], subjects: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return for each subject whether one of these ascending numbers is of it."""
    if not len(numbers):
        return np.zeros(len(subjects), dtype=np.bool_)
    places = np.minimum(np.searchsorted(numbers, subjects), len(numbers) - 1)
    found: NDArray[np.bool_] = (numbers[places] & DECIDED_MASK) == subjects
    return found


def _found_in(ascending: NDArray[np.uint64], values: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return for each value, ascending, whether it is among others, and where."""
    if not len(ascending):
        return np.zeros(len(values), dtype=np.bool_), np.zeros(len(values), dtype=np.int64)
    places = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return ascending[places] == values, places


class _Ascending:
    """A reader of ascending numbers up to a bound."""

    def __init__(self, slices: Iterable[NDArray[np.uint64]]) -> None:
        self._slices = iter(slices)
        self._pending = _NONE

    def up_to(self, bound: np.uint64) -> NDArray[np.uint64]:
        """Return the next numbers that are not above a bound."""
        found: list[NDArray[np.uint64]] = []
        while not len(self._pending) or self._pending[-1] <= bound:
            found.append(self._pending)
            more = next(self._slices, None)
            if more is None:
                self._pending = _NONE
                return np.concatenate(found)
            self._pending = more
        end = int(np.searchsorted(self._pending, bound, side="right"))
        found.append(self._pending[:end])
        self._pending = self._pending[end:]
        return np.concatenate(found)

    def rest(self) -> NDArray[np.uint64]:
        """Return all remaining numbers."""
        return np.concatenate([self._pending, *self._slices])
