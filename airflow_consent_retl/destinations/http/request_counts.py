"""The state of a request that is processed later, for vendors that report counts of its rows, and never the rows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.progress import module_log

log = module_log(__name__)

PARTIAL_SUCCESS = "partial_success"
UNKNOWN_STATE = "unknown_request_state"


class RequestState(StrEnum):
    """The progress of a request that was accepted."""

    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PARTIAL = "partial_success"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """The state of a request, with the vendor's counts.

    Args:
        state: see there.
        rows: the number of rows in the request; 0 if the vendor does not report it.
        errors: code to number of rows that failed with it.
        warnings: code to number of rows that were processed with it.
        code: the reason of the state, where no count shows it.
    """

    state: RequestState
    rows: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    code: str = ""

    def outcomes(self, rows: int) -> Outcomes | None:
        """Return the outcomes of the request's rows; None while it is processed.

        A partial success reports only counts, so each of its rows is uncertain.
        """
        match self.state:
            case RequestState.PROCESSING:
                return None
            case RequestState.SUCCEEDED:
                return Outcomes.accepted(rows)
            case RequestState.FAILED:
                codes = self.errors.most_common(1)
                return Outcomes.rejected(rows, codes[0][0] if codes else "processing_failed")
            case RequestState.PARTIAL:
                return Outcomes.uncertain(rows, PARTIAL_SUCCESS)
            case _:
                return Outcomes.uncertain(rows, self.code or UNKNOWN_STATE)

    def report(self, request_id: str, rows: int, items: str) -> None:
        """Log what failed, and what the vendor warns of.

        Args:
            request_id: of the request.
            rows: the number of its rows.
            items: what a row is there, such as `members`.
        """
        if self.state is RequestState.PARTIAL:
            log.warning(
                "request %s: %s of %s %s failed (%s), and the API does not name them: all are uncertain",
                request_id,
                f"{self.errors.total():,}",
                f"{self.rows or rows:,}",
                items,
                counted(self.errors),
            )
        elif self.state is RequestState.FAILED:
            log.warning("request %s: all %s %s failed (%s)", request_id, f"{rows:,}", items, counted(self.errors))
        if self.warnings:
            log.warning("request %s: processed with warnings (%s)", request_id, counted(self.warnings))
        if self.rows not in {0, rows}:
            log.warning("request %s had %s %s, its status is of %s", request_id, rows, items, self.rows)


def counted(codes: Counter[str]) -> str:
    """Return codes with their numbers, the most frequent ones first, for the log."""
    return ", ".join(f"{code} {count:,}" for code, count in codes.most_common()) or "no reason given"
