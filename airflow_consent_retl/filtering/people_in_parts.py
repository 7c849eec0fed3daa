"""People about to be sent, compared with a source's answers partition by partition.

Memory: some MiB, and some bytes for each person who is not permitted, whatever the number of people and answers. Ids
and answers lie in temporary files without a name.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.filtering.consent_answers import PERMITTED
from airflow_consent_retl.filtering.found_verdicts import MOMENT, Denials, FoundVerdicts
from airflow_consent_retl.values.buffers import values_of
from airflow_consent_retl.values.ids import id_hashes
from airflow_consent_retl.values.pipeline import in_order
from airflow_consent_retl.values.spill import Spill, partitions_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PARTITION_ROWS, _MOST_PARTITIONS = 65_536, 4_096
_BUFFER_BYTES = 8 << 20
_WORKERS = 2
# The answers about other people are left out early, by one byte for each of these hashes: at least eight for a person.
_LEAST_MARKS, _MOST_MARKS = 1 << 12, 1 << 22


def answers_schema(id_type: pa.DataType) -> pa.Schema:
    """Return the columns of a source's answers for one destination; for the verdicts see `ConsentAnswers`."""
    return pa.schema([("id", id_type), ("verdict", pa.int16()), ("moment", MOMENT)])


class PeopleInParts:
    """Ids by position, in partitions. An id may occur more than once: the delivered state may name a person again.

    Args:
        id_type: the type of all ids.
        people: how many ids there are, roughly: it sets the number of partitions.
    """

    def __init__(self, id_type: pa.DataType, *, people: int) -> None:
        partitions = partitions_for(people, partition_rows=_PARTITION_ROWS, at_most=_MOST_PARTITIONS)
        marks = partitions_for(people, partition_rows=1, at_most=_MOST_MARKS // 8) * 8
        self._marks = np.zeros(max(_LEAST_MARKS, marks), dtype=np.bool_)
        self._answers = answers_schema(id_type)
        schema = pa.schema([("position", pa.int64()), ("id", id_type)])
        self._people = Spill(schema, partitions, buffer_bytes=_BUFFER_BYTES)

    def add(self, ids: pa.Array, start: int) -> None:
        """Add ids at the positions from `start` on."""
        positions = pa.array(np.arange(start, start + len(ids), dtype=np.int64))
        hashes = id_hashes(ids)
        self._marks[self._marks_of(hashes)] = True
        rows = pa.RecordBatch.from_arrays([positions, ids], schema=self._people.schema)
        self._people.put(rows, self._partition_of(hashes))

    def denials(self, answers: Iterator[pa.RecordBatch]) -> Denials:
        """Return what the answers deny: batches of `answers_schema`."""
        with Spill(self._answers, self._people.partitions, buffer_bytes=_BUFFER_BYTES) as kept:
            for rows in answers:
                hashes = id_hashes(rows["id"])
                there = np.flatnonzero(self._marks[self._marks_of(hashes)])
                if len(there) < len(hashes):
                    rows, hashes = rows.take(pa.array(there)), hashes[there]  # noqa: PLW2901
                kept.put(rows, self._partition_of(hashes))
            pairs = (
                (self._people.take(partition), kept.take(partition))
                for partition in range(self._people.partitions)
                if self._people.has_rows(partition)
            )
            with ThreadPoolExecutor(_WORKERS, thread_name_prefix="compare") as working:
                found = list(in_order(self._compared, pairs, working, under_way=_WORKERS + 1))
        positions = np.concatenate([np.empty(0, np.int64), *(some.positions for some in found)])
        verdicts = np.concatenate([np.empty(0, np.int16), *(some.verdicts for some in found)])
        order = np.argsort(positions)
        return Denials(positions[order], verdicts[order], [moment for some in found for moment in some.moments])

    @staticmethod
    def _compared(pair: tuple[pa.RecordBatch, pa.RecordBatch]) -> Denials:
        """Compare a partition of the people with the one of the answers."""
        people, answers = pair
        encoded = people["id"].dictionary_encode()
        owners = pc.index_in(answers["id"], value_set=encoded.dictionary)
        found = FoundVerdicts(len(encoded.dictionary))
        if owners.null_count:
            answers, owners = answers.filter(owners.is_valid()), owners.drop_null()
        verdicts = values_of(answers["verdict"], np.int16)
        found.add(values_of(owners, np.int32).astype(np.int64), verdicts, answers["moment"])
        denied = found.denials()
        by_person = np.full(len(encoded.dictionary), PERMITTED, np.int16)
        by_person[denied.positions] = denied.verdicts
        by_entry = by_person[values_of(encoded.indices, np.int32)]
        places = np.flatnonzero(by_entry != PERMITTED)
        return Denials(values_of(people["position"], np.int64)[places], by_entry[places], denied.moments)

    def _marks_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        # Below the bits that choose the partition.
        return hashes >> np.uint64(24) & np.uint64(len(self._marks) - 1)

    def _partition_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        # Two steps: a shift by 64 bits is not defined.
        return hashes >> np.uint64(1) >> np.uint64(64 - self._people.partitions.bit_length())

    def close(self) -> None:
        """Delete the file."""
        self._people.close()
