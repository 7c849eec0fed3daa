"""The report of what each DAG of a deployment uses of the policy, and what it changes: for the privacy officer.

It parses the DAG files, as Airflow does, and runs no task. What a template or an output decides is not known yet.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.compat import dag_bag
from airflow_consent_retl.errors import PermanentError
from airflow_consent_retl.hooks.central_policy import central_policy, described, source_in_force
from airflow_consent_retl.hooks.policies import read_policy
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.operators.import_errors import import_failures
from airflow_consent_retl.operators.parsed_tasks import (
    check_against,
    declared_sources,
    is_known,
    kind_of,
    known_parameters,
)

if TYPE_CHECKING:
    from airflow_consent_retl.hooks.policies import LoadedPolicy

# The parameters that decide who is sent, who is removed and how, how old an answer may be, or where it is recorded.
WATCHED = (
    "absent",
    "accept_no_removal",
    "accept_silence",
    "accept_source",
    "accept_time_zone",
    "allow_closing",
    "allow_older",
    "allow_unknown",
    "as_of",
    "check_primary_key",
    "column_types",
    "current_consent_sql",
    "dry_run",
    "erase",
    "exempt",
    "fields_not_sent",
    "gone",
    "hook_params",
    "keep_versions",
    "keep_versions_days",
    "ledger_conn_id",
    "max_added_ratio",
    "max_age_s",
    "max_denied_ratio",
    "max_invalid_ratio",
    "max_rejected_ratio",
    "max_released_ratio",
    "max_removed_ratio",
    "min_found_ratio",
    "mode",
    "models",
    "moved_from",
    "on_duplicate_id",
    "on_remove",
    "only_show",
    "own_codes",
    "recheck_interval_s",
    "removal_event",
    "removal_method",
    "reuse_unchanged",
    "session_time_zone",
    "settle_s",
    "shares_sync_with_dags",
    "shares_target_with",
    "unsigned",
    "workspace",
    "write",
)
USED = ("model", "conn_id", "destination", "destinations", "loads", "on_withdrawal")


@dataclass(frozen=True, slots=True)
class TaskUse:
    """One task of one DAG.

    Args:
        dag: the DAG's id.
        task: the task's id.
        operator: the operator's name.
        policy: where its policy is read.
        uses: its model, connection and destinations, as far as they are known.
        overrides: a sentence for each thing that it adds to the policy or changes of a default.
        refused: the sentence with which the policy refuses it; None: it does not.
    """

    dag: str
    task: str
    operator: str
    policy: str
    uses: tuple[str, ...]
    overrides: tuple[str, ...]
    refused: str | None


@dataclass(frozen=True, slots=True)
class DeploymentUse:
    """All tasks of this package in a deployment, and the files that Airflow could not parse, each with its error."""

    tasks: tuple[TaskUse, ...]
    not_parsed: tuple[tuple[str, str], ...]


def overrides(dags_folder: str | None = None) -> DeploymentUse:
    """Parse the DAG files, and return what each task of this package uses and overrides.

    Args:
        dags_folder: a folder or a file; None: Airflow's DAGs folder.

    Raises:
        ConfigurationError, PolicyError: the deployment's policy cannot be read.
    """
    bag = dag_bag(dags_folder)
    # A DAG that the cluster policy refuses is among the errors.
    errors = [(one.file, one.message) for one in import_failures(bag)]
    return DeploymentUse(tuple(uses_of(bag.dags.values())), tuple(errors))


def uses_of(dags: Iterable[Any]) -> list[TaskUse]:
    """Return what each task of this package uses and overrides, by DAG and task."""
    loaded = None if central_policy() is None else read_policy(source_in_force(None))
    found = [_use(task, loaded) for dag in dags for task in dag.tasks if issubclass(kind_of(task), ConsentRetlOperator)]
    return sorted(found, key=lambda use: (use.dag, use.task))


def _use(task: Any, loaded: LoadedPolicy | None) -> TaskUse:
    parameters = known_parameters(task)
    declared = parameters.get("policy", getattr(task, "policy", None))
    central = central_policy()
    refused = None
    try:
        source_in_force(declared) if declared is not None else None
        if loaded is not None:
            check_against(loaded, task, parameters)
    except PermanentError as error:
        refused = str(error)
    return TaskUse(
        dag=task.dag_id,
        task=task.task_id,
        operator=kind_of(task).__name__,
        policy=described(declared) if declared is not None else f"`{central}`" if central else "of its filter",
        uses=tuple(_uses(parameters)),
        overrides=tuple(_overrides(kind_of(task), parameters, declared, loaded)),
        refused=refused,
    )


def _uses(parameters: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} {', '.join(f'`{one}`' for one in ([value] if isinstance(value, str) else value))}"
        for name in USED
        if (value := parameters.get(name))
    ]


def _overrides(kind: type, parameters: Mapping[str, Any], declared: Any, loaded: LoadedPolicy | None) -> list[str]:
    found = []
    if declared is not None and declared != central_policy():
        found.append(f"policy: {described(declared)}")
    consent = parameters.get("consent")
    if consent is not None:
        categories = (
            ", ".join(f"`{one}`" for one in consent) if isinstance(consent, Mapping) else type(consent).__name__
        )
        found.append(f"consent: a mapping of its own for {categories}")
    found += [
        f"consent_sources: {type(source).__name__} on `{getattr(source, 'conn_id', None) or 'the model'}`"
        for source in declared_sources(parameters)
    ]
    named = () if loaded is None else loaded.policy.destinations
    for name in parameters.get("destinations") or ():
        if loaded is not None and name not in named and name.partition(":")[0] not in named:
            found.append(f"destinations: `{name}` is not in the policy")
    found += _differing(kind, parameters)
    for name, load in sorted((parameters.get("loads") or {}).items()):
        if isinstance(load, partial) and isinstance(load.func, type):
            known = {key: value for key, value in load.keywords.items() if is_known(value)}
            found += [f"loads of `{name}`: {one}" for one in _differing(load.func, known)]
    return found


def _differing(kind: type, parameters: Mapping[str, Any]) -> list[str]:
    return [
        f"{name}={_shown(parameters[name])} (default {_shown(default)})"
        for name, default in sorted(_defaults(kind).items())
        if name in parameters and parameters[name] != default
    ]


def _defaults(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in reversed([one for one in kind.__mro__ if issubclass(one, ConsentRetlOperator)]):
        for name, parameter in inspect.signature(one).parameters.items():
            if name in WATCHED:
                found[name] = parameter.default
    return found


def _shown(value: Any) -> str:
    # A query is not shown: it may contain a value.
    return f"text of {len(value)} characters" if isinstance(value, str) and " " in value else repr(value)
