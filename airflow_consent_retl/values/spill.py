"""Rows put apart by number, in memory as far as they fit, else in a temporary file without a name.

The file is private, and gone as soon as nobody holds it, however the process ends.
"""

from __future__ import annotations

import os
import tempfile
from typing import IO, TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BUFFER_BYTES = 32 << 20


class Spill:
    """Takes batches in, in which each row has the number of a drawer, and gives back drawer by drawer.

    The rows of a drawer come back in the order in which they were put in. A context manager.

    Args:
        schema: of every batch.
        drawers: how many there are, at most 65,536.
        buffer_bytes: what is held in memory, roughly, before it is written.
    """

    def __init__(self, schema: pa.Schema, drawers: int, *, buffer_bytes: int = _BUFFER_BYTES) -> None:
        self.schema = schema
        self.drawers = drawers
        self.rows = 0
        self._buffer_bytes = buffer_bytes
        self._pending: list[pa.RecordBatch] = []
        self._pending_numbers: list[NDArray[np.int64]] = []
        self._pending_bytes = 0
        self._file: IO[bytes] | None = None
        self._size_bytes = 0
        # Of each drawer, where its pieces are in the file.
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(drawers)]
        self._sorted: tuple[pa.RecordBatch, NDArray[np.int64]] | None = None

    def put(self, rows: pa.RecordBatch, numbers: NDArray[np.generic]) -> None:
        """Put each row into the drawer with its number."""
        if not rows.num_rows:
            return
        self.rows += rows.num_rows
        self._pending.append(rows)
        self._pending_numbers.append(numbers.astype(np.int64, copy=False))
        self._pending_bytes += rows.nbytes + 8 * rows.num_rows
        if self._pending_bytes > self._buffer_bytes:
            self._write()

    def take(self, drawer: int) -> pa.RecordBatch:
        """Return the rows of a drawer. After the first call nothing can be put in any more."""
        rows, cuts = self.seal()
        found = [self._read(*piece) for piece in self._pieces[drawer]]
        if cuts[drawer] < cuts[drawer + 1] or not found:
            found.append(rows.slice(cuts[drawer], cuts[drawer + 1] - cuts[drawer]))
        return pa.concat_batches(found) if len(found) > 1 else found[0]

    def seal(self) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        """Sort what is in memory, for whoever has the time before the first `take`; nothing is put in any more."""
        if self._sorted is None:
            self._sorted = self._sort()
        return self._sorted

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _sort(self) -> tuple[pa.RecordBatch, NDArray[np.int64]]:
        """Return what is in memory in the order of its drawers, and where each begins."""
        if not self._pending:
            nobody = pa.RecordBatch.from_arrays([pa.nulls(0, f.type) for f in self.schema], schema=self.schema)
            return nobody, np.zeros(self.drawers + 1, np.int64)
        rows, numbers = pa.concat_batches(self._pending), np.concatenate(self._pending_numbers)
        self._pending, self._pending_numbers, self._pending_bytes = [], [], 0
        cuts = np.zeros(self.drawers + 1, np.int64)
        np.cumsum(np.bincount(numbers, minlength=self.drawers), out=cuts[1:])
        if self.drawers > 1:
            order = np.argsort(numbers.astype(np.uint16), kind="stable")
            rows = rows.take(pa.array(order))
        return rows, cuts

    def _write(self) -> None:
        rows, cuts = self._sort()
        file = self._spill_file()
        for drawer in np.flatnonzero(np.diff(cuts)).tolist():
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, self.schema) as stream:
                stream.write_batch(rows.slice(cuts[drawer], cuts[drawer + 1] - cuts[drawer]))
            written = sink.getvalue()
            file.write(memoryview(written))
            self._pieces[drawer].append((self._size_bytes, written.size))
            self._size_bytes += written.size
        file.flush()

    def _read(self, start: int, size_bytes: int) -> pa.RecordBatch:
        content = os.pread(self._spill_file().fileno(), size_bytes, start)
        with pa.ipc.open_stream(content) as stream:
            return stream.read_next_batch()

    def _spill_file(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="consent-retl-")  # noqa: SIM115 - `close` closes it
        return self._file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def drawers_for(rows: int, *, drawer_rows: int, at_most: int) -> int:
    """Return a power of two of drawers that hold about so many rows each."""
    drawers = 1
    while drawers * drawer_rows < rows and drawers < at_most:
        drawers *= 2
    return drawers
