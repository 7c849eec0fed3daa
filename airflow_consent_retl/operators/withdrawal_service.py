"""The parts that the fast lane needs at one destination: the sync, its settings, and the question to the model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from airflow_consent_retl.delivery.context import SyncContext
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.order import check_time_zone
from airflow_consent_retl.delivery.pairing import check_sync
from airflow_consent_retl.delivery.settings import Guards, SyncSettings, absent_cause
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.extraction.data_time import DeclaredTime
from airflow_consent_retl.filtering.model_question import ModelAsker
from airflow_consent_retl.filtering.silence import check_accepted
from airflow_consent_retl.hooks.forgotten_list import forgotten_people
from airflow_consent_retl.hooks.policies import policy_in_force
from airflow_consent_retl.hooks.sql import hooks_of
from airflow_consent_retl.near import suggestion
from airflow_consent_retl.operators.base_operator import dag_of
from airflow_consent_retl.operators.bindings import (
    check_destinations,
    mapping_in_force,
    sources_of_extraction,
    use_of_source,
)
from airflow_consent_retl.operators.dated_operator import date_of_run
from airflow_consent_retl.operators.delivered_store import delivered_store
from airflow_consent_retl.operators.model_source import model_source, with_identities
from airflow_consent_retl.operators.removing_load import removing_load
from airflow_consent_retl.storage.location import source_sizes, subject_key, sync_folder

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import SourceRecord, SyncName
    from airflow_consent_retl.delivery.syncing import Sync
    from airflow_consent_retl.operators.removing_load import RemovingLoad
    from airflow_consent_retl.operators.withdraw import PropagateWithdrawalsOperator
    from airflow_consent_retl.storage.manifest import ModelSource
    from airflow_consent_retl.storage.sync_folder import SyncFolder

S = TypeVar("S", bound="Sync")


class WithdrawalService(NamedTuple):
    """The name of a sync, and the part of its load that removes people, with the settings of their removal."""

    sync: SyncName
    destination: str
    removing: RemovingLoad
    settings: SyncSettings


def withdrawal_service(
    task: PropagateWithdrawalsOperator, destination: str, ledger: Ledger, context: Context
) -> WithdrawalService | None:
    """Return what a task needs to serve a destination; None: no one was delivered there yet.

    Raises:
        PermanentError: the policy, a parameter or the ledger does not suit.
    """
    _check_policy(task, destination)
    name = sync_name(task.model, destination)
    check_sync(ledger, sync_folder(task.workspace, name), name)
    if not _is_known(task, name, ledger):
        return None
    removing = removing_load(
        task.loads[destination], destination=destination, policy=task.policy, task=task, context=context
    )
    check_destinations(policy_in_force(task.policy), [removing.use], sends=False)
    settings = SyncSettings(
        guards=Guards(max_removed_ratio=task.max_removed_ratio),
        absent=absent_cause(task.absent),
        min_found_ratio=task.min_found_ratio,
        accept_silence=tuple(task.accept_silence),
        accept_no_removal=removing.accept_no_removal,
        moved_from=removing.moved_from,
        shares_target_with=removing.shares_target_with,
        settle_s=task.settle_s,
        confirm_interval_s=task.confirm_interval_s,
        confirm_timeout_s=task.confirm_timeout_s,
    )
    return WithdrawalService(name, destination, removing, settings)


def withdrawal_sync(
    task: PropagateWithdrawalsOperator,
    service: WithdrawalService,
    lease: Lease,
    folder: SyncFolder,
    context: Context,
    *,
    make_sync: Callable[[SyncContext], S],
) -> tuple[S, ModelAsker]:
    """Return the sync under its lease, and what asks the model's source for consent.

    Raises:
        PermanentError: the source or the destination is not the one that the sync delivered from or to.
    """
    newest = lease.newest().source
    asker = _asker(task, service.destination, newest, answers=service.removing.answers).since(lease.required())
    _check_source(task, asker.source, newest, service.sync, context)
    sync_context = SyncContext(
        lease=lease,
        store=delivered_store(lease, folder, asker, model=task.model, primary_key=task.primary_key, log=task.log),
        build=service.removing.build_destination,
        settings=service.settings,
        log=task.log,
        key=partial(subject_key, task.workspace),
        policy_digest=asker.policy_digest,
        dag=dag_of(context),
    )
    return make_sync(sync_context), asker


def _is_known(task: PropagateWithdrawalsOperator, name: SyncName, ledger: Ledger) -> bool:
    """Return whether the ledger knows the sync.

    Raises:
        ConfigurationError: it does not, and the DAG does not accept that.
    """
    known = [one.sync for one in ledger.syncs()]
    if name in known:
        return True
    near = suggestion(name, known)
    if near or not task.allow_unknown:
        remedy = "" if near else "; if nothing was loaded yet, set allow_unknown=True until the first load"
        raise ConfigurationError(
            f"sync `{name}` is not among the {len(known):,} syncs of the ledger{near}: `model`, the destination's "
            f"name, `workspace` and `ledger_conn_id` must be those of the loads{remedy}"
        )
    task.log.warning("the ledger does not know sync `%s`: no one was delivered yet", name)
    return False


def _check_policy(task: PropagateWithdrawalsOperator, destination: str) -> None:
    """Check the policy, the mapping and the destination as a load checks them.

    Raises:
        PolicyError: policy and mapping do not fit.
        ConfigurationError: the policy requires no consent for the destination and does not say why, or `accept_silence`
            names a category that is not opt_out.
    """
    check_accepted(policy_in_force(task.policy).policy, task.accept_silence)
    asker = _asker(task, destination, None)
    asker.check()
    if asker.is_unmapped(destination):
        raise ConfigurationError(
            f"the policy requires no consent for `{destination}`, so no one would be removed for having withdrawn "
            'it: map an enabled category to it, or say "not_required" with a reason in its `destinations` section'
        )


def _check_source(
    task: PropagateWithdrawalsOperator, source: ModelSource, newest: SourceRecord | None, sync: str, context: Context
) -> None:
    """Refuse to ask under another time zone than the extraction's, or data older than the delivered ones."""
    check_time_zone(newest, source.session_time_zone, sync=sync, accepted=None)
    is_dated = task.sql_is_dated or task.consent_sources_are_dated
    declared = DeclaredTime.parse(date_of_run(context) if task.as_of is None and is_dated else task.as_of)
    if declared.column is not None:
        raise ConfigurationError("as_of: expected a time, such as `{{ data_interval_end }}`: rows are not looked at")
    if newest is not None and declared.time is not None and declared.time < newest.as_of:
        raise RefusedError(
            f"sync `{sync}` delivered data of {newest.as_of:%F %T %Z}, and these answers are of "
            f"{declared.time:%F %T %Z}: ask for the present consent"
        )


def _asker(
    task: PropagateWithdrawalsOperator, destination: str, newest: SourceRecord | None, *, answers: tuple[str, ...] = ()
) -> ModelAsker:
    loaded = policy_in_force(task.policy)
    known = newest if newest is not None and newest.conn_id == task.conn_id else None
    hook_params = known.hook_params if known is not None and task.hook_params is None else task.hook_params
    sources = sources_of_extraction(
        model=task.model,
        conn_id=task.conn_id,
        primary_key=task.primary_key,
        queries=(task.sql,),
        hook_params=hook_params,
        declared=with_identities(task.consent_sources, task.identities),
        loaded=loaded,
    )
    source = model_source(
        conn_id=task.conn_id,
        sql=task.sql,
        hook_params=hook_params,
        session_time_zone=task.session_time_zone or (None if known is None else known.time_zone),
        column_types=task.column_types,
        consent_sources=sources,
    )
    use = use_of_source(task.model, source, primary_key=task.primary_key)
    mapping = mapping_in_force(loaded, use, task.consent)
    return ModelAsker(
        source,
        primary_key=task.primary_key,
        columns=mapping.columns,
        mapping=mapping,
        read_policy=lambda: policy_in_force(task.policy).policy,
        hook_of=hooks_of(source),
        destinations=[destination],
        log=task.log,
        withdrawn_at=task.withdrawn_at,
        read_forgotten=lambda: forgotten_people(task.workspace, task.model),
        read_sizes=lambda: source_sizes(
            task.workspace, task.model, delivered=() if newest is None else newest.sizes, warn=task.log.warning
        ),
        answers=answers,
    )
