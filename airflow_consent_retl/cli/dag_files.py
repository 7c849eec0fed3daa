"""Input of verbs: tasks of a DAG file, and the outputs of tasks as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_consent_retl.operators.mapped_instances import TaskInstance

TaskT = TypeVar("TaskT", bound="BaseOperator")
_INSTANCE = re.compile(r"(?P<task>.+)\[(?P<index>\d+)\]")
Dags = Annotated[str, typer.Argument(metavar="FILE", help="A DAG file, or a folder of them.")]


def instances_in(
    file: str, task: str | None, kind: type[BaseOperator], noun: str, *, without: Iterable[str] = ()
) -> list[TaskInstance]:
    """Return the tasks of one kind in a DAG file; of a mapped task, each instance whose values the file has.

    Args:
        file, kind, noun: as for `tasks_of`.
        task: likewise; `load[2]` is one instance of a mapped task.
        without: parameters that are given otherwise.

    Raises:
        ConfigurationError: as `tasks_of`, there is no such instance, or only a run has the values of one.
    """
    from airflow_consent_retl.operators.mapped_instances import instances_of
    from airflow_consent_retl.operators.parsed_tasks import kind_of

    named = None if task is None else _INSTANCE.fullmatch(task)
    name = named["task"] if named else task
    tasks = _tasks_in(file, name, lambda one: issubclass(kind_of(one), kind), noun)
    found = [one for some in tasks for one in instances_of(some, without=without)]
    if named is None:
        return found
    chosen = [one for one in found if one.index == int(named["index"])]
    if not chosen:
        raise ConfigurationError(f"{file} has no {noun} named `{task}`; it has {names_of(found)}")
    return chosen


def tasks_of(file: str, task: str | None, kind: type[TaskT], noun: str) -> list[TaskT]:
    """Return the tasks of one kind in a DAG file, without mapped ones.

    Args:
        file: a DAG file, or a folder of them.
        task: the id of one, with or without its DAG and its groups; None: all of them.
        kind: the class of the tasks.
        noun: of the kind, for messages.

    Raises:
        ConfigurationError: there is no such file or task, or the file cannot be parsed.
    """
    return _tasks_in(file, task, lambda one: isinstance(one, kind), noun)


def _tasks_in(file: str, task: str | None, is_wanted: Callable[[Any], bool], noun: str) -> list[Any]:
    from airflow_consent_retl.compat import dag_bag
    from airflow_consent_retl.operators.import_errors import import_failures

    if not Path(file).exists():
        raise ConfigurationError(f"{file} does not exist: name a DAG file, or a folder of them")
    bag = dag_bag(file)
    for failed in import_failures(bag):
        place = f", {failed.place}," if failed.place else ""
        raise ConfigurationError(f"{failed.file}{place} cannot be parsed: {failed.message}")
    known = [one for dag in bag.dags.values() for one in dag.tasks if is_wanted(one)]
    if task is None:
        found = known
    else:
        found = [one for one in known if task in {one.task_id, one.task_id.rpartition(".")[2], _name(one)}]
    if not found:
        named = "" if task is None else f" named `{task}`"
        raise ConfigurationError(f"{file} has no {noun}{named}; it has {names_of(known) or 'none at all'}")
    return found


def names_of(tasks: Sequence[Any]) -> str:
    """Return the ids of tasks or of their instances, with their DAGs, for messages."""
    return ", ".join(map(_name, tasks))


def output_of(given: str, option: str) -> Any:
    """Return the output of a task, which an option gives as JSON or as a file with it.

    Raises:
        ConfigurationError: the file cannot be read, or it is no JSON.
    """
    is_file = not given.lstrip().startswith("{")
    try:
        text = Path(given).read_text() if is_file else given
    except OSError as error:
        raise ConfigurationError(f"{option}: {given} cannot be read: {error.strerror}") from None
    return json_of(text, option)


def json_of(text: str, option: str) -> Any:
    """Return a JSON document.

    Raises:
        ConfigurationError: it is no JSON.
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{option} is no JSON: {error}") from None


def _name(task: Any) -> str:
    operator, index = getattr(task, "operator", task), getattr(task, "index", -1)
    return f"{operator.dag_id}.{operator.task_id}{f'[{index}]' if index >= 0 else ''}"
