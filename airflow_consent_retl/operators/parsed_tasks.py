"""What is known of a task when its DAG is parsed, held against the deployment's policy. Reads at most a local file.

Templates, outputs of other tasks and mapped parameters are not known yet: the operators check them when they run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import OptionsError, Problem
from airflow_consent_retl.hooks.central_policy import binds, central_policy, source_in_force

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy
    from airflow_consent_retl.consent.binding import ModelUse
    from airflow_consent_retl.hooks.policies import LoadedPolicy

_TEMPLATE = ("{{", "{%")
_NOTED: ContextVar[bool] = ContextVar("consent_retl_options_noted", default=False)


def check_task(task: Any) -> None:
    """Check a task of this package, mapped or not, against the deployment's policy.

    Raises:
        ConfigurationError: it names another policy.
        PolicyError: it differs from what the policy declares. Only a policy in a local file is read.
    """
    if not binds():
        return
    parameters = known_parameters(task)
    # A template is no place: it could lead anywhere.
    policy = parameters.get("policy", getattr(task, "policy", None))
    if not _is_mapped(task, "policy"):
        source_in_force(policy)
    loaded = _local_policy()
    if loaded is not None:
        check_against(loaded, task, parameters)


@contextmanager
def options_noted() -> Iterator[None]:
    """Keep tasks with wrong options while a DAG file is parsed in the block, for the check that reports all of them."""
    token = _NOTED.set(True)
    try:
        yield
    finally:
        _NOTED.reset(token)


def refuse(wrong: Sequence[Problem]) -> None:
    """Refuse a task with wrong options while its DAG file is parsed.

    Raises:
        OptionsError: the message names every error.
    """
    if wrong and not _NOTED.get():
        raise OptionsError(wrong)


def known_parameters(task: Any) -> dict[str, Any]:
    """Return the parameters of a task, mapped or not, whose values are known when the DAG is parsed."""
    if hasattr(task, "partial_kwargs"):
        given = {name: value for name, value in task.partial_kwargs.items() if not _is_mapped(task, name)}
    else:
        attributes = {name: value for name, value in vars(task).items() if not name.startswith("_")}
        given = {**getattr(task, "own_parameters", {}), **attributes}
    return {name: value for name, value in given.items() if is_known(value)}


def is_known(value: Any) -> bool:
    """Return whether a parameter has its value already: it is no template and no other task's output."""
    if isinstance(value, str):
        return not any(mark in value for mark in _TEMPLATE)
    if isinstance(value, Mapping):
        return all(map(is_known, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_known, value))
    return not is_resolved_later(value)


def is_resolved_later(value: Any) -> bool:
    """Return whether a value is another task's output, or an argument of a mapped task group."""
    return hasattr(value, "iter_references") and hasattr(value, "resolve")


def use_of_model(parameters: Mapping[str, Any]) -> ModelUse | None:
    """Return what an extraction or the fast lane reads, as far as it is known; None: its name or place is not."""
    from airflow_consent_retl.consent.binding import ModelUse

    model, connection = parameters.get("model"), parameters.get("conn_id")
    if not isinstance(model, str) or not isinstance(connection, str):
        return None
    queries = [parameters.get(name) for name in ("sql", "current_consent_sql")]
    return ModelUse(
        model=model,
        connection=connection,
        primary_key=parameters.get("primary_key"),
        # A file's name is no query.
        queries=tuple(query for query in queries if query and not query.endswith(".sql")),
        hook_params=parameters.get("hook_params") or {},
        sources=declared_sources(parameters),
    )


def declared_sources(parameters: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the consent sources and the identities that a task declares."""
    identities = parameters.get("identities")
    return (*(parameters.get("consent_sources") or ()), *([] if identities is None else [identities]))


def check_against(loaded: LoadedPolicy, task: Any, parameters: Mapping[str, Any]) -> None:
    """Check what is known of a task's model, consent, destinations and fields against a policy.

    Args:
        loaded: the policy.
        task: the task, mapped or not.
        parameters: from `known_parameters`.

    Raises:
        PolicyError: something differs from what the policy declares.
    """
    from airflow_consent_retl.consent.destination_binding import DestinationUse
    from airflow_consent_retl.operators.bindings import check_destinations, check_model
    from airflow_consent_retl.operators.load import LoadOperator

    kind = kind_of(task)
    extraction = extraction_of(task)
    use = use_of_model(parameters if extraction is None else known_parameters(extraction))
    if use is not None:
        check_model(loaded, use, parameters.get("consent"))
    if issubclass(kind, LoadOperator):
        check_destinations(loaded, _load_uses(parameters.get("destination"), kind, parameters))
    elif isinstance(loads := parameters.get("loads"), Mapping):
        for name, load in loads.items():
            if isinstance(load, partial) and isinstance(load.func, type):
                given = {key: value for key, value in load.keywords.items() if is_known(value)}
                check_destinations(loaded, _load_uses(name, load.func, given, unknown=load.keywords), sends=False)
    elif isinstance(names := parameters.get("destinations"), list | tuple):
        check_destinations(loaded, [DestinationUse(name=name) for name in names])


def _load_uses(
    name: Any, kind: type, parameters: Mapping[str, Any], unknown: Mapping[str, Any] | None = None
) -> list[Any]:
    from airflow_consent_retl.operators.bindings import placing_parameters, use_of_parameters

    if not isinstance(name, str):
        return []
    every = placing_parameters(kind) if unknown is None else unknown
    return [
        use_of_parameters(
            name,
            kind,
            parameters,
            fields=parameters.get("fields"),
            unknown=frozenset(every) - parameters.keys(),
        )
    ]


def extraction_of(task: Any) -> Any:
    """Return the extraction whose output a filter takes; None where the DAG does not show it."""
    from airflow.sdk import XComArg

    from airflow_consent_retl.operators.extract import ExtractModelOperator

    snapshot = getattr(task, "snapshot", None) or getattr(task, "partial_kwargs", {}).get("snapshot")
    operator = getattr(snapshot, "operator", None) if isinstance(snapshot, XComArg) else None
    return operator if operator is not None and issubclass(kind_of(operator), ExtractModelOperator) else None


def kind_of(task: Any) -> type:
    """Return the operator's class of a task, mapped or not."""
    kind: type = getattr(task, "operator_class", None) or type(task)
    return kind


def mapped_parameters(task: Any) -> list[str] | None:
    """Return the parameters over which a task is expanded; None: any of them, since a run has the dictionaries."""
    expanded = getattr(getattr(task, "expand_input", None), "value", None)
    return [*expanded] if isinstance(expanded, Mapping) else None


def _is_mapped(task: Any, name: str) -> bool:
    """Return whether a parameter gets a value for each mapped task, or may get one."""
    expanded = getattr(getattr(task, "expand_input", None), "value", None)
    if expanded is None:
        return False
    return not isinstance(expanded, Mapping) or name in expanded


def _local_policy() -> LoadedPolicy | None:
    """Return the deployment's policy if it is a local file that can be read; otherwise the operators read it."""
    from airflow_consent_retl.errors import PermanentError
    from airflow_consent_retl.hooks.approving import approval_required
    from airflow_consent_retl.hooks.policies import LoadedPolicy

    place = central_policy()
    # A policy that waits for its approval is not in force.
    if place is None or not place.startswith("file:") or approval_required():
        return None
    try:
        path = _local_path(place)
        if path is None:
            return None
        stat = path.stat()
        return LoadedPolicy(_parsed(place, stat.st_mtime_ns, stat.st_size), place)
    except (OSError, ValueError, PermanentError):
        # Each task reports it, with every problem.
        return None


def _local_path(place: str) -> Path | None:
    from airflow_consent_retl.storage.local_path import local_path

    name = place if place.startswith("file://") else place.removeprefix("file:")
    found = local_path(name) if "://" in name else name
    return None if found is None else Path(found)


@lru_cache(maxsize=4)
def _parsed(place: str, changed_at: int, size: int) -> ConsentPolicy:
    """Return the policy of a file; its time and size are part of the cache's key."""
    from airflow_consent_retl.hooks.policies import read_policy

    return read_policy(place).policy
