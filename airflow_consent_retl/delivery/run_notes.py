"""The record of a run, made from its report when it ends, well or not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.delivery.lags import Lags
from airflow_consent_retl.delivery.ledger.run_records import RunCounts, RunKind, RunningTask, RunRecord, RunState
from airflow_consent_retl.errors import ConfigurationError, LedgerUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.filtering.permitted import PermittedRows
    from airflow_consent_retl.progress import TaskLog


@dataclass(slots=True)
class RunNotes:
    """The facts about a run that are known before it ends.

    Args:
        report: counts what it does.
        limits: the limits of the run, as `SyncSettings.limits` has them.
        permitted: what a load delivers; None: the run only removes.
        is_waiting: the destination still processes requests.
    """

    report: LoadReport
    permitted: PermittedRows | None = None
    limits: Mapping[str, float | None] = field(default_factory=dict)
    is_waiting: bool = False


@contextmanager
def noted_run(
    ledger: Ledger, sync: SyncName, notes: RunNotes, *, kind: RunKind, task: RunningTask, log: TaskLog
) -> Iterator[None]:
    """Record in the ledger what the block did at a sync, also if it raises.

    The figures of a page are not worth a failed run: if the ledger does not take the record, a warning says so.

    Args:
        ledger: opened for the workspace.
        sync: the sync's name.
        notes: filled by the block.
        kind: of the run.
        task: of the run.
        log: the task's.
    """
    began_at, failure = datetime.now(UTC), ""
    try:
        yield
    except BaseException as error:
        # A task that runs out of time or is stopped has not done its work: these are no `Exception`.
        failure = type(error).__name__
        raise
    finally:
        state = RunState.FAILED if failure else RunState.WAITING if notes.is_waiting else RunState.DONE
        try:
            current = ledger.current(sync)
            ledger.note_run(
                _record(
                    notes,
                    sync=sync,
                    kind=kind,
                    state=state,
                    failure=failure,
                    task=task,
                    began_at=began_at,
                    people=0 if current is None else current.rows,
                )
            )
        except (ConfigurationError, LedgerUnavailableError) as refused:
            log.warning("the figures of this run are not recorded: %s", refused)


def _record(
    notes: RunNotes,
    *,
    sync: SyncName,
    kind: RunKind,
    state: RunState,
    failure: str,
    task: RunningTask,
    began_at: datetime,
    people: int,
) -> RunRecord:
    report, permitted = notes.report, notes.permitted
    manifest = None if permitted is None else permitted.manifest
    decided = None if permitted is None else permitted.counts
    return RunRecord(
        sync=sync,
        kind=kind,
        state=state,
        failure=failure,
        task=task,
        began_at=began_at,
        ended_at=datetime.now(UTC),
        policy_digest="" if manifest is None else manifest.policy_digest,
        decided_at=None if manifest is None else manifest.decided_at,
        data_time=None if manifest is None else manifest.data_time,
        people=people,
        counts=RunCounts(
            **report.as_counts(),
            read=0 if decided is None else decided.read,
            denied=0 if decided is None else decided.denied,
            found=report.found,
            absent=report.absent,
        ),
        denied_by_reason={} if decided is None else decided.denied_by_reason,
        removals_by_cause=report.removals_by_cause,
        withheld_fields={} if decided is None else decided.withheld_fields,
        limits=notes.limits,
        codes=report.sent.codes + report.removed.codes + report.cleared.codes,
        lags=Lags.of(report.lags_s),
        delivery=report.delivery,
    )
