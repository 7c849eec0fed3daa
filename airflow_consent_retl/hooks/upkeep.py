"""Functions for people who keep syncs up, without a DAG: each has an operator and a command of the same name."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from airflow_consent_retl.hooks.ledgers import open_ledger, open_unpaired

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.adopting import Adopted
    from airflow_consent_retl.delivery.ledger.records import SyncOverview
    from airflow_consent_retl.progress import TaskLog

_log = logging.getLogger(__name__)


def adopt(
    *,
    workspace: str | None = None,
    ledger_conn_id: str | None = None,
    syncs: Collection[str] | None = None,
    gone: bool = False,
    holder: str = "adopt",
    log: TaskLog = _log,
) -> list[Adopted]:
    """Have the ledger adopt the newest delivered states of a workspace, after one of the two was lost.

    Args:
        workspace: as for the loads.
        ledger_conn_id: as for the loads.
        syncs: the names of the syncs, such as `customers/webhook`; None: all.
        gone: instead, declare that no one of these syncs is at its destination any more: their people are forgotten.
        holder: a description of the caller, for other tasks that wait.
        log: gets one line for each sync.

    Raises:
        ConfigurationError: a sync is unknown, or the workspace has no delivered state of it.
        SyncBusyError, LedgerUnavailableError: try again.
    """
    from airflow_consent_retl.delivery.adopting import adopt_delivered_states
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    with open_unpaired(workspace, ledger_conn_id) as ledger:
        root = open_folder(workspace_root(workspace))
        return adopt_delivered_states(ledger, root, syncs=syncs, gone=gone, holder=holder, log=log)


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
    dag: str,
    workspace: str | None = None,
    ledger_conn_id: str | None = None,
    holder: str = "hand-over",
) -> None:
    """Hand a sync over to another DAG, or to the new name of its DAG: from now on, only that DAG may load it.

    Args:
        sync: its name, such as `customers/webhook`.
        dag: the id of the DAG.
        workspace, ledger_conn_id: as for the loads.
        holder: a description of the caller, for other tasks that wait.

    Raises:
        ConfigurationError: the ledger does not know the sync.
        SyncBusyError, LedgerUnavailableError: try again.
    """
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.errors import ConfigurationError

    with open_ledger(workspace, ledger_conn_id) as ledger:
        known = [one.sync for one in ledger.syncs()]
        if sync not in known:
            raise ConfigurationError(
                f"the ledger does not know the sync `{sync}`; it knows {', '.join(known) or 'none'}"
            )
        with ledger.acquire(SyncName(sync), holder=holder, wait_s=30) as lease:
            lease.hand_over(dag)
