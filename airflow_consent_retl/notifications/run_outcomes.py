"""The outcomes that a callback is about: of the task that just ended, or of all tasks of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.errors import ConsentRetlError
from airflow_consent_retl.signals.outcome import (
    SyncOutcome,
    outcome_of_load,
    outcome_of_record,
    outcome_of_withdrawals,
    outcomes_of_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_consent_retl.delivery.ledger.run_records import RunRecord
    from airflow_consent_retl.progress import TaskLog

_NO_RESULT: Final = "it left no result"
_FAILED: Final = "failed"
_SUCCESS: Final = "success"
_SKIPPED: Final = "skipped"
_NAMED: Final = 5


def is_about_a_run(context: Mapping[str, Any]) -> bool:
    """Return whether Airflow calls for a whole run: the context of a task has no `reason`."""
    return "reason" in context


def outcomes_of(context: Mapping[str, Any], log: TaskLog) -> list[SyncOutcome]:
    """Return what the task did for each sync; for a whole run, what its tasks did.

    A callback for a run is called where DAG files are parsed. It knows what tasks returned, and what the ledger has of
    those that failed. Of a task that failed before it opened its sync, or whose ledger cannot be read there, only the
    name is known. Tasks of which nothing is known, although none of this package failed, are an outcome of their own:
    no result is no proof that all is well.

    Args:
        context: of the callback.
        log: of the notifier.
    """
    if not is_about_a_run(context):
        return _of_task(context)
    tasks = [task for task in context["dag"].tasks if hasattr(_class_of(task), "outcomes")]
    found: list[SyncOutcome] = []
    unknown: list[str] = []
    states = _states(context, log)
    records = _records(context, tasks, log)
    for task in tasks:
        values = [value for value in _returned(context, task.task_id, log) if value is not None]
        returned = [one for value in values for one in _outcomes(value, log)]
        recorded = [outcome_of_record(one) for one in records if one.task.task == task.task_id]
        # What a task returned says more than its record: who was delivered before, and the limits.
        known = {one.sync for one in returned}
        of_task = returned + [one for one in recorded if one.sync not in known]
        is_failed = _FAILED in states.get(task.task_id, ())
        if is_failed and not any(one.failure for one in of_task):
            of_task.append(SyncOutcome(stage="task", model="", destination="", numbers={}, failure=_NO_RESULT))
        if not of_task and not values:
            unknown.append(task.task_id)
        found += [replace(one, task_id=task.task_id) for one in of_task]
    if unknown and not any(one.failure for one in found):
        found += _unknown(
            unknown,
            states,
            is_all=len(unknown) == len(tasks),
            is_success=context["reason"] == _SUCCESS,
            log=log,
        )
    return found


def _unknown(
    tasks: Sequence[str], states: Mapping[str, set[str]], *, is_all: bool, is_success: bool, log: TaskLog
) -> Iterator[SyncOutcome]:
    """Yield what is to be said about tasks of which nothing is known; nothing if they ended as they should.

    Args:
        tasks: their ids.
        states: of all tasks.
        is_all: nothing is known of any task of this package.
        is_success: the run ended well.
        log: of the notifier.
    """
    nothing = SyncOutcome(stage="run", model="", destination="", numbers={})
    if is_all and all(states.get(task) == {_SKIPPED} for task in tasks):
        log.info("every task of this package was skipped in this run")
        yield replace(nothing, stage="skipped")
        return

    def is_left(of_task: set[str]) -> bool:
        # A task that ended well may have been told to push nothing, if others are known.
        ended_well = {_SKIPPED} if is_all else {_SKIPPED, _SUCCESS}
        return not of_task <= ended_well if of_task else is_all or not is_success

    left = [task for task in tasks if is_left(states.get(task, set()))]
    if left:
        named = [f"`{task}` ({', '.join(sorted(states.get(task, ()))) or 'state unknown'})" for task in left[:_NAMED]]
        more = f" and {len(left) - _NAMED:,} more tasks" if len(left) > _NAMED else ""
        of = "this run" if is_all else "a part of this run"
        sentence = f"nothing is known of {of}: no result and no record of {', '.join(named)}{more}"
        log.warning("%s", sentence)
        yield replace(nothing, failure=sentence)


def _of_task(context: Mapping[str, Any]) -> list[SyncOutcome]:
    """Return what a task did; one that failed before it counted anything says that it failed."""
    task, error = context["ti"].task, context.get("exception")
    found = list(getattr(task, "outcomes", ()))
    if error is None or not hasattr(task, "outcomes"):
        return found
    failure = type(error).__name__
    if found:
        return [replace(one, failure=failure) for one in found]
    return [SyncOutcome(stage="task", model="", destination="", numbers={}, failure=failure)]


def _returned(context: Mapping[str, Any], task_id: str, log: TaskLog) -> Sequence[Any]:
    ti = context.get("ti")
    if ti is None:
        return ()
    try:
        # A list of one task returns the values of all its mapped instances.
        return ti.xcom_pull(task_ids=[task_id]) or ()
    except Exception as error:  # noqa: BLE001 - `dag.test` has no XComs in this callback, and its error has no class
        log.info("what task %s returned is not known here: %s", task_id, type(error).__name__)
        return ()


def _states(context: Mapping[str, Any], log: TaskLog) -> Mapping[str, set[str]]:
    """Return the states of the tasks of the run, of mapped ones too, by task."""
    ti, dag = context.get("ti"), context["dag"]
    found: dict[str, set[str]] = {}
    if ti is None:
        return found
    try:
        states = ti.get_task_states(dag_id=dag.dag_id, run_ids=[run_of(context)])
    except Exception as error:  # noqa: BLE001 - as above
        log.info("the states of the tasks are not known here: %s", type(error).__name__)
        # The instance with which Airflow calls for a failed run is one that failed.
        return {ti.task_id: {_FAILED}} if context["reason"] != "success" else {}
    for name, state in states.get(run_of(context), {}).items():
        # Mapped tasks have their index after their id.
        task_id = name if name in dag.task_dict else name.rpartition("_")[0]
        found.setdefault(task_id, set()).add(str(state))
    return found


def _records(context: Mapping[str, Any], tasks: Sequence[Any], log: TaskLog) -> Sequence[RunRecord]:
    """Return the last record of each sync and task of the run, of all ledgers that the tasks use."""
    from airflow_consent_retl.hooks.ledgers import existing_ledger

    places = {(_given(one, "workspace"), _given(one, "ledger_conn_id")): None for one in tasks}
    found: dict[tuple[str, int | None, str], RunRecord] = {}
    for workspace, conn_id in places:
        try:
            ledger = existing_ledger(workspace, conn_id)
            if ledger is None:
                continue
            with ledger, ledger.history() as history:
                # The latest first: a try before it counts no more.
                for record in history.of_task(context["dag"].dag_id, run_of(context)):
                    found.setdefault((record.task.task, record.task.map_index, record.sync), record)
        except ConsentRetlError as error:
            log.warning("the notice leaves out what a ledger has: %s", error)
    return list(found.values())


def _class_of(task: Any) -> type:
    """Return the class of an operator, of a mapped one too."""
    found = getattr(task, "operator_class", None)
    return found if isinstance(found, type) else type(task)


def _given(task: Any, name: str) -> Any:
    """Return a parameter of an operator; of a mapped one, that of all its instances."""
    return getattr(task, name, None) or getattr(task, "partial_kwargs", {}).get(name)


def run_of(context: Mapping[str, Any]) -> str:
    """Return the id of the run that a callback is about."""
    return str(context["run_id"] if "run_id" in context else context["ti"].run_id)


def _outcomes(returned: Any, log: TaskLog) -> Iterator[SyncOutcome]:
    """Yield the outcomes in the return value of a task; nothing for a task of another kind."""
    if not isinstance(returned, Mapping):
        return
    if returned.get("kind") == "permitted":
        from airflow_consent_retl.storage import open_permitted

        try:
            yield from outcomes_of_manifest(open_permitted(returned, is_proof=False).manifest)
        except ConsentRetlError as error:
            log.warning("the notice leaves out what the filter decided: %s", error)
    elif {"destination", "not_accepted_by_code", "data_time"} <= returned.keys():
        yield outcome_of_load(returned)
    else:
        for counts in returned.values():
            if isinstance(counts, Mapping) and {"lag_s", "delivered_before", "model"} <= counts.keys():
                yield outcome_of_withdrawals(counts)
