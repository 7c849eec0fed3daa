"""Jobs that are made, filled with a file of lines, and started; later their results are read, by the key of each line.

Nothing is applied before a job is started, so a job whose upload was lost is given up, and another one is made. A start
whose answer was lost is asked for: the job itself says whether it was started.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import UNREADABLE_ANSWER, Outcome, RowStatus
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.csv_tables import AcceptedWith, ReadLine, by_column
from airflow_consent_retl.destinations.http.responses import UnreadableAnswerError, is_integer
from airflow_consent_retl.destinations.http.session_api import RefusedCallError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.session_api import SessionApi

NEVER_STARTED = "never_started"
_FIELDS = ("id", "kind", "operation", "state", "error", "processed", "failed")
_UNPROCESSED = Outcome(RowStatus.UNSENT, "unprocessed")
_NO_ID = Outcome(RowStatus.UNCERTAIN, "no_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineJob:
    """The state of a job, as the vendor gives it.

    Args:
        kind: the kind of its records.
        operation: see `LineJobs`.
        state: the vendor's word.
        error: the vendor's words about the job as a whole; they may quote a row.
        processed, failed: the number of its lines, and of those that were refused; None: the answer has no number.
        is_running: whether something still happens to it: an open job waits for us.
    """

    kind: str
    operation: str
    state: str
    error: str = ""
    processed: int | None = None
    failed: int | None = None
    is_running: bool = False


@dataclass(frozen=True, slots=True)
class JobResults:
    """The outcomes of a job's lines by the value of one column; `default`: of a line in none of the tables."""

    by_key: Mapping[str, Outcome]
    default: Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class LineJobs:
    """The jobs of one vendor, and its words for them.

    Args:
        path: of all jobs; a job is below it, under its id.
        id_pattern: of the vendor's ids.
        fill: the path below a job at which its lines are put.
        start, give_up: the changes of a job that start it, and end it without a start.
        opened, started, complete: the states of a job that can be filled, of one that was started, and of one of which
            each line was tried.
        broken: the other states of a job that has ended; the last one is that after `give_up`.
        fields: the fields of a job that have another name than in `LineJob`, or than `id`.
        done, failed, left: the paths below a job of its tables: the lines that were applied, that were refused, and
            that were not tried.
        done_id: the column of an applied line with the record's id.
        refusal: returns the outcome of a refused line.
        refused_file: a pattern of the words about a job whose file as a whole does not suit, with the code as a group.
    """

    path: str
    id_pattern: str
    fill: str
    start: Mapping[str, str]
    give_up: Mapping[str, str]
    opened: str
    started: Collection[str]
    complete: str
    broken: tuple[str, ...]
    fields: Mapping[str, str]
    done: str
    failed: str
    left: str
    done_id: str
    refusal: ReadLine
    refused_file: str

    def submit(self, api: SessionApi[Any], job: Mapping[str, object], body: bytes) -> str:
        """Make a job, put its lines, start it, and return its id.

        Raises:
            AttemptError: it was certainly not started; another try may help.
            RefusedCallError: it was refused.
        """
        job_id = api.document("POST", self.path, job).get(self.fields.get("id", "id"))
        if not isinstance(job_id, str) or not re.fullmatch(self.id_pattern, job_id):
            raise AttemptError("no_job_id", maybe_applied=False)
        path = f"{self.path}/{job_id}"
        try:
            api.upload(f"{path}/{self.fill}", body)
        except (AttemptError, RefusedCallError) as failure:
            # INVARIANT: it is given up, so no one can start it: its rows are certainly not applied.
            with suppress(AttemptError, RefusedCallError):
                api.document("PATCH", path, self.give_up, once=True)
            if isinstance(failure, RefusedCallError):
                raise
            raise AttemptError(failure.code, maybe_applied=False, retry_after_s=failure.retry_after_s) from None
        with suppress(AttemptError):
            # Without an answer, perhaps it was started: `state` says so, now or when its results are asked for.
            api.document("PATCH", path, self.start, carries_rows=True, once=True)
        return job_id

    def state(self, api: SessionApi[Any], job_id: str) -> LineJob | None:
        """Return the state of a job; None: the vendor does not know it, or not any more. Raises as the calls do."""
        try:
            found = api.document("GET", f"{self.path}/{job_id}")
        except RefusedCallError as refusal:
            if refusal.status == 404:
                return None
            raise
        match {name: found.get(self.fields.get(name, name)) for name in _FIELDS}:
            case {"id": str(), "kind": str(kind), "operation": str(operation), "state": str(state), **others}:
                counts = [one if is_integer(one) else None for one in map(others.get, ("processed", "failed"))]
            case _:
                raise AttemptError(UNREADABLE_ANSWER, maybe_applied=False)
        return LineJob(
            kind=kind,
            operation=operation,
            state=state,
            error=str(others.get("error") or ""),
            processed=counts[0],
            failed=counts[1],
            is_running=state not in {self.opened, self.complete, *self.broken},
        )

    def begun(self, api: SessionApi[Any], job_id: str, job: LineJob) -> LineJob:
        """Return the state of a job that is not open: one that was never started is given up, which ends it."""
        if job.state in {*self.started, self.complete, *self.broken}:
            return job
        # A start that is still on its way would now be refused.
        api.document("PATCH", f"{self.path}/{job_id}", self.give_up)
        return replace(job, state=self.broken[-1], error=NEVER_STARTED)

    def results(self, api: SessionApi[Any], job_id: str, job: LineJob, *, column: str) -> JobResults:
        """Return the results of a job that has ended. Raises as the calls do.

        A line that is in two tables, or in none of them, is uncertain. If the job says that no line failed, and that it
        has as many as were applied, the other tables are not asked for.

        Args:
            api: of the account.
            job_id: of the job.
            job: its state.
            column: of the lines, by whose value they are found.
        """
        if job.error == NEVER_STARTED:
            return JobResults({}, Outcome(RowStatus.UNSENT, NEVER_STARTED))
        refused = re.match(self.refused_file, job.error) if job.state != self.complete else None
        untried = Outcome(RowStatus.REJECTED, refused[1]) if refused else _UNPROCESSED
        others: dict[str, ReadLine] = {self.failed: self.refusal, self.left: lambda _: untried}
        path = f"{self.path}/{job_id}"
        try:
            read: list[tuple[bytes, ReadLine]] = [
                (api.table(f"{path}/{self.done}"), AcceptedWith(self.done_id, otherwise=_NO_ID))
            ]
            by_key = by_column(read, column)
            if job.state != self.complete or job.failed != 0 or len(by_key) != job.processed:
                read += [(api.table(f"{path}/{table}"), outcome_of) for table, outcome_of in others.items()]
                by_key = by_column(read, column)
        except (KeyError, UnreadableAnswerError):
            return JobResults({}, Outcome(RowStatus.UNCERTAIN, UNREADABLE_ANSWER))
        return JobResults(by_key, Outcome(RowStatus.UNCERTAIN, "not_in_results"))
