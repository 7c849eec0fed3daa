"""Tasks as a run would have them: a copy of a parsed task with its templates rendered for a run that starts now."""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.operators.parsed_tasks import is_known

if TYPE_CHECKING:
    from airflow_consent_retl.checking.findings import TaskFindings


def rendered(task: Any, findings: TaskFindings) -> Any:
    """Return a copy of a task with its templates rendered. What only a run knows stays, and is noted as unchecked.

    Args:
        task: a parsed task, not mapped.
        findings: about the task.
    """
    from jinja2 import TemplateError, TemplateNotFound

    found, context = copy(task), context_of_a_run(task)
    environment = found.get_template_env()
    for name in found.template_fields:
        value = getattr(found, name, None)
        if _is_of_another_task(value):
            continue
        try:
            setattr(found, name, found.render_template(value, context, environment))
        except TemplateNotFound as error:
            findings.note("problem", name, f"the template file `{error.name}` does not exist")
        except TemplateError as error:
            findings.note("unchecked", name, f"its template is known only in a run: {type(error).__name__}")
    return found


def context_of_a_run(task: Any) -> dict[str, Any]:
    """Return the names that templates have in a run that starts now, without those of a task instance."""
    from airflow.sdk.execution_time.context import ConnectionAccessor, MacrosAccessor, VariableAccessor

    now = datetime.now(UTC)
    start = now - timedelta(days=1)
    return {
        "conn": ConnectionAccessor(),
        "dag": task.dag,
        "data_interval_end": now,
        "data_interval_start": start,
        "ds": f"{now:%F}",
        "ds_nodash": f"{now:%Y%m%d}",
        "logical_date": now,
        "macros": MacrosAccessor(),
        "params": dict(task.dag.params),
        "run_id": f"check__{now.isoformat()}",
        "task": task,
        "ts": now.isoformat(),
        "ts_nodash": f"{now:%Y%m%dT%H%M%S}",
        "var": {"value": VariableAccessor(deserialize_json=False), "json": VariableAccessor(deserialize_json=True)},
    }


def _is_of_another_task(value: Any) -> bool:
    """Return whether a parameter is another task's output, or contains one: only a run has it."""
    return not isinstance(value, str) and not is_known(value) and not _has_only_templates(value)


def _has_only_templates(value: Any) -> bool:
    from airflow.sdk import XComArg

    if isinstance(value, dict):
        return all(map(_has_only_templates, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_has_only_templates, value))
    return not isinstance(value, XComArg)
