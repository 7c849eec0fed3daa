"""A spill: rows in numbered partitions, in memory as far as they fit, otherwise in a temporary file without a name.

The file is private, and it disappears with the process, however that ends.
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

from airflow_consent_retl.values.temporary import temporary_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BUFFER_BYTES = 8 << 20


class Spill:
    """Rows that are added in batches, each with the number of its partition, and read partition by partition.

    The rows of a partition are read in the order in which they were added. A context manager.

    Args:
        schema: of every batch.
        partitions: the number of partitions, at most 65,536.
        buffer_bytes: roughly how much is kept in memory before it is written.
    """

    def __init__(self, schema: pa.Schema, partitions: int, *, buffer_bytes: int = _BUFFER_BYTES) -> None:
        self.schema = schema
        self.partitions = partitions
        self.rows = 0
        self._buffer_bytes = buffer_bytes
        self._pending: list[pa.RecordBatch] = []
        self._pending_numbers: list[NDArray[np.int64]] = []
        self._pending_bytes = 0
        self._file: IO[bytes] | None = None
        self._size_bytes = 0
        # For each partition, the places of its pieces in the file.
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(partitions)]
        self._sorted: tuple[pa.RecordBatch, NDArray[np.int64]] | None = None

    def put(self, rows: pa.RecordBatch, numbers: NDArray[np.generic]) -> None:
        """Add rows, each to the partition with its number."""
        if not rows.num_rows:
            return
        self.rows += rows.num_rows
        self._pending.append(rows)
        self._pending_numbers.append(numbers.astype(np.int64, copy=False))
        self._pending_bytes += rows.nbytes + 8 * rows.num_rows
        if self._pending_bytes > self._buffer_bytes:
            self._write()

    def take(self, partition: int) -> pa.RecordBatch:
        """Return the rows of a partition. After the first call no rows can be added."""
        rows, cuts = self.seal()
        found = [self._read(*piece) for piece in self._pieces[partition]]
        if cuts[partition] < cuts[partition + 1] or not found:
            found.append(rows.slice(cuts[partition], cuts[partition + 1] - cuts[partition]))
        return pa.concat_batches(found) if len(found) > 1 else found[0]

    def has_rows(self, partition: int) -> bool:
        """Tell whether a partition has any. After the first call no rows can be added."""
        _, cuts = self.seal()
        return bool(self._pieces[partition]) or bool(cuts[partition] < cuts[partition + 1])

    def seal(self) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        """Sort the rows in memory, if there is time before the first `take`. No rows can be added afterwards."""
        if self._sorted is None:
            self._sorted = self._sort()
        return self._sorted

    def close(self) -> None:
        """Close the file, which deletes it."""
        if self._file is not None:
            self._file.close()

    def _sort(self) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        """Return the rows in memory in the order of their partitions, and where each partition begins."""
        if not self._pending:
            no_rows = pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in self.schema], schema=self.schema)
            return no_rows, np.zeros(self.partitions + 1, np.int64)
        rows, numbers = pa.concat_batches(self._pending), np.concatenate(self._pending_numbers)
        self._pending, self._pending_numbers, self._pending_bytes = [], [], 0
        cuts = np.zeros(self.partitions + 1, np.int64)
        np.cumsum(np.bincount(numbers, minlength=self.partitions), out=cuts[1:])
        if self.partitions > 1:
            order = np.argsort(numbers.astype(np.uint16), kind="stable")
            rows = rows.take(pa.array(order))
        return rows, cuts

    def _write(self) -> None:
        rows, cuts = self._sort()
        file = self._spill_file()
        for partition in np.flatnonzero(np.diff(cuts)).tolist():
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, self.schema) as stream:
                stream.write_batch(rows.slice(cuts[partition], cuts[partition + 1] - cuts[partition]))
            written = sink.getvalue()
            file.write(memoryview(written))
            self._pieces[partition].append((self._size_bytes, written.size))
            self._size_bytes += written.size
        file.flush()

    def _read(self, start: int, size_bytes: int) -> pa.RecordBatch:
        content = os.pread(self._spill_file().fileno(), size_bytes, start)
        with pa.ipc.open_stream(content) as stream:
            return stream.read_next_batch()

    def _spill_file(self) -> IO[bytes]:
        if self._file is None:
            self._file = temporary_file()
        return self._file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def partitions_for(rows: int, *, partition_rows: int, at_most: int) -> int:
    """Return a power of two: the number of partitions with about `partition_rows` rows each."""
    partitions = 1
    while partitions * partition_rows < rows and partitions < at_most:
        partitions *= 2
    return partitions
