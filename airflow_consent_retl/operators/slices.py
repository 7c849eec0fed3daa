"""Loads in slices: one task finds what to do and removes people, several tasks send rows, and the load ends it.

load_webhook__begin  >>  load_webhook__slices [1 of 8] … [8 of 8]  >>  load_webhook
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator, holder_of, task_of
from airflow_consent_retl.operators.load import LoadOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

_TRIGGER_RULE: Final = "none_failed_min_one_success"
# Parameters of Airflow that the tasks of one load share.
_SHARED: Final = (
    "owner",
    "retries",
    "retry_delay",
    "retry_exponential_backoff",
    "max_retry_delay",
    "execution_timeout",
    "pool",
    "queue",
    "executor",
)


def in_slices(load: LoadOperator, slices: int) -> LoadOperator:
    """Send the rows of a load by several tasks at the same time, and return the load.

    The tasks `<load>__begin` and `<load>__slices` come before the load, which ends what they did. A slice is a range of
    the rows of one run: between runs there are no slices, and their number may change.

    Args:
        load: a load that is not mapped, to a destination whose batches are final when they are answered.
        slices: the number of tasks at most. There are fewer where few rows are left, and none where one task sends
            them faster.

    Raises:
        ConfigurationError: the load is not in a DAG, or `slices` is not positive.
    """
    if not isinstance(slices, int) or slices < 1:
        raise ConfigurationError(f"slices is a number of tasks from 1, not `{slices}`")
    if slices == 1:
        return load
    dag = _dag_of(load)
    if dag is None:
        raise ConfigurationError("in_slices takes a load of a DAG, which is not mapped")
    shared = {name: value for name in _SHARED if (value := getattr(load, name, None)) is not None}
    shared |= {"dag": dag, "task_group": load.task_group}
    name, before = load.label, list(load.upstream_list)
    begin = BeginLoadOperator(task_id=f"{name}__begin", load=load.task_id, slices=slices, **shared)
    send = SendSliceOperator.partial(task_id=f"{name}__slices", load=load.task_id, **shared).expand(slice=begin.output)
    for task in before:
        task >> begin
    # Without slices, it sends the rows itself.
    load.trigger_rule = type(load.trigger_rule)(_TRIGGER_RULE)
    send >> load
    return load


def _dag_of(load: Any) -> Any:
    return load.dag if load.has_dag() and isinstance(load, LoadOperator) else None


class _PartOfLoad(ConsentRetlOperator):
    """A task that does a part of the work of a load of the same DAG, with the load's parameters.

    Args:
        load: the id of the load's task.
    """

    template_fields: Sequence[str] = ()
    ui_color = "#fce5cd"

    def __init__(self, *, load: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.load = load

    def _rendered_load(self, context: Context) -> LoadOperator:
        load = self.dag.get_task(self.load)
        if not isinstance(load, LoadOperator):
            raise ConfigurationError(f"task `{self.load}` is no load, or is mapped: it takes no slices")
        load.render_template_fields(context)
        # There is no task that a triggerer could resume.
        load.deferrable = False
        return load


class BeginLoadOperator(_PartOfLoad):
    """Do everything of a load that comes before its first row is sent, and divide what is left into slices.

    It takes the sync's lease, compares, checks the limits of the whole sync, begins the delivery, and clears fields and
    removes people. Made by `in_slices`.

    Reads, writes and contacts what the load does.

    Args:
        load: the id of the load's task.
        slices: the number of slices at most.

    Returns:
        The slices, as ranges of batches; none if there is nothing to send, or so little that the load sends it itself.

    Raises: as the load.
    """

    def __init__(self, *, load: str, slices: int, **kwargs: Any) -> None:
        super().__init__(load=load, **kwargs)
        self.slices = slices

    def run(self, context: Context) -> list[dict[str, int]]:
        """Begin the delivery, and return its slices."""
        from airflow_consent_retl.delivery.slicing import slices_of
        from airflow_consent_retl.operators.dry_runs import is_dry
        from airflow_consent_retl.operators.load_input import opened_input
        from airflow_consent_retl.operators.load_run import load_run
        from airflow_consent_retl.operators.load_summary import log_summary

        load = self._rendered_load(context)
        if is_dry(load.dry_run):
            return []
        found = opened_input(load)
        with load_run(load, found, context) as run:
            with run.removals_first():
                run.loading.check()
            try:
                begun = run.loading.begin(run.report)
            finally:
                log_summary(self.log, found.permitted, run.report)
            # The load that follows ends the delivery.
            run.notes.is_waiting = begun is not None
            parts = [] if begun is None else slices_of(begun, self.slices)
        if parts:
            self.log.info("`%s`: %d tasks send %s batches", load.destination, len(parts), f"{parts[-1].end:,}")
        return [part.as_document() for part in parts]


class SendSliceOperator(_PartOfLoad):
    """Send one slice of a load, and record its batches. Made by `in_slices`.

    It has a lease of its own, which the lease of the sync excludes, and asks for consent again about the people of its
    slice. A try that was killed is resumed by the next one. If another task ended the delivery meanwhile, such as a
    withdrawal, it sends nothing: the load sends the rest.

    Reads, writes and contacts what the load does.

    Args:
        load: the id of the load's task.
        slice: the slice, from the output of `BeginLoadOperator`. Templated.

    Returns:
        The slice, and how many of its rows were accepted, rejected and withheld.

    Raises: as the load.
    """

    template_fields: Sequence[str] = ("slice",)

    def __init__(self, *, load: str, slice: object, **kwargs: Any) -> None:  # noqa: A002 - a parameter of DAG authors
        super().__init__(load=load, **kwargs)
        self.slice = slice

    def _name_mapped(self, context: Any) -> None:
        """Have Airflow show a slice by its number."""
        from airflow_consent_retl.delivery.slicing import Slice

        if context.get("map_index_template") is None:
            context["consent_retl_slice"] = str(Slice.from_document(self.slice))
            context["map_index_template"] = "{{ consent_retl_slice }}"

    def run(self, context: Context) -> dict[str, Any]:
        """Send the slice, if its delivery is still open."""
        from airflow_consent_retl.delivery.ledger.records import sync_name
        from airflow_consent_retl.delivery.ledger.run_records import RunKind
        from airflow_consent_retl.delivery.pairing import check_sync
        from airflow_consent_retl.delivery.report import LoadReport
        from airflow_consent_retl.delivery.run_notes import RunNotes, noted_run
        from airflow_consent_retl.delivery.slicing import Slice, send_slice_of
        from airflow_consent_retl.delivery.sync_steps import load_key
        from airflow_consent_retl.hooks.ledgers import open_ledger
        from airflow_consent_retl.operators.load_input import opened_input
        from airflow_consent_retl.operators.load_sync import load_context
        from airflow_consent_retl.storage.location import open_folder, workspace_root
        from airflow_consent_retl.storage.sync_folder import SyncFolder

        load, part = self._rendered_load(context), Slice.from_document(self.slice)
        found = opened_input(load)
        if found.unfit is not None:
            raise found.unfit
        permitted, workspace = found.permitted, found.workspace_of(load)
        sync, settings = sync_name(permitted.manifest.model, load.destination), load.sync_settings()
        with open_ledger(workspace, load.ledger_conn_id) as ledger:
            check_sync(ledger, SyncFolder(open_folder(workspace_root(workspace)), sync), sync)
            delivery = ledger.open_delivery(sync)
            lease = None
            if delivery is not None and delivery.id == part.delivery:
                lease = ledger.acquire_slice(
                    delivery,
                    first=part.first,
                    end=part.end,
                    holder=holder_of(context),
                    ttl_s=load.lease_ttl_s,
                    wait_s=load.lease_wait_s,
                )
            if delivery is None or lease is None:
                self.log.info("another task ended this delivery: task `%s` sends what is left", load.task_id)
                return {"slice": str(part), "accepted": 0, "rejected": 0, "withheld": 0}
            if delivery.key != load_key(permitted, settings.mode):
                raise ConfigurationError(f"slice {part} is of a delivery of other rows: clear task `{load.task_id}`")
            report = LoadReport(permitted=permitted.rows, resumed=True)
            notes = RunNotes(report, permitted, settings.limits, is_waiting=True)
            with lease, noted_run(ledger, sync, notes, kind=RunKind.LOAD, task=task_of(context), log=self.log):
                sync_context, _, make_recheck = load_context(load, found, lease, settings, context)
                sent = send_slice_of(sync_context, delivery, part, report, make_recheck=make_recheck)
        self.log.info("slice %s: accepted %s of %s rows", part, f"{sent.accepted:,}", f"{sent.planned:,}")
        return {"slice": str(part), "accepted": sent.accepted, "rejected": sent.rejected, "withheld": sent.withheld}
