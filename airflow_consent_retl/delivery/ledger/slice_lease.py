"""The lease of a slice: the right of one task to send a range of an open delivery's batches, next to other slices.

The lease of the sync and the leases of its slices exclude each other: whoever takes the sync's lease waits for every
slice, and fences those whose workers died. Slices that overlap exclude each other too.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, cast

import sqlalchemy as sa

from airflow_consent_retl.delivery.ledger.lease import Lease
from airflow_consent_retl.delivery.ledger.renewal import boottime
from airflow_consent_retl.delivery.ledger.schema import slices, syncs
from airflow_consent_retl.delivery.ledger.writes import note_lost, update_sync
from airflow_consent_retl.errors import ConfigurationError, LedgerUnavailableError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase
    from airflow_consent_retl.delivery.ledger.records import Delivery, SyncName

_log = module_log(__name__)


class LeaseHolder(NamedTuple):
    """The task that has a lease now, and the seconds until it expires unless it is renewed."""

    holder: str
    left_s: float


class SliceOwner(NamedTuple):
    """A slice's epoch and its sync's open delivery, as a write of the slice's lease finds them."""

    epoch: int
    delivery: int | None


class SliceLease(Lease):
    """The ledger's records of one slice, for the task that has its lease: it records batches, and nothing of the sync.

    Args:
        database: the ledger's database.
        sync: the sync's name.
        first: the number of the slice's first batch.
        epoch, ttl_s, asked_at: as for `RenewedLease`; the sync and its slices count one row of epochs.
    """

    def __init__(
        self, database: LedgerDatabase, *, sync: SyncName, first: int, epoch: int, ttl_s: float, asked_at: float
    ) -> None:
        super().__init__(database, sync=sync, epoch=epoch, ttl_s=ttl_s, asked_at=asked_at)
        self._first = first

    def target(self, target: str, *, instead_of: Collection[str] = ()) -> str:
        """Return where the sync's rows are delivered: only the sync's own lease records another place."""
        with self._database.read() as connection:
            return str(connection.scalar(sa.select(syncs.c.target).where(syncs.c.sync == self.sync)) or target)

    def _locked_row(self, connection: sa.Connection) -> Any:
        # Shared: slices do not wait for each other, and the next lease of the sync waits for this transaction.
        shared = sa.select(syncs.c.delivery).where(syncs.c.sync == self.sync).with_for_update(read=True)
        delivery = connection.execute(shared).scalar_one()
        epoch = connection.scalar(sa.select(slices.c.epoch).where(*self._own))
        # Without a row, the sync has been leased since.
        return SliceOwner(epoch=-1 if epoch is None else epoch, delivery=delivery)

    def _fenced(self, delivery: Delivery | None = None) -> NoReturn:
        raise RuntimeError(f"a slice of sync `{self.sync}` records its batches only")

    def _renew(self) -> None:
        asked_at = boottime()
        with self._database.write() as connection:
            if self._locked_row(connection).epoch != self.epoch or self._lost:
                raise self._loss()
            expires_at = self._database.now(connection) + timedelta(seconds=self._ttl_s)
            connection.execute(slices.update().where(*self._own).values(expires_at=expires_at, lease_s=self._ttl_s))
        self._valid_until = self._end_of(asked_at)

    def _release(self) -> None:
        own = (*self._own, slices.c.epoch == self.epoch)
        try:
            with self._database.write() as connection:
                connection.execute(slices.update().where(*own).values(holder="", expires_at=self._database.clock()))
        except (LedgerUnavailableError, ConfigurationError) as error:
            _log.warning("the lease of a slice of sync `%s` was not released and has to expire: %s", self.sync, error)

    @property
    def _own(self) -> tuple[sa.ColumnElement[bool], ...]:
        return slices.c.sync == self.sync, slices.c.first == self._first


def slice_holder(
    connection: sa.Connection, sync: SyncName, *, now: datetime, first: int = 0, end: int | None = None
) -> LeaseHolder | None:
    """Return the task that has the lease of a slice of these batches and expires last; None: no task has one.

    Args:
        connection: with an open transaction that has locked the sync's row.
        sync: the sync's name.
        now: by the ledger's clock.
        first, end: the numbers of the first batch and of the one after the last; None: all.
    """
    overlapping = [slices.c.sync == sync, slices.c.end > first, *([] if end is None else [slices.c.first < end])]
    held = [slices.c.holder != "", slices.c.expires_at > now]
    found: list[LeaseHolder] = []
    for row in connection.execute(sa.select(slices).where(*overlapping, *held)).all():
        left_s = (row.expires_at - now).total_seconds()
        if left_s > row.lease_s:
            # Its holder wrote this time by a clock that was ahead. If it is alive, it renews the lease.
            left_s = row.lease_s
            own = (slices.c.sync == sync, slices.c.first == row.first)
            connection.execute(slices.update().where(*own).values(expires_at=now + timedelta(seconds=left_s)))
        found.append(LeaseHolder(row.holder, left_s))
    return max(found, key=lambda one: one.left_s, default=None)


def running_slices(connection: sa.Connection, *, now: datetime) -> dict[str, tuple[str, datetime]]:
    """Return, by sync, a task that has the lease of a slice now, and when that lease expires."""
    held = sa.select(slices).where(slices.c.holder != "", slices.c.expires_at > now)
    return {row.sync: (row.holder, row.expires_at) for row in connection.execute(held)}


def end_slices(
    connection: sa.Connection,
    sync: SyncName,
    delivery: int | None,
    *,
    now: datetime,
    first: int = 0,
    end: int | None = None,
) -> None:
    """Delete the slices of these batches, of which none is leased: their workers can record no more intents.

    Arguments as for `slice_holder`. `delivery`: the open one; None: there is none.
    """
    overlapping = [slices.c.sync == sync, slices.c.end > first, *([] if end is None else [slices.c.first < end])]
    for row in connection.execute(sa.select(slices).where(*overlapping)).all():
        if delivery is not None:
            # INVARIANT: not earlier than its last request: later the delivered state calls these rows settled.
            note_lost(connection, delivery, lost_at=min(now, row.expires_at), epochs=[row.epoch])
    connection.execute(slices.delete().where(*overlapping))


def take_slice(
    connection: sa.Connection,
    row: Any,
    delivery: Delivery,
    *,
    now: datetime,
    first: int,
    end: int,
    holder: str,
    ttl_s: float,
) -> int:
    """Record the lease of a slice of which no part is leased, and return its epoch.

    Args:
        connection: with an open transaction that has locked the sync's row.
        row: the sync's row. No task has the sync's lease.
        delivery: the open one.
        now: by the ledger's clock.
        first, end: the numbers of the first batch and of the one after the last.
        holder, ttl_s: as for `Ledger.acquire`.
    """
    if not connection.scalar(sa.select(sa.func.count()).where(slices.c.sync == delivery.sync)):
        # The epoch is that of the sync's last lease; afterwards it is that of a slice.
        note_lost(connection, delivery.id, lost_at=min(now, cast("datetime", row.expires_at)), epochs=[row.epoch])
    end_slices(connection, delivery.sync, delivery.id, now=now, first=first, end=end)
    epoch = int(row.epoch) + 1
    update_sync(connection, delivery.sync, epoch=epoch, holder="")
    connection.execute(
        slices.insert().values(
            sync=delivery.sync,
            first=first,
            end=end,
            epoch=epoch,
            holder=holder,
            expires_at=now + timedelta(seconds=ttl_s),
            lease_s=ttl_s,
        )
    )
    return epoch
