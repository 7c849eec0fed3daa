"""The lease of a sync: the right of one task to load it, for as long as that task is alive and renews it.

The ledger refuses every write of a lease after a later lease began, with one exception: it still records how the old
lease's own attempts ended.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

import sqlalchemy as sa

from airflow_consent_retl.delivery.ledger.neighbours import OtherSync, Service, others_at, service_of, unplaced_beside
from airflow_consent_retl.delivery.ledger.new_names import rename_sync
from airflow_consent_retl.delivery.ledger.queries import (
    attempts_at,
    current_version,
    last_policy,
    last_version,
    later_syncs,
    named_folders,
    newest_source,
    open_delivery,
    other_sources,
)
from airflow_consent_retl.delivery.ledger.records import NewestDecision, VersionRef
from airflow_consent_retl.delivery.ledger.renewal import RenewedLease
from airflow_consent_retl.delivery.ledger.schema import deliveries, syncs
from airflow_consent_retl.delivery.ledger.writes import (
    add_version,
    close_delivery,
    close_open_delivery,
    forget_versions,
    has_attempts,
    note_ends,
    note_intents,
    note_source,
    prune_batches,
    update_sync,
)

if TYPE_CHECKING:
    from airflow_consent_retl.consent.removal import Required
    from airflow_consent_retl.delivery.attempts import Attempt, EndedBatch, IntendedBatch
    from airflow_consent_retl.delivery.ledger.records import DecidedUnder, Delivery, SourceRecord, SyncName

# Closed deliveries whose batches are kept, for reports.
KEPT_DELIVERIES: Final = 20


class Lease(RenewedLease):
    """The ledger's records of one sync, for the task that has its lease. Made by `Ledger.acquire`.

    Every method that reads or writes may raise `ConfigurationError`, or `LedgerUnavailableError`: then it is not known
    whether the ledger did it. Every method that writes raises `LeaseLostError` if another task has the lease.
    """

    def target(self, target: str, *, instead_of: Collection[str] = ()) -> str:
        """Return where the sync's rows are delivered, as it was recorded before; this target if none was.

        Args:
            target: recorded where none was, where the recorded one is among `instead_of`, and where no one was
                delivered to the recorded one.
            instead_of: recorded targets that this one replaces.
        """
        with self._fenced() as (connection, row):
            if row.target == target or not target:
                return str(row.target or target)
            current = current_version(connection, self.sync)
            is_empty = row.delivery is None and (current is None or not current.rows)
            if not row.target or row.target in instead_of or is_empty:
                update_sync(connection, self.sync, target=target)
            return target if is_empty else str(row.target or target)

    def newest(self) -> NewestDecision:
        """Return the newest decision whose delivery began, and what was read for the newest data."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(syncs).where(syncs.c.sync == self.sync)).one()
            decided_at = cast("datetime | None", row.decided_at)
            return NewestDecision(
                decided_at=decided_at,
                is_ahead=decided_at is not None and decided_at > self._database.now(connection),
                source=newest_source(connection, self.sync),
            )

    def other_sources(self) -> dict[SyncName, SourceRecord]:
        """Return what each other sync read for the newest data that it delivered."""
        with self._database.read() as connection:
            return other_sources(connection, self.sync)

    def note_decision(self, decided_at: datetime, source: SourceRecord | None = None) -> None:
        """Record a permitted set that changes nothing: an older one must not be delivered after it."""
        with self._fenced() as (connection, row):
            self._note_decision(connection, row, decided_at, source)

    def note_exact(self, rows: str) -> None:
        """Record that the current delivered state is exactly a permitted set.

        Args:
            rows: the digest of the set's rows.
        """
        with self._fenced() as (connection, _):
            current = current_version(connection, self.sync)
            if current is not None:
                update_sync(connection, self.sync, exact_version=current.number, exact_rows=rows)

    def exact_rows(self) -> str | None:
        """Return the digest of the permitted rows that the current delivered state is exactly; None if unknown."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(syncs).where(syncs.c.sync == self.sync)).one()
            current = current_version(connection, self.sync)
        is_current = current is not None and current.number == row.exact_version
        return cast("str | None", row.exact_rows) if is_current else None

    def withdrawn_at(self) -> datetime | None:
        """Return when withdrawals were last removed outside of a load, by the ledger's clock.

        A time later than that clock, written by a clock that was ahead, becomes the present time.
        """
        with self._fenced() as (connection, row):
            withdrawn_at, now = cast("datetime | None", row.withdrawn_at), self._database.now(connection)
            if withdrawn_at is not None and withdrawn_at > now:
                update_sync(connection, self.sync, withdrawn_at=now)
                return now
            return withdrawn_at

    def note_withdrawals(self) -> None:
        """Record that withdrawals are being removed now."""
        with self._fenced() as (connection, _):
            update_sync(connection, self.sync, withdrawn_at=self._database.now(connection))

    def current(self) -> VersionRef | None:
        """Return the present version of the delivered state."""
        with self._database.read() as connection:
            return current_version(connection, self.sync)

    def named(self, names: Collection[str]) -> set[str]:
        """Return those of some folders' names that the ledger has as a version or as changes of this sync."""
        with self._database.read() as connection:
            return named_folders(connection, self.sync).intersection(names)

    def others_at(self, is_target: Callable[[str], bool]) -> list[OtherSync]:
        """Return the other syncs at a target that have people there, or may get some now.

        Args:
            is_target: returns whether a recorded text names the target.
        """
        with self._database.read() as connection:
            return others_at(connection, self._database, self.sync, is_target)

    def unplaced(self) -> list[SyncName]:
        """Return the syncs next to this new one whose people are at a place that the ledger does not know."""
        with self._database.read() as connection:
            return unplaced_beside(connection, self.sync)

    def declare_shares(self, syncs_: Sequence[str]) -> None:
        """Record the syncs with which this one shares its target."""
        text = json.dumps(sorted(syncs_)) if syncs_ else None
        with self._fenced() as (connection, row):
            if row.shares != text:
                update_sync(connection, self.sync, shares=text)

    def serve(self, dag: str, shares: Sequence[str]) -> Service:
        """Record the DAG that serves the sync if there was none, or if both share it; return who served it before."""
        with self._fenced() as (connection, row):
            before = service_of(row)
            if before.dag in (None, dag) or (before.dag in shares and dag in before.shares):
                update_sync(connection, self.sync, dag=dag, dags=json.dumps(sorted(shares)))
            return before

    def hand_over(self, dag: str) -> None:
        """Record another DAG as the only one that serves the sync."""
        with self._fenced() as (connection, _):
            update_sync(connection, self.sync, dag=dag, dags=None)

    def rename_to(self, other: Lease, current: VersionRef | None) -> None:
        """Give everything the ledger has of this sync to the sync of another lease. This sync and its lease are gone.

        Args:
            other: of a sync that has no people and no open delivery, as the caller has checked.
            current: the present version of the delivered state, as it is under the other name.
        """
        with self._renewing, self._fenced() as (connection, _):
            if other._locked_row(connection).epoch != other.epoch:
                raise other._loss()
            rename_sync(connection, self.sync, other.sync, current)
            self._give_up("was handed over")

    def note_served(self, *, required: Required | None = None) -> None:
        """Record that a run of this sync ended well now.

        Args:
            required: the ids of the categories that the destination requires, after a load; None: as before.
        """
        with self._fenced() as (connection, _):
            update_sync(connection, self.sync, served_at=self._database.now(connection))
            if required is not None:
                update_sync(connection, self.sync, required=_as_json(required))

    def note_required(self, required: Required) -> None:
        """Record, before people are added, that the destination requires these categories too.

        Until the load ends well, people may be there who were delivered under the last policy or under this one.
        """
        before = self.required()
        if before is not None:
            with self._fenced() as (connection, _):
                update_sync(connection, self.sync, required=_as_json({*before, *required}))

    def required(self) -> tuple[str | tuple[str, ...], ...] | None:
        """Return the categories that the destination required at the last load; None if unknown."""
        with self._database.read() as connection:
            written = connection.scalar(sa.select(syncs.c.required).where(syncs.c.sync == self.sync))
        found = None if written is None else json.loads(written)
        return None if found is None else tuple(one if isinstance(one, str) else tuple(one) for one in found)

    def last_policy(self) -> DecidedUnder | None:
        """Return the policy of the last load that began a delivery or ended well; None: no record of a run has one."""
        with self._database.read() as connection:
            return last_policy(connection, self.sync)

    def later_syncs(self) -> set[SyncName]:
        """Return the syncs that were first loaded in a later run than the last load of this one."""
        with self._database.read() as connection:
            return later_syncs(connection, self.sync)

    def keep_in(self, workspace: str) -> None:
        """Record the id of the workspace that has the sync's delivered state."""
        with self._fenced() as (connection, row):
            if row.workspace != workspace:
                update_sync(connection, self.sync, workspace=workspace)

    def open_delivery(self) -> Delivery | None:
        """Return the delivery that an earlier try left open, or that this one began."""
        with self._database.read() as connection:
            return open_delivery(connection, self.sync)

    def attempts(self, delivery: Delivery) -> list[Attempt]:
        """Return all attempts at the batches of a delivery, in the order of kind, number and epoch."""
        with self._database.read() as connection:
            return attempts_at(connection, delivery)

    def begin(
        self,
        *,
        key: str,
        kind: str,
        changes_uri: str,
        changes_sha256: str,
        decided_at: datetime,
        send_rows: int,
        remove_rows: int,
        source: SourceRecord | None = None,
    ) -> Delivery:
        """Open a delivery whose changes start from the current version. Arguments as in `Delivery`.

        `source` is what was read for a load; removals alone have none.

        Raises:
            ValueError: another delivery is open.
        """
        with self._fenced() as (connection, row):
            if row.delivery is not None:
                raise ValueError(f"delivery {row.delivery} of sync `{self.sync}` is open")
            inserted = connection.execute(
                deliveries.insert().values(
                    sync=self.sync,
                    key=key,
                    kind=kind,
                    changes_uri=changes_uri,
                    changes_sha256=changes_sha256,
                    decided_at=decided_at,
                    send_rows=send_rows,
                    remove_rows=remove_rows,
                    base=row.version,
                    began_at=self._database.clock(),
                )
            )
            (number,) = inserted.inserted_primary_key or (None,)
            update_sync(connection, self.sync, delivery=number)
            self._note_decision(connection, row, decided_at, source)
            begun = open_delivery(connection, self.sync)
        if begun is None:
            raise RuntimeError("the ledger does not return the delivery that was just written")
        return begun

    def record(
        self, delivery: Delivery, *, ended: Sequence[EndedBatch] = (), intended: Sequence[IntendedBatch] = ()
    ) -> None:
        """Record which batches ended and which come next, in one transaction that is on disk when this returns.

        If it is not known whether a call succeeded, the same call may be repeated. To record that pending rows were
        confirmed, end their attempt once more.

        Raises:
            LeaseLostError: another task has the lease. If the delivery is still open, `ended` was recorded for those
                attempts of this lease that had not ended before, and nothing else was.
            ValueError: the delivery is not open; a batch that ended was not intended, or not with these rows; a batch
                that is intended has ended under this lease, or was intended with other rows.
        """
        if len({(batch.kind, batch.number) for batch in intended}) < len(intended):
            raise ValueError("a batch is intended twice")
        with self._database.write() as connection:
            row = self._locked_row(connection)
            is_valid = row.epoch == self.epoch and not self._lost
            if row.delivery == delivery.id:
                self._note_ends(connection, delivery, ended, is_valid=is_valid)
            elif is_valid:
                raise ValueError(f"delivery {delivery.id} of sync `{self.sync}` is not open")
            if is_valid and intended:
                note_intents(connection, self._database, delivery, intended, epoch=self.epoch)
        if not is_valid:
            raise self._loss()

    def advance(self, delivery: Delivery, *, uri: str, sha256: str, rows: int, decided_at: datetime) -> VersionRef:
        """Close a delivery and make its result the current version, in one transaction. Arguments as in `VersionRef`.

        Raises:
            ValueError: the delivery is not open.
        """
        with self._fenced(delivery) as (connection, row):
            version = VersionRef(number=row.version + 1, uri=uri, sha256=sha256, rows=rows, decided_at=decided_at)
            add_version(connection, self.sync, version)
            close_delivery(connection, self._database, delivery, version=version.number)
            prune_batches(connection, self.sync, keep=KEPT_DELIVERIES)
            return version

    def drop(self, delivery: Delivery) -> None:
        """Close a delivery of which no batch was ever intended; the current version stays.

        Raises:
            ValueError: the delivery is not open, or a batch was intended.
        """
        with self._fenced(delivery) as (connection, _):
            if has_attempts(connection, delivery):
                raise ValueError(f"delivery {delivery.id} of sync `{self.sync}` has attempts: it has to be advanced")
            close_delivery(connection, self._database, delivery, version=None)
            prune_batches(connection, self.sync, keep=KEPT_DELIVERIES)

    def adopt(self, *, uri: str, sha256: str, rows: int, decided_at: datetime) -> VersionRef:
        """Make a delivered state that this ledger did not know the current version. Arguments as in `VersionRef`.

        An open delivery is closed: it started from another version.
        """
        with self._fenced() as (connection, _):
            number = last_version(connection, self.sync) + 1
            version = VersionRef(number=number, uri=uri, sha256=sha256, rows=rows, decided_at=decided_at)
            close_open_delivery(connection, self._database, self.sync)
            add_version(connection, self.sync, version)
            return version

    def forget(self) -> None:
        """Forget the delivered state, an open delivery and the target: no one is at the destination any more."""
        with self._fenced() as (connection, _):
            close_open_delivery(connection, self._database, self.sync)
            forget_versions(connection, self.sync)

    def _note_decision(
        self,
        connection: sa.Connection,
        row: sa.Row[tuple[object, ...]],
        decided_at: datetime,
        source: SourceRecord | None,
    ) -> None:
        """Record a decision as the newest, at a time that is not later than the ledger's clock."""
        now = self._database.now(connection)
        known, decided_at = cast("datetime | None", row.decided_at), min(decided_at, now)
        if known is None or known > now or known < decided_at:
            update_sync(connection, self.sync, decided_at=decided_at)
        if source is not None:
            note_source(connection, self._database, self.sync, source, served_by=str(row.holder))

    def _note_ends(
        self, connection: sa.Connection, delivery: Delivery, ended: Sequence[EndedBatch], *, is_valid: bool
    ) -> None:
        # A lost lease may end its own attempts only.
        own = [batch for batch in ended if is_valid or batch.epoch in {None, self.epoch}]
        found = note_ends(connection, self._database, delivery, own, epoch=self.epoch, only_first=not is_valid)
        if is_valid and not found:
            raise ValueError(f"a batch of delivery {delivery.id} was not intended with these rows")


def _as_json(required: Required) -> str:
    return json.dumps(sorted(required, key=json.dumps))
