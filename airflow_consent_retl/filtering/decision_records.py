"""The records of one filter run: what it decided about each person, if that differs from the run before.

A run keeps the class of each person's decisions under a keyed number. The next run of the same model and destinations
finds the differences by comparing sorted numbers, without an id.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_consent_retl.errors import ConfigurationError, SyncBusyError
from airflow_consent_retl.filtering.decision_classes import classes_of, joined
from airflow_consent_retl.storage.records.decided_state import MAX_CLASSES
from airflow_consent_retl.storage.records.documents import DecisionClass, DecisionRecords
from airflow_consent_retl.storage.records.sorted_rows import SubjectRows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import PermittedManifest, SourceSize
    from airflow_consent_retl.storage.records.stream import RecordStream
    from airflow_consent_retl.storage.records.subjects import RecordKey

_ROWS = pa.schema([("subject", pa.uint64()), ("decision", pa.int16()), ("before", pa.int16())])
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
    permitted: str = ""
    content_sha256: str = ""
    source_sizes: tuple[SourceSize, ...] = ()
    consent: Mapping[str, Any] | None = None


def decided_run(permitted: PermittedManifest, uri: str) -> DecidedRun:
    """Return what a permitted set says about its whole run.

    Args:
        permitted: its manifest.
        uri: of its folder.
    """
    return DecidedRun(
        model=permitted.model,
        destinations=tuple(sorted(permitted.destinations)),
        decided_at=permitted.decided_at,
        data_time=permitted.data_time,
        policy_digest=permitted.policy_digest,
        policy_source=permitted.policy_source,
        snapshot_sha256=permitted.snapshot_sha256,
        rows_read=permitted.rows_read,
        permitted=uri if permitted.content_sha256 else "",
        content_sha256=permitted.content_sha256,
        source_sizes=permitted.source_sizes,
        consent=permitted.consent,
    )


@dataclass(frozen=True, slots=True)
class NewState:
    """What is decided about everyone now.

    Args:
        people: their number.
        described: the members of `DecisionRecords` that say where it is.
    """

    people: int
    described: Mapping[str, Any]


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
        open_folder: opens the folder at a URI.
    """

    def __init__(
        self,
        stream: RecordStream[DecisionRecords],
        key: RecordKey,
        decided: DecidedSignatures,
        log: TaskLog,
        open_folder: Callable[[str], Folder],
    ) -> None:
        self._open_folder = open_folder
        self.key = key
        self.classes, self.numbers = classes_of(decided.decisions)
        self.folder = stream.folder
        self.log = log
        self._stream = stream

    def former(self, content_sha256: str) -> Folder | None:
        """Return the folder of the run before, if its permitted set had the same content.

        Raises:
            RefusedError: the records were changed.
        """
        newest = self._stream.newest()
        if newest is None or newest.document.content_sha256 != content_sha256:
            return None
        try:
            return self._open_folder(newest.document.permitted)
        except ConfigurationError:
            # The workspace was in another storage then.
            return None

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
                    people=state.people,
                    **state.described,
                ),
            )
            undo.pop_all()
        rows.close()
        if last is not None:
            people.forget(last)
        self.log.info("recorded %s changed decisions of %s people", f"{rows.rows:,}", f"{state.people:,}")
