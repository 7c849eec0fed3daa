"""Syncs for the tests: a real ledger, real files, and a destination in memory that gives the answers of the test."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from support.permitting import AT, KEY, Filtered, filtered_customers, verify

from airflow_consent_retl.changes.store import FileStore
from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.delivery.context import SyncContext
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.recheck import Recheck
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.settings import SyncSettings
from airflow_consent_retl.delivery.syncing import Sync
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.sync_folder import SyncFolder

Answer = Callable[[Batch], Outcomes]
MakeRecheck = Callable[[Changes], AbstractContextManager[Recheck | None]]


def accept(batch: Batch) -> Outcomes:
    return Outcomes.accepted(batch.rows.num_rows)


def first_id(batch: Batch) -> int:
    first: int = batch.rows.column("id")[0].as_py()
    return first


class Recorder(Destination):
    """A destination in memory: it gives the answers of the test and records its calls."""

    can_remove = True

    def __init__(
        self, answer: Answer = accept, *, batch_rows: int = 4, concurrency: int = 1, on_remove: Answer = accept
    ) -> None:
        self._limits = Limits(batch_rows=batch_rows, concurrency=concurrency)
        self._answer = answer
        self._on_remove = on_remove
        self._lock = threading.Lock()
        self._sending = 0
        self.calls: list[str] = []
        self.batches: list[Batch] = []
        self.removals: list[Batch] = []
        self.answers: list[Outcomes] = []
        self.most_at_once = 0
        self.load: Load | None = None

    @property
    def limits(self) -> Limits:
        return self._limits

    @property
    def ids(self) -> list[Any]:
        return sorted(row["id"] for batch in self.batches for row in batch.rows.to_pylist())

    @property
    def removed_ids(self) -> list[Any]:
        return sorted(row["id"] for batch in self.removals for row in batch.rows.to_pylist())

    def open(self, load: Load) -> None:
        self.calls.append("open")
        self.load = load

    def send(self, batch: Batch) -> Outcomes:
        with self._lock:
            self.batches.append(batch)
            self._sending += 1
            self.most_at_once = max(self.most_at_once, self._sending)
        try:
            outcomes = self._answer(batch)
        finally:
            with self._lock:
                self._sending -= 1
        with self._lock:
            self.answers.append(outcomes)
        return outcomes

    def remove(self, batch: Batch) -> Outcomes:
        with self._lock:
            self.removals.append(batch)
        return self._on_remove(batch)

    def commit(self) -> None:
        self.calls.append("commit")

    def abort(self) -> None:
        self.calls.append("abort")


def consenting(count: int) -> pa.Table:
    """Return people who permit everything."""
    yes = pa.array([True] * count, pa.bool_())
    return pa.table(
        {"id": pa.array(range(count), pa.int64()), "email": ["x"] * count, "analytics_ok": yes, "ads_ok": yes}
    )


def people(rows: dict[int, tuple[str, bool | None]]) -> pa.Table:
    """Return people by id, with an e-mail and their consent to advertising; all permit analytics."""
    return pa.table(
        {
            "id": pa.array(list(rows), pa.int64()),
            "email": pa.array([email for email, _ in rows.values()], pa.string()),
            "analytics_ok": pa.array([True] * len(rows), pa.bool_()),
            "ads_ok": pa.array([ok for _, ok in rows.values()], pa.bool_()),
        }
    )


def verified(run: Filtered, *, fields: dict[str, str] | None = None, destination: str = "ads") -> FilePermittedRows:
    """Return the permitted rows that a load gets from a filter run."""
    return verify(
        run.folder,
        run.manifest,
        manifest_sha256=run.sha256,
        destination=destination,
        fields=fields or {"id": "id"},
        policy_digest=None,
        max_age_s=None,
        now=run.manifest.decided_at + timedelta(seconds=1),
    )


@dataclass
class SyncBench:
    """One sync of the model `customers` at the destination `ads`, in a folder of its own."""

    path: Path
    runs: int = 0
    ttl_s: float = 30
    wait_s: float = 0
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("tests.syncing"))

    def filtered(self, rows: pa.Table) -> Filtered:
        """Run the filter, with a time one minute after the last run."""
        self.runs += 1
        folder = self.path / f"run-{self.runs}"
        return filtered_customers(folder, rows, at=AT + timedelta(minutes=self.runs))

    @contextmanager
    def leased(
        self, destination: Destination, settings: SyncSettings, *, progress: Callable[[int], None] | None = None
    ) -> Iterator[Sync]:
        """Take the lease, as a task does."""
        name = sync_name("customers", "ads")
        with (
            Ledger.sqlite(self.path / "ledger.db") as ledger,
            ledger.acquire(name, holder="test", ttl_s=self.ttl_s, wait_s=self.wait_s) as lease,
        ):
            yield Sync(
                SyncContext(
                    lease=lease,
                    store=FileStore(SyncFolder(Folder.local(self.path / "workspace"), name, epoch=lease.epoch), name),
                    build=lambda: destination,
                    settings=settings,
                    log=self.log,
                    key=lambda: KEY,
                    progress=lambda verb, rows: progress or (lambda done: None),
                )
            )

    def load(
        self,
        permitted: FilePermittedRows,
        destination: Destination,
        *,
        report: LoadReport | None = None,
        make_recheck: MakeRecheck | None = None,
        progress: Callable[[int], None] | None = None,
        **settings: Any,
    ) -> LoadReport:
        """Load under a lease of its own, as each try of a task does."""
        counted = report or LoadReport(permitted=permitted.rows)
        with self.leased(destination, SyncSettings(**settings), progress=progress) as sync:
            self.waiting = sync.load(permitted, counted, subject_key=KEY, make_recheck=make_recheck)
        return counted

    def delivered(self) -> dict[Any, list[tuple[bool, bool]]]:
        """Return, by id, each entry of the delivered state: whether it is confirmed, and whether it is unsettled."""
        with self.leased(Recorder(), SyncSettings()) as sync:
            state = sync.state()
            found: dict[Any, list[tuple[bool, bool]]] = {}
            if state is not None:
                for rows in state.folder.read_rows(state.manifest.parts, batch_rows=1000):
                    for row in rows.to_pylist():
                        entry = (row["hash"] is not None, row["unsettled_until"] is not None)
                        found.setdefault(row["id"], []).append(entry)
            return found
