"""Whether asking a model's source again says anything about the present, and the checks in its place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import NewestDecision
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.hooks.central_policy import PolicySource
    from airflow_consent_retl.progress import TaskLog


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
