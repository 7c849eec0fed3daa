"""A load outside of a run: its plan with examples, a preview of its rows, and one record of the user's own sent.

What a load reads is the output of a filter, as JSON, or the operators before it in its DAG make it: extraction and
filter then run here, as they do in a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

from airflow.sdk import XComArg

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.drop_staging import DropStagingTablesOperator
from airflow_consent_retl.operators.load import LoadOperator
from airflow_consent_retl.operators.mapped_instances import TaskInstance, instances_of
from airflow_consent_retl.operators.parsed_tasks import kind_of

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.sdk import Context

    from airflow_consent_retl.delivery.load_plan import LoadPlan
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
    from airflow_consent_retl.storage.change_set import Changes

EXAMPLES: Final = 10
_SCAN_ROWS: Final = 65_536


@dataclass(frozen=True, slots=True)
class PlanWithExamples:
    """A plan, and by kind up to ten of its people: by id, or by keyed digest."""

    plan: LoadPlan
    people: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def as_document(self) -> dict[str, object]:
        """Return both for JSON."""
        return {**self.plan.as_document(), "people": {kind: list(some) for kind, some in self.people.items()}}


@dataclass(frozen=True, slots=True)
class Preview:
    """Rows in the form in which a destination gets them; their values are masked, or shown.

    Args:
        destination: the policy's name of it.
        target: where the rows would go.
        rows: the first permitted rows.
        permitted: the number of all permitted rows.
    """

    destination: str
    target: str
    rows: tuple[Mapping[str, object], ...]
    permitted: int


def plan(load: LoadOperator | TaskInstance, permitted: object = None, *, show_ids: bool = False) -> PlanWithExamples:
    """Return what a run of a load would do, as its dry run does, with up to ten people of each kind.

    Args:
        load: a task of a DAG, an instance of a mapped one, or an operator.
        permitted: the output of a filter, as JSON; None: extraction and filter of the load's DAG run first.
        show_ids: whether people are named by their ids, and not by the keyed digests of the workspace's records.

    Raises: as `planned_load`, and as the operators that run first.
    """
    from airflow_consent_retl.operators.dry_runs import planned_load

    with ready_load(load, permitted) as (ready, context):
        seen: dict[str, list[pa.Array]] = {}
        planned = planned_load(ready, context, visit=lambda changes, recheck: _see(changes, recheck, seen))
        return PlanWithExamples(planned, _named(ready, seen, show_ids=show_ids))


def preview(
    load: LoadOperator | TaskInstance, permitted: object = None, *, rows: int = EXAMPLES, show_values: bool = False
) -> Preview:
    """Return the first permitted rows of a load in the form in which its destination gets them; nothing is contacted.

    Args:
        load, permitted: as for `plan`.
        rows: how many.
        show_values: whether values are shown; otherwise each is replaced by its kind.

    Raises: as a load before its first request.
    """
    from airflow_consent_retl.hooks.approving import unrecorded
    from airflow_consent_retl.operators.load_input import opened_input

    with ready_load(load, permitted) as (ready, _), unrecorded():
        found = opened_input(ready, may_resume=False)
        if found.unfit is not None:
            raise found.unfit
        destination = ready.build_destination()
        shown: list[Mapping[str, object]] = []
        for batch in islice(found.permitted.batches(max(rows, 1)), 1):
            described = ready.sync_settings().applied_to(found.permitted.load_of(batch.schema))
            shown += destination.sent_as(batch.slice(0, rows), described)
        kept = shown if show_values else [{name: masked(value) for name, value in row.items()} for row in shown]
        return Preview(ready.destination, destination.target, tuple(kept), found.permitted.rows)


def masked(value: object) -> object:
    """Return the kind of a value, with its length where it has one; None stays None."""
    if value is None:
        return None
    size = f", {len(value)}" if isinstance(value, str | bytes | list | tuple | Mapping) else ""
    return f"<{type(value).__name__}{size}>"


@contextmanager
def ready_load(load: LoadOperator | TaskInstance, permitted: object) -> Iterator[tuple[LoadOperator, Context]]:
    """Yield a copy of a load with its input and rendered parameters, and a context; arguments as for `plan`.

    What was made for it in a warehouse is dropped at the end.

    Raises:
        ConfigurationError: the task is no load, or its DAG does not say where its rows come from.
    """
    load, index = (load.operator, load.index) if isinstance(load, TaskInstance) else (load, -1)
    if not isinstance(load, LoadOperator):
        raise ConfigurationError(
            f"task `{getattr(load, 'task_id', load)}` is no load, or is a mapped one: name a task of a "
            "LoadTo…Operator that is not mapped, or one instance of it"
        )
    with ExitStack() as made:
        ready = copy(load)
        context = _context_of(load, index)
        if permitted is None and isinstance(load.permitted, XComArg | TaskInstance):
            permitted = made.enter_context(_filtered(load))
        if permitted is not None:
            ready.permitted = permitted
        _render(ready, context)
        yield ready, context


@contextmanager
def _filtered(load: LoadOperator) -> Iterator[object]:
    """Run the extraction and the filter before a load, and yield the filter's output."""
    consent = _task_before(load.permitted)
    extraction = None if consent is None else _task_before(getattr(consent.operator, "snapshot", None))
    if consent is None or extraction is None:
        raise ConfigurationError(
            f"task `{load.task_id}` does not get its rows from a ConsentFilterOperator after an ExtractModelOperator "
            "of its own DAG: pass the filter's output as JSON"
        )
    snapshot = _output(extraction, deferrable=False)
    permitted: object = None
    try:
        permitted = _output(consent, snapshot=snapshot)
        yield permitted
    finally:
        for task in _drops_after(load.dag.tasks, extraction):
            _output(task, snapshot=snapshot, permitted=permitted)


def _drops_after(tasks: Iterable[Any], extraction: TaskInstance) -> Iterator[TaskInstance]:
    """Yield the tasks that drop the tables of an extraction's run in a warehouse workspace."""
    for task in tasks:
        if not issubclass(kind_of(task), DropStagingTablesOperator):
            continue
        expanded = getattr(getattr(task, "expand_input", None), "value", {})
        given = expanded["snapshot"] if "snapshot" in expanded else getattr(task, "snapshot", None)
        before = getattr(given, "operator", None)
        if before is not None and before.task_id == extraction.operator.task_id:
            # One is enough: its input is replaced by the outputs that were made here.
            yield from instances_of(task, without=("snapshot", "permitted"))[:1]


def _task_before(output: Any) -> TaskInstance | None:
    """Return the task whose output a parameter is; None: the parameter is no output."""
    if isinstance(output, TaskInstance):
        return output
    operator = getattr(output, "operator", None)
    return None if operator is None else TaskInstance(operator)


def _output(task: TaskInstance, **inputs: object) -> object:
    ready: ConsentRetlOperator = copy(task.operator)
    for name, value in inputs.items():
        setattr(ready, name, value)
    context = _context_of(task.operator, task.index)
    _render(ready, context)
    return ready.run(context)


def _is_in_dag(task: Any) -> bool:
    return bool(task.has_dag())


def _render(task: ConsentRetlOperator, context: Context) -> None:
    if _is_in_dag(task):
        task.render_template_fields(context)


def _context_of(task: ConsentRetlOperator, map_index: int) -> Context:
    """Return the part of a task's context that templates and this package's operators read, as of now."""
    if not _is_in_dag(task):
        return cast("Context", {})
    now, dag = datetime.now(UTC), task.dag
    run_id = f"plan__{now:%Y-%m-%dT%H:%M:%S}"
    ti = SimpleNamespace(
        dag_id=dag.dag_id, task_id=task.task_id, run_id=run_id, map_index=map_index, try_number=1, task=task
    )
    params = dag.params.dump() if hasattr(dag.params, "dump") else dict(dag.params)
    context: dict[str, Any] = {
        "dag": dag,
        "task": task,
        "ti": ti,
        "task_instance": ti,
        "run_id": run_id,
        "params": params,
        "ds": f"{now:%Y-%m-%d}",
        "ds_nodash": f"{now:%Y%m%d}",
        "ts": now.isoformat(),
        "logical_date": now,
        "data_interval_start": now,
        "data_interval_end": now,
    }
    return cast("Context", context)


def _see(changes: Changes, recheck: Recheck | None, seen: dict[str, list[pa.Array]]) -> None:
    """Keep the ids of the first people of each kind."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    def keep(kind: str, ids: pa.Array) -> None:
        room = EXAMPLES - sum(map(len, seen.setdefault(kind, [])))
        if room > 0 and len(ids):
            seen[kind].append(ids[:room])

    for start, some in changes.people_to_send(_SCAN_ROWS):
        withheld = np.zeros(some.num_rows, np.bool_)
        if recheck is not None:
            withheld[recheck.withheld_among(start, some.num_rows)] = True
        was_delivered = np.asarray(some["was_delivered"])
        keep("withheld", some["id"].filter(pa.array(withheld)))
        keep("added", some["id"].filter(pa.array(~withheld & ~was_delivered)))
        keep("sent again", some["id"].filter(pa.array(~withheld & was_delivered)))
    for leaving in changes.removals(_SCAN_ROWS):
        for cause in leaving.causes.unique().to_pylist():
            keep(f"removed: {cause}", leaving.ids.filter(pc.equal(leaving.causes, cause)))
    for clearing in changes.clears(_SCAN_ROWS):
        keep("cleared", clearing.ids)


def _named(load: LoadOperator, seen: Mapping[str, list[pa.Array]], *, show_ids: bool) -> dict[str, tuple[str, ...]]:
    from airflow_consent_retl.storage.location import subject_key
    from airflow_consent_retl.storage.records.subjects import RecordKey

    if show_ids:
        return {kind: tuple(str(one) for some in ids for one in some.to_pylist()) for kind, ids in seen.items() if ids}
    key = RecordKey(subject_key(load.workspace))
    return {
        kind: tuple(f"{subject:016x}" for some in ids for subject in key.subjects(some).tolist())
        for kind, ids in seen.items()
        if ids
    }
