"""The instances of a mapped task (`.expand`), as far as its DAG has their values; the rest has only a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.operators.parsed_tasks import kind_of


class UnknownInstancesError(ConfigurationError):
    """Only a run has the values of a mapped task."""


@dataclass(frozen=True, slots=True)
class TaskInstance:
    """One instance of a task.

    Args:
        operator: not mapped, with the values of this instance. Where it takes the output of another mapped task, its
            parameter is that task's instance.
        index: among the instances; -1: the task is not mapped.
    """

    operator: Any
    index: int = -1


def instances_of(task: Any, *, without: Iterable[str] = ()) -> list[TaskInstance]:
    """Return the instances of a task, in the order in which Airflow numbers them.

    Args:
        task: of a parsed DAG, mapped or not.
        without: parameters that are given later: the task is not expanded over them, and they are None.

    Raises:
        UnknownInstancesError: it is expanded over values that only a run has.
        OptionsError: an instance has wrong options.
    """
    group = next(iter(task.iter_mapped_task_groups()), None) if task.task_group is not None else None
    if group is not None:
        raise _unknown(task, f"it is in the mapped task group `{group.group_id}`")
    if not hasattr(task, "partial_kwargs"):
        return [TaskInstance(task)]
    values, given = task.expand_input.value, frozenset(without)
    found = _of_lists(task, values, given) if isinstance(values, Mapping) else _of_kwargs(task, values, given)
    return [TaskInstance(task.unmap(kwargs), index) for index, kwargs in enumerate(found)]


def _of_lists(task: Any, lists: Mapping[str, Any], given: frozenset[str]) -> list[dict[str, Any]]:
    """Return the parameters of each instance of `.expand(…)`: every combination, the last parameter changes first."""
    choices = [[None] if name in given else _choices(task, name, values) for name, values in lists.items()]
    return [dict(zip(lists, combination, strict=True)) for combination in product(*choices)]


def _of_kwargs(task: Any, dictionaries: Any, given: frozenset[str]) -> list[dict[str, Any]]:
    """Return the parameters of each instance of `.expand_kwargs(…)`."""
    if not isinstance(dictionaries, Sequence) or not all(isinstance(one, Mapping) for one in dictionaries):
        raise _unknown(task, _outputs(dictionaries))
    return [{name: None if name in given else value for name, value in one.items()} for one in dictionaries]


def _choices(task: Any, name: str, values: Any) -> list[Any]:
    """Return the values of one parameter over which a task is expanded."""
    if isinstance(values, Mapping):
        return list(values.items())
    if isinstance(values, Sequence):
        return list(values)
    before = getattr(values, "operator", None)
    # Only the whole output of a mapped task has one value for each of its instances.
    is_whole = before is not None and values == before.output and hasattr(before, "partial_kwargs")
    if not is_whole or not issubclass(kind_of(before), ConsentRetlOperator):
        raise _unknown(task, f"`{name}` is {_outputs(values)}")
    return [*instances_of(before)]


def _outputs(values: Any) -> str:
    tasks = ", ".join(sorted({f"`{operator.task_id}`" for operator, _ in values.iter_references()}))
    return f"the output of task {tasks}"


def _unknown(task: Any, why: str) -> UnknownInstancesError:
    return UnknownInstancesError(
        f"task `{task.task_id}` is mapped, and only a run has its values: {why}. Pass the output of a filter as JSON, "
        "with the other parameters in the DAG file, or set dry_run=True in a run"
    )
