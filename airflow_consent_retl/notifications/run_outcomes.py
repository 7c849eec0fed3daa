"""The outcomes that a callback is about: of the task that just ended, or of all tasks of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ConsentRetlError
from airflow_consent_retl.signals.outcome import (
    outcome_of_load,
    outcome_of_withdrawals,
    outcomes_of_manifest,
)

if TYPE_CHECKING:
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.signals.outcome import SyncOutcome


def is_about_a_run(context: Mapping[str, Any]) -> bool:
    """Return whether Airflow calls for a whole run: the context of a task has no `reason`."""
    return "reason" in context


def outcomes_of(context: Mapping[str, Any], log: TaskLog) -> list[SyncOutcome]:
    """Return what the task did for each sync; for a whole run, what its tasks did that returned.

    Args:
        context: of the callback.
        log: of the notifier.
    """
    if not is_about_a_run(context):
        return list(getattr(context["ti"].task, "outcomes", ()))
    ti = context.get("ti")
    if ti is None:
        return []
    return [
        outcome
        for task_id in context["dag"].task_ids
        # A list of one task returns the values of all its mapped instances.
        for value in ti.xcom_pull(task_ids=[task_id]) or ()
        for outcome in _outcomes(value, log)
    ]


def _outcomes(returned: Any, log: TaskLog) -> Iterator[SyncOutcome]:
    """Yield the outcomes in the return value of a task; nothing for a task of another kind."""
    if not isinstance(returned, Mapping):
        return
    if returned.get("kind") == "permitted":
        from airflow_consent_retl.storage import open_permitted

        try:
            yield from outcomes_of_manifest(open_permitted(returned, is_proof=False).manifest)
        except ConsentRetlError as error:
            log.warning("the notice leaves out what the filter decided: %s", error)
    elif {"destination", "not_accepted_by_code", "data_time"} <= returned.keys():
        yield outcome_of_load(returned)
    else:
        for counts in returned.values():
            if isinstance(counts, Mapping) and {"lag_s", "delivered_before", "model"} <= counts.keys():
                yield outcome_of_withdrawals(counts)
