"""The open ledger: it grants leases and reads what syncs have done.

It is small and transactional, in a SQLite file or in PostgreSQL. It never holds a subject or a value of a row: its
versions point at files with the delivered state. Without it, nothing is sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

import sqlalchemy as sa

from airflow_consent_retl.delivery.ledger.identity import LedgerIdentity
from airflow_consent_retl.delivery.ledger.lease import Lease
from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase
from airflow_consent_retl.delivery.ledger.queries import (
    all_syncs,
    attempts_at,
    current_version,
    delivery_of,
    last_policy,
    newest_source,
    open_delivery,
)
from airflow_consent_retl.delivery.ledger.records import SyncName, SyncOverview
from airflow_consent_retl.delivery.ledger.renewal import boottime
from airflow_consent_retl.delivery.ledger.run_history import RunHistory, end_runs, note_run
from airflow_consent_retl.delivery.ledger.schema import deliveries, sources, syncs
from airflow_consent_retl.delivery.ledger.slice_lease import (
    LeaseHolder,
    SliceLease,
    end_slices,
    running_slices,
    slice_holder,
    take_slice,
)
from airflow_consent_retl.delivery.ledger.writes import note_lost, update_sync
from airflow_consent_retl.errors import SyncBusyError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.attempts import Attempt
    from airflow_consent_retl.delivery.ledger.records import DecidedUnder, Delivery, SourceRecord, VersionRef
    from airflow_consent_retl.delivery.ledger.run_records import RunRecord

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 1.0
_LONG_AGO: Final = datetime(1970, 1, 1, tzinfo=UTC)

_log = module_log(__name__)


class Ledger:
    """An open ledger. Its tables are created on first use. Thread-safe; not to be used in a forked process.

    Every method may raise `LedgerUnavailableError`: the database did not answer, and another try may help. Every
    method may raise `ConfigurationError`: the database refused the login, a privilege is missing, or a later release
    wrote the tables.
    """

    def __init__(self, database: LedgerDatabase) -> None:
        self._database = database
        # The id of the workspace that it was opened for; None: without a workspace.
        self.workspace: str | None = None

    @classmethod
    def sqlite(cls, path: Path, *, busy_s: float = 10.0) -> Self:
        """Open the ledger in a SQLite file on a local disk: for workers on one machine.

        A transaction takes milliseconds. A worker that is paused inside one blocks all others until it continues or
        ends. PostgreSQL ends such a transaction by itself.

        Args:
            path: the file. If it is missing, it is created, readable by its owner only.
            busy_s: seconds to wait for another writer.
        """
        return cls(LedgerDatabase.sqlite(path, busy_s=busy_s))

    @classmethod
    def from_engine(cls, engine: sa.Engine) -> Self:
        """Open the ledger in a PostgreSQL database, in the default schema of the login: for workers anywhere.

        Args:
            engine: with any driver; `close` disposes of it. With `pool_pre_ping` it survives a restart of the server.
        """
        return cls(LedgerDatabase.from_engine(engine))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection. Release leases first."""
        self._database.close()

    @contextmanager
    def identity(self, *, writing: bool = False) -> Iterator[LedgerIdentity]:
        """Open a transaction in which the ledger's id, its workspaces and its syncs can be read.

        Args:
            writing: the block may write, and other blocks that write wait for its end.
        """
        with self._database.write() if writing else self._database.read() as connection:
            known = LedgerIdentity(connection, self._database)
            if writing:
                known.lock()
            yield known

    @contextmanager
    def history(self) -> Iterator[RunHistory]:
        """Open a transaction in which the records of runs can be read, all as they are at one time."""
        with self._database.read() as connection:
            yield RunHistory(connection)

    def note_run(self, run: RunRecord) -> None:
        """Record a run that ended, without a lease."""
        with self._database.write() as connection:
            note_run(connection, run)

    def end_runs(self, before: datetime) -> None:
        """Delete the records of runs that ended before a time."""
        with self._database.write() as connection:
            end_runs(connection, before)

    def acquire(
        self, sync: SyncName, *, holder: str, ttl_s: float = 60.0, wait_s: float = 0.0, after_epoch: int = 0
    ) -> Lease:
        """Return the lease of a sync, if no other task has it. Enter it, so that it renews itself.

        Args:
            sync: the sync's name.
            holder: a description of the caller for error messages: ids of DAG, task and run.
            ttl_s: seconds after which a holder that does not renew the lease counts as dead.
            wait_s: seconds to wait for another holder.
            after_epoch: the lease gets a higher epoch than this one, which a lost ledger gave.

        Raises:
            SyncBusyError: another task has it; the error names the task, `retry_after_s` is when its lease expires.
        """
        if ttl_s <= 0:
            raise ValueError("ttl_s must be more than 0")
        if not holder:
            raise ValueError("a lease needs a holder: a released one has none")
        return self._waited(
            lambda: self._acquired(sync, holder=holder, ttl_s=ttl_s, after_epoch=after_epoch), wait_s=wait_s
        )

    def acquire_slice(
        self, delivery: Delivery, *, first: int, end: int, holder: str, ttl_s: float = 60.0, wait_s: float = 0.0
    ) -> SliceLease | None:
        """Return the lease of a slice, if no other task has a part of it, or the sync. Enter it: it renews itself.

        Args:
            delivery: the one that the slice is part of.
            first, end: the numbers of its first batch to send and of the one after its last.
            holder, ttl_s, wait_s: as for `acquire`.

        Returns:
            None: the delivery is not open any more.

        Raises:
            SyncBusyError: as `acquire`.
        """
        return self._waited(
            lambda: self._acquired_slice(delivery, first=first, end=end, holder=holder, ttl_s=ttl_s), wait_s=wait_s
        )

    def _waited(self, acquire: Callable[[], T], *, wait_s: float) -> T:
        deadline = time.monotonic() + wait_s
        pause_s = _FIRST_PAUSE_S
        has_waited = False
        while True:
            try:
                return acquire()
            except SyncBusyError as error:
                remaining_s = deadline - time.monotonic()
                if remaining_s <= 0:
                    raise
                if not has_waited:
                    _log.info("waiting up to %.0f s, because %s", wait_s, error)
                    has_waited = True
                time.sleep(min(pause_s, remaining_s, (error.retry_after_s or 0) + _FIRST_PAUSE_S))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def syncs(self) -> list[SyncOverview]:
        """Return all syncs, by name, without taking a lease."""
        with self._database.read() as connection:
            now = self._database.now(connection)
            sending = running_slices(connection, now=now)
            return [
                SyncOverview(
                    sync=SyncName(row.sync),
                    target=row.target,
                    epoch=row.epoch,
                    holder=row.holder if _is_held(row, now) else sending.get(row.sync, (None, None))[0],
                    expires_at=row.expires_at if _is_held(row, now) else sending.get(row.sync, (None, None))[1],
                    decided_at=row.decided_at,
                    current=current,
                    open_delivery=delivery,
                    dag=row.dag,
                    served_at=row.served_at,
                )
                for row, current, delivery in all_syncs(connection)
            ]

    def reset_times(self) -> list[SyncName]:
        """Bring every recorded time that is later than the ledger's clock back to it: a clock was ahead.

        Returns:
            The syncs whose times changed.
        """
        changed: set[SyncName] = set()
        with self._database.write() as connection:
            now = self._database.now(connection)
            for time in (syncs.c.decided_at, syncs.c.withdrawn_at, syncs.c.served_at, sources.c.as_of):
                late = connection.execute(sa.select(time.table.c.sync).where(time > now)).scalars().all()
                connection.execute(sa.update(time.table).where(time > now).values({time.name: now}))
                changed.update(map(SyncName, late))
        return sorted(changed)

    def current(self, sync: SyncName) -> VersionRef | None:
        """Return the present version of the delivered state, without taking a lease."""
        with self._database.read() as connection:
            return current_version(connection, sync)

    def last_policy(self, sync: SyncName) -> DecidedUnder | None:
        """Return the policy of a sync's last load that began a delivery or ended well; None: no record has one."""
        with self._database.read() as connection:
            return last_policy(connection, sync)

    def source(self, sync: SyncName) -> SourceRecord | None:
        """Return what a sync read for the newest data that it delivered, without taking a lease; None: not known."""
        with self._database.read() as connection:
            return newest_source(connection, sync)

    def open_delivery(self, sync: SyncName) -> Delivery | None:
        """Return the delivery of a sync that is in progress, or was when its worker died, without taking a lease."""
        with self._database.read() as connection:
            return open_delivery(connection, sync)

    def deliveries(self, sync: SyncName) -> list[Delivery]:
        """Return all deliveries, open and closed, the latest first."""
        latest_first = deliveries.c.id.desc()
        with self._database.read() as connection:
            found = connection.execute(sa.select(deliveries).where(deliveries.c.sync == sync).order_by(latest_first))
            return [delivery_of(row) for row in found]

    def attempts(self, delivery: Delivery) -> list[Attempt]:
        """Return all attempts at the batches of a delivery, in the order of kind, number and epoch."""
        with self._database.read() as connection:
            return attempts_at(connection, delivery)

    def _acquired(self, sync: SyncName, *, holder: str, ttl_s: float, after_epoch: int) -> Lease:
        asked_at = boottime()
        with self._database.write() as connection:
            # The first lease of a sync creates its row.
            new = {"sync": sync, "epoch": 0, "holder": "", "expires_at": _LONG_AGO, "target": "", "version": 0}
            connection.execute(self._database.insert(syncs).values(new).on_conflict_do_nothing())
            row = connection.execute(sa.select(syncs).where(syncs.c.sync == sync).with_for_update()).one()
            now = self._database.now(connection)
            epoch = row.epoch
            busy = self._holder(connection, row, now) or slice_holder(connection, sync, now=now)
            if busy is None:
                end_slices(connection, sync, row.delivery, now=now)
                if row.delivery is not None:
                    note_lost(connection, row.delivery, lost_at=min(now, row.expires_at))
                expires_at = now + timedelta(seconds=ttl_s)
                epoch = max(row.epoch, after_epoch) + 1
                taken = {"epoch": epoch, "holder": holder, "expires_at": expires_at, "lease_s": ttl_s}
                update_sync(connection, sync, **taken)
        if busy is not None:
            raise _is_loaded(sync, busy)
        return Lease(self._database, sync=sync, epoch=epoch, ttl_s=ttl_s, asked_at=asked_at)

    def _acquired_slice(
        self, delivery: Delivery, *, first: int, end: int, holder: str, ttl_s: float
    ) -> SliceLease | None:
        asked_at, sync = boottime(), delivery.sync
        epoch = 0
        with self._database.write() as connection:
            row = connection.execute(sa.select(syncs).where(syncs.c.sync == sync).with_for_update()).one()
            now = self._database.now(connection)
            busy = self._holder(connection, row, now)
            if busy is None and row.delivery != delivery.id:
                return None
            busy = busy or slice_holder(connection, sync, now=now, first=first, end=end)
            if busy is None:
                epoch = take_slice(connection, row, delivery, now=now, first=first, end=end, holder=holder, ttl_s=ttl_s)
        if busy is not None:
            raise _is_loaded(sync, busy)
        return SliceLease(self._database, sync=sync, first=first, epoch=epoch, ttl_s=ttl_s, asked_at=asked_at)

    def _holder(self, connection: sa.Connection, row: Any, now: datetime) -> LeaseHolder | None:
        """Return the task that has the lease of a sync; None: no task has it."""
        if not _is_held(row, now):
            return None
        left_s = (row.expires_at - now).total_seconds()
        if row.lease_s is not None and left_s > row.lease_s:
            # Its holder wrote this time by a clock that was ahead. If it is alive, it renews the lease.
            left_s = row.lease_s
            update_sync(connection, row.sync, expires_at=now + timedelta(seconds=left_s))
        return LeaseHolder(row.holder, left_s)


def _is_loaded(sync: SyncName, busy: LeaseHolder) -> SyncBusyError:
    return SyncBusyError(
        f"sync `{sync}` is being loaded by `{busy.holder}`, whose lease expires in {busy.left_s:.0f} s "
        "unless it is renewed",
        retry_after_s=busy.left_s,
    )


def _is_held(row: Any, now: datetime) -> bool:
    """Return whether a task has the lease: it was not released and has not expired."""
    return bool(row.holder) and cast("datetime", row.expires_at) > now
