"""Whether asking a model's source again says anything about the present, and the checks in its place."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import NewestDecision
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.hooks.central_policy import PolicySource
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.manifest import PermittedManifest


def asker_of(
    manifest: PermittedManifest,
    *,
    destination: str,
    policy: PolicySource | None,
    workspace: str | None,
    log: TaskLog,
) -> ModelAsker:
    """Return the asker of a permitted set's source.

    Args:
        manifest: of the permitted set.
        destination: to decide for.
        policy: from where the policy is read again; None: the filter's source.
        workspace: of the load; None: the filter's.
        log: the task's.

    Raises:
        PolicyError: the policy cannot be read.
    """
    from airflow_consent_retl.consent import parse_mapping_document
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.hooks.forgotten_list import forgotten_people
    from airflow_consent_retl.hooks.policies import policy_in_force
    from airflow_consent_retl.hooks.sql import hooks_of
    from airflow_consent_retl.operators.permitted_rows import policy_source
    from airflow_consent_retl.storage.location import source_sizes

    source = policy_source(manifest, policy)
    present = policy_in_force(source).policy.digest
    if present != manifest.policy_digest:
        log.warning(
            "the policy changed since the filter decided (now %s): people that it now denies are not sent; people "
            "that it newly permits are sent after the next filter",
            present,
        )
    return ModelAsker(
        manifest.source,
        primary_key=manifest.primary_key,
        columns=[column.name for column in manifest.columns],
        mapping=parse_mapping_document(manifest.consent),
        read_policy=lambda: policy_in_force(source).policy,
        hook_of=hooks_of(manifest.source),
        destinations=[destination],
        log=log,
        read_forgotten=partial(forgotten_people, workspace or manifest.workspace, manifest.model),
        # The extraction's, wherever the load keeps its own state.
        read_sizes=partial(source_sizes, manifest.workspace, manifest.model, warn=log.warning),
        answers=manifest.destinations[destination].answers,
    )


def present_asker(
    asker: ModelAsker | None,
    permitted: PermittedRows,
    newest: NewestDecision,
    *,
    policy: PolicySource | None,
    max_age_s: float,
    allow_older: bool,
    log: TaskLog,
) -> ModelAsker | None:
    """Return the asker; None, after the checks in its place, where the SQL is bound to a date.

    Args:
        asker: asks the model's source; None: consent is not asked again.
        permitted: the verified rows.
        newest: the newest decision that the sync delivered.
        policy: from where the policy is read again; None: the filter's source.
        max_age_s: seconds after which decision and data are too old.
        allow_older: whether data older than those delivered are allowed.
        log: the task's.

    Raises:
        OvertakenError: a newer run delivered while this one ran.
        RefusedError: the data or the decision are too old, or the policy changed.
    """
    from airflow_consent_retl.delivery.order import bound_to_a_date, check_order, is_edited
    from airflow_consent_retl.filtering.permitted import check_data_age, check_decision
    from airflow_consent_retl.hooks.policies import policy_in_force
    from airflow_consent_retl.operators.permitted_rows import policy_source

    if asker is None:
        return None
    manifest, destination, now = permitted.manifest, permitted.destination, datetime.now(UTC)
    # First: a run that a newer one overtook is skipped, however old its data are.
    check_order(newest, manifest, destination=destination, allow_older=allow_older)
    reason = bound_to_a_date(asker.source, newest.source, reads_model=asker.reads_model)
    if not reason:
        if is_edited(asker.source, newest.source):
            check_data_age(manifest, destination=destination, max_age_s=max_age_s, now=now)
        return asker
    log.warning(
        "consent is not asked again: %s. The data are of %s; give the extraction a current_consent_sql, or keep "
        "consent in a ConsentSource",
        reason,
        f"{manifest.data_time:%F %T %Z}",
    )
    present = policy_in_force(policy_source(manifest, policy)).policy.digest
    check_decision(manifest, destination=destination, policy_digest=present, max_age_s=max_age_s, now=now)
    return None
