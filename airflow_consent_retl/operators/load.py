"""The base of all loads: it updates a destination to exactly the rows that a filter permitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import XComArg

from airflow_consent_retl.compat import conf
from airflow_consent_retl.errors import ConfigurationError, DestinationUnavailableError, Problem
from airflow_consent_retl.fields.field_values import check_answers_written, check_values
from airflow_consent_retl.operators.assets import note_counts, outlets_of
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.operators.lineage_methods import LineageMethods
from airflow_consent_retl.operators.links import SENDING_LINKS
from airflow_consent_retl.operators.one_load import check_one_load, model_of
from airflow_consent_retl.operators.parsed_tasks import refuse

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from airflow_consent_retl.contract.destination import Destination, WriteMode
    from airflow_consent_retl.contract.spec import DestinationSpec
    from airflow_consent_retl.delivery.settings import SyncSettings
    from airflow_consent_retl.hooks.central_policy import PolicySource
    from airflow_consent_retl.signals.lineage import LoadLineage
    from airflow_consent_retl.storage.manifest import Column, PermittedCounts


class LoadOperator(LineageMethods, ConsentRetlOperator):
    """Update one destination to the rows that a filter permitted: send changed rows, remove people without permission.

    Before the first request it reads the policy again, verifies its input (destination, digests and row counts of all
    files), compares it with the delivered state, and asks the model's source for consent again. Withdrawals go first,
    then additions, in batches that the ledger records before they are sent; the next try resumes a failed one under
    the same idempotency keys. The numbers always add up, or the task fails.

    A person who withdraws while a load runs is withheld after the source's next answer: no later than
    `recheck_interval_s` plus the batches in flight, and no sooner than that answer.

    Args:
        permitted: the output of a `ConsentFilterOperator`. Templated.
        destination: the policy's name of the destination. Templated; a name written out has an asset, whose events
            carry the counts of each load.
        fields: the fields to send: the destination's field names, each with the model's column, or with another value
            of `airflow_consent_retl.fields`: a constant, a list of columns, an SQL expression, a person's answer to a
            consent category. Only these columns are read, and only they make a row count as changed. Templated.
        field_nulls: by field, what becomes of its NULLs in place of the destination's choice for all fields: `send`,
            `omit` (the destination keeps what it has) or `clear`, as far as the destination can. A NULL of a field that
            consent withholds is sent all the same. Templated.
        write: which rows the destination writes, as far as it can: `upsert`, `create_only` (people that it has stay as
            they are), `update_only` (no person is added), or `fill_empty` (no value that is there is overwritten).
        fields_not_sent: the fields that the policy guards at this destination and that this load does not send under
            any name. A guarded field that is neither sent nor listed here is an error. Templated.
        policy: the source from which to read the policy again. It has to be the filter's, which is the default.
            Templated.
        mode: `mirror` sends new and changed rows and removes people who are not permitted or left the model; `upsert`
            keeps people who left the model; `insert` sends new people only; `full` sends every permitted row;
            `retry_rejected` sends only the people that the destination rejected in the last load and who are still
            permitted, and removes as `mirror`. Every mode removes people who lose permission.
        absent: what it means that a person is not in the model any more. `left_model`: the mode decides. `withdrawn`,
            for a model whose SQL keeps only people who consent: a withdrawal, which every mode removes, up to
            `max_removed_ratio`.
        accept_no_removal: use a destination that cannot remove people; each run reports how many it should remove.
        max_removed_ratio: the most removals without an explicit withdrawal, as a share of the people delivered before.
            Beyond it the task sends nothing and fails, but still carries out explicit withdrawals. None: no limit.
        allow_closing: let the policy close the destination: everyone is removed because it maps no category to the
            destination and does not permit that, whatever `max_removed_ratio` says.
        max_added_ratio: the most new people, as a share of the people delivered before, likewise. None: no limit.
        max_rejected_ratio: the most rows that the destination may reject before the task fails, as a share, 0 to 1, of
            the permitted rows, since each run tries rejected people again.
        recheck_interval_s: seconds after which a running load asks the source for consent again; None: it never asks,
            and `max_age_s` applies.
        max_age_s: seconds after which the filter's decision, and the data it is about, are too old, where the source is
            not asked again; in that case a policy that has changed since is refused too. A source whose SQL is bound
            to a date is not asked again: see `current_consent_sql` of `ExtractModelOperator`.
        allow_older: deliver data older than those that the sync delivered. It then removes and updates people, and
            adds no one.
        accept_time_zone: the time zone to which the model's sessions may change from that of the newest delivered run.
        accept_source: the connection through which the model may be read now, if it was another one, or had other
            `hook_params`, in the newest delivered run. Without it, a model that is read from elsewhere is refused.
        shares_target_with: the names (`leads/webhook`) of other syncs that deliver to the same target; each of them has
            to name this one. Then a person is removed there only when no sync has the person. Without it, a target at
            which another sync has people is refused.
        shares_sync_with_dags: the ids of other DAGs that load this sync too; each of them has to name this DAG. Without
            it, a sync that another DAG loads is refused.
        moved_from: the old target, exactly as the error about a changed target has it, if all people who were
            delivered there were moved to the new one. Without it, a changed target is refused. Templated.
        settle_s: seconds for which a request that was never answered may still take effect: a removal confirmed
            earlier is repeated.
        deferrable: wait for a destination that processes later without occupying a worker.
        confirm_interval_s: most seconds between two questions to such a destination; the first ones of a worker come
            after 1, 2, 4 … seconds. A trigger begins with it, and asks ever less often.
        confirm_timeout_s: seconds after which a try stops waiting for it.
        lease_ttl_s: seconds after which a worker that does not renew its lease counts as dead.
        lease_wait_s: seconds to wait for another task that loads the same sync.
        dry_run: do everything up to the sending and return the plan: what a run would add, update, remove and clear,
            and the limits that would stop it. Nothing is sent or recorded. True or False, or a template that
            renders one of the two, such as `"{{ params.dry_run }}"`. Templated.
        ledger_conn_id: a PostgreSQL connection, otherwise `[consent_retl] ledger_conn_id`, otherwise a SQLite file in
            a workspace on a local disk. Templated.
        workspace: URI of the workspace that keeps the delivered state; by default the filter's. Templated.

    Returns:
        The counts of the load; with `dry_run`, the plan.

    Raises:
        AirflowSkipException: a newer run delivered while this one ran.
        AirflowFailException: not retried: the input is refused, the configuration is wrong, a limit is exceeded, the
            destination refuses the load, or did not remove a person.
        DestinationUnavailableError: retried: the destination did not answer, or left the outcome of some rows unclear.
        SourceUnavailableError, LedgerUnavailableError, SyncBusyError, LeaseLostError: retried.
    """

    spec_class: ClassVar[type[DestinationSpec] | None] = None
    """The destination's parameters, if they alone build it: then withdrawals need no task of the load."""
    knows_by_identifiers: bool = False
    """Whether the destination knows people by fields that two people may share, and not by the model's key."""

    nests_fields: ClassVar[bool] = True
    """True if a dotted name in `fields` is a field of a nested object; otherwise it is a name like any other."""

    template_fields: Sequence[str] = (
        "permitted",
        "destination",
        "fields",
        "field_nulls",
        "fields_not_sent",
        "policy",
        "ledger_conn_id",
        "workspace",
        "moved_from",
        "dry_run",
        "policy_digest",
    )
    # The digest of the policy is known at the end.
    overwrite_rtif_after_execution = True
    ui_color = "#fce5cd"
    operator_extra_links = SENDING_LINKS

    def __init__(
        self,
        *,
        permitted: Any,
        destination: str,
        fields: Mapping[str, str],
        field_nulls: Mapping[str, Literal["send", "omit", "clear"]] = MappingProxyType({}),
        write: WriteMode = "upsert",
        fields_not_sent: Sequence[str] = (),
        policy: PolicySource | None = None,
        mode: Literal["mirror", "upsert", "insert", "full", "retry_rejected"] = "mirror",
        accept_no_removal: bool = False,
        absent: Literal["left_model", "withdrawn"] = "left_model",
        max_removed_ratio: float | None = 0.5,
        allow_closing: bool = False,
        max_added_ratio: float | None = None,
        max_rejected_ratio: float = 0.0,
        recheck_interval_s: float | None = 300,
        max_age_s: float = 86_400,
        allow_older: bool = False,
        accept_time_zone: str | None = None,
        accept_source: str | None = None,
        shares_target_with: Sequence[str] = (),
        shares_sync_with_dags: Sequence[str] = (),
        moved_from: str | None = None,
        settle_s: float = 3600,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        confirm_interval_s: float = 30,
        confirm_timeout_s: float = 21_600,
        lease_ttl_s: float = 60,
        lease_wait_s: float = 120,
        dry_run: bool | str = False,
        ledger_conn_id: str | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.permitted = permitted
        self.destination = destination
        self.fields = fields
        self.field_nulls = dict(field_nulls)
        self.write = write
        self.fields_not_sent = fields_not_sent
        self.policy = inline_policy_of(permitted) if policy is None else policy
        self.mode = mode
        self.accept_no_removal = accept_no_removal
        self.absent = absent
        self.max_removed_ratio = max_removed_ratio
        self.allow_closing = allow_closing
        self.max_added_ratio = max_added_ratio
        self.max_rejected_ratio = max_rejected_ratio
        self.recheck_interval_s = recheck_interval_s
        self.max_age_s = max_age_s
        self.allow_older = allow_older
        self.accept_time_zone = accept_time_zone
        self.accept_source = accept_source
        self.shares_target_with = shares_target_with
        self.shares_sync_with_dags = shares_sync_with_dags
        self.moved_from = moved_from
        self.settle_s = settle_s
        self.deferrable = deferrable
        self.confirm_interval_s = confirm_interval_s
        self.confirm_timeout_s = confirm_timeout_s
        self.lease_ttl_s = lease_ttl_s
        self.lease_wait_s = lease_wait_s
        # Airflow's operators have a method of this name that nothing calls.
        self.dry_run = dry_run  # type: ignore[assignment, method-assign]
        self.ledger_conn_id = ledger_conn_id
        self.workspace = workspace
        check_one_load(self, LoadOperator)
        self._check_at_parse()
        self.policy_digest: str | None = None
        self._columns: tuple[Column, ...] = ()
        self._waits: Mapping[str, Any] = {}
        self._assets = outlets_of(model_of(permitted), destination)
        self.outlets.extend(self._assets)

    def wrong_options(self) -> list[Problem]:
        """Return every error in the parameters and fields, as far as their values are known; contacts nothing."""
        wrong = super().wrong_options()
        if isinstance(self.fields, Mapping):
            try:
                check_values(self.fields, nested=self.nests_fields)
                check_answers_written(self.fields, self.write)
            except ConfigurationError as error:
                wrong.append(Problem("fields", str(error)))
        return wrong

    def _check_at_parse(self) -> None:
        """Check the parameters of every load; those of a subclass are not known yet."""
        refuse(self.wrong_options())

    def destination_spec(self) -> DestinationSpec | None:
        """Return the destination's parameters, their templates rendered; None: they alone do not build it.

        A subclass defines this method, or `build_destination`.
        """
        return None

    def build_destination(self) -> Destination:
        """Return the destination, built from the operator's parameters and its connection, not yet opened."""
        spec = self.destination_spec()
        if spec is None:
            raise ConfigurationError(f"{type(self).__name__} has to define destination_spec or build_destination")
        return spec.build()

    @property
    def versions_place(self) -> str:
        """The place at which older versions of the rows stay until `prune` deletes them; empty: there is none."""
        return ""

    def check_permitted(self, counts: PermittedCounts) -> None:
        """Refuse a permitted set that was decided on other grounds than this destination needs.

        Raises:
            ConfigurationError: before anything is read or sent.
        """

    def confirmation_trigger(self, request_ids: Sequence[str]) -> BaseTrigger | None:
        """Return the trigger that waits until the destination has processed these requests; None: a worker waits."""
        spec = self.destination_spec()
        if spec is None or not request_ids:
            return None
        from airflow_consent_retl.triggers.pending_requests import PendingRequestsTrigger

        return PendingRequestsTrigger.of(
            spec, request_ids, poll_interval_s=self.confirm_interval_s, timeout_s=self.confirm_timeout_s
        )

    def run(self, context: Context) -> dict[str, object]:
        """Verify, compare, remove and send; return the counts. In a dry run, return the plan."""
        from airflow_consent_retl.operators.dry_runs import is_dry, planned_load

        if is_dry(self.dry_run):
            # An event would tell that people were delivered.
            self.outlets = []
            return planned_load(self, context).as_document()
        return self._delivered(context)

    def _delivered(self, context: Context) -> dict[str, object]:
        from airflow_consent_retl.delivery.unserved import warn_of_unserved
        from airflow_consent_retl.hooks.ledgers import unserved_days
        from airflow_consent_retl.operators.load_input import opened_input
        from airflow_consent_retl.operators.load_run import load_run
        from airflow_consent_retl.operators.load_summary import log_summary
        from airflow_consent_retl.signals.metrics import emit_unserved
        from airflow_consent_retl.signals.outcome import outcome_of_load

        found = opened_input(self)
        permitted = found.permitted
        self.policy_digest, self._columns = permitted.manifest.policy_digest, permitted.manifest.columns
        with load_run(self, found, context) as run:
            loading, report = run.loading, run.report
            before = loading.sync.delivered_rows
            try:
                with run.removals_first():
                    loading.check()
                waiting = loading.load(report)
            finally:
                counts = log_summary(self.log, permitted, report)
                self.outcomes = (outcome_of_load(counts),)
            counts |= {"delivered_before": before, "delivered": loading.sync.delivered_rows}
            self.outcomes = (outcome_of_load(counts),)
            run.notes.is_waiting = bool(waiting)
            if not waiting:
                run.lease.note_served(required=permitted.counts.required_of_people)
            known = run.ledger.syncs()
        if waiting:
            self._wait_for(waiting)
        warn_of_unserved(known, days=unserved_days(), log=self.log)
        emit_unserved(known, days=unserved_days())
        note_counts(context, self._assets, counts)
        return counts

    def resume(self, context: Context, event: Mapping[str, Any], waits: Mapping[str, Any] | None = None) -> Any:
        """Resume after a deferral: the destination reports the outcome of each row, `event` only whether time is up.

        Args:
            context: of the task.
            event: of the trigger.
            waits: the requests for which the task waited, and until when.

        Raises:
            DestinationUnavailableError: the time is up, and some requests are not processed.
        """
        if event.get("processed") is False and not event.get("refused"):
            raise DestinationUnavailableError(
                f"`{self.destination}` did not process all requests within {self.confirm_timeout_s:,.0f} s: the next "
                "try asks again"
            )
        if event.get("refused"):
            # Otherwise it would defer again at once, to a triggerer that cannot ask.
            self.deferrable = False
        self._waits = waits or {}
        return self.execute(context)

    def task_lineage(self) -> LoadLineage:
        """Return the lineage from the permitted rows of the destination to the destination."""
        from airflow_consent_retl.operators.sending_lineage import load_lineage

        return load_lineage(self, self._columns)

    def sync_settings(self) -> SyncSettings:
        """Return the delivery's settings, from this operator's parameters.

        Raises:
            ConfigurationError: a value is out of its range.
        """
        from airflow_consent_retl.delivery.settings import Guards, SyncSettings, absent_cause
        from airflow_consent_retl.storage.sync_mode import SyncMode

        if self.mode not in list(SyncMode):
            raise ConfigurationError(f"mode is one of {', '.join(SyncMode)}, not `{self.mode}`")
        return SyncSettings(
            mode=SyncMode(self.mode),
            guards=Guards(
                max_removed_ratio=self.max_removed_ratio,
                max_added_ratio=self.max_added_ratio,
                allow_closing=self.allow_closing,
            ),
            max_rejected_ratio=self.max_rejected_ratio,
            absent=absent_cause(self.absent),
            accept_no_removal=self.accept_no_removal,
            allow_older=self.allow_older,
            accept_time_zone=self.accept_time_zone,
            accept_source=self.accept_source,
            shares_target_with=tuple(self.shares_target_with),
            shares_sync_with_dags=tuple(self.shares_sync_with_dags),
            moved_from=self.moved_from,
            settle_s=self.settle_s,
            confirm_interval_s=self.confirm_interval_s,
            confirm_timeout_s=0 if self.deferrable else self.confirm_timeout_s,
            field_nulls=self.field_nulls,
            write=self.write,
        )

    def _wait_for(self, request_ids: Sequence[str]) -> None:
        trigger = self.confirmation_trigger(request_ids) if self.deferrable else None
        now, wait = datetime.now(UTC), timedelta(seconds=self.confirm_timeout_s)
        until = now + wait
        if set(request_ids) & set(self._waits.get("request_ids", ())):
            # The triggerer has no rows: it takes some requests for processed, and only the load sees that they are not.
            until = datetime.fromisoformat(self._waits["until"])
        if trigger is not None and now < until:
            self.log.info("`%s` still processes %s requests: waiting", self.destination, f"{len(request_ids):,}")
            waits = {"request_ids": list(request_ids), "until": until.isoformat()}
            self.defer(trigger=trigger, method_name="resume", kwargs={"waits": waits}, timeout=wait)
        raise DestinationUnavailableError(
            f"`{self.destination}` still processes {len(request_ids):,} requests: the next try asks again"
        )


def inline_policy_of(permitted: Any) -> Mapping[str, Any] | None:
    """Return the policy of the filter whose output this is, if it is written in the DAG.

    A policy in a Variable, connection or file is read again from there; one in the DAG has no other place.
    """
    filter_operator = getattr(permitted, "operator", None) if isinstance(permitted, XComArg) else None
    policy = getattr(filter_operator, "policy", None)
    return policy if isinstance(policy, Mapping) else None
