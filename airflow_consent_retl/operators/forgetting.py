"""The removal of forgotten people at the destinations of a ledger, one sync after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.delivery.ledger.records import model_and_destination
from airflow_consent_retl.errors import (
    ConfigurationError,
    DestinationUnavailableError,
    PermanentError,
    RefusedError,
    TransientError,
)
from airflow_consent_retl.storage.forget_requests import ForgetStatus, ForgottenAt

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.delivery.ledger.run_records import RunningTask
    from airflow_consent_retl.operators.removing_load import RemovingLoad
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.forget_requests import ForgetRequest, ForgetRequests
    from airflow_consent_retl.storage.forgotten import ForgottenPeople

_SCAN_ROWS: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgettingSettings:
    """The settings of the deliveries: see `ForgetOperator`."""

    settle_s: float
    confirm_interval_s: float
    confirm_timeout_s: float
    lease_ttl_s: float
    lease_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgetting:
    """The removal of the people of one request.

    Args:
        request: names the people, by digest.
        people: recognises them.
        requests: where it is noted what became of them.
        ledger: opened.
        workspace: of ledger and request.
        load_of: returns what removing people at a sync needs; None: the caller has no load for it.
        settings: of the deliveries.
        holder: a description of the caller, for tasks that wait.
        dag: the id of the running DAG.
        task: the running task.
        log: the task's.
    """

    request: ForgetRequest
    people: ForgottenPeople
    requests: ForgetRequests
    ledger: Ledger
    workspace: str | None
    load_of: Callable[[SyncName], RemovingLoad | None]
    settings: ForgettingSettings
    holder: str
    dag: str | None
    task: RunningTask
    log: TaskLog

    def syncs(self) -> list[SyncName]:
        """Return the syncs of the ledger that the request is about."""
        return [one.sync for one in self.ledger.syncs() if self.request.is_about(model_and_destination(one.sync)[0])]

    def note_found(self, sync: SyncName) -> None:
        """Note who is at a destination now, before they are put on the suppression list.

        Without a lease: a running load may replace what is read. Then `remove` finds the people.
        """
        from airflow_consent_retl.storage.location import sync_folder

        with suppress(RefusedError):
            current = self.ledger.current(sync)
            store = self._store(sync, sync_folder(self.workspace, sync), current)
            if current is not None:
                found = store.found(store.open(current.uri, sha256=current.sha256), self.people)
                if found:
                    self._note(sync, {ForgetStatus.WAITING: found})

    def remove(self, sync: SyncName) -> None:
        """Remove the people at the destination of a sync, and note what became of them.

        Raises:
            PermanentError, TransientError: some were not removed; it is noted who.
        """
        reason = self.request.exemption(sync)
        if reason is not None:
            self._exempt(sync, reason)
            return
        with self._leased(sync) as (context, loaded):
            there = self._there(context)
            if not there:
                context.sweep()
                self._note(sync, {})
                return
            if loaded is None:
                self._note(sync, {ForgetStatus.NOT_SERVED: there})
                raise ConfigurationError(
                    f"`{sync}`: {len(there):,} of these people are there, and `loads` has no load for it"
                )
            self._note(sync, {ForgetStatus.WAITING: there})
            self._remove(sync, context, loaded)

    def _remove(self, sync: SyncName, context: SyncContext, loaded: RemovingLoad) -> None:
        from airflow_consent_retl.delivery.ledger.run_records import RunKind
        from airflow_consent_retl.delivery.report import LoadReport
        from airflow_consent_retl.delivery.run_notes import RunNotes, noted_run
        from airflow_consent_retl.delivery.syncing import Sync

        failure: PermanentError | TransientError | None = None
        left, status = set(self.people.digests), ForgetStatus.UNCERTAIN
        try:
            notes = RunNotes(LoadReport(permitted=0))
            with noted_run(self.ledger, sync, notes, kind=RunKind.FORGET, task=self.task, log=self.log):
                running = Sync(context)
                waiting = running.forget(self.people, notes.report)
                notes.is_waiting = bool(waiting)
            if not running.can_remove:
                status = ForgetStatus.CANNOT_REMOVE
            elif waiting:
                failure = DestinationUnavailableError(f"`{sync}` still processes {len(waiting):,} requests")
        except TransientError as error:
            failure = error
        except PermanentError as error:
            failure, status = error, ForgetStatus.NOT_CONFIRMED
        left = self._there(context)
        self._note(sync, {status: left}, reason="" if failure is None else type(failure).__name__)
        if failure is not None:
            raise failure
        if status is ForgetStatus.CANNOT_REMOVE:
            self.log.warning("`%s` cannot remove people: %s stay there, and in its delivered state", sync, len(left))
        elif left:
            raise DestinationUnavailableError(
                f"`{sync}`: {len(left):,} people were removed, and a request that was never answered may still bring "
                "them back: a try after settle_s of the load that sent it removes them again"
            )

    def _exempt(self, sync: SyncName, reason: str) -> None:
        with suppress(RefusedError):
            self.note_found(sync)
        noted = self.requests.noted(self.request, sync)
        found = set() if noted is None else noted.found
        self._note(sync, {ForgetStatus.EXEMPTED: found}, reason=reason)

    @contextmanager
    def _leased(self, sync: SyncName) -> Iterator[tuple[SyncContext, RemovingLoad | None]]:
        from airflow_consent_retl.delivery.context import SyncContext
        from airflow_consent_retl.delivery.pairing import leased
        from airflow_consent_retl.delivery.settings import SyncSettings
        from airflow_consent_retl.storage.location import open_folder, subject_key, sync_folder, workspace_root

        loaded = self.load_of(sync)
        settings = SyncSettings(
            accept_no_removal=True,
            moved_from=None if loaded is None else loaded.moved_from,
            shares_target_with=() if loaded is None else loaded.shares_target_with,
            settle_s=self.settings.settle_s,
            confirm_interval_s=self.settings.confirm_interval_s,
            confirm_timeout_s=self.settings.confirm_timeout_s,
        )
        with leased(
            self.ledger,
            open_folder(workspace_root(self.workspace)),
            sync,
            holder=self.holder,
            ttl_s=self.settings.lease_ttl_s,
            wait_s=self.settings.lease_wait_s,
            shares=settings.shares_target_with,
        ) as lease:
            folder = sync_folder(self.workspace, sync, epoch=lease.epoch)
            context = SyncContext(
                lease=lease,
                store=self._store(sync, folder, lease.current()),
                build=_no_destination if loaded is None else loaded.build_destination,
                settings=settings,
                log=self.log,
                key=partial(subject_key, self.workspace),
                dag=self.dag,
            )
            yield context, loaded

    def _there(self, context: SyncContext) -> set[str]:
        """Return who is, or may be, at the destination: in the delivered state, or in an unfinished delivery."""
        state = context.state()
        found = set() if state is None or not state.rows else context.store.found(state, self.people)
        delivery = context.lease.open_delivery()
        if delivery is not None:
            for _, some in context.changes_of(delivery).people_to_send(_SCAN_ROWS):
                found |= self.people.found(some["id"])
        return found

    def _store(self, sync: SyncName, folder: Any, current: Any) -> SyncStore[Any, Any]:
        from airflow_consent_retl.hooks.workspaces import store_of_sync

        model, _ = model_and_destination(sync)
        return store_of_sync(current, self.ledger.source(sync), folder, sync, model=model, log=self.log)

    def _note(self, sync: SyncName, left: Mapping[ForgetStatus, set[str]], *, reason: str = "") -> None:
        """Note one status for each person: who was found before and is not left is gone."""
        noted = self.requests.noted(self.request, sync)
        known = set() if noted is None else noted.found & self.people.digests
        still = {one for some in left.values() for one in some}
        gone = known - still
        people = {str(status): tuple(sorted(some)) for status, some in left.items()}
        people[ForgetStatus.DELETED if self.request.erase else ForgetStatus.OPTED_OUT] = tuple(sorted(gone))
        people[ForgetStatus.NOT_FOUND] = tuple(sorted(self.people.digests - known - still))
        self.requests.note(
            self.request,
            ForgottenAt(
                sync=sync,
                destination=model_and_destination(sync)[1],
                at=datetime.now(UTC),
                people={status: some for status, some in people.items() if some},
                reason=reason,
            ),
        )


def _no_destination() -> Any:
    raise ConfigurationError("there is no load for this sync")
