"""The context of one sync: its lease, its store, its settings, its log, and a way to build its destination."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.delivery.steps import Step, reached
from airflow_consent_retl.errors import LeaseLostError
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.sync_folder import epoch_of

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.changes.warehouse_delivered import WarehouseState
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import Delivery
    from airflow_consent_retl.delivery.settings import SyncSettings
    from airflow_consent_retl.delivery.sharing import SharedTarget
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.delivered import DeliveredState
    from airflow_consent_retl.storage.folder import Folder

# Takes a verb and a total number of rows; returns a function that is called with the number of rows just done.
MakeProgress = Callable[[str, int], Callable[[int], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncContext:
    """Everything that the deliveries of one sync share.

    Args:
        lease: the sync's lease.
        store: keeps its changes and its delivered state.
        build: builds the destination, not yet opened. A destination is opened once: each delivery builds its own.
        settings: the DAG's settings for the sync.
        log: the task's log.
        dag: the id of the DAG that serves it; None: there is none.
        map_index: of the task that serves it; None: it is not mapped.
        list_size: returns the number of tasks of the mapped filter that made the set in this folder, in the same run;
            None: it is not mapped like this task.
        shared: the people of other syncs at the same target.
        key: returns the key of the workspace's digests.
        policy_digest: returns the digest of the policy under which the source is asked; empty: unknown.
        progress: makes the function that reports progress.
    """

    lease: Lease
    store: SyncStore[Any, Any]
    build: Callable[[], Destination]
    settings: SyncSettings
    log: TaskLog
    key: Callable[[], SubjectKey]
    dag: str | None = None
    map_index: int | None = None
    list_size: Callable[[Folder], int | None] = lambda folder: None
    shared: SharedTarget | None = None
    policy_digest: Callable[[], str] = str
    progress: MakeProgress = lambda verb, rows: lambda done: None

    def state(self) -> DeliveredState | WarehouseState | None:
        """Return the present version of the delivered state, None before the first load."""
        current = self.lease.current()
        return None if current is None else self.store.open(current.uri, sha256=current.sha256)

    def changes_of(self, delivery: Delivery) -> Changes:
        """Return the changes of a delivery that an earlier try left open.

        Raises:
            RefusedError: a file is missing or was changed.
        """
        changes = Changes(self.store.folder.open(delivery.changes_uri), sha256=delivery.changes_sha256)
        changes.verify()
        return changes

    def sweep(self) -> None:
        """Delete what the ledger does not reference: earlier versions, and files of a worker that died."""
        # Listed first: what the next task creates later is in neither list.
        present = self._of_known_leases(self.store.folder.names())
        current, delivery = self.lease.current(), self.lease.open_delivery()
        in_use = [current.uri] if current else []
        in_use += [delivery.changes_uri] if delivery else []
        # INVARIANT: files that the next task is writing are not in the ledger yet, and only that task may delete them.
        with suppress(LeaseLostError):
            self.lease.check()
            self.store.sweep(present, in_use)
            reached(Step.SWEPT)

    def _of_known_leases(self, names: list[str]) -> list[str]:
        """Return the folders that were made under a lease of this ledger, or that it names."""
        # INVARIANT: what the ledger does not know is never deleted: it may be the only record of who was delivered.
        without_epoch = [name for name in names if epoch_of(name) is None]
        foreign = set(without_epoch) - self.lease.named(without_epoch) if without_epoch else set()
        if foreign:
            self.log.warning(
                "%s: %d folders of an earlier release are unknown to the ledger, and were left",
                self.store.folder.root.uri,
                len(foreign),
            )
        return [name for name in names if name not in foreign and (epoch_of(name) or 0) <= self.lease.epoch]
