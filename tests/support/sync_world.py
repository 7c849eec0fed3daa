"""A small world for the whole protocol: a source, a policy, a vendor, and workers with disturbances.

It keeps its own account of the people who may be sent, and never uses the package's.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from support.permitting import AirflowFailException, AirflowSkipException
from support.sync_source import CONN_ID, CONSENT, DESTINATION, NOW, TYPES, Delete, Law, Person, Source, Withdraw
from support.sync_vendor import Payload, Request, Vendor, VendorClient

from airflow_consent_retl.changes.store import FileStore
from airflow_consent_retl.consent import parse_consent_mapping
from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.delivery.attempts import BatchKind
from airflow_consent_retl.delivery.context import SyncContext
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.recheck import Recheck
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.delivery.settings import SyncSettings
from airflow_consent_retl.delivery.steps import Step
from airflow_consent_retl.delivery.syncing import Sync
from airflow_consent_retl.errors import PermanentError, TransientError
from airflow_consent_retl.filtering.asking import SubjectIndex
from airflow_consent_retl.filtering.model_question import ModelAsker
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.hooks.policies import read_policy
from airflow_consent_retl.hooks.sql import hooks_of
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadOperator
from airflow_consent_retl.operators.permitted_rows import verified_rows
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.delivered import DeliveredState
from airflow_consent_retl.storage.location import subject_key, sync_folder
from airflow_consent_retl.storage.manifest import ModelSource
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger

MODEL = "people"
SYNC = sync_name(MODEL, DESTINATION)
FIELDS = {"id": "id", "email": "email", "name": "name"}
_steps = logging.getLogger("airflow_consent_retl.delivery.steps")
_log = logging.getLogger(__name__)


class Death(BaseException):
    """The worker's process ends here."""


class Act(StrEnum):
    """The kind of a disturbance."""

    KILL = "kill"
    WITHDRAW = "withdraw"
    DELETE = "delete"
    # The worker is paused for longer than its lease, and another worker acts meanwhile.
    OVERTAKE_BY_LOAD = "overtake_by_load"
    OVERTAKE_BY_WITHDRAWALS = "overtake_by_withdrawals"


# In addition to the protocol's own steps: a request is about to arrive.
ARRIVING = "arriving"
STEPS = (*(str(step) for step in Step), ARRIVING)


@dataclass(frozen=True)
class Disturbance:
    """A disturbance of a worker, at one occurrence of one step.

    Args:
        act: its kind.
        step: one of `STEPS`.
        occurrence: from 1.
        person: the person concerned.
    """

    act: Act
    step: str
    occurrence: int
    person: int


@dataclass(frozen=True)
class Filtered:
    """One filter run: its output, and by the world's own account the permitted people with their payloads."""

    output: dict[str, object]
    decided_at: datetime
    read_at: datetime
    permitted: dict[int, tuple[str, Payload]]
    needs: frozenset[str]


@dataclass(eq=False)
class Worker:
    """One try of a load or of the fast lane.

    Args:
        permitted: the most that it may send: people with their payloads.
        law: the law when the try began.
        disturbance: the disturbance that it will meet.
        asked: the people who were permitted when the source was last asked.
        is_dead: whether its process has ended.
    """

    permitted: dict[int, tuple[str, Payload]]
    law: Law
    disturbance: Disturbance | None
    asked: frozenset[int] | None = None
    is_dead: bool = False
    steps: Counter[str] = field(default_factory=Counter)

    def live(self) -> None:
        if self.is_dead:
            raise Death


@dataclass(frozen=True)
class Ended:
    """The end of a try: counts, or an error."""

    counts: dict[str, Any] | None = None
    error: BaseException | None = None


class Entry(NamedTuple):
    """A person who may be at the vendor, by the delivered state, and whether that is confirmed."""

    id: int
    email: str
    is_confirmed: bool


class LoadToVendor(LoadOperator):
    """Loads into the vendor of a world."""

    def __init__(self, *, build: Callable[[], Destination], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._build = build

    def build_destination(self) -> Destination:
        return self._build()


class SyncWorld:
    """Source, policy, workspace and vendor of one sync, in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.vendor = Vendor()
        self.source = Source(path)
        self.snapshots: list[tuple[dict[str, Any], dict[int, Person]]] = []
        self.filtered: list[Filtered] = []
        self.violations: list[str] = []
        # The newest decision, and the newest data, that a load delivered.
        self.loaded_up_to = self.data_up_to = datetime.min.replace(tzinfo=UTC)
        # The consents that each load that may have ended well needed, since the last that surely did.
        self.surely_asked = frozenset({"analytics", "ads"})
        self._workspace = f"file://{path}/workspace"
        self._workers: list[Worker] = []
        _steps.setLevel(logging.DEBUG)
        # Not a handler: that would keep a lock while a worker is paused.
        _steps.addFilter(self._reached)

    def close(self) -> None:
        _steps.removeFilter(self._reached)
        _steps.setLevel(logging.NOTSET)
        self.source.close()

    # Tasks

    def extract(self, *, sql: str = NOW) -> None:
        """Run the extraction: of now, or of an older logical date, with the names of that date and today's consent."""
        operator = ExtractModelOperator(
            task_id="extract",
            model=MODEL,
            conn_id=CONN_ID,
            sql=sql,
            primary_key="id",
            column_types=TYPES,
            workspace=self._workspace,
        )
        self.snapshots.append((operator.execute({}), self.source.rows(sql)))

    def filter(self, *, back: int = 0) -> None:
        """Run the filter over the latest snapshot, or over an older one."""
        snapshot, rows = self.snapshots[-1 - back % len(self.snapshots)]
        output = ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=self.source.policy,
            consent=CONSENT,
            destinations=[DESTINATION],
            max_released_ratio=None,
            workspace=self._workspace,
        ).execute({})
        permitted = {
            number: (person.email, Payload(number, person.name))
            for number, person in rows.items()
            if self.source.law.allows(person)
        }
        read_at = datetime.fromisoformat(snapshot["at"])
        needs = frozenset(self.source.law.needs)
        self.filtered.append(Filtered(output, datetime.fromisoformat(output["at"]), read_at, permitted, needs))

    def load(
        self,
        *,
        back: int = 0,
        mode: str = "mirror",
        disturbance: Disturbance | None = None,
        guard: float | None = None,
    ) -> Ended:
        """Load the newest permitted set, or an older one, with limits on the shares of added and removed people."""
        run = self.filtered[-1 - back % len(self.filtered)]
        with self._worker(run.permitted, disturbance) as worker:
            operator = LoadToVendor(
                task_id="load",
                build=lambda: self._client(worker),
                permitted=run.output,
                destination=DESTINATION,
                fields=FIELDS,
                policy=self.source.policy,
                mode=mode,
                recheck_interval_s=0,
                confirm_timeout_s=0,
                lease_wait_s=5,
                max_removed_ratio=guard,
                max_added_ratio=guard,
                workspace=self._workspace,
            )
            if disturbance is not None and disturbance.act in _OVERTAKING:
                ended = self._ended(lambda: self._load_paused(run, mode, worker))
            else:
                ended = self._ended(lambda: operator.execute({}))
        self.surely_asked = run.needs if ended.counts is not None else self.surely_asked & run.needs
        if ended.counts is not None:
            self.loaded_up_to = max(self.loaded_up_to, run.decided_at)
            self.data_up_to = max(self.data_up_to, run.read_at)
        return ended

    def withdraw(self, disturbance: Disturbance | None = None) -> Ended:
        """Run the fast lane."""
        with self._worker({}, disturbance) as worker:
            return self._ended(lambda: self._withdraw(worker))

    def _load_paused(self, run: Filtered, mode: str, worker: Worker) -> dict[str, Any]:
        """Load as the operator does, under a lease that does not renew itself while the worker is paused."""
        permitted, _ = verified_rows(
            run.output,
            destination=DESTINATION,
            fields=FIELDS,
            policy=self.source.policy,
            max_age_s=86_400,
            log=_log,
            asks_again=True,
        )
        asker = self._asker()

        @contextmanager
        def recheck(changes: Changes) -> Iterator[Recheck | None]:
            if not changes.manifest.upsert_rows or not asker.check():
                yield None
                return
            first = next(changes.upserts(1))
            with SubjectIndex((some.ids for some in changes.upserts(100)), first.ids.type) as people:
                yield Recheck(
                    people, DESTINATION, asker.ask, carrying=lambda fields: np.empty(0, np.int64), interval_s=0
                )

        report = LoadReport(permitted=permitted.rows)
        with self._leased(worker, SyncMode(mode)) as sync:
            waiting = sync.load(permitted, report, subject_key=subject_key(self._workspace), make_recheck=recheck)
        if waiting:
            raise TransientError("the vendor still processes requests")
        return report.as_counts()

    def _withdraw(self, worker: Worker) -> dict[str, Any]:
        report = LoadReport(permitted=0)
        with self._leased(worker, SyncMode.MIRROR) as sync:
            waiting = sync.withdraw(self._asker().ask, report)
        if waiting:
            raise TransientError("the vendor still processes requests")
        return report.as_counts()

    @contextmanager
    def _leased(self, worker: Worker, mode: SyncMode) -> Iterator[Sync]:
        with ExitStack() as resources:
            ledger = resources.enter_context(open_ledger(self._workspace))
            # Not entered, so it is neither renewed nor released: it expires.
            lease = ledger.acquire(SYNC, holder="tests", ttl_s=0.05, wait_s=5)
            settings = SyncSettings(mode=mode, confirm_timeout_s=0)
            store = FileStore(sync_folder(self._workspace, SYNC, epoch=lease.epoch), SYNC)
            yield Sync(
                SyncContext(
                    lease=lease,
                    store=store,
                    build=lambda: self._client(worker),
                    settings=settings,
                    log=_log,
                    key=lambda: subject_key(self._workspace),
                )
            )

    def _asker(self) -> ModelAsker:
        return ModelAsker(
            ModelSource(conn_id=CONN_ID, sql=NOW, column_types=TYPES),
            primary_key="id",
            columns=list(TYPES),
            mapping=parse_consent_mapping(CONSENT),
            read_policy=lambda: read_policy(self.source.policy).policy,
            hook_of=hooks_of(ModelSource(conn_id=CONN_ID, sql="")),
            destinations=[DESTINATION],
            log=_log,
        )

    # Workers

    @contextmanager
    def _worker(self, permitted: dict[int, tuple[str, Payload]], disturbance: Disturbance | None) -> Iterator[Worker]:
        worker = Worker(permitted, self.source.law, disturbance)
        self._workers.append(worker)
        try:
            yield worker
        finally:
            self._workers.remove(worker)

    def _ended(self, work: Callable[[], dict[str, Any]]) -> Ended:
        try:
            return Ended(counts=work())
        except (Death, TransientError, PermanentError, AirflowFailException, AirflowSkipException) as error:
            return Ended(error=error)

    def _client(self, worker: Worker) -> VendorClient:
        return VendorClient(self.vendor, arriving=lambda request: self._arriving(worker, request), alive=worker.live)

    def _arriving(self, worker: Worker, request: Request) -> None:
        if request.kind is BatchKind.SEND:
            for email, payload in request.rows:
                self._check_sent(worker, email, payload)
        self._disturb(worker, ARRIVING)

    def _check_sent(self, worker: Worker, email: str, payload: Payload | None) -> None:
        assert payload is not None
        number = payload.id
        if worker.permitted.get(number) != (email, payload):
            self.violations.append(f"{number} was sent, and is not so in the permitted set")
        if worker.asked is None and worker.law.needs:
            self.violations.append(f"{number} was sent before the source was asked")
        if worker.asked is not None and number not in worker.asked:
            self.violations.append(f"{number} was sent, although the source denied it")

    def _reached(self, record: logging.LogRecord) -> bool:
        worker = self._workers[-1]
        worker.live()
        if record.msg is Step.ASKED_AGAIN:
            worker.asked = self.source.allowed()
        self._disturb(worker, str(record.msg))
        return False

    def _disturb(self, worker: Worker, step: str) -> None:
        worker.steps[step] += 1
        planned = worker.disturbance
        if planned is None or (planned.step, planned.occurrence) != (step, worker.steps[step]):
            return
        worker.disturbance = None
        match planned.act:
            case Act.KILL:
                worker.is_dead = True
                raise Death
            case Act.WITHDRAW:
                self.source.happen([Withdraw(planned.person)])
            case Act.DELETE:
                self.source.happen([Delete(planned.person)])
            case Act.OVERTAKE_BY_LOAD:
                self.load()
            case Act.OVERTAKE_BY_WITHDRAWALS:
                self.withdraw()

    # Ledger and delivered state

    def delivered(self) -> list[Entry]:
        """Return the entries of the delivered state."""
        with open_ledger(self._workspace) as ledger:
            current = ledger.current(SYNC)
        if current is None:
            return []
        folder = sync_folder(self._workspace, SYNC).open(current.uri)
        parts = DeliveredState(folder, sha256=current.sha256).manifest.parts
        rows = [row for some in folder.read_rows(parts, batch_rows=100) for row in some.to_pylist()]
        return [Entry(row["id"], row["removal"]["email"], row["hash"] is not None) for row in rows]

    def being_sent(self) -> set[str]:
        """Return the e-mails of all people that the open delivery intended to send by now."""
        with open_ledger(self._workspace) as ledger:
            return self._intended(ledger)

    def _intended(self, ledger: Ledger) -> set[str]:
        delivery = next((overview.open_delivery for overview in ledger.syncs()), None)
        if delivery is None:
            return set()
        folder = sync_folder(self._workspace, SYNC).open(delivery.changes_uri)
        changes = Changes(folder, sha256=delivery.changes_sha256)
        emails = [email for some in changes.upserts(100) for email in some.rows.column("email").to_pylist()]
        return {
            email
            for attempt in ledger.attempts(delivery)
            if attempt.kind is BatchKind.SEND
            for email in emails[attempt.start : attempt.start + attempt.rows]
        }


_OVERTAKING = {Act.OVERTAKE_BY_LOAD, Act.OVERTAKE_BY_WITHDRAWALS}
