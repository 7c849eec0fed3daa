"""The check of DAG files before their first run: DAGs, policy, models, connections and targets, all problems at once.

It reads columns and no row, and sends nothing. Nothing that it writes stays: it tries to write where a run would. Every
rule is the one that the operators apply.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.checking.destinations_asked import check_consent, check_load, uses_of_names
from airflow_consent_retl.checking.findings import CheckFinding, CheckReport, TaskFindings
from airflow_consent_retl.checking.models import CheckedModel, check_model_of
from airflow_consent_retl.checking.policies_read import PoliciesRead
from airflow_consent_retl.checking.rendering import rendered
from airflow_consent_retl.checking.writing import WrittenPlaces
from airflow_consent_retl.compat import dag_bag
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.operators.bindings import check_destinations
from airflow_consent_retl.operators.consent import ConsentFilterOperator
from airflow_consent_retl.operators.extract import ExtractModelOperator
from airflow_consent_retl.operators.import_errors import import_failures
from airflow_consent_retl.operators.load import LoadOperator
from airflow_consent_retl.operators.mapped_instances import UnknownInstancesError, instances_of
from airflow_consent_retl.operators.operator_settings import settings_of
from airflow_consent_retl.operators.parsed_tasks import (
    check_against,
    kind_of,
    known_parameters,
    mapped_parameters,
    options_noted,
)
from airflow_consent_retl.operators.removing_load import removing_load
from airflow_consent_retl.operators.spec_load import SpecLoadOperator, known_options, parameters_of
from airflow_consent_retl.operators.withdraw import PropagateWithdrawalsOperator

if TYPE_CHECKING:
    from airflow_consent_retl.hooks.policies import LoadedPolicy


def check_dags(paths: Iterable[str] = (), *, policy_file: str | None = None, connects: bool = True) -> CheckReport:
    """Parse DAG files, and return everything in them that a first run would refuse.

    Args:
        paths: folders and files of DAGs; none: Airflow's DAGs folder.
        policy_file: a policy that is read in place of the deployment's.
        connects: ask databases for columns, and destinations for their targets; False: only what needs no connection.

    Raises:
        ConfigurationError: a path does not exist.
    """
    places = [*paths]
    for place in places:
        if not Path(place).exists():
            raise ConfigurationError(f"there is no file or folder `{place}`")
    findings: list[CheckFinding] = []
    dags: dict[str, Any] = {}
    with options_noted():
        bags = [dag_bag(place) for place in places] or [dag_bag(None)]
    for bag in bags:
        findings += [CheckFinding("problem", one.file, "", one.place, one.message) for one in import_failures(bag)]
        dags.update(bag.dags)
    policies, places_tried, tasks = PoliciesRead(policy_file), WrittenPlaces() if connects else None, 0
    for _, dag in sorted(dags.items()):
        checked = check_dag(dag, policies, places_tried)
        tasks += len(checked)
        findings += [one for task in checked for one in task.found]
    return CheckReport(len(dags), tasks, tuple(findings))


def check_dag(dag: Any, policies: PoliciesRead, places: WrittenPlaces | None) -> list[TaskFindings]:
    """Return the findings about each task of this package in a DAG, in the order in which they would run.

    Args:
        dag: parsed.
        policies: the policies that its tasks read.
        places: that were tried for other DAGs; None: nothing is connected to, and nothing is tried.
    """
    check = _DagCheck(policies, places)
    ours = [task for task in dag.topological_sort() if issubclass(kind_of(task), ConsentRetlOperator)]
    return [check.task(task) for task in ours]


@dataclass(slots=True)
class _DagCheck:
    """The check of one DAG, with what is known of the tasks before."""

    policies: PoliciesRead
    places: WrittenPlaces | None
    models: dict[str, CheckedModel] = field(default_factory=dict)
    # By filter: what it reads, its policy, and the destinations that it decides for.
    filters: dict[str, tuple[CheckedModel | None, LoadedPolicy | None, list[str]]] = field(default_factory=dict)

    @property
    def connects(self) -> bool:
        """True if databases are asked for columns, and destinations for their targets."""
        return self.places is not None

    def task(self, task: Any) -> TaskFindings:
        """Check one task."""
        findings = TaskFindings(task.dag_id, task.task_id)
        if hasattr(task, "partial_kwargs"):
            self._mapped(task, findings)
            return findings
        found = rendered(task, findings)
        for problem in found.wrong_options():
            findings.note("problem", problem.path, problem.message)
        if self.places is not None:
            self.places.try_for(found, findings)
        if isinstance(found, ExtractModelOperator):
            queries = [found.sql, found.current_consent_sql]
            self.models[task.task_id] = check_model_of(
                found, self.policies, findings, queries=queries, connects=self.connects
            )
        elif isinstance(found, ConsentFilterOperator):
            self._filter(found, findings)
        elif isinstance(found, LoadOperator):
            self._load(found, findings)
        elif isinstance(found, PropagateWithdrawalsOperator):
            self._fast_lane(found, findings)
        return findings

    def _mapped(self, task: Any, findings: TaskFindings) -> None:
        """Check what is known of a mapped task."""
        findings.note("unchecked", "expand", "a mapped task has its parameters only in a run")
        parameters = known_parameters(task)
        with findings.at("policy"):
            loaded = self.policies.of(parameters.get("policy"))
            check_against(loaded, task, parameters)
        kind, problems = kind_of(task), []
        if (settings := settings_of(kind)) is not None:
            problems += settings.wrong_known(parameters)
        if issubclass(kind, SpecLoadOperator):
            spec_class = kind.spec_class
            expanded = mapped_parameters(task)
            without = parameters_of(spec_class) if expanded is None else expanded
            problems += spec_class.wrong_options(known_options(spec_class, parameters, without=without))
        for problem in problems:
            findings.note("problem", problem.path, problem.message)
        if not problems:
            # The values of each instance, where the DAG has them.
            with findings.at("expand"), suppress(UnknownInstancesError):
                instances_of(task)

    def _policy(self, declared: Any, findings: TaskFindings) -> LoadedPolicy | None:
        with findings.at("policy"):
            return self.policies.of(declared)
        return None

    def _filter(self, task: Any, findings: TaskFindings) -> None:
        loaded = self._policy(task.policy, findings)
        model = self.models.get(_task_before(task.snapshot))
        destinations = list(task.destinations)
        self.filters[task.task_id] = (model, loaded, destinations)
        if loaded is None:
            return
        if model is None:
            findings.note("unchecked", "snapshot", "the extraction is not in this DAG: its columns are not known")
            return
        check_consent(task, loaded, model, destinations, findings)
        with findings.at("destinations"):
            check_destinations(loaded, uses_of_names(destinations))

    def _load(self, task: Any, findings: TaskFindings) -> None:
        model, loaded, destinations = self.filters.get(_task_before(task.permitted), (None, None, None))
        if destinations is None:
            findings.note("unchecked", "permitted", "the filter is not in this DAG: its columns are not known")
            loaded = self._policy(task.policy, findings) if task.policy is not None else None
        check_load(task, loaded, model, destinations, findings, connects=self.connects)

    def _fast_lane(self, task: Any, findings: TaskFindings) -> None:
        loaded = self._policy(task.policy, findings)
        model = check_model_of(task, self.policies, findings, queries=[task.sql], connects=self.connects)
        if loaded is None:
            return
        check_consent(task, loaded, model, list(task.loads), findings)
        wrong = tuple(one.path for one in task.wrong_options())
        for name, load in task.loads.items():
            if any(path.startswith(f"loads[{name!r}]") for path in wrong):
                continue
            with findings.at(f"loads[{name!r}]"):
                removing = removing_load(load, destination=name, policy=task.policy, task=task, context={})
                if self.connects:
                    check_destinations(loaded, [removing.use], sends=False)
                    removing.build_destination()


def _task_before(output: Any) -> str:
    """Return the id of the task whose output a parameter is; empty where the DAG does not show it."""
    operator = getattr(output, "operator", None)
    return "" if operator is None else str(operator.task_id)
