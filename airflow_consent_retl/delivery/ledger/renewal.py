"""The renewal of a lease while its task works; the task stops writing once another task may have the lease."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import sqlalchemy as sa

from airflow_consent_retl.delivery.ledger.account_rates import LedgerReserve
from airflow_consent_retl.delivery.ledger.schema import syncs
from airflow_consent_retl.delivery.ledger.writes import update_sync
from airflow_consent_retl.errors import ConfigurationError, LeaseLostError, LedgerUnavailableError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.contract.account_rate import Reserve
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase
    from airflow_consent_retl.delivery.ledger.records import Delivery, SyncName

# A request that is allowed now must have begun before another task can take the lease.
_MARGIN: Final = 0.1
_NEVER: Final = -math.inf

_log = module_log(__name__)


def boottime() -> float:
    """Return seconds on a clock that is never set and keeps running while the process or the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


class RenewedLease:
    """A lease that is valid for some seconds after each renewal. As a context manager it renews itself.

    Args:
        database: the ledger's database.
        sync: the sync's name.
        epoch: higher than the epoch of every earlier lease.
        ttl_s: seconds for which the lease is valid after each renewal.
        asked_at: `boottime` just before the lease was requested.
    """

    def __init__(self, database: LedgerDatabase, *, sync: SyncName, epoch: int, ttl_s: float, asked_at: float) -> None:
        self.sync = sync
        self.epoch = epoch
        self.reserve: Reserve = LedgerReserve(database)
        self._database = database
        self._ttl_s = ttl_s
        self._valid_until = self._end_of(asked_at)
        self._lost = ""
        self._renewing = threading.RLock()
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._keep_renewing, name=f"lease {sync}", daemon=True)

    def __enter__(self) -> Self:
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Release the lease for the next task. If the ledger does not answer, the lease expires."""
        self._ended.set()
        with self._renewing:
            self._valid_until = _NEVER
            if not self._lost:
                self._lost = "was released"
                self._release()
        if self._renewer.is_alive():
            self._renewer.join(timeout=self._ttl_s)

    def check(self) -> None:
        """Return if the lease is certainly this task's. Needs no query until it may have expired. Thread-safe.

        Raises:
            LeaseLostError: it was released, another task has it, or it expired and cannot be renewed now.
        """
        if boottime() < self._valid_until:
            return
        with self._renewing:
            # Another thread may have renewed it meanwhile.
            if boottime() < self._valid_until:
                return
            try:
                self._renew()
                return
            except (LedgerUnavailableError, ConfigurationError) as error:
                failure = LeaseLostError(f"the lease of sync `{self.sync}` expired and cannot be renewed: {error}")
        raise failure

    @contextmanager
    def _fenced(self, delivery: Delivery | None = None) -> Iterator[tuple[sa.Connection, sa.Row[tuple[object, ...]]]]:
        """Open a transaction in which no other lease of this sync can begin; yield it with the sync's row."""
        with self._database.write() as connection:
            row = self._locked_row(connection)
            if row.epoch != self.epoch or self._lost:
                raise self._loss()
            if delivery is not None and row.delivery != delivery.id:
                raise ValueError(f"delivery {delivery.id} of sync `{self.sync}` is not open")
            yield connection, row

    def _locked_row(self, connection: sa.Connection) -> sa.Row[tuple[object, ...]]:
        return connection.execute(sa.select(syncs).where(syncs.c.sync == self.sync).with_for_update()).one()

    def _loss(self) -> LeaseLostError:
        self._lost = self._lost or "was taken over by another task"
        self._valid_until = _NEVER
        return LeaseLostError(f"the lease of sync `{self.sync}` {self._lost}: nothing more is sent")

    def _give_up(self, why: str) -> None:
        self._ended.set()
        self._lost, self._valid_until = why, _NEVER

    def _end_of(self, asked_at: float) -> float:
        return asked_at + self._ttl_s * (1 - _MARGIN)

    def _renew(self) -> None:
        asked_at = boottime()
        with self._fenced() as (connection, _):
            expires_at = self._database.now(connection) + timedelta(seconds=self._ttl_s)
            update_sync(connection, self.sync, expires_at=expires_at, lease_s=self._ttl_s)
        self._valid_until = self._end_of(asked_at)

    def _keep_renewing(self) -> None:
        pause_s = self._ttl_s / 3
        while not self._ended.wait(pause_s):
            try:
                with self._renewing:
                    self._renew()
                pause_s = self._ttl_s / 3
            except LeaseLostError:
                return
            except (LedgerUnavailableError, ConfigurationError) as error:
                _log.warning("the lease of sync `%s` was not renewed: %s", self.sync, error)
                pause_s = self._ttl_s / 10

    def _release(self) -> None:
        own = sa.and_(syncs.c.sync == self.sync, syncs.c.epoch == self.epoch)
        try:
            with self._database.write() as connection:
                # The mark of a released lease is that it has no holder: its time may come from a clock that was ahead.
                connection.execute(syncs.update().where(own).values(holder="", expires_at=self._database.clock()))
        except (LedgerUnavailableError, ConfigurationError) as error:
            _log.warning("the lease of sync `%s` was not released and has to expire: %s", self.sync, error)
