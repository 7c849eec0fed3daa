"""Jobs of Bulk API 2.0: one is created, filled and started; later its results are read, and matched by the key.

Nothing is applied before a job is started, so a job whose upload was lost is given up, and another one is made. A start
whose answer was lost is asked for: the job itself says whether it was started.
(https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/bulk_api_2_0_ingest.htm, read 2026-11-29)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, UNREADABLE_ANSWER, Outcome, RowStatus, vendor_code
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.csv_tables import by_column
from airflow_consent_retl.destinations.http.responses import ACCEPTED, UnreadableAnswerError
from airflow_consent_retl.destinations.http.session_api import RefusedCallError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.salesforce.api import SalesforceApi

Operation = Literal["insert", "upsert", "update", "delete", "hardDelete"]

UNPROCESSED = Outcome(RowStatus.UNSENT, "unprocessed")
NEVER_STARTED = "never_started"
_STARTED = frozenset({"UploadComplete", "InProgress"})
_ENDED = frozenset({"JobComplete", "Failed", "Aborted"})
_JOB_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
# `CODE:words of the vendor, which may quote the row:FieldName --`.
_ERROR = re.compile(r"([A-Z][A-Z0-9_]{2,79}):.*?(?::([A-Za-z0-9_.]+)(?: [A-Za-z0-9_.]+)* --)?\s*", re.DOTALL)
# The record was not written, and another try helps.
_AGAIN = frozenset({"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "ALREADY_IN_PROCESS"})
# Of the job as a whole: the file does not fit the object.
_FILE_REFUSED = re.compile(r"(InvalidBatch|ClientInputError)\b")


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job, as Salesforce gives it."""

    sobject: str
    operation: str
    state: str
    error: str = ""

    @property
    def is_running(self) -> bool:
        """True if something still happens to it: an open job waits for us."""
        return self.state not in _ENDED and self.state != "Open"


@dataclass(frozen=True, slots=True)
class JobResults:
    """The outcomes of a job's lines by the value of one column; `default`: of a line in none of the tables."""

    by_key: Mapping[str, Outcome]
    default: Outcome


def started_job(
    api: SalesforceApi, sobject: str, operation: Operation, body: bytes, *, external_id: str | None = None
) -> str:
    """Create a job, put its lines, start it, and return its id.

    Raises:
        AttemptError: it was certainly not started; another try may help.
        RefusedCallError: it was refused.
    """
    job: dict[str, Any] = {"object": sobject, "operation": operation, "contentType": "CSV", "lineEnding": "LF"}
    if external_id is not None:
        job["externalIdFieldName"] = external_id
    if api.budget is not None:
        api.budget.check()
    job_id = api.document("POST", "jobs/ingest", job).get("id")
    if not isinstance(job_id, str) or not _JOB_ID.fullmatch(job_id):
        raise AttemptError("no_job_id", maybe_applied=False)
    path = f"jobs/ingest/{job_id}"
    try:
        api.upload(f"{path}/batches", body)
    except (AttemptError, RefusedCallError) as failure:
        # INVARIANT: it is given up, so no one can start it: its rows are certainly not applied.
        with suppress(AttemptError, RefusedCallError):
            api.document("PATCH", path, {"state": "Aborted"}, once=True)
        if isinstance(failure, RefusedCallError):
            raise
        raise AttemptError(failure.code, maybe_applied=False, retry_after_s=failure.retry_after_s) from None
    try:
        api.document("PATCH", path, {"state": "UploadComplete"}, carries_rows=True, once=True)
    except AttemptError:
        # Perhaps it was started: `job_state` says so, now or when its results are asked for.
        return job_id
    return job_id


def job_state(api: SalesforceApi, job_id: str) -> JobState | None:
    """Return the state of a job; None: Salesforce does not know it, or not any more. Raises as the calls do."""
    try:
        found = api.document("GET", f"jobs/ingest/{job_id}")
    except RefusedCallError as refusal:
        if refusal.status == 404:
            return None
        raise
    match found:
        case {"id": str(), "object": str(sobject), "operation": str(operation), "state": str(state)}:
            return JobState(sobject, operation, state, str(found.get("errorMessage") or ""))
        case _:
            raise AttemptError("unreadable_answer", maybe_applied=False)


def ensure_started(api: SalesforceApi, job_id: str, state: JobState) -> JobState:
    """Return the state of a job that is not open: one that was never started is given up, which ends it."""
    if state.state in _STARTED | _ENDED:
        return state
    # A start that is still on its way would now be refused.
    api.document("PATCH", f"jobs/ingest/{job_id}", {"state": "Aborted"})
    return JobState(state.sobject, state.operation, "Aborted", NEVER_STARTED)


def job_results(api: SalesforceApi, job_id: str, state: JobState, *, column: str) -> JobResults:
    """Return the results of a job that has ended, by the value in a column of its lines.

    A line that is in two tables, or in none of them, is uncertain. Raises as the calls do.
    """
    path = f"jobs/ingest/{job_id}"
    readers: dict[str, Callable[[Mapping[str, str]], Outcome]] = {
        "successfulResults": lambda line: ACCEPTED if line.get("sf__Id") else Outcome(RowStatus.UNCERTAIN, "no_id"),
        "failedResults": _refusal,
        "unprocessedrecords": lambda line: UNPROCESSED,
    }
    if state.state != "JobComplete" and (refused := _FILE_REFUSED.match(state.error)):
        unprocessed = Outcome(RowStatus.REJECTED, refused[1])
        readers["unprocessedrecords"] = lambda line: unprocessed
    try:
        by_key = by_column(((api.table(f"{path}/{table}"), of) for table, of in readers.items()), column)
    except (KeyError, UnreadableAnswerError):
        return JobResults({}, Outcome(RowStatus.UNCERTAIN, UNREADABLE_ANSWER))
    if state.error == NEVER_STARTED:
        return JobResults({}, Outcome(RowStatus.UNSENT, NEVER_STARTED))
    return JobResults(by_key, Outcome(RowStatus.UNCERTAIN, "not_in_results"))


def _refusal(line: Mapping[str, str]) -> Outcome:
    found = _ERROR.fullmatch(line["sf__Error"])
    values = [value for column, value in line.items() if column != "sf__Error"]
    code = vendor_code(found[1], row_values=values) if found else UNNAMED_CODE
    if code in _AGAIN:
        return Outcome(RowStatus.UNSENT, code)
    return Outcome(RowStatus.REJECTED, code, (found[2] or "") if found else "")
