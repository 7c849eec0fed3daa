"""The fast lane of withdrawals: people who lost permission are removed everywhere, without waiting for a load."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow_consent_retl.errors import (
    ConfigurationError,
    DestinationUnavailableError,
    PermanentError,
    TransientError,
)
from airflow_consent_retl.operators.assets import note_counts, outlets_of
from airflow_consent_retl.operators.base_operator import holder_of, task_of
from airflow_consent_retl.operators.dated_operator import DatedSqlOperator
from airflow_consent_retl.operators.lineage_methods import LineageMethods
from airflow_consent_retl.operators.links import SENDING_LINKS
from airflow_consent_retl.operators.parsed_tasks import refuse
from airflow_consent_retl.operators.withdrawal_summary import counts_of, log_found, log_withdrawals

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.consent import ConsentMappingLike, ExternalConsent, IdentityLinks
    from airflow_consent_retl.contract.dataset_name import DatasetName
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.errors import Problem
    from airflow_consent_retl.hooks.central_policy import PolicySource
    from airflow_consent_retl.operators.load import LoadOperator
    from airflow_consent_retl.signals.lineage import WithdrawalsLineage


class PropagateWithdrawalsOperator(LineageMethods, DatedSqlOperator):
    """Remove, from every destination of a model, the people who were delivered there and are not permitted any more.

    A field is cleared of people who are permitted without it now, where the destination can clear fields; otherwise
    they are removed, and the next load sends them without it.

    Run it every few minutes, next to the loads. For each destination it takes the sync's lease, resolves what an
    earlier task left, reads only the model's ids and consent columns, decides them under the present policy, and makes
    the destination remove everyone who lost permission. Loads remove people who only left the model. While a load has
    the lease of a sync, Airflow retries this task: that load asks for consent itself.

    "Nothing to do" is a result only if it is proved. The task fails if the ledger does not know the sync, if the policy
    does not name the destination, if the primary key or its type is not the one of the people delivered, if the
    answer contains too few of them, or if no row has an answer to an opt-out category.

    Reads: the policy, the model's ids and consent columns, the delivered state. Writes: the delivered state, the
    ledger. Contacts: the model's connection, and the destinations from which a person has to be removed.

    Args:
        model: the model's name, as in its extraction. Templated.
        conn_id: the connection that the model is read from. Templated.
        sql: the model's query; one over ids and consent columns alone may be cheaper. Templated.
        primary_key: name of the column that identifies a row. Templated.
        policy: where the policy is read; by default `[consent_retl] policy`, as for the filter. Templated.
        consent: the consent mapping, as for the filter; by default the policy's.
        loads: by destination, the load with its own parameters, as for `consent_sync`:
            `{"webhook": partial(LoadToWebhookOperator, conn_id="crm_http", endpoint="/people", fields={…})}`.
        withdrawn_at: a column of the model with the time, with a zone, of the last change of consent: the start of the
            lag. None: no lag is reported.
        column_types: Arrow type by column, as for the extraction.
        hook_params: arguments of the connection's hook, as for the extraction; by default those of the newest delivered
            run, if it read the same connection. Templated.
        session_time_zone: the time zone in which the SQL runs, which has to be the extraction's; by default that of the
            newest delivered run. Templated.
        as_of: the time for which the answers stand, as for the extraction: one older than the delivered data is
            refused. Templated.
        consent_sources: the other sources of consent, as for the extraction.
        identities: the link table of the model's people, as for the extraction. Templated.
        absent: what it means that a delivered person is not in the answer. `left_model`: a load decides. `withdrawn`,
            for SQL that keeps only people who consent: a withdrawal, up to `max_removed_ratio`. Set it at loads too.
        allow_unknown: accept a sync that the ledger does not know, because nothing was ever loaded; remove it after
            the first load. A name that resembles a known sync's is refused all the same.
        min_found_ratio: the people delivered that the answer must contain, as a share, 0 to 1. Below it the task
            removes everyone who is denied, then fails. None: no limit.
        accept_silence: the ids of categories under `opt_out` for which no row has to have an answer, as for the filter.
            For any other one whose rows are all silent, the task removes everyone who is denied, then fails. Templated.
        max_removed_ratio: the most removals without an explicit withdrawal, as a share of the people delivered. Beyond
            it the task carries out only the explicit withdrawals and fails. None: no limit.
        settle_s: seconds for which a request that was never answered may still take effect.
        confirm_interval_s: most seconds between two questions to a destination that processes later; the first ones
            come after 1, 2, 4 … seconds.
        confirm_timeout_s: seconds after which a try stops waiting for it.
        lease_ttl_s: seconds after which a worker that does not renew its lease counts as dead.
        lease_wait_s: seconds to wait for a running load.
        dry_run: as for the loads: return by destination the plan, and remove no one. Templated.
        ledger_conn_id: as for the loads. Templated.
        workspace: as for the loads. Templated.

    Returns:
        By destination: delivered, removed and not removed people, people whose fields were and were not cleared, how
        many of the delivered people the answer contained (`found`) and did not contain (`absent`), causes, and the lag
        in seconds from withdrawal to confirmed removal (`median`, `p95`, `oldest`), where the model has its time.

    Raises:
        AirflowFailException: not retried: the configuration or the policy is wrong, the sync is unknown, a limit is
            exceeded, a person could not be removed. The other destinations are still served.
        SyncBusyError, DestinationUnavailableError, SourceUnavailableError, LedgerUnavailableError: retried.
    """

    template_fields: Sequence[str] = (
        "model",
        "conn_id",
        "sql",
        "primary_key",
        "policy",
        "hook_params",
        "session_time_zone",
        "as_of",
        "consent_sources",
        "identities",
        "accept_silence",
        "ledger_conn_id",
        "workspace",
        "dry_run",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#ead1dc"
    operator_extra_links = SENDING_LINKS

    def __init__(
        self,
        *,
        model: str,
        conn_id: str,
        sql: str,
        primary_key: str,
        loads: Mapping[str, Callable[..., LoadOperator]],
        policy: PolicySource | None = None,
        consent: ConsentMappingLike | None = None,
        withdrawn_at: str | None = None,
        column_types: Mapping[str, str] | None = None,
        hook_params: Mapping[str, Any] | None = None,
        session_time_zone: str | None = None,
        as_of: str | None = None,
        consent_sources: Sequence[ExternalConsent] = (),
        identities: IdentityLinks | None = None,
        absent: Literal["left_model", "withdrawn"] = "left_model",
        allow_unknown: bool = False,
        min_found_ratio: float | None = 0.5,
        accept_silence: Sequence[str] = (),
        max_removed_ratio: float | None = 0.5,
        settle_s: float = 3600,
        confirm_interval_s: float = 30,
        confirm_timeout_s: float = 3600,
        lease_ttl_s: float = 60,
        lease_wait_s: float = 30,
        dry_run: bool | str = False,
        ledger_conn_id: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.conn_id = conn_id
        self.sql = sql
        self.primary_key = primary_key
        self.policy = policy
        self.consent = consent
        self.loads = loads
        self.withdrawn_at = withdrawn_at
        self.column_types = column_types
        self.hook_params = hook_params
        self.session_time_zone = session_time_zone
        self.as_of = as_of
        self.consent_sources = consent_sources
        self.identities = identities
        self.absent = absent
        self.allow_unknown = allow_unknown
        self.min_found_ratio = min_found_ratio
        self.accept_silence = accept_silence
        self.max_removed_ratio = max_removed_ratio
        self.settle_s = settle_s
        self.confirm_interval_s = confirm_interval_s
        self.confirm_timeout_s = confirm_timeout_s
        self.lease_ttl_s = lease_ttl_s
        self.lease_wait_s = lease_wait_s
        # Airflow's operators have a method of this name that nothing calls.
        self.dry_run = dry_run  # type: ignore[assignment, method-assign]
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace
        refuse(self.wrong_options())
        self._places: dict[str, Callable[[], DatasetName]] = {}
        self._assets = {name: outlets_of(model, name) for name in loads}
        self.outlets.extend(asset for assets in self._assets.values() for asset in assets)

    def wrong_options(self) -> list[Problem]:
        """Return every error in the parameters and loads, as far as their values are known; contacts nothing."""
        from airflow_consent_retl.operators.removing_load import wrong_loads

        return super().wrong_options() + wrong_loads({f"loads[{name!r}]": load for name, load in self.loads.items()})

    def run(self, context: Context) -> dict[str, object]:
        """Serve every destination, even if others fail; then report, and fail if one failed. Or return their plans."""
        from airflow_consent_retl.hooks.ledgers import open_ledger
        from airflow_consent_retl.operators.dry_runs import is_dry

        if not self.loads:
            raise ConfigurationError("loads: at least one destination is needed")
        if is_dry(self.dry_run):
            # An event would tell that people were removed.
            self.outlets = []
            return dict(self._served(lambda destination: self._planned(destination, context)))
        with open_ledger(self.workspace, self.ledger_conn_id) as ledger:
            summary = partial(log_withdrawals, self.log, self.model)
            served = self._served(lambda destination: self._serve(destination, ledger, context), then=summary)
        for destination, counts in served.items():
            named = {"destination": destination, "model": self.model, **counts}
            note_counts(context, self._assets[destination], named)
        return dict(served)

    def _served(
        self,
        serve: Callable[[str], dict[str, Any]],
        then: Callable[[Mapping[str, Mapping[str, Any]]], None] = lambda served: None,
    ) -> dict[str, dict[str, Any]]:
        served: dict[str, dict[str, Any]] = {}
        failures: list[PermanentError | TransientError] = []
        for destination in self.loads:
            try:
                served[destination] = serve(destination)
            except (PermanentError, TransientError) as failure:
                self.log.warning("`%s`: %s", destination, failure)
                failures.append(failure)
        then(served)
        if failures:
            # A retry is worth it if one failure is transient, even if the others are permanent.
            raise next((failure for failure in failures if isinstance(failure, TransientError)), failures[0])
        return served

    def _planned(self, destination: str, context: Context) -> dict[str, Any]:
        from airflow_consent_retl.delivery.report import LoadReport
        from airflow_consent_retl.operators.dry_runs import planned_withdrawals

        plan = planned_withdrawals(self, destination, context)
        return counts_of(0, LoadReport(permitted=0)) if plan is None else plan.as_document()

    def _serve(self, destination: str, ledger: Ledger, context: Context) -> dict[str, Any]:
        from airflow_consent_retl.delivery.ledger.run_records import RunKind
        from airflow_consent_retl.delivery.pairing import leased
        from airflow_consent_retl.delivery.report import LoadReport
        from airflow_consent_retl.delivery.run_notes import RunNotes, noted_run
        from airflow_consent_retl.delivery.syncing import Sync
        from airflow_consent_retl.operators.withdrawal_service import withdrawal_service, withdrawal_sync
        from airflow_consent_retl.signals.outcome import outcome_of_withdrawals
        from airflow_consent_retl.storage.location import open_folder, sync_folder, workspace_root

        report = LoadReport(permitted=0)
        service = withdrawal_service(self, destination, ledger, context)
        if service is None:
            return counts_of(0, report)
        self._places[destination] = lambda: service.removing.build_destination().dataset_name
        with leased(
            ledger,
            open_folder(workspace_root(self.workspace)),
            service.sync,
            holder=holder_of(context),
            ttl_s=self.lease_ttl_s,
            wait_s=self.lease_wait_s,
            shares=service.settings.shares_target_with,
        ) as lease:
            folder = sync_folder(self.workspace, service.sync, epoch=lease.epoch)
            notes, task = RunNotes(report, limits=service.settings.limits), task_of(context)
            with noted_run(ledger, service.sync, notes, kind=RunKind.WITHDRAWALS, task=task, log=self.log):
                sync, asker = withdrawal_sync(self, service, lease, folder, context, make_sync=Sync)
                before = sync.delivered_rows
                try:
                    waiting = sync.withdraw(asker.ask, report)
                finally:
                    log_found(self.log, destination, report)
                notes.is_waiting = bool(waiting)
                state = sync.state()
                if not waiting:
                    lease.note_served()
        if waiting:
            raise DestinationUnavailableError(
                f"`{destination}` still processes {len(waiting):,} requests: the next try asks again"
            )
        counts = counts_of(0 if state is None else state.rows, report)
        counts |= {"destination": destination, "model": self.model, "delivered_before": before}
        self.outcomes += (outcome_of_withdrawals(counts),)
        return counts

    def task_lineage(self) -> WithdrawalsLineage:
        """Return the lineage from the tables that the SQL names to the destinations that were served."""
        from airflow_consent_retl.operators.sending_lineage import withdrawals_lineage

        return withdrawals_lineage(self, self._places)
