"""A task that was paused while another one took over its sync: it reports that, and touches no files of the other."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.permitting import KEY
from support.syncing import Recorder, SyncBench, people, verified

from airflow_consent_retl.changes.store import FileStore
from airflow_consent_retl.delivery.context import SyncContext
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.settings import SyncSettings
from airflow_consent_retl.delivery.steps import Step, log
from airflow_consent_retl.delivery.syncing import Sync
from airflow_consent_retl.errors import LeaseLostError
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import MANIFEST_NAME
from airflow_consent_retl.storage.sync_folder import SyncFolder

SYNC = sync_name("customers", "ads")
TTL_S = 0.3


class _At(logging.Handler):
    """Calls a function when a step is reached, once."""

    def __init__(self, step: Step, then: Callable[[], None]) -> None:
        super().__init__(logging.DEBUG)
        self._step = step
        self._then: Callable[[], None] | None = then

    def createLock(self) -> None:  # noqa: N802 - logging calls it so
        """Use no lock: the function may log on other threads."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg is self._step and self._then is not None:
            then, self._then = self._then, None
            then()


@contextmanager
def at(step: Step, then: Callable[[], None]) -> Iterator[None]:
    handler, level = _At(step, then), log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


@pytest.fixture
def bench(tmp_path: Path) -> SyncBench:
    return SyncBench(tmp_path)


@pytest.fixture
def ledger(bench: SyncBench) -> Iterator[Ledger]:
    with Ledger.sqlite(bench.path / "ledger.db") as opened:
        yield opened


def folder_of(bench: SyncBench, *, epoch: int) -> SyncFolder:
    return SyncFolder(Folder.local(bench.path / "workspace"), SYNC, epoch=epoch)


def load_without_renewing(bench: SyncBench, ledger: Ledger) -> None:
    """Load under a lease that expires, like that of a paused task."""
    lease = ledger.acquire(SYNC, holder="paused", ttl_s=TTL_S)
    store = FileStore(folder_of(bench, epoch=lease.epoch), SYNC)
    sync = Sync(
        SyncContext(lease=lease, store=store, build=Recorder, settings=SyncSettings(), log=bench.log, key=lambda: KEY)
    )
    permitted = verified(bench.filtered(people({1: ("a", True)})))
    sync.load(permitted, LoadReport(permitted=1), subject_key=KEY, make_recheck=None)


def test_a_task_overtaken_before_the_next_version_may_try_again(bench: SyncBench, ledger: Ledger) -> None:
    def overtake() -> None:
        time.sleep(TTL_S)
        bench.load(verified(bench.filtered(people({1: ("a", True), 2: ("b", True)}))), Recorder())

    with at(Step.COMMITTED, overtake), pytest.raises(LeaseLostError):
        load_without_renewing(bench, ledger)

    assert sorted(bench.delivered()) == [1, 2]


def test_a_task_overtaken_after_the_next_version_deletes_nothing_that_is_being_written(
    bench: SyncBench, ledger: Ledger
) -> None:
    being_written: list[Folder] = []

    def overtake() -> None:
        time.sleep(TTL_S)
        epoch = ledger.acquire(SYNC, holder="next", ttl_s=TTL_S).epoch
        being_written.append(folder_of(bench, epoch=epoch).new("changes"))
        being_written[0].publish(b"{}")

    with at(Step.ADVANCED, overtake):
        load_without_renewing(bench, ledger)

    assert being_written[0].exists(MANIFEST_NAME)
