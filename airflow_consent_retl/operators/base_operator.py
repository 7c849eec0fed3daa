"""The base of all operators of this package: errors become Airflow's, parameters are rendered."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink

from airflow_consent_retl.compat import AirflowFailException, AirflowSkipException
from airflow_consent_retl.errors import OvertakenError, PermanentError, Problem, TransientError
from airflow_consent_retl.operators.links import SyncPageLink
from airflow_consent_retl.progress import FittedLog, errors_that_fit, fitted

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.delivery.ledger.run_records import RunningTask
    from airflow_consent_retl.signals.outcome import SyncOutcome


class ConsentRetlOperator(BaseOperator):
    """An operator whose permanent errors fail the task at once, and whose transient errors Airflow retries.

    A task that a newer run overtook is skipped.
    """

    operator_extra_links: Sequence[BaseOperatorLink] = (SyncPageLink(),)

    outcomes: tuple[SyncOutcome, ...] = ()
    """The work of the running task for each sync, as far as it came: lineage and notices are made of it."""

    def execute(self, context: Context) -> Any:
        """Run, and translate a `PermanentError`, and a failure of the disk, into "do not retry"."""
        from airflow_consent_retl.operators.garbage import without_old_objects
        from airflow_consent_retl.values.temporary import sweep_temporary

        failure: str
        outcome: type[AirflowFailException | AirflowSkipException] = AirflowFailException
        try:
            sweep_temporary()
            self._name_mapped(context)
            with without_old_objects(), errors_that_fit():
                returned = self.run(context)
        except TransientError as error:
            # The next try resumes a load, and counts its rows over all tries.
            self._emit_metrics(context, [one for one in self.outcomes if one.stage != "load"])
            # A chained exception could put a driver's message, and with it a row, into the log.
            error.__cause__ = error.__context__ = None
            raise
        except OvertakenError as error:
            failure, outcome = str(error), AirflowSkipException
        except PermanentError as error:
            failure = str(error)
        except OSError as error:
            from airflow_consent_retl.operators.disk import disk_failure

            found = disk_failure(error, workspace=getattr(self, "workspace", None))
            if found is None:
                raise
            failure = fitted(found)
        else:
            self._emit_metrics(context, self.outcomes)
            return returned
        self._emit_metrics(context, self.outcomes)
        # Outside the handler, so that nothing is chained to it.
        raise outcome(failure)

    @property
    def model_name(self) -> str | None:
        """The name of the model that the task works on; None: it works on none, or its name is not known yet."""
        known = (getattr(self, name, None) for name in ("model", "snapshot", "permitted"))
        names = [value.get("model") if isinstance(value, Mapping) else value for value in known]
        return next((name for name in names if isinstance(name, str) and name), None)

    def wrong_options(self) -> list[Problem]:
        """Return every error in the parameters, as far as their values are known; contacts nothing.

        An operator with rules refuses its errors when its DAG file is parsed. A subclass adds the errors in its own
        parameters.
        """
        from airflow_consent_retl.operators.operator_settings import settings_of

        settings = settings_of(type(self))
        return [] if settings is None else settings.wrong_settings(self)

    def _name_mapped(self, context: Any) -> None:
        """Have Airflow show a mapped task by its model's name, unless the DAG names it otherwise."""
        if map_index_of(context) is None or context.get("map_index_template") is not None:
            return
        name = self.model_name
        if name is not None:
            context["consent_retl_model"] = name
            context["map_index_template"] = "{{ consent_retl_model }}"

    def _emit_metrics(self, context: Context, outcomes: Sequence[SyncOutcome]) -> None:
        if outcomes:
            from airflow_consent_retl.signals.metrics import emit_outcomes

            emit_outcomes(outcomes, context)

    @property
    def log(self) -> FittedLog:  # type: ignore[override]
        """The task's log, in lines that fit into Airflow's pages."""
        return FittedLog(super().log)

    @abstractmethod
    def run(self, context: Context) -> Any:
        """Do the operator's work and return the value for XCom: references, digests and counts."""

    def render_template(self, content: Any, *args: Any, **kwargs: Any) -> Any:
        """Render objects that know their own templates, such as a source of consent, like other parameters."""
        render = super().render_template
        if hasattr(content, "rendered"):
            return content.rendered(lambda text: render(text, *args, **kwargs))
        return render(content, *args, **kwargs)


def dag_of(context: Any) -> str | None:
    """Return the id of the running DAG; None without one."""
    ti = context.get("ti")
    return None if ti is None else str(ti.dag_id)


def map_index_of(context: Any) -> int | None:
    """Return the index of the running task among mapped tasks; None where it is not mapped."""
    ti = context.get("ti")
    return None if ti is None or ti.map_index is None or ti.map_index < 0 else int(ti.map_index)


def task_of(context: Any) -> RunningTask:
    """Return the ids of the running task; empty ones without one."""
    from airflow_consent_retl.delivery.ledger.run_records import RunningTask

    ti = context.get("ti")
    if ti is None:
        return RunningTask()
    return RunningTask(
        dag=str(ti.dag_id),
        run=str(ti.run_id),
        task=str(ti.task_id),
        map_index=map_index_of(context),
        attempt=int(ti.try_number),
    )


def holder_of(context: Any) -> str:
    """Return the name of the running task, for people who read the ledger: DAG, run, task and try."""
    ti = context.get("ti")
    if ti is None:
        return "adhoc"
    index = map_index_of(context)
    mapped = "" if index is None else f" [{index}]"
    return f"{ti.dag_id} {ti.run_id} {ti.task_id}{mapped} try {ti.try_number}"
