"""A filter run over a workspace in files."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Self

from airflow_consent_retl.filtering.decision_files import SortedPeople
from airflow_consent_retl.filtering.files import SnapshotFilter, repeated_ids
from airflow_consent_retl.filtering.former_files import linked_files
from airflow_consent_retl.progress import Progress
from airflow_consent_retl.workspace.base import FilterRun, Written

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.consent import ConsentPlan, Said
    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.filtering.decision_records import DecidedRun, DecisionRecorder
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.opening import OpenedSnapshot


class FileFilterRun(FilterRun):
    """A filter run whose snapshot and permitted rows are files: see `SnapshotFilter`."""

    def __init__(
        self, snapshot: OpenedSnapshot, plan: ConsentPlan, *, at: datetime, forgotten: ForgottenPeople, log: TaskLog
    ) -> None:
        self._snapshot = snapshot
        self._forgotten = forgotten
        self._plan = plan
        self._at = at
        self._log = log
        self._ids: tuple[pa.Array | None, int] | None = None
        self._running: SnapshotFilter | None = None
        self._resources = ExitStack()

    @property
    def plan(self) -> ConsentPlan:
        """The plan that decides the rows."""
        return self._plan

    def repeated_ids(self) -> tuple[int, int]:
        """Return the number of rows without an id, and the number of ids that occur more than once."""
        duplicates, missing = self._found_ids()
        return missing, 0 if duplicates is None else len(duplicates)

    def decide(self) -> DecidedSignatures:
        """Verify the snapshot, count its signatures and decide each of them."""
        return self._filter().decide(self._progress("counted"))

    def said_in(self, cluster: int | None) -> Said:
        """Return what a cluster says."""
        return self._filter().said_in(cluster)

    def write(self, decided: DecidedSignatures, folder: Folder, key: SubjectKey, recorder: DecisionRecorder) -> Written:
        """Write each permitted row once, and the decision log; link both where the run before wrote the same."""
        content = self._filter().content_sha256(decided, key.key_id)
        former = recorder.former(content)
        linked = None if former is None else linked_files(folder, former, content)
        if linked is not None:
            self._log.info("the same rows and decisions as in the run before: its files are used again")
            read_rows = partial(self._filter().read_again, decided)
            people = SortedPeople(recorder, content_sha256=content, read_rows=read_rows)
            self._people = self._resources.enter_context(people)
            return Written(*linked, content_sha256=content)
        self._people = self._resources.enter_context(SortedPeople(recorder))
        groups, log = self._filter().write(decided, folder, key, self._progress("filtered"), self._people.add)
        return Written(groups, log, content_sha256=content)

    def record(self, recorder: DecisionRecorder, run: DecidedRun) -> None:
        """Compare the people that `write` collected, and publish the changes."""
        recorder.publish(run, self._people)

    def _filter(self) -> SnapshotFilter:
        if self._running is None:
            duplicates, _ = self._found_ids()
            self._running = self._resources.enter_context(
                SnapshotFilter(
                    self._snapshot.folder,
                    self._snapshot.manifest,
                    self._plan,
                    duplicates=duplicates,
                    at=self._at,
                    forgotten=self._forgotten,
                )
            )
        return self._running

    def _found_ids(self) -> tuple[pa.Array | None, int]:
        if self._ids is None:
            self._ids = repeated_ids(self._snapshot.folder, self._snapshot.manifest)
        return self._ids

    def _progress(self, verb: str) -> Progress:
        return Progress(self._log, verb, total_rows=self._snapshot.manifest.rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()
