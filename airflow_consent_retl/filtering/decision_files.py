"""The class of each person's decisions in a run over files: sorted numbers, compared with those of the run before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.filtering.decision_records import DecidedPeople, NewState
from airflow_consent_retl.storage.records.decided_state import CLASS_MASK, StateWriter, changes, read_state
from airflow_consent_retl.storage.records.documents import DecidedStateFile
from airflow_consent_retl.storage.records.subjects import DECIDED_MASK
from airflow_consent_retl.values.pipeline import read_ahead
from airflow_consent_retl.values.sorted_numbers import SortedNumbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.filtering.decision_records import DecisionRecorder
    from airflow_consent_retl.filtering.files import Record
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.records.documents import DecisionClass, DecisionRecords
    from airflow_consent_retl.storage.records.sorted_rows import SubjectRows

_SORTING_BYTES = 24 << 20


class SortedPeople(DecidedPeople):
    """The people of a run over files: their numbers are collected while the rows are filtered. A context manager.

    Args:
        recorder: of the run.
        content_sha256: the digest of the run's content: a run before with the same one decided the same about everyone.
        read_rows: passes all rows to a function, for a run whose rows were not passed to `add`; None: they were.
    """

    def __init__(
        self,
        recorder: DecisionRecorder,
        *,
        content_sha256: str = "",
        read_rows: Callable[[Record], None] | None = None,
    ) -> None:
        self._content_sha256 = content_sha256
        self._read_rows = read_rows
        self._key = recorder.key
        self._folder: Folder = recorder.folder
        self._log = recorder.log
        self._numbers = recorder.numbers.astype(np.uint64)
        self._resources = ExitStack()
        self._under_way: Future[None] | None = None

    def add(self, ids: pa.Array, signatures: NDArray[np.int64]) -> None:
        """Add rows, each with the number of its signature. Returns while another thread still works on them."""
        self._wait()
        self._under_way = self._sorting.submit(self._add, ids, signatures)

    def compare(
        self,
        last: DecisionRecords | None,
        classes: Sequence[DecisionClass],
        own: NDArray[np.uint64],
        rows: SubjectRows,
        name: str,
    ) -> NewState:
        """Compare the sorted numbers with those of the run before."""
        if (kept := self._kept(last, name)) is not None:
            return NewState(kept.people, {"state": kept})
        if self._read_rows is not None:
            read_rows, self._read_rows = self._read_rows, None
            read_rows(self.add)
        self._wait()
        state = StateWriter(self._folder, f"{name}-state.numbers")
        people = 0
        with ExitStack() as undo:
            undo.callback(state.abort)
            found = changes(self._before(last), _distinct(self._values.slices(), own))
            for values, changed in read_ahead(found, self._sorting):
                state.write(values)
                people += len(values)
                if len(changed.subjects):
                    rows.add(changed.subjects, changed.now, changed.before)
            undo.pop_all()
        part = state.close()
        file = DecidedStateFile(file=part.name, sha256=part.sha256, people=part.rows, size_bytes=part.size_bytes)
        return NewState(people, {"state": file})

    def undo(self, state: NewState) -> None:
        """Do nothing: the file is removed with the other ones of its name."""

    def forget(self, last: DecisionRecords) -> None:
        """Delete the file."""
        if last.state is not None:
            self._folder.remove_file(last.state.file)

    def _kept(self, last: DecisionRecords | None, name: str) -> DecidedStateFile | None:
        """Return the state of the run before under the new name, if it is this run's too."""
        state = None if last is None else last.state
        if self._read_rows is None or last is None or state is None or last.content_sha256 != self._content_sha256:
            return None
        kept = state.model_copy(update={"file": f"{name}-state.numbers"})
        try:
            self._folder.link(kept.file, self._folder, state.file)
            self._folder.verify(kept.part)
        except (OSError, RefusedError):
            # The whole comparison says what is wrong with it.
            self._folder.remove_file(kept.file)
            return None
        return kept

    def _before(self, last: DecisionRecords | None) -> Iterator[NDArray[np.uint64]]:
        state = None if last is None else last.state
        if state is None:
            return read_state(self._folder, None)
        if not self._folder.exists(state.file):
            self._log.warning("%s/%s is gone: everyone is recorded again", self._folder.uri, state.file)
            return read_state(self._folder, None)
        return read_state(self._folder, state.part)

    def _wait(self) -> None:
        if self._under_way is not None:
            self._under_way.result()

    def _add(self, ids: pa.Array, signatures: NDArray[np.int64]) -> None:
        if ids.null_count:
            known = pc.is_valid(ids)
            ids, signatures = ids.filter(known), signatures[np.asarray(known)]
        if len(ids):
            self._values.add((self._key.subjects(ids) & DECIDED_MASK) | self._numbers[signatures])

    def __enter__(self) -> Self:
        self._values = self._resources.enter_context(SortedNumbers(memory_limit_bytes=_SORTING_BYTES))
        self._sorting = self._resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="record"))
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()


def _distinct(slices: Iterator[NDArray[np.uint64]], own: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    """Yield numbers with the run's own classes renumbered, ascending, each once."""
    has_own_numbers = not np.array_equal(own, np.arange(len(own)))
    for values in slices:
        numbered = values
        if has_own_numbers:
            numbered = (values & DECIDED_MASK) | own[(values & CLASS_MASK).astype(np.int64)]
            # In order, unless rows of one person have several classes.
            if (numbered[1:] < numbered[:-1]).any():
                numbered.sort()
        is_new = np.ones(len(numbered), dtype=np.bool_)
        is_new[1:] = numbered[1:] != numbered[:-1]
        yield numbered if is_new.all() else numbered[is_new]
