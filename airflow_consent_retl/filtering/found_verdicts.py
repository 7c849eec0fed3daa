"""Verdicts of a source's answers about some people, and the people who are not permitted by them.

Memory: 2 bytes for each person, and some bytes for each person who is not permitted.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.consent import CauseRank
from airflow_consent_retl.filtering.consent_answers import PERMITTED, WITHOUT_FIELDS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FoundVerdicts:
    """The verdicts about people, who have positions from 0 on.

    Args:
        people: how many there are.
    """

    def __init__(self, people: int) -> None:
        self._seen = np.zeros(people, dtype=np.bool_)
        self._repeated = np.zeros(people, dtype=np.bool_)
        # The rows that deny: those that do not permit everything, and further rows of a person.
        self._denied: list[pa.RecordBatch] = []

    def add(self, rows: pa.RecordBatch) -> None:
        """Add rows: `position`, `verdict` (see `ConsentAnswers`) and `moment`. A person may have several rows."""
        if not rows.num_rows:
            return
        positions = rows.column("position").to_numpy()
        verdicts = rows.column("verdict").to_numpy()
        ordered = np.sort(positions)
        self._repeated[ordered[1:][ordered[1:] == ordered[:-1]]] = True
        self._repeated[positions[self._seen[positions]]] = True
        self._seen[positions] = True
        denies = (verdicts != PERMITTED) | self._repeated[positions]
        if denies.any():
            # A copy: a slice would keep the whole batch in memory.
            self._denied.append(rows.filter(pa.array(denies)))

    def not_permitted(self) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        """Return the positions of the people who are not permitted everything, ascending, and their verdicts.

        If one person has several rows, the strongest cause counts. Having several rows is itself a cause.
        """
        positions, verdicts = self._denials()
        # A row of several that permits, with or without some fields, is no cause by itself.
        counted = (verdicts < WITHOUT_FIELDS) & (verdicts != PERMITTED) | ~self._repeated[positions]
        positions, verdicts = positions[counted], verdicts[counted]
        missing, repeated = np.flatnonzero(~self._seen), np.flatnonzero(self._repeated)
        positions = np.concatenate([positions, missing, repeated])
        verdicts = np.concatenate(
            [
                verdicts,
                np.full(len(missing), CauseRank.LEFT_MODEL, dtype=np.int16),
                np.full(len(repeated), CauseRank.ID_AMBIGUOUS, dtype=np.int16),
            ]
        )
        order = np.lexsort((verdicts, positions))
        positions, verdicts = positions[order], verdicts[order]
        strongest = np.append(positions[1:] != positions[:-1], True)[: len(positions)]
        return positions[strongest], verdicts[strongest]

    def moments(self, positions: NDArray[np.int64]) -> list[datetime]:
        """Return the latest time of the rows that deny each of these people, as far as they have one."""
        if not self._denied:
            return []
        rows = pa.Table.from_batches(self._denied)
        of_people = rows.filter(pc.is_in(rows.column("position"), pa.array(positions)))
        latest = of_people.group_by("position").aggregate([("moment", "max")]).column("moment_max")
        found: list[datetime] = latest.drop_null().to_pylist()
        return found

    def _denials(self) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        if not self._denied:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int16)
        table = pa.Table.from_batches(self._denied)
        return table.column("position").to_numpy(), table.column("verdict").to_numpy()
