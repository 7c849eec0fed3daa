"""Sliced loads for the tests: a real ledger and real files, as `support.syncing` has them, and a receiver in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from support.permitting import KEY
from support.syncing import MakeRecheck, Recorder, SyncBench, accept

from airflow_consent_retl.changes.store import FileStore
from airflow_consent_retl.contract.destination import Batch, Destination
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.delivery.context import SyncContext
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.ledger.slice_lease import SliceLease
from airflow_consent_retl.delivery.report import LoadReport, Tally
from airflow_consent_retl.delivery.settings import SyncSettings
from airflow_consent_retl.delivery.slicing import Slice, send_slice_of, slices_of
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.sync_folder import SyncFolder

SYNC = sync_name("customers", "ads")


class Receiver(Recorder):
    """A receiver that has one row for each person, and takes slices; its answer comes before a batch is applied."""

    takes_slices = True

    def __init__(self, there: dict[int, str], answer: Callable[[Batch], Outcomes] = accept, **options: Any) -> None:
        super().__init__(answer, **{"batch_rows": 1, **options})
        self.there = there

    def send(self, batch: Batch) -> Outcomes:
        outcomes = super().send(batch)
        self.there.update((row["id"], row.get("email", "")) for row in batch.rows.to_pylist())
        return outcomes

    def remove(self, batch: Batch) -> Outcomes:
        for row in batch.rows.to_pylist():
            self.there.pop(row["id"], None)
        return super().remove(batch)


@dataclass
class SliceBench(SyncBench):
    """One sync whose loads are sent in slices."""

    def begin(
        self, permitted: FilePermittedRows, destination: Destination, slices: int, **settings: Any
    ) -> list[Slice]:
        """Begin a load, as its first task does, and return its slices."""
        report = LoadReport(permitted=permitted.rows)
        with self.leased(destination, SyncSettings(**settings)) as sync:
            run = sync.begin(permitted, report, subject_key=KEY, asks_again=True, ask=None)
            return [] if run is None else slices_of(run, slices)

    @contextmanager
    def leased_slice(self, part: Slice, *, releases: bool = True) -> Iterator[tuple[Ledger, SliceLease | None]]:
        """Take the lease of a slice, as its task does; None: its delivery is not open any more.

        `releases`: otherwise the worker dies in the block, and its lease has to expire.
        """
        with Ledger.sqlite(self.path / "ledger.db") as ledger:
            delivery = ledger.open_delivery(SYNC)
            if delivery is None or delivery.id != part.delivery:
                yield ledger, None
                return
            lease = ledger.acquire_slice(
                delivery, first=part.first, end=part.end, holder=f"slice {part}", ttl_s=self.ttl_s, wait_s=self.wait_s
            )
            with nullcontext() if lease is None or not releases else lease:
                yield ledger, lease

    def send(
        self,
        part: Slice,
        destination: Destination,
        *,
        make_recheck: MakeRecheck = lambda changes: nullcontext(),
        releases: bool = True,
        **settings: Any,
    ) -> Tally | None:
        """Send a slice; None: its delivery is not open any more."""
        with self.leased_slice(part, releases=releases) as (ledger, lease):
            delivery = ledger.open_delivery(SYNC)
            if lease is None or delivery is None:
                return None
            context = SyncContext(
                lease=lease,
                store=FileStore(SyncFolder(Folder.local(self.path / "workspace"), SYNC, epoch=lease.epoch), SYNC),
                build=lambda: destination,
                settings=SyncSettings(**settings),
                log=self.log,
                key=lambda: KEY,
            )
            return send_slice_of(context, delivery, part, LoadReport(permitted=0), make_recheck=make_recheck)
