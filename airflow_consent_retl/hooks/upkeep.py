"""Functions for people who keep syncs up, without a DAG: each has an operator and a command of the same name."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from airflow_consent_retl.hooks.ledgers import open_ledger, open_unpaired
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_consent_retl.delivery.adopting import Adopted
    from airflow_consent_retl.delivery.ledger.records import SyncOverview
    from airflow_consent_retl.progress import TaskLog

_log = module_log(__name__)
_WAIT_S = 30.0


def adopt(
    *,
    workspace: str | None = None,
    ledger_conn_id: str | None = None,
    syncs: Collection[str] | None = None,
    gone: bool = False,
    unsigned: bool = False,
    holder: str = "adopt",
    log: TaskLog = _log,
) -> list[Adopted]:
    """Have the ledger adopt the newest delivered states of a workspace, after one of the two was lost.

    Args:
        workspace: as for the loads.
        ledger_conn_id: as for the loads.
        syncs: the names of the syncs, such as `customers/webhook`; None: all.
        gone: instead, declare that no one of these syncs is at its destination any more: their people are forgotten.
        unsigned: adopt also what an earlier release wrote without a signature, or signed with a secret that is lost.
        holder: a description of the caller, for other tasks that wait.
        log: gets one line for each sync.

    Raises:
        ConfigurationError: a sync is unknown, or the workspace has no delivered state of it.
        SyncBusyError, LedgerUnavailableError: try again.
    """
    from airflow_consent_retl.delivery.adopting import adopt_delivered_states
    from airflow_consent_retl.delivery.ledger.records import SyncName, model_and_destination
    from airflow_consent_retl.hooks.lost_policies import decided_before, repair_history
    from airflow_consent_retl.storage.location import open_folder, policy_archive_folder, workspace_root

    def decided_up_to(sync: SyncName) -> datetime | None:
        model, destination = model_and_destination(sync)
        last = decided_before(workspace, model).get(destination)
        return None if last is None else last.decided_at

    with open_unpaired(workspace, ledger_conn_id) as ledger:
        root = open_folder(workspace_root(workspace))
        adopted = adopt_delivered_states(
            ledger,
            root,
            syncs=syncs,
            gone=gone,
            unsigned=unsigned,
            archive=policy_archive_folder(),
            decided_up_to=decided_up_to,
            holder=holder,
            log=log,
        )
        for sync in [one.sync for one in ledger.syncs()] if syncs is None else map(SyncName, syncs):
            repair_history(ledger, workspace, sync, log=log)
        return adopted


def reset_times(*, workspace: str | None = None, ledger_conn_id: str | None = None, log: TaskLog = _log) -> list[str]:
    """Bring the times of a ledger that are in the future back to the present, and return the names of their syncs.

    A clock that was ahead wrote them. Arguments as for `adopt`.

    Raises:
        LedgerUnavailableError: try again.
    """
    with open_unpaired(workspace, ledger_conn_id) as ledger:
        changed = [str(sync) for sync in ledger.reset_times()]
    log.info("times in the future were reset for %s syncs: %s", f"{len(changed):,}", ", ".join(changed) or "none")
    return changed


def syncs(*, workspace: str | None = None, ledger_conn_id: str | None = None) -> list[SyncOverview]:
    """Return all syncs with people, or with a delivery in progress, each with its target, DAG and last run.

    Args:
        workspace, ledger_conn_id: as for the loads.

    Raises:
        ConfigurationError: ledger and workspace do not belong together.
    """
    with open_ledger(workspace, ledger_conn_id) as ledger:
        known = ledger.syncs()
    return [one for one in known if (one.current is not None and one.current.rows) or one.open_delivery is not None]


def hand_over(
    sync: str,
    *,
    dag: str | None = None,
    to: str | None = None,
    workspace: str | None = None,
    ledger_conn_id: str | None = None,
    holder: str = "hand-over",
    log: TaskLog = _log,
) -> None:
    """Hand a sync over to another DAG, or its people to another name of its model or destination; or both.

    Args:
        sync: its name, such as `customers/webhook`.
        dag: the id of the DAG that may load it from now on; None: as before.
        to: its name from now on, such as `clients/webhook`; None: as before.
        workspace, ledger_conn_id: as for the loads.
        holder: a description of the caller, for other tasks that wait.
        log: gets a line about the people.

    Raises:
        ConfigurationError: there is nothing to do, the ledger does not know the sync, or the new name has people.
        SyncBusyError, LedgerUnavailableError: try again.
    """
    from airflow_consent_retl.delivery.ledger.records import SyncName, parsed_sync_name
    from airflow_consent_retl.delivery.renaming import rename_sync
    from airflow_consent_retl.errors import ConfigurationError
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    if dag is None and to in (None, sync):
        raise ConfigurationError("name the DAG that loads the sync from now on, another name of the sync, or both")
    name = SyncName(sync)
    with open_ledger(workspace, ledger_conn_id) as ledger:
        known = [one.sync for one in ledger.syncs()]
        if name not in known:
            raise ConfigurationError(
                f"the ledger does not know the sync `{sync}`; it knows {', '.join(known) or 'none'}"
            )
        if to is not None and to != sync:
            old, name = name, parsed_sync_name(to)
            root = open_folder(workspace_root(workspace))
            people = rename_sync(ledger, root, old, name, holder=holder, wait_s=_WAIT_S)
            _copy_policies(workspace, old, name)
            log.info("the %s people of sync `%s` belong to sync `%s` now", f"{people:,}", old, name)
        if dag is not None:
            with ledger.acquire(name, holder=holder, wait_s=_WAIT_S) as lease:
                lease.hand_over(dag)


def _copy_policies(workspace: str | None, old: str, new: str) -> None:
    """Copy the policies that a sync was decided under, so that nothing opens because of its new name."""
    from airflow_consent_retl.delivery.ledger.records import model_and_destination
    from airflow_consent_retl.storage.location import policy_folder
    from airflow_consent_retl.storage.policy_history import PolicyHistory

    source, target = (PolicyHistory(policy_folder(workspace, *model_and_destination(sync))) for sync in (old, new))
    source.copy_to(target)
