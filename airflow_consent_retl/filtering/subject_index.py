"""Ids of people by position, which a source's present answers are compared with, partition by partition.

Memory: some MiB, and some bytes for each person who is not permitted, whatever the number of people and answers. Ids
and answers lie in temporary files without a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.databases.source import MoreMemoryNeededError
from airflow_consent_retl.filtering.consent_answers import PERMITTED, WITHOUT_FIELDS, ConsentAnswers
from airflow_consent_retl.filtering.found_verdicts import FoundVerdicts
from airflow_consent_retl.filtering.silence import SilentCategories
from airflow_consent_retl.values.buffers import values_of
from airflow_consent_retl.values.ids import id_hashes
from airflow_consent_retl.values.pipeline import lean_memory
from airflow_consent_retl.values.spill import Spill, partitions_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PARTITION_ROWS, _MOST_PARTITIONS = 65_536, 4_096
_BUFFER_BYTES = 8 << 20
# The answers about other people are left out early, by one byte for each of these hashes: at least eight for a person.
_LEAST_MARKS, _MOST_MARKS = 1 << 12, 1 << 22
_TIME = pa.timestamp("us", tz="UTC")

# Called with the type that the ids must have.
Ask = Callable[[pa.DataType], Iterator[ConsentAnswers]]


class SubjectIndex:
    """Ids by position, to compare with a source's present answers. A context manager; its spill files are private.

    Args:
        ids: the ids in the order of their positions, which start at 0. An id may occur more than once.
        id_type: the type of all ids.
        people: how many ids there are, roughly: it sets the number of partitions.
    """

    def __init__(self, ids: Iterable[pa.Array], id_type: pa.DataType, *, people: int) -> None:
        self.id_type = id_type
        # The times of people that the last answer did not permit, as far as the source has them.
        self.moments: list[datetime] = []
        # The positions of permitted people from whose rows fields are withheld, by these fields.
        self.partial: dict[tuple[str, ...], NDArray[np.int64]] = {}
        # The opt-out categories to which no row of the last answer has an answer, whoever the row is about.
        self.silent: tuple[str, ...] = ()
        partitions = partitions_for(people, partition_rows=_PARTITION_ROWS, at_most=_MOST_PARTITIONS)
        marks = partitions_for(people, partition_rows=1, at_most=_MOST_MARKS // 8) * 8
        self._marks = np.zeros(max(_LEAST_MARKS, marks), dtype=np.bool_)
        self._resources = ExitStack()
        with ExitStack() as opening, lean_memory():
            schema = pa.schema([("position", pa.int64()), ("id", id_type)])
            self._people = opening.enter_context(Spill(schema, partitions, buffer_bytes=_BUFFER_BYTES))
            self._fill(ids)
            self._resources = opening.pop_all()

    def asked(self, ask: Ask, destination: str) -> dict[RemovalCause, NDArray[np.int64]]:
        """Ask, and return `not_permitted`; ask again where a plain scan needs more memory."""
        with lean_memory():
            try:
                return self.not_permitted(ask(self.id_type), destination)
            except MoreMemoryNeededError:
                return self.not_permitted(ask(self.id_type), destination)

    def not_permitted(
        self, answers: Iterator[ConsentAnswers], destination: str
    ) -> dict[RemovalCause, NDArray[np.int64]]:
        """Return the positions of the people who are not permitted now, by cause, ascending.

        A person that no answer names is removed for `left_model`. A person that several answers name is removed for
        `id_ambiguous`, unless one of them has a stronger cause.
        """
        partial: Sequence[tuple[str, ...]] = ()
        silent = SilentCategories()
        schema = pa.schema([("id", self.id_type), ("verdict", pa.int16()), ("moment", _TIME)])
        with Spill(schema, self._people.partitions, buffer_bytes=_BUFFER_BYTES) as kept:
            for answer in answers:
                partial, silent = answer.partial, answer.silent
                hashes = id_hashes(answer.ids)
                there = np.flatnonzero(self._marks[self._marks_of(hashes)])
                times = pa.nulls(len(answer.ids), _TIME) if answer.moments is None else answer.moments
                columns = [answer.ids, pa.array(answer.by_destination[destination]), times]
                rows = pa.RecordBatch.from_arrays(columns, schema=schema)
                if len(there) < len(hashes):
                    rows, hashes = rows.take(pa.array(there)), hashes[there]
                kept.put(rows, self._partition_of(hashes))
            # An answer that breaks off raises its error before this: who comes later in it would count as missing.
            self.silent = silent.found
            return self._compared(kept, partial)

    def _compared(self, answers: Spill, partial: Sequence[tuple[str, ...]]) -> dict[RemovalCause, NDArray[np.int64]]:
        self.moments = []
        positions, causes = [np.empty(0, np.int64)], [np.empty(0, np.int16)]
        for partition in range(self._people.partitions):
            if self._people.has_rows(partition):
                found, verdicts = self._compared_partition(partition, answers.take(partition))
                positions.append(found)
                causes.append(verdicts)
        position, cause = np.concatenate(positions), np.concatenate(causes)
        order = np.argsort(position)
        position, cause = position[order], cause[order]
        self.partial = {fields: position[cause == number] for number, fields in enumerate(partial, WITHOUT_FIELDS)}
        return {removed: position[cause == removed.rank] for removed in RemovalCause if (cause == removed.rank).any()}

    def _compared_partition(
        self, partition: int, answers: pa.RecordBatch
    ) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
        """Return the positions of people of one partition who are not permitted everything, and their verdicts."""
        people = self._people.take(partition)
        # The delivered state may have several entries for one person.
        encoded = people["id"].dictionary_encode()
        owners = pc.index_in(answers["id"], value_set=encoded.dictionary)
        found = FoundVerdicts(len(encoded.dictionary))
        about_people = pa.RecordBatch.from_arrays(
            [owners.cast(pa.int64()), answers["verdict"], answers["moment"]], names=["position", "verdict", "moment"]
        )
        found.add(about_people.filter(owners.is_valid()) if owners.null_count else about_people)
        denied, verdicts = found.not_permitted()
        self.moments += found.moments(denied[verdicts < WITHOUT_FIELDS])
        by_person = np.full(len(encoded.dictionary), PERMITTED, np.int16)
        by_person[denied] = verdicts
        by_entry = by_person[values_of(encoded.indices, np.int32)]
        places = np.flatnonzero(by_entry != PERMITTED)
        return values_of(people["position"], np.int64)[places], by_entry[places]

    def _fill(self, ids: Iterable[pa.Array]) -> None:
        start = 0
        for chunk in ids:
            positions = pa.array(np.arange(start, start + len(chunk), dtype=np.int64))
            hashes = id_hashes(chunk)
            self._marks[self._marks_of(hashes)] = True
            rows = pa.RecordBatch.from_arrays([positions, chunk], schema=self._people.schema)
            self._people.put(rows, self._partition_of(hashes))
            start += len(chunk)

    def _marks_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        # Below the bits that choose the partition.
        return hashes >> np.uint64(24) & np.uint64(len(self._marks) - 1)

    def _partition_of(self, hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
        # Two steps: a shift by 64 bits is not defined.
        return hashes >> np.uint64(1) >> np.uint64(64 - self._people.partitions.bit_length())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()
