"""Dry runs: the whole path of a load, or of the fast lane, up to the sending, on a copy of the ledger.

Nothing is sent. Nothing is written into the ledger, the delivered state, the records or the archive of policies, and no
lease is taken that another task would wait for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.errors import ConfigurationError, GuardError, RefusedError, SyncBusyError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.delivery.load_plan import LoadPlan
    from airflow_consent_retl.delivery.planned_sync import PlannedSync, Visit
    from airflow_consent_retl.operators.load import LoadOperator
    from airflow_consent_retl.operators.load_input import LoadInput
    from airflow_consent_retl.operators.load_sync import LoadSync
    from airflow_consent_retl.operators.withdraw import PropagateWithdrawalsOperator
    from airflow_consent_retl.storage.sync_folder import SyncFolder

_PAUSE_S: Final = 1.0
_HOLDER: Final = "dry run"


def is_dry(value: object) -> bool:
    """Return what the parameter `dry_run` says, which may be a rendered template.

    Raises:
        ConfigurationError: it says neither yes nor no.
    """
    if isinstance(value, bool):
        return value
    said = str(value).strip().lower()
    if said in {"true", "false"}:
        return said == "true"
    raise ConfigurationError(f"dry_run is True or False, or a template that renders one of the two, not `{value}`")


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The places of a dry run of one sync.

    Args:
        lease: in a copy of the ledger.
        folder: of the sync: what is new goes to a scratch folder.
    """

    lease: Lease
    folder: SyncFolder


@contextmanager
def rehearsing(
    workspace: str, ledger_conn_id: str | None, sync: SyncName, *, shares: Sequence[str], ttl_s: float, wait_s: float
) -> Iterator[Rehearsal]:
    """Copy the ledger, and yield the places of a dry run; wait for a task that loads the sync now.

    Args:
        workspace: URI of the workspace that keeps the delivered state.
        ledger_conn_id: as for the loads.
        sync: its name.
        shares: the names of the syncs that share its target.
        ttl_s: as for the loads.
        wait_s: seconds to wait for a running load.

    Raises:
        SyncBusyError: another task loads the sync, or loaded it meanwhile.
        ConfigurationError, LedgerUnavailableError: as `open_ledger` and `leased`.
    """
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.location import open_folder, workspace_root
    from airflow_consent_retl.storage.scratch_sync import ScratchSyncFolder
    from airflow_consent_retl.values.temporary import temporary_folder

    with ExitStack() as resources:
        scratch = Folder.local(resources.enter_context(temporary_folder()))
        lease = _lease_of_copy(resources, workspace, ledger_conn_id, sync, shares=shares, ttl_s=ttl_s, wait_s=wait_s)
        root = open_folder(workspace_root(workspace))
        try:
            yield Rehearsal(lease, ScratchSyncFolder(root, sync, scratch, epoch=lease.epoch))
        except RefusedError:
            # A load that ran meanwhile replaced the files that this one read.
            _check_unmoved(workspace, ledger_conn_id, sync, epoch=lease.epoch)
            raise


def planned_load(load: LoadOperator, context: Context, *, visit: Visit | None = None) -> LoadPlan:
    """Return what a run of a load would do, and log it.

    Args:
        load: with rendered parameters.
        context: of the running task; it may be empty.
        visit: is shown what would be delivered.

    Raises: as `LoadOperator.run`, except that a limit on the changes is part of the plan.
    """
    from airflow_consent_retl.delivery.ledger.records import sync_name
    from airflow_consent_retl.delivery.load_plan import plan_of_load
    from airflow_consent_retl.delivery.removals_first import removals_first
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.hooks.approving import unrecorded
    from airflow_consent_retl.operators.load_input import opened_input

    with unrecorded():
        found = opened_input(load, may_resume=False)
        name = sync_name(found.permitted.manifest.model, load.destination)
        report = LoadReport(permitted=found.permitted.rows)
        with rehearsing(
            found.workspace_of(load),
            load.ledger_conn_id,
            name,
            shares=load.sync_settings().shares_target_with,
            ttl_s=load.lease_ttl_s,
            wait_s=load.lease_wait_s,
        ) as places:
            loading, sync = _planned_sync(load, found, places, context, visit)
            delivered = sync.delivered_rows
            try:
                with removals_first(sync, report, ask=loading.ask):
                    loading.check()
                loading.load(report)
            except GuardError:
                if not sync.stopped_by:
                    raise
            plan = plan_of_load(found.permitted, report, sync, delivered=delivered)
    load.log.info("%s", "\n".join(plan.lines()))
    return plan


def planned_withdrawals(task: PropagateWithdrawalsOperator, destination: str, context: Context) -> LoadPlan | None:
    """Return what the fast lane would do at one destination, and log it; None: the ledger does not know the sync.

    Raises: as `PropagateWithdrawalsOperator.run`, except that a limit on the changes is part of the plan.
    """
    from airflow_consent_retl.delivery.load_plan import plan_of_withdrawals
    from airflow_consent_retl.delivery.planned_sync import PlannedSync
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.hooks.approving import unrecorded
    from airflow_consent_retl.hooks.ledgers import ledger_copy
    from airflow_consent_retl.operators.withdrawal_service import withdrawal_service, withdrawal_sync
    from airflow_consent_retl.storage.location import workspace_root

    with unrecorded():
        with ledger_copy(task.workspace, task.ledger_conn_id) as ledger:
            service = withdrawal_service(task, destination, ledger, context)
        if service is None:
            return None
        report = LoadReport(permitted=0)
        with rehearsing(
            workspace_root(task.workspace),
            task.ledger_conn_id,
            service.sync,
            shares=service.settings.shares_target_with,
            ttl_s=task.lease_ttl_s,
            wait_s=task.lease_wait_s,
        ) as places:
            sync, asker = withdrawal_sync(task, service, places.lease, places.folder, context, make_sync=PlannedSync)
            delivered = sync.delivered_rows
            try:
                sync.withdraw(asker.ask, report)
            except GuardError as error:
                sync.stopped_by = sync.stopped_by or [str(error)]
            plan = plan_of_withdrawals(
                task.model, destination, report, sync, delivered=delivered, policy_digest=asker.policy_digest()
            )
    task.log.info("%s", "\n".join(plan.lines()))
    return plan


def _planned_sync(
    load: LoadOperator, found: LoadInput, places: Rehearsal, context: Context, visit: Visit | None
) -> tuple[LoadSync, PlannedSync]:
    from airflow_consent_retl.delivery.planned_sync import PlannedSync
    from airflow_consent_retl.operators.load_sync import load_sync

    made: list[PlannedSync] = []

    def make(sync_context: Any) -> PlannedSync:
        made.append(PlannedSync(sync_context, visit))
        return made[0]

    settings = load.sync_settings()
    loading = load_sync(load, found, places.lease, settings, context, folder=places.folder, make_sync=make)
    return loading, made[0]


def _lease_of_copy(
    resources: ExitStack,
    workspace: str,
    ledger_conn_id: str | None,
    sync: SyncName,
    *,
    shares: Sequence[str],
    ttl_s: float,
    wait_s: float,
) -> Lease:
    from airflow_consent_retl.delivery.pairing import leased
    from airflow_consent_retl.hooks.ledgers import ledger_copy
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    root, deadline = open_folder(workspace_root(workspace)), time.monotonic() + wait_s
    while True:
        with ExitStack() as tried:
            try:
                ledger = tried.enter_context(ledger_copy(workspace, ledger_conn_id))
                # The copy does not show when the other task ends: each look needs a copy of its own.
                taken = leased(ledger, root, sync, holder=_HOLDER, ttl_s=ttl_s, wait_s=0, shares=shares)
                lease = tried.enter_context(taken)
                resources.enter_context(tried.pop_all())
                return lease
            except SyncBusyError:
                if time.monotonic() >= deadline:
                    raise
        time.sleep(_PAUSE_S)


def _check_unmoved(workspace: str, ledger_conn_id: str | None, sync: SyncName, *, epoch: int) -> None:
    from airflow_consent_retl.hooks.ledgers import ledger_copy

    with ledger_copy(workspace, ledger_conn_id) as ledger:
        present = {one.sync: one.epoch for one in ledger.syncs()}.get(sync, 0)
    # The lease of the copy has the next epoch.
    if present >= epoch:
        raise SyncBusyError(f"another task loaded sync `{sync}` while this dry run read its state: run it again")
