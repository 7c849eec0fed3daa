"""Results of the rows of a set of changes, by position. They hold batches and times, never a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.contract.outcomes import RowStatus
from airflow_consent_retl.values.buffers import values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.contract.outcomes import Outcome, Outcomes

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Stands for a missing time: earlier than all others.
NEVER = np.iinfo(np.int64).min
UNCHANGED, ACCEPTED, UNCERTAIN = 0, 1, 2
_CODES = {
    RowStatus.ACCEPTED: ACCEPTED,
    RowStatus.UNCERTAIN: UNCERTAIN,
    RowStatus.PENDING: UNCERTAIN,
    RowStatus.REJECTED: UNCHANGED,
    RowStatus.WITHHELD: UNCHANGED,
    RowStatus.UNSENT: UNCHANGED,
}


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one batch.

    Args:
        start: the position of its first row.
        outcomes: of its rows; `pending` counts as uncertain.
        unsettled_until: the time until which a request with these rows that was never answered may still take effect.
        at: when the last request with these rows was made.
    """

    start: int
    outcomes: Outcomes
    unsettled_until: datetime | None
    at: datetime


class RowResults:
    """The results of all rows of one kind, by position: a byte for each row, and times for each batch.

    Args:
        results: of the batches, in ascending order of position; rows that no batch covers were not sent.
        rows: the number of rows.

    Raises:
        ValueError: results overlap, are out of order, or belong to no row.
    """

    def __init__(self, results: Iterable[BatchResult], rows: int) -> None:
        self._codes = np.full(rows, UNCHANGED, dtype=np.int8)
        batches: list[tuple[int, int, int, int]] = []
        ended = 0
        for result in results:
            if not result.outcomes.rows:
                continue
            if result.start < ended:
                raise ValueError("results of batches must be in the order of their positions, without overlap")
            ended = result.start + result.outcomes.rows
            if ended > rows:
                raise ValueError("results of batches must belong to existing rows")
            self._codes[result.start : ended] = _code(result.outcomes.common)
            for row, outcome in result.outcomes.exceptions.items():
                self._codes[result.start + row] = _code(outcome)
            unsettled = NEVER if result.unsettled_until is None else _microseconds(result.unsettled_until)
            batches.append((result.start, ended, unsettled, _microseconds(result.at)))
        # The first entry stands for all rows that no batch covers.
        known = np.array([(-1, -1, NEVER, NEVER), *batches], dtype=np.int64)
        self._starts, self._ends, self._unsettled, self._at = known.T

    def of_sent(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows with `code`, `unsettled_until` and `at` instead of `position`.

        Unchanged rows are left out: the delivered state stays as it is for them.
        """
        positions = values_of(rows["position"], np.int64)
        codes = self._codes[positions]
        touched = np.flatnonzero(codes != UNCHANGED)
        if len(touched) < len(codes):
            rows, codes, positions = rows.take(pa.array(touched)), codes[touched], positions[touched]
        batches = self._batches_of(positions)
        place = rows.schema.get_field_index("position")
        return (
            rows.set_column(place, "code", pa.array(codes))
            .add_column(place + 1, "unsettled_until", pa.array(self._unsettled[batches]))
            .add_column(place + 2, "at", pa.array(self._at[batches]))
        )

    def of_removed(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows with `accepted`, the time `at` of the request, and `unsettled_until`, not `position`."""
        positions = values_of(rows["position"], np.int64)
        batches = self._batches_of(positions)
        found = {
            "entry": rows["entry"],
            "accepted": self._codes[positions] == ACCEPTED,
            "at": self._at[batches],
            "unsettled_until": self._unsettled[batches],
        }
        # The other columns as they are.
        return pa.record_batch({name: rows[name] for name in rows.schema.names if name != "position"} | found)

    def _batches_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        batches = np.searchsorted(self._starts, positions, side="right") - 1
        return np.where(positions < self._ends[batches], batches, 0)


def _code(outcome: Outcome) -> int:
    if outcome.is_for_good:
        # The state has no entry for such people but that of the others: a removal finds no one, and is done.
        return ACCEPTED
    # INVARIANT: a person of whom anything may be there is in the removal set.
    return UNCERTAIN if outcome.is_partly_applied else _CODES[outcome.status]


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND
