"""The store of one sync's delivered state and changes: its interface, and the store in the files of its folder.

A store finds changes, folds outcomes into the next version and deletes versions that are not in use. It does not
decide what is sent, or when.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

import numpy as np

from airflow_consent_retl.changes.cleared_fields import withdrawn_fields, without_answers
from airflow_consent_retl.changes.computing import compute_changes, removals_of
from airflow_consent_retl.changes.fold import Folding
from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
from airflow_consent_retl.filtering.subject_index import SubjectIndex
from airflow_consent_retl.storage.delivered import DeliveredState

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_consent_retl.changes.results import BatchResult
    from airflow_consent_retl.changes.warehouse_delivered import WarehouseState
    from airflow_consent_retl.consent.removal import Required
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.filtering.files import Progress
    from airflow_consent_retl.filtering.model_question import Question
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.filtering.subject_index import Ask
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.records.rejections import RejectedPeople
    from airflow_consent_retl.storage.sync_folder import SyncFolder
    from airflow_consent_retl.storage.sync_mode import SyncMode

State = TypeVar("State", bound="DeliveredState | WarehouseState")
Rows = TypeVar("Rows", bound="PermittedRows")
OnField: TypeAlias = Literal["clear", "remove", "leave"]
_NO_ENTRIES = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class WithdrawnRemovals:
    """The people who were delivered and lost permission.

    Args:
        delivered: the number of entries of the delivered state.
        absent: the number of these entries whose people the answer did not contain.
        changes: the removal of people who lost permission, and of fields; None: no one lost it.
        moments: the times of their withdrawals, where the source has them.
        silent: the opt-out categories to which no row of the model has an answer.
    """

    delivered: int
    absent: int
    changes: Changes | None = None
    moments: list[datetime] = field(default_factory=list)
    silent: tuple[str, ...] = ()

    @property
    def found(self) -> int:
        """The number of entries whose people the answer contained."""
        return self.delivered - self.absent


class SyncStore(ABC, Generic[State, Rows]):
    """The delivered state and the changes of one sync.

    Args:
        folder: of the sync.
        sync: its name.
    """

    def __init__(self, folder: SyncFolder, sync: str) -> None:
        self.folder = folder
        self.sync = sync

    @abstractmethod
    def open(self, uri: str, *, sha256: str) -> State:
        """Return the version that the ledger points at."""

    @abstractmethod
    def compare(
        self,
        permitted: Rows,
        state: State | None,
        *,
        mode: SyncMode,
        destination: Destination,
        subject_key: SubjectKey,
        progress: Progress,
        adds: bool = True,
        only: RejectedPeople | None = None,
        absent: RemovalCause,
        required_before: Required | None = None,
    ) -> Changes:
        """Publish what has to be done: see `compute_changes`."""

    @abstractmethod
    def lost(
        self,
        state: State,
        ask: Ask,
        *,
        absent: RemovalCause,
        on_field: OnField = "remove",
        policy_digest: str = "",
        accept_silence: Collection[str] | None = None,
    ) -> WithdrawnRemovals:
        """Ask the source, and publish the removal of who is delivered and not permitted any more.

        Args:
            state: the present version.
            ask: asks the source.
            absent: the cause for people who are not in the answer. They stay if it is `left_model`.
            on_field: what is done with people who are permitted without a field that was sent: `clear` the field,
                `remove` the person, or `leave` them to the next load.
            policy_digest: of the policy under which the source is asked; empty: unknown.
            accept_silence: opt-out categories of which it need not be found out that no row has an answer; None: all.
        """

    @abstractmethod
    def everyone(self, state: State) -> Changes:
        """Publish the removal of every entry of the present version, as `sync_retired`. The source is not asked."""

    @abstractmethod
    def found(self, state: State, people: ForgottenPeople) -> set[str]:
        """Return the digests of those of some people who have an entry in a version."""

    @abstractmethod
    def removal_of(self, state: State, people: ForgottenPeople) -> Changes | None:
        """Publish the removal of every entry of some people, as `forgotten`; None: they have none."""

    @abstractmethod
    def folding(self, state: State | None, changes: Changes) -> AbstractContextManager[Folding]:
        """Begin to fold: see `Folding`."""

    @abstractmethod
    def finish(
        self,
        folding: Folding,
        state: State | None,
        changes: Changes,
        sends: Iterable[BatchResult],
        removes: Iterable[BatchResult],
        clears: Iterable[BatchResult] = (),
    ) -> State:
        """Publish the next version."""

    def asking_about(
        self, question: Question, ids: Iterable[pa.Array], id_type: pa.DataType
    ) -> AbstractContextManager[Question]:
        """Return, as a context, the question about these people only; without a warehouse it reads everyone's consent.

        Args:
            question: asks the model's source.
            ids: of the people.
            id_type: of the ids.
        """
        return nullcontext(question)

    def silent_in_model(self, question: Question, silent: tuple[str, ...], id_type: pa.DataType) -> tuple[str, ...]:
        """Return the opt-out categories to which no row of the whole model has an answer.

        Args:
            question: asks the model's source about everyone.
            silent: those to which no row had one that the question of `asking_about` was about.
            id_type: of the ids.
        """
        return silent

    def only(self, changes: Changes, causes: Collection[RemovalCause]) -> Changes:
        """Publish a set of changes with the removals for some causes and nothing else."""
        return changes.only(causes, self.folder.new("changes"))

    def sweep(self, there: Collection[str], in_use: Collection[str]) -> None:
        """Delete the listed folders that are not in use: see `SyncFolder.sweep`."""
        self.folder.sweep(there, in_use)


class FileStore(SyncStore[DeliveredState, FilePermittedRows]):
    """The store in the files of the sync's folder."""

    def open(self, uri: str, *, sha256: str) -> DeliveredState:
        """Return the version that the ledger points at.

        Raises:
            RefusedError: the version is gone, changed, or in a warehouse.
        """
        return DeliveredState(self.folder.open(uri), sha256=sha256)

    def compare(
        self,
        permitted: FilePermittedRows,
        state: DeliveredState | None,
        *,
        mode: SyncMode,
        destination: Destination,
        subject_key: SubjectKey,
        progress: Progress,
        adds: bool = True,
        only: RejectedPeople | None = None,
        absent: RemovalCause,
        required_before: Required | None = None,
    ) -> Changes:
        """Publish what has to be done: see `compute_changes`."""
        return compute_changes(
            permitted,
            state,
            self.folder.new("changes"),
            sync=self.sync,
            mode=mode,
            load=permitted.load(),
            destination=destination,
            subject_key=subject_key,
            progress=progress,
            adds=adds,
            only=only,
            absent=absent,
            required_before=required_before,
            may_leave_rows=True,
        ).with_permitted(permitted)

    def lost(
        self,
        state: DeliveredState,
        ask: Ask,
        *,
        absent: RemovalCause,
        on_field: OnField = "remove",
        policy_digest: str = "",
        accept_silence: Collection[str] | None = None,
    ) -> WithdrawnRemovals:
        """Ask the source about everyone who is delivered."""
        lost = lost_entries(state, ask, absent=absent, on_field=on_field)
        changes = (
            removals_of(
                state,
                lost.removed,
                self.folder.new("changes"),
                sync=self.sync,
                policy_digest=policy_digest,
                clears=lost.cleared,
            )
            if lost
            else None
        )
        return WithdrawnRemovals(state.rows, lost.absent, changes, lost.moments, lost.silent)

    def everyone(self, state: DeliveredState) -> Changes:
        """Publish the removal of every entry."""
        return removals_of(
            state, all_entries(state, RemovalCause.SYNC_RETIRED), self.folder.new("changes"), sync=self.sync
        )

    def found(self, state: DeliveredState, people: ForgottenPeople) -> set[str]:
        """Return the digests of those of some people who have an entry in a version."""
        return {digest for ids in state.ids() for digest in people.found(ids)}

    def removal_of(self, state: DeliveredState, people: ForgottenPeople) -> Changes | None:
        """Publish the removal of every entry of some people."""
        marks = [people.among(ids) for ids in state.ids()]
        entries = np.flatnonzero(np.concatenate(marks)) if marks else _NO_ENTRIES
        if not len(entries):
            return None
        return removals_of(state, {RemovalCause.FORGOTTEN: entries}, self.folder.new("changes"), sync=self.sync)

    def folding(self, state: DeliveredState | None, changes: Changes) -> Folding:
        """Begin to fold: see `Folding`."""
        return Folding(state, changes)

    def finish(
        self,
        folding: Folding,
        state: DeliveredState | None,
        changes: Changes,
        sends: Iterable[BatchResult],
        removes: Iterable[BatchResult],
        clears: Iterable[BatchResult] = (),
    ) -> DeliveredState:
        """Publish the next version."""
        return folding.finish(sends, removes, self.folder.new("delivered"), clears=clears)


def all_entries(state: DeliveredState, cause: RemovalCause) -> dict[RemovalCause, NDArray[np.int64]]:
    """Return the numbers of all entries, under one cause."""
    return {cause: np.arange(state.rows, dtype=np.int64)}


@dataclass(frozen=True, slots=True)
class LostEntries:
    """Entries whose people, or fields of theirs, the source does not permit any more.

    Args:
        removed: to be removed, by cause.
        cleared: with fields to clear, by these fields.
        absent: the number of entries whose people the answer does not contain.
        moments: the times of the withdrawals, where the source has them.
        silent: the opt-out categories to which no row of the model has an answer.
    """

    removed: dict[RemovalCause, NDArray[np.int64]] = field(default_factory=dict)
    cleared: Mapping[tuple[str, ...], NDArray[np.int64]] = field(default_factory=dict)
    absent: int = 0
    moments: list[datetime] = field(default_factory=list)
    silent: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.removed or self.cleared)


def lost_entries(state: DeliveredState, ask: Ask, *, absent: RemovalCause, on_field: OnField) -> LostEntries:
    """Ask the source about all people of a state; arguments as for `SyncStore.lost`."""
    if state.id_type is None:
        return LostEntries()
    with SubjectIndex(state.ids(), state.id_type, people=state.rows) as people:
        removed = people.asked(ask, state.manifest.destination)
        moments, without, silent = people.moments, people.partial, people.silent
    missing = removed.pop(RemovalCause.LEFT_MODEL, _NO_ENTRIES)
    if absent is not RemovalCause.LEFT_MODEL and len(missing):
        removed[absent] = missing
    withdrawn = {} if on_field == "leave" else withdrawn_fields(state, without)
    if on_field == "remove":
        # The policy permits the person: an answer that ended is no reason to remove them.
        withdrawn = {
            fields: entries for fields, entries in withdrawn.items() if without_answers(fields, state.shape.fields)
        }
    if withdrawn and on_field == "remove":
        removed[RemovalCause.FIELD_WITHDRAWN] = np.sort(np.concatenate(list(withdrawn.values())))
    return LostEntries(removed, withdrawn if on_field == "clear" else {}, len(missing), moments, silent)
