"""The records of one filter run: what it decided about each person, if that differs from the run before.

A run keeps the class of each person's decisions under a keyed number. The next run of the same model and destinations
finds the differences by comparing sorted numbers, without an id.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.errors import SyncBusyError
from airflow_consent_retl.filtering.decision_classes import classes_of, joined
from airflow_consent_retl.storage.records.decided_state import CLASS_MASK, MAX_CLASSES, StateWriter, changes, read_state
from airflow_consent_retl.storage.records.documents import DecidedStateFile, DecisionClass, DecisionRecords
from airflow_consent_retl.storage.records.sorted_rows import SubjectRows
from airflow_consent_retl.storage.records.subjects import DECIDED_MASK
from airflow_consent_retl.values.sorted_numbers import SortedNumbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import PermittedManifest, WarehouseTable
    from airflow_consent_retl.storage.records.stream import RecordStream
    from airflow_consent_retl.storage.records.subjects import RecordKey

_ROWS = pa.schema([("subject", pa.uint64()), ("decision", pa.int16()), ("before", pa.int16())])
_SORTING_BYTES = 24 << 20
_MOST_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedRun:
    """What the records of a filter run say about the whole run. Members as in `DecisionRecords`."""

    model: str
    destinations: tuple[str, ...]
    decided_at: datetime
    data_time: datetime
    policy_digest: str
    policy_source: str
    snapshot_sha256: str
    rows_read: int


def decided_run(permitted: PermittedManifest) -> DecidedRun:
    """Return what a permitted set says about its whole run."""
    return DecidedRun(
        model=permitted.model,
        destinations=tuple(sorted(permitted.destinations)),
        decided_at=permitted.decided_at,
        data_time=permitted.data_time,
        policy_digest=permitted.policy_digest,
        policy_source=permitted.policy_source,
        snapshot_sha256=permitted.snapshot_sha256,
        rows_read=permitted.rows_read,
    )


@dataclass(frozen=True, slots=True)
class NewState:
    """What is decided about everyone now, in a file or in a table, and the number of these people."""

    people: int
    file: DecidedStateFile | None = None
    table: WarehouseTable | None = None


class DecidedPeople(ABC):
    """The class of each person's decisions in one run, and how it is compared with the run before."""

    @abstractmethod
    def compare(
        self,
        last: DecisionRecords | None,
        classes: Sequence[DecisionClass],
        own: NDArray[np.uint64],
        rows: SubjectRows,
        name: str,
    ) -> NewState:
        """Add the changes to `rows`, and write what is decided now.

        Args:
            last: the records of the run before, None without one that can be compared.
            classes: all classes by their numbers.
            own: the numbers of the run's own classes.
            rows: takes subjects, and the numbers of the classes now and before.
            name: the beginning of the names of new files.
        """

    @abstractmethod
    def undo(self, state: NewState) -> None:
        """Delete a state that was not published."""

    @abstractmethod
    def forget(self, last: DecisionRecords) -> None:
        """Delete the state of the run before: the new one replaces it."""


class DecisionRecorder:
    """Writes the records of one filter run.

    Args:
        stream: of the model and the destinations.
        key: of the subjects.
        decided: the decisions of the run.
        log: the task's.
    """

    def __init__(
        self, stream: RecordStream[DecisionRecords], key: RecordKey, decided: DecidedSignatures, log: TaskLog
    ) -> None:
        self.key = key
        self.classes, self.numbers = classes_of(decided.decisions)
        self.folder = stream.folder
        self.log = log
        self._stream = stream

    def publish(self, run: DecidedRun, people: DecidedPeople) -> None:
        """Write the changes and what is decided now, and then the document that makes them visible.

        Raises:
            SyncBusyError: other runs of the same model and destinations are recorded all the time.
            RefusedError: a file of the last run is gone or was changed.
        """
        if len(self.classes) > MAX_CLASSES:
            self.log.warning(
                "the decisions of this run are not recorded: there are %s different ones, the most is %s",
                f"{len(self.classes):,}",
                f"{MAX_CLASSES:,}",
            )
            return
        for _ in range(_MOST_TRIES):
            # Another run may publish meanwhile. It is compared with, too.
            with suppress(FileExistsError):
                self._publish(run, people)
                return
        raise SyncBusyError(
            f"model `{run.model}` is filtered by several tasks at the same time: their records cannot be written"
        )

    def _publish(self, run: DecidedRun, people: DecidedPeople) -> None:
        stream, at = self._stream, datetime.now(UTC)
        newest = stream.newest()
        last = None if newest is None else newest.document
        compared = last if last is not None and last.key_id == self.key.key_id else None
        classes, own = joined(self.classes, [] if compared is None else stream.details(compared.classes, DecisionClass))
        if len(classes) > MAX_CLASSES:
            # The numbers begin again, and everyone is recorded anew.
            compared, (classes, own) = None, joined(self.classes, [])
        name = stream.new_name(at)
        with ExitStack() as undo:
            undo.callback(stream.remove_parts, name)
            rows = undo.enter_context(SubjectRows(_ROWS, dictionary_columns=["decision", "before"]))
            state = people.compare(compared, classes, own, rows, name)
            undo.callback(people.undo, state)
            stream.publish(
                f"{1 if last is None else last.number + 1:08d}",
                DecisionRecords(
                    **asdict(run),
                    key_id=self.key.key_id,
                    recorded_at=at,
                    number=1 if last is None else last.number + 1,
                    previous_sha256=None if newest is None else newest.sha256,
                    classes=stream.write_details(name, classes),
                    parts=rows.write(stream.folder, name),
                    rows=rows.rows,
                    state=state.file,
                    state_table=state.table,
                    people=state.people,
                ),
            )
            undo.pop_all()
        rows.close()
        if last is not None:
            people.forget(last)
        self.log.info("recorded %s changed decisions of %s people", f"{rows.rows:,}", f"{state.people:,}")


class SortedPeople(DecidedPeople):
    """The people of a run over files: their numbers are collected while the rows are filtered. A context manager.

    Args:
        recorder: of the run.
    """

    def __init__(self, recorder: DecisionRecorder) -> None:
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
        self._wait()
        state = StateWriter(self._folder, f"{name}-state.parquet")
        people = 0
        with ExitStack() as undo:
            undo.callback(state.abort)
            for values, changed in changes(self._before(last), _distinct(self._values.slices(), own)):
                state.write(values)
                people += len(values)
                if len(changed.subjects):
                    rows.add(changed.subjects, changed.now, changed.before)
            undo.pop_all()
        part = state.close()
        return NewState(
            people,
            file=DecidedStateFile(file=part.name, sha256=part.sha256, people=part.rows, size_bytes=part.size_bytes),
        )

    def undo(self, state: NewState) -> None:
        """Do nothing: the file is removed with the other ones of its name."""

    def forget(self, last: DecisionRecords) -> None:
        """Delete the file."""
        if last.state is not None:
            self._folder.remove_file(last.state.file)

    def _before(self, last: DecisionRecords | None) -> Iterator[NDArray[np.uint64]]:
        state = None if last is None else last.state
        if state is None:
            return read_state(self._folder, None)
        if not self._folder.exists(state.file):
            self._log.warning("%s/%s is gone: everyone is recorded again", self._folder.uri, state.file)
            return read_state(self._folder, None)
        # A changed one would hide changes.
        self._folder.verify(state.part)
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
    for values in slices:
        numbered = (values & DECIDED_MASK) | own[(values & CLASS_MASK).astype(np.int64)]
        # In order, unless rows of one person have several classes.
        if (numbered[1:] < numbered[:-1]).any():
            numbered.sort()
        is_new = np.ones(len(numbered), dtype=np.bool_)
        is_new[1:] = numbered[1:] != numbered[:-1]
        yield numbered if is_new.all() else numbered[is_new]
