"""The check of an extraction that the model has every column which the loads of the same DAG map.

A load would find out itself, two tasks later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import XComArg

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.parsed_tasks import kind_of, known_parameters

if TYPE_CHECKING:
    from airflow_consent_retl.operators.extract import ExtractModelOperator


def check_mapped_columns(extraction: ExtractModelOperator, documents: str | None, columns: Sequence[str]) -> None:
    """Check the fields of each load of the extraction's rows, as far as they are known when the DAG is parsed.

    Args:
        extraction: of the model.
        documents: the workspace of its documents.
        columns: the names of the model's columns.

    Raises:
        ConfigurationError: a load that never delivered maps an unknown column. Of other loads it only warns: before
            they fail, they remove the people who withdrew.
    """
    from airflow_consent_retl.filtering.permitted import checked_fields

    problems = []
    for load, parameters in _loads_of(extraction):
        try:
            checked_fields(parameters.get("fields"), columns)
        except ConfigurationError as error:
            problem = f"task `{load.task_id}`: {error}"
            if _may_have_delivered(extraction.model, parameters, documents):
                extraction.log.warning("%s. It will remove the people who withdrew, and fail then", problem)
            else:
                problems.append(problem)
    if problems:
        raise ConfigurationError("; ".join(problems))


def _loads_of(extraction: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    from airflow_consent_retl.operators.load import LoadOperator

    for task in extraction.dag.tasks if extraction.has_dag() else ():
        if issubclass(kind_of(task), LoadOperator):
            consent = _upstream(task, "permitted")
            source = None if consent is None else _upstream(consent, "snapshot")
            if source is not None and source.task_id == extraction.task_id:
                yield task, known_parameters(task)


def _upstream(task: Any, name: str) -> Any:
    """Return the task whose output is a parameter of a task, mapped or not."""
    value = getattr(task, name, None) or getattr(task, "partial_kwargs", {}).get(name)
    return getattr(value, "operator", None) if isinstance(value, XComArg) else None


def _may_have_delivered(model: str, parameters: dict[str, Any], documents: str | None) -> bool:
    from airflow_consent_retl.delivery.ledger.records import sync_name
    from airflow_consent_retl.storage.location import sync_folder

    destination = parameters.get("destination")
    if not isinstance(destination, str) or "/" in destination:
        # A template, or a name that the filter refuses.
        return True
    return bool(sync_folder(parameters.get("workspace") or documents, sync_name(model, destination)).names())
