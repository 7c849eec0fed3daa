"""The run of a load: its verified input, its lease, and the record of what it did."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.operators.base_operator import holder_of, task_of

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.delivery.run_notes import RunNotes
    from airflow_consent_retl.operators.load import LoadOperator
    from airflow_consent_retl.operators.load_input import LoadInput
    from airflow_consent_retl.operators.load_sync import LoadSync


@dataclass(frozen=True, slots=True)
class LoadRun:
    """A load that has the lease of its sync.

    Args:
        ledger: opened for the workspace.
        lease: of the sync.
        report: counts what the load does.
        notes: for the record of the run.
        loading: the sync, ready to deliver.
    """

    ledger: Ledger
    lease: Lease
    report: LoadReport
    notes: RunNotes
    loading: LoadSync

    def removals_first(self) -> AbstractContextManager[None]:
        """Return a context: if its block fails for good, people who lost permission are removed all the same."""
        from airflow_consent_retl.delivery.removals_first import removals_first

        return removals_first(self.loading.sync, self.report, ask=self.loading.ask)


@contextmanager
def load_run(load: LoadOperator, found: LoadInput, context: Context) -> Iterator[LoadRun]:
    """Yield the run of a load; record it in the ledger when the block ends, also if it raises.

    Args:
        load: with rendered parameters.
        found: its verified input.
        context: of the running task.

    Raises: as `LoadOperator`, before anything is sent.
    """
    from airflow_consent_retl.delivery.ledger.records import sync_name
    from airflow_consent_retl.delivery.ledger.run_records import RunKind
    from airflow_consent_retl.delivery.pairing import leased
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.delivery.run_notes import RunNotes, noted_run
    from airflow_consent_retl.hooks.ledgers import open_ledger
    from airflow_consent_retl.operators.load_sync import load_sync
    from airflow_consent_retl.operators.prune import note_versions
    from airflow_consent_retl.storage.location import open_folder, workspace_root

    permitted, workspace = found.permitted, found.workspace_of(load)
    root, sync = open_folder(workspace_root(workspace)), sync_name(permitted.manifest.model, load.destination)
    settings, report = load.sync_settings(), LoadReport(permitted=permitted.rows)
    with (
        open_ledger(workspace, load.ledger_conn_id) as ledger,
        leased(
            ledger,
            root,
            sync,
            holder=holder_of(context),
            ttl_s=load.lease_ttl_s,
            wait_s=load.lease_wait_s,
            shares=settings.shares_target_with,
        ) as lease,
    ):
        note_versions(load, root, sync)
        notes = RunNotes(report, permitted, settings.limits)
        with noted_run(ledger, sync, notes, kind=RunKind.LOAD, task=task_of(context), log=load.log):
            yield LoadRun(ledger, lease, report, notes, load_sync(load, found, lease, settings, context))
