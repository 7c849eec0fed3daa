"""People about to be sent whose ids are whole numbers that lie close together, compared with a source's answers.

Memory: 4 bytes for each number from the lowest to the highest, 3 for each person, and some bytes for each person who is
not permitted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from airflow_consent_retl.filtering.found_verdicts import Denials, FoundVerdicts
from airflow_consent_retl.values.buffers import integers_of, values_of
from airflow_consent_retl.values.number_table import NumberTable

# A table of this many numbers has 64 MiB, which partitions would not need; a sparse one would need more than they do.
_MOST_NUMBERS, _NUMBERS_FOR_A_PERSON, _LEAST_NUMBERS = 1 << 24, 8, 1 << 16


class PeopleByNumber:
    """Different integer ids by position.

    Args:
        id_type: the type of all ids, an integer.
        people: how many ids there are, roughly: it sets how far apart they may be.
    """

    def __init__(self, id_type: pa.DataType, *, people: int) -> None:
        self._id_type = id_type
        self._people = 0
        self._table = NumberTable(min(_MOST_NUMBERS, _NUMBERS_FOR_A_PERSON * people + _LEAST_NUMBERS))

    def add(self, ids: pa.Array, start: int) -> bool:
        """Add ids at the positions from `start` on. Return False, and add none, if one repeats or is too far away."""
        added = self._table.add(integers_of(ids), start)
        self._people += len(ids) if added else 0
        return added

    def ids(self) -> Iterator[pa.Array]:
        """Yield all ids in the order of their positions."""
        for numbers in self._table.numbers():
            found = pa.array(numbers.view(np.uint64) if pa.types.is_uint64(self._id_type) else numbers)
            yield found.cast(self._id_type)

    def denials(self, answers: Iterator[pa.RecordBatch]) -> Denials:
        """Return what the answers deny: batches of `answers_schema`."""
        found = FoundVerdicts(self._people)
        for rows in answers:
            positions = self._table.positions(integers_of(rows["id"]))
            there = np.flatnonzero(positions >= 0)
            about_people = rows if len(there) == len(positions) else rows.take(pa.array(there))
            verdicts = values_of(about_people["verdict"], np.int16)
            found.add(positions[there], verdicts, about_people["moment"])
        return found.denials()
