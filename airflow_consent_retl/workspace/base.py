"""The interface of a workspace: everything that depends on where a model's rows are.

Operators, reports and syncs use this interface and never ask which kind of workspace they have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.consent import ConsentPlan, ExternalConsent, Said
    from airflow_consent_retl.consent.plan import PlanFor
    from airflow_consent_retl.databases.source import ModelQuery
    from airflow_consent_retl.extraction.data_time import DeclaredTime
    from airflow_consent_retl.extraction.reading import HookOf
    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.filtering.decision_records import DecidedRun, DecisionRecorder
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.last_snapshot import LastSnapshot
    from airflow_consent_retl.storage.manifest import (
        DecisionLog,
        ManifestRef,
        ModelSource,
        RecipientsGroup,
        SnapshotManifest,
        WarehouseDecision,
    )
    from airflow_consent_retl.storage.opening import OpenedPermitted, OpenedSnapshot
    from airflow_consent_retl.storage.source_sizes import SourceSizes
    from airflow_consent_retl.storage.sync_folder import SyncFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """One extraction of a model.

    Args:
        model: the model's name.
        query: the query to read; with a `query_id`, the result of a query that was submitted before.
        source: the query as the manifest stores it, so that consent can be read again.
        sources: the other sources of consent.
        check_primary_key: whether ids that are NULL or occur twice are an error.
        part_bytes: size in bytes after which a Parquet part is closed.
        read_at: a time before the query started.
        declared_time: what the model says about the time of its rows.
        made_table: the name of the staging table that a submitted query made.
        sizes: how many rows the sources had at the model's last extraction; None: they are not compared.
        check_columns: raises if the names of the model's columns will not do; called before anything is published.
        last: the reference to the model's last snapshot, whose files are used again if the rows have its fingerprint;
            None: all rows are read, whatever the fingerprint.
    """

    model: str
    query: ModelQuery
    source: ModelSource
    sources: tuple[ExternalConsent, ...]
    check_primary_key: bool
    part_bytes: int
    read_at: datetime
    declared_time: DeclaredTime
    made_table: str | None = None
    sizes: SourceSizes | None = None
    check_columns: Callable[[Sequence[str]], None] = lambda names: None
    last: LastSnapshot | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """A statement that the server may run without a waiting worker, and the staging table that it makes, if any."""

    statement: str
    table: str | None


@dataclass(frozen=True, slots=True)
class Written:
    """The files or tables that a filter run wrote, for the manifest of its permitted set."""

    groups: tuple[RecipientsGroup, ...]
    decision_log: DecisionLog
    tables: WarehouseDecision | None = None
    content_sha256: str = ""


class FilterRun(ABC):
    """One filter run over one snapshot. A context manager, which removes its output unless `keep` was called."""

    @property
    @abstractmethod
    def plan(self) -> ConsentPlan:
        """The plan that decides the rows. Complete after `decide` has returned."""

    @abstractmethod
    def repeated_ids(self) -> tuple[int, int]:
        """Return the number of rows without an id, and the number of ids that occur more than once.

        Raises:
            RefusedError: the snapshot was changed.
        """

    @abstractmethod
    def decide(self) -> DecidedSignatures:
        """Count the signatures of the snapshot and decide each of them.

        Raises:
            RefusedError: the snapshot was changed.
            PolicyError: the policy does not fit the values.
            ModelError: there are too many signatures for a warehouse.
        """

    @abstractmethod
    def said_in(self, cluster: int | None) -> Said:
        """Return what the people of a cluster say together, after `decide`; nothing for a row without a cluster."""

    @abstractmethod
    def write(self, decided: DecidedSignatures, folder: Folder, key: SubjectKey, recorder: DecisionRecorder) -> Written:
        """Write the permitted rows and the decision log, and compare the decisions with those of the run before.

        Args:
            decided: what `decide` returned.
            folder: of the new permitted set; the caller publishes or removes it.
            key: of the decision log's digests.
            recorder: of the run.

        Raises:
            RefusedError: the snapshot changed while it was filtered.
        """

    @abstractmethod
    def record(self, recorder: DecisionRecorder, run: DecidedRun) -> None:
        """Publish the records of the decisions, after `write`.

        Raises:
            As `DecisionRecorder.publish`.
        """

    def keep(self) -> None:  # noqa: B027 - files are kept by publishing their folder
        """Keep the output: a manifest names it now."""

    @abstractmethod
    def __enter__(self) -> FilterRun:
        """Open the resources of the run."""

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """Close the resources, and remove output that was not kept."""


class Workspace(ABC):
    """The place of a model's rows.

    Args:
        conn_id: of the model's connection, for messages.
        hook_of: returns the hook of a connection; None: of the model's.
        log: the task's.
    """

    def __init__(self, conn_id: str, hook_of: HookOf, log: TaskLog) -> None:
        self.conn_id = conn_id
        self.hook_of = hook_of
        self.log = log
        self._query = Cancellable()

    @property
    @abstractmethod
    def documents(self) -> str | None:
        """The URI under which manifests, decision logs and policies are written; None: the deployment's default."""

    @abstractmethod
    def submission(self, query: ModelQuery, *, at: datetime) -> Submission:
        """Return the statement that reads the model, to be run without a waiting worker."""

    @abstractmethod
    def extract(self, extraction: Extraction, folder: Folder) -> tuple[SnapshotManifest, ManifestRef]:
        """Read the model's rows, publish the snapshot's manifest in the folder, and return it with its reference.

        Raises:
            ModelError: the query fails, or its columns or ids cannot make a model.
            ConfigurationError: the source cannot be read in this way.
            SourceUnavailableError: the source does not answer.
        """

    def cancel(self) -> None:
        """Stop the running query; may be called from another thread or a signal handler.

        Raises:
            SourceUnavailableError: the source does not answer.
        """
        self._query.cancel()

    @property
    def is_running(self) -> bool:
        """Whether a query is running that `cancel` would stop."""
        return self._query.is_running

    @abstractmethod
    def filter(
        self, snapshot: OpenedSnapshot, plan_for: PlanFor, *, at: datetime, forgotten: ForgottenPeople
    ) -> FilterRun:
        """Return a filter run over a snapshot of this workspace.

        Args:
            snapshot: to filter.
            plan_for: checks the policy against the kinds of the consent columns; called again when the values
                themselves show their kinds.
            at: the time of the decision.
            forgotten: the people of the model who were forgotten: no one of them is permitted anything.
        """

    @abstractmethod
    def open_permitted(
        self, permitted: OpenedPermitted, *, destination: str, fields: Mapping[str, str]
    ) -> PermittedRows:
        """Verify the rows of one destination; the manifest was checked by `check_permitted` before.

        Raises:
            RefusedError: rows are missing or were changed, or numbers do not add up.
        """

    @abstractmethod
    def store(self, folder: SyncFolder, sync: str, question: ModelAsker | None) -> SyncStore[Any, Any]:
        """Return the store of a sync's changes and delivered state.

        Args:
            folder: of the sync.
            sync: its name.
            question: asks the model's source for consent; None: no consent is needed.
        """

    @abstractmethod
    def erase(self, opened: OpenedSnapshot | OpenedPermitted, people: ForgottenPeople) -> bool:
        """Delete all rows of a snapshot or permitted set if it has a row of one of some people.

        The manifest and the decision log stay.

        Returns:
            Whether it had such a row.
        """

    @abstractmethod
    def rows_of(self, snapshot: OpenedSnapshot, subject: str | int, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Return some columns of the rows of one subject.

        Raises:
            ConfigurationError: the subject is no id of this snapshot.
            RefusedError: the snapshot was changed.
        """


class Cancellable:
    """The query that is running now, for `Workspace.cancel`."""

    def __init__(self) -> None:
        self._stop: Callable[[], None] | None = None

    @contextmanager
    def running(self, stop: Callable[[], None]) -> Iterator[None]:
        """Have `cancel` call a function while the block runs."""
        self._stop = stop
        try:
            yield
        finally:
            self._stop = None

    @property
    def is_running(self) -> bool:
        """Whether a query is running."""
        return self._stop is not None

    def cancel(self) -> None:
        """Stop the running query, if there is one."""
        stop = self._stop
        if stop is not None:
            stop()
