"""The jobs of one batch, and the ids of the records that people have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.contract.outcomes import UNREADABLE_ANSWER, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.bodies import csv_files
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.destinations.http.session_api import RefusedCallError
from airflow_consent_retl.destinations.salesforce.bulk_jobs import started_job
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.salesforce.api import SalesforceApi
    from airflow_consent_retl.destinations.salesforce.bulk_jobs import Operation

PersonLines = Mapping[str, list[list[str]]]
"""The lines of each person, by key."""

_NOT_STARTED = Outcome(RowStatus.UNCERTAIN, "not_sent")


class BatchJobs:
    """The jobs that are started for one batch, by person; a person may have several.

    Args:
        api: of the org.
        max_body_bytes: of a job.
    """

    def __init__(self, api: SalesforceApi, *, max_body_bytes: int) -> None:
        self._api = api
        self._max_body_bytes = max_body_bytes
        # An empty id: the person's lines were not handed over, and others were.
        self._ids: dict[str, str] = {}

    def start(
        self,
        sobject: str,
        operation: Operation,
        header: Sequence[str],
        lines: PersonLines,
        *,
        external_id: str | None = None,
    ) -> None:
        """Start as many jobs as these lines take.

        Raises:
            AttemptError, RefusedCallError, DestinationError, DestinationUnavailableError: nothing of the batch was
                started.
        """
        owners = [key for key, some in lines.items() for _ in some]
        every = (line for some in lines.values() for line in some)
        start = 0
        for body, count in csv_files(header, every, most_bytes=self._max_body_bytes):
            try:
                job = started_job(self._api, sobject, operation, body, external_id=external_id)
            except (AttemptError, RefusedCallError, DestinationError, DestinationUnavailableError):
                # INVARIANT: `send` raises only for a batch of which certainly nothing was applied.
                if not self._ids:
                    raise
                self._ids |= dict.fromkeys(owners[start:], "")
                return
            for key in dict.fromkeys(owners[start : start + count]):
                before = self._ids.get(key)
                self._ids[key] = job if before is None else before and f"{before}+{job}"
            start += count

    def outcomes(
        self, keys: Sequence[str | None], *, otherwise: Outcome, refused: Mapping[int, Outcome] | None = None
    ) -> Outcomes:
        """Return the outcomes of the batch's rows: pending under the ids of the person's jobs.

        Args:
            keys: of the rows; None: the row has no form in a job.
            otherwise: of a person without a job.
            refused: the outcomes of rows without a key; by default as `otherwise`.
        """
        return Outcomes.of(self._outcome(row, key, otherwise, refused or {}) for row, key in enumerate(keys))

    def _outcome(self, row: int, key: str | None, otherwise: Outcome, refused: Mapping[int, Outcome]) -> Outcome:
        if key is None or key not in self._ids:
            return refused.get(row, otherwise)
        return Outcome(RowStatus.PENDING, self._ids[key]) if self._ids[key] else _NOT_STARTED


def record_ids(
    api: SalesforceApi,
    sobject: str,
    external_id: str,
    keys: Sequence[str],
    *,
    is_text: bool = True,
    is_case_sensitive: bool = True,
) -> dict[str, list[str]]:
    """Return the ids of the records of these keys, by key. Raises as the calls do."""

    def folded(text: str) -> str:
        return text if is_case_sensitive else text.casefold()

    wanted: dict[str, list[str]] = {}
    for key in dict.fromkeys(keys):
        wanted.setdefault(folded(key), []).append(key)
    found: dict[str, list[str]] = {}
    for record in api.records(sobject, external_id, list(dict.fromkeys(keys)), quoted=is_text):
        value, record_id = record.get(external_id), record.get("Id")
        text = folded(str(int(value)) if isinstance(value, float) else str(value))
        if not isinstance(record_id, str) or text not in wanted:
            raise AttemptError(UNREADABLE_ANSWER, maybe_applied=False)
        for key in wanted[text]:
            found.setdefault(key, []).append(record_id)
    return found


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the first outcome that is not accepted; accepted if there is none."""
    return next((outcome for outcome in outcomes if outcome != ACCEPTED), ACCEPTED)


def error_of(failure: AttemptError | RefusedCallError) -> DestinationError | DestinationUnavailableError:
    """Return the error of the contract for a call that failed."""
    if isinstance(failure, RefusedCallError):
        return DestinationError(f"Salesforce refuses the request with {failure.status} ({failure.code})")
    words = f"Salesforce did not answer: {failure.words}"
    return DestinationUnavailableError(words, retry_after_s=failure.retry_after_s)
