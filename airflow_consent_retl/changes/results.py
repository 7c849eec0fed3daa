"""What became of each row of a set of changes, by its position. Knows batches and moments, never a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.contract.outcomes import RowStatus
from airflow_consent_retl.values.canonical import values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.contract.outcomes import Outcomes

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# In place of no moment: before all others.
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
    """What became of one batch.

    Args:
        start: the position of its first row.
        outcomes: of its rows; `pending` counts as uncertain.
        unsettled_until: until when a request with these rows that was never answered may still take effect.
        at: when the last request with these rows was made.
    """

    start: int
    outcomes: Outcomes
    unsettled_until: datetime | None
    at: datetime


class RowResults:
    """What became of all rows of one kind, by position: a byte for each row, and moments for each batch.

    Args:
        fates: in ascending order of position; rows that none covers were not sent.
        rows: how many there are.

    Raises:
        ValueError: fates that overlap, are out of order, or belong to no row.
    """

    def __init__(self, fates: Iterable[BatchResult], rows: int) -> None:
        self._codes = np.full(rows, UNCHANGED, dtype=np.int8)
        batches: list[tuple[int, int, int, int]] = []
        ended = 0
        for fate in fates:
            if not fate.outcomes.rows:
                continue
            if fate.start < ended:
                raise ValueError("fates have to be in the order of their positions, without overlap")
            ended = fate.start + fate.outcomes.rows
            if ended > rows:
                raise ValueError("a fate belongs to no row")
            self._codes[fate.start : ended] = _CODES[fate.outcomes.common.status]
            for row, outcome in fate.outcomes.exceptions.items():
                self._codes[fate.start + row] = _CODES[outcome.status]
            unsettled = NEVER if fate.unsettled_until is None else _microseconds(fate.unsettled_until)
            batches.append((fate.start, ended, unsettled, _microseconds(fate.at)))
        # The first one stands for all rows that no batch covers.
        known = np.array([(-1, -1, NEVER, NEVER), *batches], dtype=np.int64)
        self._starts, self._ends, self._unsettled, self._at = known.T

    def of_sent(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return the rows with `code`, `unsettled_until` and `at` in place of `position`.

        Those with whom nothing happened are left out: they are where they were.
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
        """Return the rows with whether they were `accepted`, when that was asked for (`at`), and `unsettled_until`."""
        positions = values_of(rows["position"], np.int64)
        batches = self._batches_of(positions)
        return pa.record_batch(
            {
                "entry": rows["entry"],
                "accepted": self._codes[positions] == ACCEPTED,
                "at": self._at[batches],
                "unsettled_until": self._unsettled[batches],
            }
        )

    def _batches_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        batches = np.searchsorted(self._starts, positions, side="right") - 1
        return np.where(positions < self._ends[batches], batches, 0)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
