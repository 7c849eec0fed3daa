"""Carries out one delivery from its first request to the next version of the delivered state.

Opens the destination, removes before it sends, publishes, and moves the ledger's pointer, in this order. What it
carries out was found and published before; whether it may be is not its question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.changes.results import BatchResult
from airflow_consent_retl.contract.destination import Load
from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import BatchKind, CombinedBatch
from airflow_consent_retl.delivery.protocol import (
    Running,
    check_answered,
    remove_all,
    send_all,
    wait_for_confirmation,
)
from airflow_consent_retl.delivery.steps import Step, reached
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError, GuardError, LeaseLostError

if TYPE_CHECKING:
    from airflow_consent_retl.changes.fold import Folding
    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.changes.warehouse_delivered import WarehouseState
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import Delivery
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.delivery.settings import SyncSettings
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.delivered import DeliveredState

LOAD, WITHDRAWALS = "load", "withdrawals"

MakeProgress = Callable[[str, int], Callable[[int], None]]


class Carrier:
    """Carries out the deliveries of one sync, one after the other.

    Args:
        lease: of the sync.
        store: where its changes and its delivered state live.
        build: makes the destination anew, not yet opened.
        settings: what the DAG wants.
        log: the task's.
        progress: makes what is called with numbers of rows, from a verb and their total.
    """

    def __init__(
        self,
        lease: Lease,
        store: SyncStore[Any, Any],
        build: Callable[[], Destination],
        settings: SyncSettings,
        log: TaskLog,
        *,
        progress: MakeProgress,
    ) -> None:
        self.lease = lease
        self.store = store
        self._build = build
        self.destination = build()
        self._settings = settings
        self._log = log
        self.progress = progress

    def state(self) -> DeliveredState | WarehouseState | None:
        """Return the present version of who is delivered, None before the first load."""
        current = self.lease.current()
        return None if current is None else self.store.open(current.uri, sha256=current.sha256)

    def carry_out(
        self, delivery: Delivery, changes: Changes, report: LoadReport, *, recheck: Recheck | None
    ) -> list[str]:
        """Carry out a delivery that the ledger knows, from where the last try ended, and count it in `report`.

        Returns:
            The ids of requests that the destination still processes; then the delivery stays open.

        Raises:
            GuardError, DestinationError: not worth another try.
            DestinationUnavailableError, LedgerUnavailableError, LeaseLostError, SourceUnavailableError: the delivery
                stays open, and the next try goes on.
        """
        rows = changes.manifest.upsert_rows + changes.manifest.removal_rows
        running = Running(
            lease=self.lease,
            delivery=delivery,
            changes=changes,
            destination=self.destination,
            progress=self.progress("sent and removed", rows),
        )
        state = self.state()
        with self.store.folding(state, changes) as folding:
            try:
                if self.destination.replaces and delivery.kind == LOAD:
                    self._replace(running, recheck)
                    waiting: list[str] = []
                else:
                    waiting = self._change(running, recheck)
            finally:
                report.sent, report.removed = running.tally(BatchKind.SEND), running.tally(BatchKind.REMOVE)
            if waiting:
                return waiting
            self._check_complete(running, report)
            self._fold(running, state, folding)
        self._check_removed(running, report)
        return []

    def _change(self, running: Running, recheck: Recheck | None) -> list[str]:
        """Remove, then send; return what the destination still processes."""
        changes, destination = running.changes, running.changes.manifest.destination
        with self.opened(changes, key=changes.sha256, rows=changes.manifest.upsert_rows):
            if changes.manifest.removal_rows and self.destination.can_remove:
                remove_all(running)
                # Additions of the same people would otherwise overtake their removal.
                waiting = self._confirmed(running)
                if waiting:
                    return waiting
                check_answered(running.tally(BatchKind.REMOVE), destination=destination, verb="to remove")
            if changes.manifest.upsert_rows:
                send_all(running, recheck=recheck, max_rejected_ratio=self._settings.max_rejected_ratio)
            waiting = self._confirmed(running)
            if waiting:
                return waiting
            check_answered(running.tally(BatchKind.SEND), destination=destination, verb="to send")
            self.lease.check()
            self.destination.commit()
            reached(Step.COMMITTED)
        return []

    def _replace(self, running: Running, recheck: Recheck | None) -> None:
        """Have the destination hold the permitted rows, and nothing else."""
        changes = running.changes
        key = running.delivery.key
        withheld = 0
        if recheck is not None:
            recheck.ask_again()
            withheld = len(recheck.withheld)
            key = hashlib.sha256(f"{key}:without:{recheck.withheld.tolist()}".encode()).hexdigest()
        with self.opened(changes, key=key, rows=changes.manifest.upsert_rows - withheld):
            send_all(running, recheck=recheck, max_rejected_ratio=self._settings.max_rejected_ratio)
            if recheck is not None and recheck.is_due:
                recheck.ask_again()
            if recheck is not None and len(recheck.withheld) > withheld:
                raise DestinationUnavailableError(
                    f"consent ended while `{changes.manifest.destination}` was written: the next try leaves them out"
                )
            self.lease.check()
            self.destination.commit()
            reached(Step.COMMITTED)

    @contextmanager
    def opened(self, changes: Changes, *, key: str, rows: int) -> Iterator[None]:
        """Open the destination; whatever was not committed is given up at the end."""
        manifest = changes.manifest
        fields = changes.shape.fields
        load = Load(
            key=key,
            destination=manifest.destination,
            model=manifest.model,
            schema=changes.shape.load_schema,
            key_field=next((name for name, column in fields.items() if column == manifest.primary_key), None),
            rows=rows,
            decided_at=manifest.decided_at,
            before_request=self.lease.check,
        )
        ended = False
        try:
            self.destination.open(load)
            reached(Step.OPENED)
            yield
            ended = True
        finally:
            if not ended:
                self.destination.abort()
            # One is opened once.
            self.destination = self._build()

    def _confirmed(self, running: Running) -> list[str]:
        return wait_for_confirmation(
            running, interval_s=self._settings.confirm_interval_s, timeout_s=self._settings.confirm_timeout_s
        )

    def _check_complete(self, running: Running, report: LoadReport) -> None:
        destination = running.changes.manifest.destination
        sent = report.sent
        permitted = running.changes.counts.permitted
        if sent.rejected > self._settings.max_rejected_ratio * permitted:
            raise GuardError(
                f"`{destination}` rejected {sent.rejected:,} of {permitted:,} permitted rows ({sent.worst()}), "
                f"max_rejected_ratio is {self._settings.max_rejected_ratio}"
            )
        if sent.unsent:
            raise DestinationError(f"`{destination}`: {sent.unsent:,} of {sent.planned:,} rows were never handed over")

    def _check_removed(self, running: Running, report: LoadReport) -> None:
        destination, removed = running.changes.manifest.destination, report.removed
        if not removed.planned:
            return
        if self.destination.replaces and running.delivery.kind == LOAD:
            # Gone with the version that they were in.
            removed.by_status[RowStatus.ACCEPTED] = removed.planned
        elif not self.destination.can_remove:
            report.unremovable, removed.planned = removed.planned, 0
            self._log.warning(
                "`%s` cannot remove people: %s who should be gone are still there", destination, report.unremovable
            )
        elif removed.accepted < removed.planned:
            raise DestinationError(
                f"`{destination}` did not remove {removed.planned - removed.accepted:,} of {removed.planned:,} "
                f"people ({removed.worst()}): they stay to be removed by the next run"
            )

    def fold(self, running: Running) -> None:
        """Take into the delivered state what the attempts at a delivery came to, and close it."""
        state = self.state()
        with self.store.folding(state, running.changes) as folding:
            self._fold(running, state, folding)

    def advance(
        self, delivery: Delivery, changes: Changes, *, sends: Iterable[BatchResult], removes: Iterable[BatchResult]
    ) -> None:
        """Write the next version of the delivered state, and have the ledger point at it."""
        state = self.state()
        with self.store.folding(state, changes) as folding:
            self._advance(delivery, changes, state, folding, sends=sends, removes=removes)

    def _fold(self, running: Running, state: DeliveredState | WarehouseState | None, folding: Folding) -> None:
        settle = timedelta(seconds=self._settings.settle_s)
        sends = [_fate(batch, settle) for batch in running.combined(BatchKind.SEND)]
        removes = [_fate(batch, settle) for batch in running.combined(BatchKind.REMOVE)]
        removal_rows = running.changes.manifest.removal_rows
        if self.destination.replaces and running.delivery.kind == LOAD and removal_rows:
            gone = Outcomes.accepted(removal_rows)
            removes = [BatchResult(start=0, outcomes=gone, unsettled_until=None, at=datetime.now(UTC))]
        self._advance(running.delivery, running.changes, state, folding, sends=sends, removes=removes)

    def _advance(
        self,
        delivery: Delivery,
        changes: Changes,
        state: DeliveredState | WarehouseState | None,
        folding: Folding,
        *,
        sends: Iterable[BatchResult],
        removes: Iterable[BatchResult],
    ) -> None:
        after = self.store.finish(folding, state, changes, sends, removes)
        reached(Step.FOLDED)
        self.lease.advance(
            delivery,
            uri=after.folder.uri,
            sha256=after.sha256,
            rows=after.rows,
            decided_at=after.manifest.decided_at,
        )
        reached(Step.ADVANCED)

    def sweep(self) -> None:
        """Delete what the ledger does not point at: past versions, and what a worker that died left."""
        # Listed first: what the next task begins after that is in neither list.
        there = self.store.folder.names()
        current, delivery = self.lease.current(), self.lease.open_delivery()
        in_use = [current.uri] if current else []
        if delivery is not None and delivery.changes_uri is not None:
            in_use.append(delivery.changes_uri)
        # INVARIANT: what the next task is writing is not in the ledger yet, and is not this one's to delete.
        with suppress(LeaseLostError):
            self.lease.check()
            self.store.sweep(there, in_use)
            reached(Step.SWEPT)


def _fate(batch: CombinedBatch, settle: timedelta) -> BatchResult:
    return BatchResult(
        start=batch.start,
        outcomes=batch.outcomes,
        unsettled_until=None if batch.unsettled_at is None else batch.unsettled_at + settle,
        at=batch.asked_at,
    )
