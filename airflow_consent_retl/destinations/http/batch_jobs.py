"""The jobs that are started for one batch where a vendor takes files of lines, by the person of each line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.csv_tables import csv_files
from airflow_consent_retl.destinations.http.responses import ACCEPTED
from airflow_consent_retl.destinations.http.session_api import RefusedCallError
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.keyed_lines import KeyedLines

_STILL_THERE = Outcome(RowStatus.UNCERTAIN, "still_there")
_NOT_STARTED = Outcome(RowStatus.UNCERTAIN, "not_sent")


class BatchJobs:
    """The jobs of one batch; a person may have several. Their ids are joined by `+`.

    Args:
        max_body_bytes: of a job.
    """

    def __init__(self, *, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._of: dict[str, Outcome] = {}

    def start(self, lines: KeyedLines, submit: Callable[[bytes], str]) -> None:
        """Start as many jobs as these lines take.

        Args:
            lines: of the people.
            submit: starts a job with a file, and returns its id.

        Raises:
            AttemptError, RefusedCallError, DestinationError, DestinationUnavailableError: nothing of the batch was
                started.
        """
        owners, start = lines.owners, 0
        for body, count in csv_files(lines.table, most_bytes=self._max_body_bytes):
            try:
                job = submit(body)
            except (AttemptError, RefusedCallError, DestinationError, DestinationUnavailableError):
                # INVARIANT: `send` raises only for a batch of which certainly nothing was applied.
                if not self._of:
                    raise
                self._of |= dict.fromkeys(owners[start:], _NOT_STARTED)
                return
            self._add(dict.fromkeys(owners[start : start + count], Outcome(RowStatus.PENDING, job)))
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
        of, others = self._of, refused or {}
        return Outcomes.of(of[key] if key in of else others.get(row, otherwise) for row, key in enumerate(keys))

    def _add(self, started: Mapping[str, Outcome]) -> None:
        for key in self._of.keys() & started.keys():
            before, now = self._of[key], started[key]
            if before.status is RowStatus.PENDING:
                before = Outcome(RowStatus.PENDING, f"{before.code}+{now.code}")
            self._of[key] = before
        self._of = {**started, **self._of}


def gone(
    people: Sequence[str], left: Mapping[str, Sequence[str]], outcome_of: Callable[[str], Outcome]
) -> list[Outcome]:
    """Return the outcomes of a deletion, after a question about who is left; a person who is not has been removed.

    Args:
        people: by key.
        left: the records of people who have one, by key.
        outcome_of: returns the outcome of a record in the job. An accepted one that is still there is uncertain.
    """
    found = {key: worst([outcome_of(record) for record in records]) for key, records in left.items()}
    return [_STILL_THERE if key in left and found[key] == ACCEPTED else found.get(key, ACCEPTED) for key in people]


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the first outcome that is not accepted; accepted if there is none."""
    return next((outcome for outcome in outcomes if outcome != ACCEPTED), ACCEPTED)
