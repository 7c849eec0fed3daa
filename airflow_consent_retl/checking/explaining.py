"""The explanation of a DAG's decisions about one person of a snapshot: by its filter's policy and destinations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow_consent_retl.operators import ConsentFilterOperator
    from airflow_consent_retl.reports import Explanation


def explain_by_filter(
    task: ConsentFilterOperator, subject: str, snapshot: object, *, destinations: Sequence[str] | None = None
) -> Explanation:
    """Explain the decisions of a filter about one person of a snapshot, under the present policy. Nothing is recorded.

    Args:
        task: the filter of a DAG.
        subject: the person's id, as text.
        snapshot: the output of the extraction before the filter.
        destinations: some of the filter's; None: all.

    Raises:
        ConfigurationError: the filter has no such destination, or the id is of another kind than the snapshot's.
        ModelError: the snapshot has no row of this id.
        PolicyError: the policy does not fit the DAG.
    """
    from airflow_consent_retl.consent import parse_consent_mapping
    from airflow_consent_retl.consent.binding import bound_mapping
    from airflow_consent_retl.hooks.central_policy import source_in_force
    from airflow_consent_retl.hooks.policies import read_policy
    from airflow_consent_retl.operators.bindings import use_of_snapshot
    from airflow_consent_retl.reports import explain
    from airflow_consent_retl.storage import open_snapshot

    for name in destinations or ():
        if name not in task.destinations:
            known = ", ".join(task.destinations)
            raise ConfigurationError(
                f"filter `{task.task_id}` has no destination `{name}`{suggestion(name, task.destinations)}; "
                f"it has {known}"
            )
    manifest = open_snapshot(snapshot).manifest
    source = source_in_force(task.policy)
    declared = None if task.consent is None else parse_consent_mapping(task.consent)
    consent = bound_mapping(read_policy(source).policy.officer, use_of_snapshot(manifest), declared)
    types = {column.name: column.type for column in manifest.columns}
    is_number = "int" in types[manifest.primary_key] and subject.removeprefix("-").isdecimal()
    return explain(
        int(subject) if is_number else subject,
        snapshot=snapshot,
        policy=source,
        consent=consent,
        destinations=list(destinations or task.destinations),
    )
