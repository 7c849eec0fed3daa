"""Verdicts of a source's answers about some people, and the people who are not permitted by them.

Memory: 3 bytes for each person, and some bytes for each person who is not permitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent import CauseRank
from airflow_consent_retl.filtering.consent_answers import PERMITTED, WITHOUT_FIELDS
from airflow_consent_retl.values.buffers import values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The type of times in answers.
MOMENT = pa.timestamp("us", tz="UTC")
_UNSEEN = np.iinfo(np.int16).min


@dataclass(frozen=True, slots=True)
class Denials:
    """The people who are not permitted everything.

    Args:
        positions: of the people, ascending.
        verdicts: the strongest verdict about each, see `ConsentAnswers`.
        moments: the times of those who are not permitted at all, as far as the source has them, in no order.
    """

    positions: NDArray[np.int64]
    verdicts: NDArray[np.int16]
    moments: list[datetime]


class FoundVerdicts:
    """The verdicts about people, who have positions from 0 on.

    Args:
        people: how many there are.
    """

    def __init__(self, people: int) -> None:
        # The strongest verdict about each person: causes are above `PERMITTED`, permissions without some fields below.
        self._strongest = np.full(people, _UNSEEN, dtype=np.int16)
        self._repeated = np.zeros(people, dtype=np.bool_)
        # The times of the rows that deny, as far as they have one: positions, and times as they are in `moments`.
        self._times: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def add(
        self, positions: NDArray[np.int64] | NDArray[np.int32], verdicts: NDArray[np.int16], moments: pa.Array
    ) -> None:
        """Add verdicts (see `ConsentAnswers`) about people, with times in microseconds. A person may have several."""
        ordered = np.sort(positions)
        self._repeated[ordered[1:][ordered[1:] == ordered[:-1]]] = True
        before = self._strongest[positions]
        self._repeated[positions[before != _UNSEEN]] = True
        ranks = np.where(verdicts < WITHOUT_FIELDS, verdicts, WITHOUT_FIELDS - 1 - verdicts)
        repeated = self._repeated[positions]
        self._strongest[positions] = ranks
        if repeated.any():
            # Of several rows in one batch the assignment kept any.
            self._strongest[positions] = np.maximum(before, ranks)
            np.maximum.at(self._strongest, positions[repeated], ranks[repeated])
        denies = (verdicts != PERMITTED) | repeated
        if moments.null_count < len(moments) and denies.any():
            timed = np.flatnonzero(denies & moments.is_valid().to_numpy(zero_copy_only=False))
            self._times.append((positions[timed].astype(np.int64), values_of(moments, np.int64)[timed]))

    def denials(self) -> Denials:
        """Return who is not permitted everything.

        If one person has several rows, the strongest cause counts. Having several rows is itself a cause.
        """
        positions = np.flatnonzero((self._strongest != PERMITTED) | self._repeated)
        ranks, repeated = self._strongest[positions], self._repeated[positions]
        verdicts = np.where(ranks < PERMITTED, WITHOUT_FIELDS - 1 - ranks, ranks)
        verdicts[ranks == _UNSEEN] = CauseRank.LEFT_MODEL
        # A row of several that permits, with or without some fields, is no cause by itself.
        verdicts[repeated] = np.maximum(ranks[repeated], CauseRank.ID_AMBIGUOUS)
        return Denials(positions, verdicts.astype(np.int16), self._moments(positions[verdicts < WITHOUT_FIELDS]))

    def _moments(self, denied: NDArray[np.int64]) -> list[datetime]:
        """Return the latest time of the rows that deny each of these people, as far as they have one."""
        if not self._times:
            return []
        positions = np.concatenate([some for some, _ in self._times])
        moments = np.concatenate([some for _, some in self._times])
        rows = np.flatnonzero(np.isin(positions, denied))
        rows = rows[np.lexsort((moments[rows], positions[rows]))]
        latest = np.append(positions[rows][1:] != positions[rows][:-1], True)[: len(rows)]
        found: list[datetime] = pa.array(moments[rows[latest]]).cast(MOMENT).to_pylist()
        return found
