"""The operator and the function that empty a sync: everyone who was delivered is removed, without the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ConfigurationError, DestinationUnavailableError
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator, dag_of, holder_of, task_of
from airflow_consent_retl.operators.links import SENDING_LINKS
from airflow_consent_retl.operators.parsed_tasks import refuse

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.errors import Problem
    from airflow_consent_retl.operators.load import LoadOperator


class RetireSyncOperator(ConsentRetlOperator):
    """Empty a sync: remove everyone who was delivered, whoever consents, and end well only if all of it is confirmed.

    For a sync that no load serves any more, or whose model gets another name. Neither the model nor its source is
    read: both may be gone. No limit on removals applies. Pause or remove the load first: it would deliver the people
    again. A person whom the destination did not remove stays in the delivered state; the next try removes them. With
    `shares_target_with`, people of the other syncs stay at the target.

    Reads: the delivered state. Writes: the delivered state, the ledger. Contacts: the destination, and the warehouse if
    the delivered state is there.

    Args:
        model: the model's name, as the sync was loaded with it. Templated.
        destination: the policy's name for the destination. Templated.
        load: the load with its own parameters, as one of `loads` of `PropagateWithdrawalsOperator`; its target has to
            be the one that the sync delivered to.
        settle_s: seconds for which a request that was never answered may still take effect.
        confirm_interval_s: most seconds between two questions to a destination that processes later; the first ones
            come after 1, 2, 4 … seconds.
        confirm_timeout_s: seconds after which a try stops waiting for it.
        lease_ttl_s: seconds after which a worker that does not renew its lease counts as dead.
        lease_wait_s: seconds to wait for a running load.
        ledger_conn_id: as for the loads. Templated.
        workspace: as for the loads. Templated.

    Returns:
        The numbers of people `removed`, `not_removed` and still `delivered`.

    Raises:
        AirflowFailException: not retried: the ledger does not know the sync, the target is another one or is missing,
            the destination cannot remove people or refused to remove some.
        DestinationUnavailableError: retried: the destination did not answer or still processes requests, or an earlier
            request without an answer may still bring somebody back.
        SyncBusyError, SourceUnavailableError, LedgerUnavailableError: retried.
    """

    template_fields: Sequence[str] = ("model", "destination", "ledger_conn_id", "workspace")
    ui_color = "#ead1dc"
    operator_extra_links = SENDING_LINKS

    def __init__(
        self,
        *,
        model: str,
        destination: str,
        load: Callable[..., LoadOperator],
        settle_s: float = 3600,
        confirm_interval_s: float = 30,
        confirm_timeout_s: float = 3600,
        lease_ttl_s: float = 60,
        lease_wait_s: float = 30,
        ledger_conn_id: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.destination = destination
        self.load = load
        self.settle_s = settle_s
        self.confirm_interval_s = confirm_interval_s
        self.confirm_timeout_s = confirm_timeout_s
        self.lease_ttl_s = lease_ttl_s
        self.lease_wait_s = lease_wait_s
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace
        refuse(self.wrong_options())

    def wrong_options(self) -> list[Problem]:
        """Return every error in the parameters and loads, as far as their values are known; contacts nothing."""
        from airflow_consent_retl.operators.removing_load import wrong_loads

        return super().wrong_options() + wrong_loads({"load": self.load})

    def run(self, context: Context) -> dict[str, int]:
        """Remove everyone, and return how many."""
        from airflow_consent_retl.delivery.ledger.records import sync_name
        from airflow_consent_retl.delivery.report import LoadReport
        from airflow_consent_retl.hooks.ledgers import open_ledger

        name = sync_name(self.model, self.destination)
        report = LoadReport(permitted=0)
        left = 0
        with open_ledger(self.workspace, self.ledger_conn_id) as ledger:
            if self._has_work(name, ledger):
                left = self._empty(name, ledger, report, context)
            else:
                self.log.info("sync `%s` has no people", name)
        counts = report.as_counts()
        self.log.info("sync `%s`: removed %s people, %s are left", name, f"{counts['removed']:,}", f"{left:,}")
        if left:
            raise DestinationUnavailableError(
                f"`{name}`: {left:,} people were removed, and a request that was never answered may still bring them "
                "back: a try after settle_s of the load that sent it removes them again"
            )
        return {"removed": counts["removed"], "not_removed": counts["not_removed"], "delivered": left}

    def _has_work(self, name: SyncName, ledger: Ledger) -> bool:
        """Return whether the sync has people, or a delivery in progress.

        Raises:
            ConfigurationError: the ledger does not know it.
        """
        known = {one.sync: one for one in ledger.syncs()}
        if name not in known:
            raise ConfigurationError(
                f"sync `{name}` is not among the {len(known):,} syncs of the ledger{suggestion(name, known)}: `model`, "
                "`destination`, `workspace` and `ledger_conn_id` must be those of the load"
            )
        current = known[name].current
        return (current is not None and current.rows > 0) or known[name].open_delivery is not None

    def _empty(self, name: SyncName, ledger: Ledger, report: LoadReport, context: Context) -> int:
        """Remove everyone, and return how many people may still be there."""
        from airflow_consent_retl.delivery.context import SyncContext
        from airflow_consent_retl.delivery.ledger.run_records import RunKind
        from airflow_consent_retl.delivery.pairing import leased
        from airflow_consent_retl.delivery.run_notes import RunNotes, noted_run
        from airflow_consent_retl.delivery.settings import SyncSettings
        from airflow_consent_retl.delivery.syncing import Sync
        from airflow_consent_retl.hooks.workspaces import store_of_sync
        from airflow_consent_retl.operators.removing_load import removing_load
        from airflow_consent_retl.storage.location import open_folder, subject_key, sync_folder, workspace_root

        removing = removing_load(self.load, destination=self.destination, policy=None, task=self, context=context)
        settings = SyncSettings(
            accept_no_removal=removing.accept_no_removal,
            moved_from=removing.moved_from,
            shares_target_with=removing.shares_target_with,
            settle_s=self.settle_s,
            confirm_interval_s=self.confirm_interval_s,
            confirm_timeout_s=self.confirm_timeout_s,
        )
        with leased(
            ledger,
            open_folder(workspace_root(self.workspace)),
            name,
            holder=holder_of(context),
            ttl_s=self.lease_ttl_s,
            wait_s=self.lease_wait_s,
            shares=removing.shares_target_with,
        ) as lease:
            folder = sync_folder(self.workspace, name, epoch=lease.epoch)
            notes, task = RunNotes(report), task_of(context)
            with noted_run(ledger, name, notes, kind=RunKind.RETIRE, task=task, log=self.log):
                sync = Sync(
                    SyncContext(
                        lease=lease,
                        store=store_of_sync(
                            lease.current(), lease.newest().source, folder, name, model=self.model, log=self.log
                        ),
                        build=removing.build_destination,
                        settings=settings,
                        log=self.log,
                        key=partial(subject_key, self.workspace),
                        dag=dag_of(context),
                    )
                )
                waiting = sync.retire(report)
                notes.is_waiting = bool(waiting)
                left = sync.delivered_rows
                if not left:
                    lease.note_served()
        if waiting:
            raise DestinationUnavailableError(
                f"`{self.destination}` still processes {len(waiting):,} requests: the next try asks again"
            )
        return left


def retire(
    sync: str,
    loads: Mapping[str, Callable[..., LoadOperator]],
    *,
    workspace: str | None = None,
    ledger_conn_id: str | None = None,
) -> dict[str, int]:
    """Empty a sync without a DAG, and return the counts of `RetireSyncOperator`.

    Args:
        sync: its name, such as `customers/webhook`.
        loads: its load, by the name of its destination or of the sync.
        workspace, ledger_conn_id: as for the loads.

    Raises:
        ConfigurationError: there is no load for it, and as the operator.
        PermanentError, TransientError: as the operator.
    """
    from airflow_consent_retl.delivery.ledger.records import model_and_destination, parsed_sync_name

    model, destination = model_and_destination(parsed_sync_name(sync))
    load = loads.get(sync, loads.get(destination))
    if load is None:
        raise ConfigurationError(
            f"loads: there is no load `{sync}` and none `{destination}`{suggestion(destination, loads)}"
        )
    counts: dict[str, int] = RetireSyncOperator(
        task_id="retire",
        model=model,
        destination=destination,
        load=load,
        workspace=workspace,
        ledger_conn_id=ledger_conn_id,
    ).run({})
    return counts
