"""The checks, when a DAG is parsed, that one model goes to one destination once: one load, and one name in a list."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator, XComArg

from airflow_consent_retl.errors import ConfigurationError, PolicyError, Problem


def check_one_load(load: Any, kind: type[BaseOperator]) -> None:
    """Refuse a second load of the same model to the same destination in one DAG.

    The two would be one sync: with other fields or another target, each run would send everyone again, or fail.

    Args:
        load: a load with its parameters.
        kind: the class of all loads.

    Raises:
        ConfigurationError: there is one already.
    """
    model = model_of(load.permitted)
    if model is None or not load.has_dag():
        return
    for task in load.dag.tasks:
        if (
            task is not load
            and isinstance(task, kind)
            and getattr(task, "destination", None) == load.destination
            and model_of(getattr(task, "permitted", None)) == model
        ):
            raise ConfigurationError(
                f"tasks `{task.task_id}` and `{load.task_id}` of DAG `{load.dag.dag_id}` load the same model to "
                f"`{load.destination}`: they would be one sync. Give one of them a destination instance, such as "
                f"`{load.destination.partition(':')[0]}:second`, in the policy and the DAG"
            )


def check_once(destinations: object) -> None:
    """Refuse a list of destinations, as far as it is known already, that names one twice.

    Raises:
        PolicyError: it does.
    """
    if not isinstance(destinations, list | tuple):
        return
    twice = [
        Problem(f"destinations[{index}]", f"destination `{name}` is asked for twice")
        for index, name in enumerate(destinations)
        if name in destinations[:index]
    ]
    if twice:
        raise PolicyError(twice)


def model_of(permitted: object) -> object:
    """Return the model's name, or the task that names it; None where the DAG does not show it."""
    consent = getattr(permitted, "operator", None) if isinstance(permitted, XComArg) else None
    snapshot = getattr(consent, "snapshot", None)
    extraction = getattr(snapshot, "operator", None) if isinstance(snapshot, XComArg) else None
    return getattr(extraction, "model", None) or consent
