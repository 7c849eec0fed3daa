"""Matching of rows with entries of the delivered state: first by bucket, then exactly by id."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.delivered import entry_schema
from airflow_consent_retl.values.buffers import values_of
from airflow_consent_retl.values.ids import BUCKET_BITS, BUCKETS, ORDER_TAG, as_type, buckets
from airflow_consent_retl.values.pipeline import read_ahead
from airflow_consent_retl.values.spill import Spill, partitions_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.delivered import DeliveredState

_PARTITION_ROWS = 131_072
_READ_ROWS = 131_072


@dataclass(frozen=True, slots=True)
class Match:
    """The rows that entries belong to.

    Args:
        owners: for each entry the row with the same id, or -1.
        people: the number of distinct ids of the entries.
    """

    owners: NDArray[np.int64]
    people: int


def match(ids: pa.Array, entry_ids: pa.Array) -> Match:
    """Find the row of each entry by comparing the ids themselves.

    Raises:
        RefusedError: an id is NULL, or two rows have the same id.
    """
    encoded = pa.concat_arrays([ids, entry_ids]).dictionary_encode()
    if encoded.null_count:
        raise RefusedError("a permitted row has no id")
    codes = values_of(encoded.indices, np.int32)
    # Each new id gets the next code.
    if not np.array_equal(codes[: len(ids)], np.arange(len(ids), dtype=np.int32)):
        raise RefusedError("the permitted rows contain an id more than once")
    owners = codes[len(ids) :]
    seen = np.zeros(len(encoded.dictionary), dtype=np.bool_)
    seen[owners] = True
    return Match(np.where(owners < len(ids), owners, np.int32(-1)).astype(np.int64), int(np.count_nonzero(seen)))


def places_of(entries: pa.RecordBatch, chosen: pa.RecordBatch) -> NDArray[np.int64]:
    """Return the places of chosen entries among others, by the numbers in the columns `entry`."""
    numbers = values_of(entries["entry"], np.int64)
    order = np.argsort(numbers, kind="stable")
    places: NDArray[np.int64] = order[np.searchsorted(numbers[order], values_of(chosen["entry"], np.int64))]
    return places


@dataclass(frozen=True, slots=True)
class Partitions:
    """The assignment of buckets to partitions, so that the rows of each partition fit in memory.

    Args:
        count: the number of partitions: a power of two, at most the number of buckets.
    """

    count: int

    @classmethod
    def for_rows(cls, rows: int) -> Self:
        """Return partitions for this number of rows, that of the larger side."""
        return cls(partitions_for(rows, partition_rows=_PARTITION_ROWS, at_most=BUCKETS))

    def of(self, some: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Return the partition of each bucket."""
        return some >> np.uint16(BUCKET_BITS - (self.count.bit_length() - 1))


class StatePartitions:
    """The entries of a delivered state, partition by partition, each with its number. A context manager.

    Args:
        state: the delivered state, which the caller verifies; None has no entries.
        id_type: the type in which ids are compared.
        partitions: the assignment of buckets to partitions.
        reading: one thread that reads ahead.
    """

    def __init__(
        self, state: DeliveredState | None, id_type: pa.DataType, partitions: Partitions, reading: Executor
    ) -> None:
        self._state = state
        self._partitions = partitions
        self._reading = reading
        self._spill: Spill | None = None
        removal_type = pa.struct([]) if state is None else state.shape.removal_type
        self._id_type = id_type
        self.schema = entry_schema(id_type, removal_type).append(pa.field("entry", pa.int64(), nullable=False))

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Yield the entries of each partition, in ascending order of the partitions."""
        state = self._state
        if state is None or not state.manifest.parts:
            return (self._no_entries() for _ in range(self._partitions.count))
        if state.manifest.order_tag == ORDER_TAG and state.id_type == self._id_type:
            return self._in_order(state)
        return self._reordered(state)

    def _numbered(self, state: DeliveredState) -> Iterator[pa.RecordBatch]:
        start = 0
        for rows in read_ahead(state.entries(_READ_ROWS), self._reading):
            numbers = pa.array(np.arange(start, start + rows.num_rows, dtype=np.int64))
            start += rows.num_rows
            yield pa.RecordBatch.from_arrays([*rows.columns, numbers], names=[*rows.schema.names, "entry"])

    def _in_order(self, state: DeliveredState) -> Iterator[pa.RecordBatch]:
        partition, last = 0, np.uint16(0)
        pending: list[pa.RecordBatch] = []
        for rows in self._numbered(state):
            found = values_of(rows.column("bucket"), np.uint16)
            if found[0] < last or (found[1:] < found[:-1]).any():
                raise RefusedError(f"{state.folder.uri}: the entries are not in the order that the manifest names")
            last = found[-1]
            numbers = self._partitions.of(found).astype(np.int64)
            begin = 0
            while begin < len(numbers):
                for _ in range(partition, numbers[begin]):
                    yield self._joined(pending)
                    pending = []
                partition = int(numbers[begin])
                end = int(np.searchsorted(numbers, partition, side="right"))
                pending.append(self._typed(rows.slice(begin, end - begin)))
                begin = end
        for _ in range(partition, self._partitions.count):
            yield self._joined(pending)
            pending = []

    def _reordered(self, state: DeliveredState) -> Iterator[pa.RecordBatch]:
        self._spill = Spill(self.schema, self._partitions.count)
        for rows in self._numbered(state):
            ids = as_type(rows.column("id"), self._id_type, primary_key=state.manifest.primary_key)
            found = buckets(ids)
            columns = {**dict(zip(rows.schema.names, rows.columns, strict=True)), "id": ids, "bucket": pa.array(found)}
            self._spill.put(
                pa.RecordBatch.from_arrays([columns[name] for name in self.schema.names], schema=self.schema),
                self._partitions.of(found),
            )
        for partition in range(self._partitions.count):
            yield self._spill.take(partition)

    def _typed(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(rows.columns, schema=self.schema)

    def _joined(self, pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
        if not pieces:
            return self._no_entries()
        return pa.concat_batches(pieces) if len(pieces) > 1 else pieces[0]

    def _no_entries(self) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in self.schema], schema=self.schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._spill is not None:
            self._spill.close()
