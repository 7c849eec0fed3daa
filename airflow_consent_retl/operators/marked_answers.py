"""The categories whose answers a filter marks in the rows: those that loads of its DAG share with a destination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import XComArg

from airflow_consent_retl.consent.shared_answers import marked_problems
from airflow_consent_retl.errors import PolicyError
from airflow_consent_retl.fields.field_values import answers_in
from airflow_consent_retl.operators.parsed_tasks import is_known, kind_of, known_parameters

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPolicy
    from airflow_consent_retl.operators.consent import ConsentFilterOperator


def marked_answers(consent: ConsentFilterOperator, policy: ConsentPolicy) -> dict[str, tuple[str, ...]]:
    """Return the categories whose answers are marked, by destination.

    Args:
        consent: the filter, with its own `answers` rendered.
        policy: in force.

    Raises:
        PolicyError: a destination neither requires a category nor has a field that it guards.
    """
    found = _shared(consent)
    if problems := marked_problems(policy, found):
        raise PolicyError(problems)
    return found


def _shared(consent: Any) -> dict[str, tuple[str, ...]]:
    from airflow_consent_retl.operators.load import LoadOperator

    found: dict[str, set[str]] = {name: set(categories) for name, categories in consent.answers.items()}
    for task in consent.dag.tasks if consent.has_dag() else ():
        if not issubclass(kind_of(task), LoadOperator):
            continue
        permitted = getattr(task, "permitted", None) or getattr(task, "partial_kwargs", {}).get("permitted")
        source = permitted.operator if isinstance(permitted, XComArg) and hasattr(permitted, "operator") else None
        if source is None or source.task_id != consent.task_id:
            continue
        parameters = known_parameters(task)
        fields, destination = _known_fields(task), parameters.get("destination")
        if isinstance(destination, str):
            found.setdefault(destination, set()).update(answer.category for _, answer in answers_in(fields))
    return {name: tuple(sorted(categories)) for name, categories in sorted(found.items()) if categories}


def _known_fields(task: object) -> dict[str, str]:
    """Return the fields whose values have no template; of a mapped task, those that are not mapped."""
    given = getattr(task, "fields", None) or getattr(task, "partial_kwargs", {}).get("fields")
    if not isinstance(given, Mapping):
        return {}
    return {name: source for name, source in given.items() if isinstance(source, str) and is_known(source)}
