"""A small world for the whole protocol: a source, a policy, a vendor, and workers with disturbances.

It keeps its own account of the people who may be sent, and never uses the package's.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from support.log_lines import unwrapped
from support.permitting import AirflowFailException, AirflowSkipException
from support.sync_places import CONN_ID, Places
from support.sync_source import CONSENT, DESTINATION, LAWS, NOW, TYPES, Delete, Law, Person, Source, Withdraw
from support.sync_vendor import Payload, Request, Vendor, VendorClient

from airflow_consent_retl.changes.warehouse_delivered import WarehouseState
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
from airflow_consent_retl.filtering.model_question import ModelAsker
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.hooks.policies import read_policy
from airflow_consent_retl.hooks.sql import hooks_of
from airflow_consent_retl.hooks.upkeep import adopt, hand_over
from airflow_consent_retl.hooks.workspaces import open_workspace
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadOperator,
    PropagateWithdrawalsOperator,
    RetireSyncOperator,
)
from airflow_consent_retl.operators.model_source import model_source
from airflow_consent_retl.operators.permitted_rows import verified_rows
from airflow_consent_retl.operators.rechecking import source_recheck
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.delivered import delivered_manifest
from airflow_consent_retl.storage.location import subject_key, sync_folder
from airflow_consent_retl.storage.manifest import ModelSource
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import Delivery, SyncName
    from airflow_consent_retl.storage.sync_folder import SyncFolder

FIELDS = {"id": "id", "email": "email", "name": "name"}
_steps = logging.getLogger("airflow_consent_retl.delivery.steps")
_log = logging.getLogger(__name__)
_WORKSPACE = "AIRFLOW__CONSENT_RETL__WORKSPACE"


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
    needs: frozenset[frozenset[str]]


@dataclass(eq=False)
class Worker:
    """One try of a load or of the fast lane.

    Args:
        permitted: the most that it may send: people with their payloads.
        law: the law when the try began.
        disturbance: the disturbance that it will meet.
        asked: the people who were permitted when the source was last asked.
        named: the people whose name was permitted then.
        is_dead: whether its process has ended.
    """

    permitted: dict[int, tuple[str, Payload]]
    law: Law
    disturbance: Disturbance | None
    asked: frozenset[int] | None = None
    named: frozenset[int] = frozenset()
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


class Leased(NamedTuple):
    """A sync under a lease that does not renew itself, and its store."""

    sync: Sync
    store: SyncStore[Any, Any]


class LoadToVendor(LoadOperator):
    """Loads into the vendor of a world."""

    def __init__(self, *, build: Callable[[], Destination], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._build = build

    def build_destination(self) -> Destination:
        return self._build()


class SyncWorld:
    """Source, policy, workspace, ledger and vendor of one sync.

    Args:
        path: a folder of its own.
        places: where source, rows and ledger are.
    """

    def __init__(self, path: Path, places: Places) -> None:
        self.vendor = Vendor()
        self.source = Source(places.source(path), path)
        self.model = "people"
        # The session's time zone that the model declares.
        self.zone: str | None = None
        # A copy of the ledger, with the current version and the open delivery that it has.
        self.backup: str | None = None
        self.backed_up: object = None
        self.snapshots: list[tuple[dict[str, Any], dict[int, Person]]] = []
        self.filtered: list[Filtered] = []
        # By the digest of a permitted set's manifest, the e-mail of each person then.
        self._emails: dict[str | None, dict[int, str]] = {}
        self.violations: list[str] = []
        # The newest decision, and the newest data, that a load delivered.
        self.loaded_up_to = self.data_up_to = datetime.min.replace(tzinfo=UTC)
        # The consents that each load that may have ended well needed, since the last that surely did.
        self.surely_asked = frozenset(group for law in LAWS.values() for group in law.asks)
        self._workspace = f"file://{path}/workspace"
        (path / "workspace").mkdir()
        self._rows = f"warehouse:{self.source.database.staging}" if places.rows == "warehouse" else None
        self.ledger = places.new_ledger(path / "workspace")
        os.environ[_WORKSPACE] = self._workspace
        self._workers: list[Worker] = []
        _steps.setLevel(logging.DEBUG)
        # Not a handler: that would keep a lock while a worker is paused.
        _steps.addFilter(self._reached)

    def close(self) -> None:
        _steps.removeFilter(self._reached)
        _steps.setLevel(logging.NOTSET)
        del os.environ[_WORKSPACE]
        self.source.close()
        self.ledger.close()

    @property
    def sync(self) -> SyncName:
        """The sync's name."""
        return sync_name(self.model, DESTINATION)

    @property
    def is_in_files(self) -> bool:
        """Whether rows and delivered state are in files."""
        return self._rows is None

    # Tasks

    def extract(self, *, sql: str = NOW, model: str | None = None) -> None:
        """Run the extraction: of now, or of an older logical date, with the names of that date and today's consent."""
        operator = ExtractModelOperator(
            task_id="extract",
            model=model or self.model,
            conn_id=CONN_ID,
            sql=sql,
            primary_key="id",
            column_types=self._types,
            session_time_zone=self.zone,
            workspace=self._rows,
        )
        self.snapshots.append((operator.execute({}), self.source.rows(sql)))

    def filter(self, *, back: int = 0, max_released_ratio: float | None = None) -> None:
        """Run the filter over the latest snapshot, or over an older one."""
        snapshot, rows = self.snapshots[-1 - back % len(self.snapshots)]
        output = ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=self.source.policy,
            consent=CONSENT,
            destinations=[DESTINATION],
            max_released_ratio=max_released_ratio,
        ).execute({})
        permitted = {
            number: (person.email, Payload(number, self.source.law.name_of(person)))
            for number, person in rows.items()
            if self.source.law.allows(person)
        }
        self._emails[output["sha256"]] = {number: person.email for number, person in rows.items()}
        read_at = datetime.fromisoformat(snapshot["at"])
        needs = self.source.law.asks
        self.filtered.append(Filtered(output, datetime.fromisoformat(output["at"]), read_at, permitted, needs))

    def extraction(self) -> Ended:
        """Run the extraction, which may fail."""
        return self._tried(self.extract)

    def filtering(self, *, max_released_ratio: float) -> Ended:
        """Run the filter, which may fail."""
        return self._tried(lambda: self.filter(max_released_ratio=max_released_ratio))

    def filter_of(self, model: str, sql: str) -> None:
        """Extract and filter another model's rows, for `load_of`."""
        self.extract(sql=sql, model=model)
        self.filter()
        self.snapshots.pop()
        self._other = self.filtered.pop()

    def load_of(self, model: str, **parameters: Any) -> Ended:
        """Load the rows of `filter_of`, or of the newest run before the model's name changed."""
        own = self.loaded_up_to, self.data_up_to, self.surely_asked
        self.filtered.append(self._other)
        try:
            return self.load(**parameters)
        finally:
            self.filtered.pop()
            self.loaded_up_to, self.data_up_to, self.surely_asked = own

    def forget_runs(self) -> None:
        """Forget all earlier snapshots and permitted sets."""
        if self.filtered:
            self._other = self.filtered[-1]
        self.snapshots.clear()
        self.filtered.clear()

    def load(
        self,
        *,
        back: int = 0,
        mode: str = "mirror",
        disturbance: Disturbance | None = None,
        guard: float | None = None,
        **parameters: Any,
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
                ledger_conn_id=self.ledger.conn_id,
                **parameters,
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

    def withdraw(self, disturbance: Disturbance | None = None, **parameters: Any) -> Ended:
        """Run the fast lane."""
        with self._worker({}, disturbance) as worker:
            if disturbance is not None and disturbance.act in _OVERTAKING:
                return self._ended(lambda: self._withdraw_paused(worker))
            operator = PropagateWithdrawalsOperator(
                task_id="withdraw",
                model=self.model,
                conn_id=CONN_ID,
                sql=NOW,
                primary_key="id",
                policy=self.source.policy,
                consent=CONSENT,
                column_types=self._types,
                loads={DESTINATION: partial(self._load_of, worker)},
                allow_unknown=True,
                min_found_ratio=None,
                max_removed_ratio=None,
                confirm_timeout_s=0,
                lease_wait_s=5,
                ledger_conn_id=self.ledger.conn_id,
                **parameters,
            )
            return self._ended(lambda: operator.execute({}))

    def retire(self, model: str | None = None, **of_the_load: Any) -> Ended:
        """Empty the sync, or that of another model."""
        with self._worker({}, None) as worker:
            operator = RetireSyncOperator(
                task_id="retire",
                model=model or self.model,
                destination=DESTINATION,
                load=partial(self._load_of, worker, **of_the_load),
                confirm_timeout_s=0,
                ledger_conn_id=self.ledger.conn_id,
            )
            return self._ended(lambda: operator.execute({}))

    def adopt(self, *, gone: bool = False) -> None:
        """Have the ledger adopt what the workspace has."""
        adopt(ledger_conn_id=self.ledger.conn_id, gone=gone)

    def hand_over(self, model: str) -> Ended:
        """Hand the sync over to another name of its model."""
        name = sync_name(model, DESTINATION)
        return self._tried(lambda: hand_over(self.sync, to=name, ledger_conn_id=self.ledger.conn_id))

    def _load_of(self, worker: Worker, **parameters: Any) -> LoadToVendor:
        return LoadToVendor(build=lambda: self._client(worker), fields=FIELDS, **parameters)

    @property
    def _types(self) -> dict[str, str] | None:
        # PostgreSQL declares them.
        return None if self.source.database.has_zones else TYPES

    def _load_paused(self, run: Filtered, mode: str, worker: Worker) -> dict[str, Any]:
        """Load as the operator does, under a lease that does not renew itself while the worker is paused."""
        permitted, workspace = verified_rows(
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
            if not asker.check():
                yield None
                return
            with source_recheck(store, asker, DESTINATION, 0, changes) as made:
                yield made

        report = LoadReport(permitted=permitted.rows)
        with self._leased(worker, SyncMode(mode), lambda folder: workspace.store(folder, self.sync, asker)) as leased:
            store = leased.store
            waiting = leased.sync.load(
                permitted, report, subject_key=subject_key(self._workspace), make_recheck=recheck
            )
        if waiting:
            raise TransientError("the vendor still processes requests")
        return report.as_counts()

    def _withdraw_paused(self, worker: Worker) -> dict[str, Any]:
        report = LoadReport(permitted=0)
        asker = self._asker()
        with self._leased(worker, SyncMode.MIRROR, lambda folder: self._store(folder, asker)) as leased:
            waiting = leased.sync.withdraw(asker.ask, report)
        if waiting:
            raise TransientError("the vendor still processes requests")
        return report.as_counts()

    @contextmanager
    def _leased(
        self, worker: Worker, mode: SyncMode, store_of: Callable[[SyncFolder], SyncStore[Any, Any]]
    ) -> Iterator[Leased]:
        with ExitStack() as resources:
            ledger = resources.enter_context(self._open_ledger())
            # Not entered, so it is neither renewed nor released: it expires.
            lease = ledger.acquire(self.sync, holder="tests", ttl_s=0.05, wait_s=5)
            settings = SyncSettings(mode=mode, confirm_timeout_s=0)
            store = store_of(sync_folder(self._workspace, self.sync, epoch=lease.epoch))
            context = SyncContext(
                lease=lease,
                store=store,
                build=lambda: self._client(worker),
                settings=settings,
                log=_log,
                key=lambda: subject_key(self._workspace),
            )
            yield Leased(Sync(context), store)

    def _store(self, folder: SyncFolder, asker: ModelAsker | None) -> SyncStore[Any, Any]:
        """Return the store of the present version of the delivered state."""
        with self._open_ledger() as ledger:
            current = ledger.current(self.sync)
        version = None if current is None else delivered_manifest(folder.open(current.uri), sha256=current.sha256)
        workspace = open_workspace(version, source=ModelSource(conn_id=CONN_ID, sql=""), model=self.model, log=_log)
        return workspace.store(folder, self.sync, asker)

    def _open_ledger(self) -> Ledger:
        return open_ledger(self._workspace, self.ledger.conn_id)

    def _asker(self) -> ModelAsker:
        source = model_source(
            conn_id=CONN_ID,
            sql=NOW,
            hook_params=None,
            session_time_zone=self.zone,
            column_types=self._types,
            consent_sources=(),
        )
        return ModelAsker(
            source,
            primary_key="id",
            columns=list(TYPES),
            mapping=parse_consent_mapping(CONSENT),
            read_policy=lambda: read_policy(self.source.policy).policy,
            hook_of=hooks_of(source),
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

    def _tried(self, work: Callable[[], None]) -> Ended:
        def counted() -> dict[str, Any]:
            work()
            return {}

        return self._ended(counted)

    def _ended(self, work: Callable[[], dict[str, Any]]) -> Ended:
        try:
            return Ended(counts=work())
        except (Death, TransientError, PermanentError, AirflowFailException, AirflowSkipException) as error:
            # The texts of tasks have line ends where they would be too long.
            error.args = (unwrapped(str(error)), *error.args[1:])
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
        if worker.asked is not None and payload.name is not None and number not in worker.named:
            self.violations.append(f"the name of {number} was sent, although the source denied it")

    def _reached(self, record: logging.LogRecord) -> bool:
        worker = self._workers[-1]
        worker.live()
        # Where no consent is needed, only the list of forgotten people is read again.
        if record.msg is Step.ASKED_AGAIN and worker.law.needs:
            worker.asked, worker.named = self.source.allowed(), self.source.named()
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
        with self._open_ledger() as ledger:
            current = ledger.current(self.sync)
        if current is None:
            return []
        state = self._store(sync_folder(self._workspace, self.sync), None).open(current.uri, sha256=current.sha256)
        if isinstance(state, WarehouseState):
            table = f"{state.table.schema}.{state.table.name}"
            rows = self.source.database.rows(f"SELECT id, removal_0, hash IS NOT NULL FROM {table}")
            return [Entry(int(str(number)), str(email), bool(is_confirmed)) for number, email, is_confirmed in rows]
        found = [
            row for some in state.folder.read_rows(state.manifest.parts, batch_rows=100) for row in some.to_pylist()
        ]
        return [Entry(row["id"], row["removal"]["email"], row["hash"] is not None) for row in found]

    def being_sent(self) -> set[str]:
        """Return the e-mails of all people that the open delivery intended to send by now."""
        with self._open_ledger() as ledger:
            return self._intended(ledger)

    def progress(self) -> object:
        """Return the current version and the open delivery, which every work of a run changes."""
        with self._open_ledger() as ledger:
            return ledger.current(self.sync), self._delivery(ledger)

    def has_delivery(self) -> bool:
        """Return whether a delivery is open."""
        with self._open_ledger() as ledger:
            return self._delivery(ledger) is not None

    def _delivery(self, ledger: Ledger) -> Delivery | None:
        return next((one.open_delivery for one in ledger.syncs() if one.sync == self.sync), None)

    def _intended(self, ledger: Ledger) -> set[str]:
        delivery = self._delivery(ledger)
        if delivery is None:
            return set()
        folder = sync_folder(self._workspace, self.sync).open(delivery.changes_uri)
        changes = Changes(folder, sha256=delivery.changes_sha256)
        ids = [number for _, some in changes.people_to_send(100) for number in some["id"].to_pylist()]
        emails = [self._emails[changes.manifest.permitted_sha256][number] for number in ids]
        return {
            email
            for attempt in ledger.attempts(delivery)
            if attempt.kind is BatchKind.SEND
            for email in emails[attempt.start : attempt.start + attempt.rows]
        }


_OVERTAKING = {Act.OVERTAKE_BY_LOAD, Act.OVERTAKE_BY_WITHDRAWALS}
