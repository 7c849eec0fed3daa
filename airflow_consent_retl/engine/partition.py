"""Writes rows into one set of Parquet parts per group, each row once, in bounded memory.

It is told each row's group and never asks why.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.workspace.folder import Folder, PartWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.workspace.manifest import Part

ROW_GROUP_ROWS = 32_768
_BUFFER_BYTES = 24 << 20
# Groups with an open file. Beyond it the one written least recently is closed, and continues in a further part.
_OPEN_FILES = 128
# Work that waits for a thread holds memory.
_SCATTERING_BATCHES = 2
_WRITING_TABLES = 3


@dataclass(slots=True)
class _Group:
    prefix: str
    buffered: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0
    writer: PartWriter | None = None
    parts: list[Part] = field(default_factory=list)
    pending: Future[None] | None = None


class PartitionedWriter:
    """Splits batches by group and writes each group's rows, in order, into parts of its own.

    Memory is bounded by a buffer for all groups together, whatever their number: when it is full, the largest groups
    are written first. The same rows in the same batches always end in the same files.

    Args:
        folder: where the parts go.
        schema: of every batch.
        prefixes: the beginning of the parts' names, for each group.
        dictionary_columns: columns that repeat themselves enough for a dictionary to pay.
    """

    def __init__(
        self, folder: Folder, schema: pa.Schema, prefixes: Mapping[int, str], *, dictionary_columns: list[str]
    ) -> None:
        self._folder = folder
        self._schema = schema
        self._dictionary_columns = dictionary_columns
        self._groups = {group: _Group(prefix) for group, prefix in prefixes.items()}
        self._open: dict[int, None] = {}
        self._writing: deque[Future[None]] = deque()
        self._scattering: deque[Future[list[tuple[int, pa.RecordBatch]]]] = deque()
        # Arrow encodes and compresses without holding Python's lock.
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="partition")

    def write(self, rows: pa.RecordBatch, groups: NDArray[np.int64]) -> None:
        """Add a batch; `groups` holds each row's group, negative for a row that goes nowhere."""
        if not rows.num_rows:
            return
        self._scattering.append(self._pool.submit(_scatter, rows, groups))
        if len(self._scattering) >= _SCATTERING_BATCHES:
            self._gather()

    def close(self) -> dict[int, list[Part]]:
        """Write what is left, finish the files, and return each group's parts."""
        while self._scattering:
            self._gather()
        for group, state in self._groups.items():
            if state.rows:
                self._flush(group)
        for group in list(self._open):
            self._close_file(group)
        self._pool.shutdown()
        return {group: state.parts for group, state in self._groups.items()}

    def abort(self) -> None:
        """Stop writing. The folder is the caller's to remove."""
        self._pool.shutdown(cancel_futures=True)
        for group in self._open:
            writer = self._groups[group].writer
            if writer is not None:
                writer.abort()

    def _gather(self) -> None:
        for group, rows in self._scattering.popleft().result():
            self._buffer(group, rows)
        self._relieve()

    def _buffer(self, group: int, rows: pa.RecordBatch) -> None:
        state = self._groups[group]
        state.buffered.append(rows)
        state.rows += rows.num_rows
        state.size_bytes += rows.nbytes
        if state.rows >= ROW_GROUP_ROWS:
            self._flush(group)

    def _relieve(self) -> None:
        total = sum(state.size_bytes for state in self._groups.values())
        if total < _BUFFER_BYTES:
            return
        for group, state in sorted(self._groups.items(), key=lambda item: -item[1].size_bytes):
            if total < _BUFFER_BYTES // 2:
                break
            total -= state.size_bytes
            self._flush(group)

    def _flush(self, group: int) -> None:
        state = self._groups[group]
        table = pa.Table.from_batches(state.buffered, schema=self._schema)
        state.buffered, state.rows, state.size_bytes = [], 0, 0
        writer = self._writer(group)
        self._wait(state)
        state.pending = self._pool.submit(writer.write, table)
        self._writing.append(state.pending)
        if len(self._writing) > _WRITING_TABLES:
            self._writing.popleft().result()

    def _writer(self, group: int) -> PartWriter:
        state = self._groups[group]
        if state.writer is None:
            if len(self._open) >= _OPEN_FILES:
                self._close_file(next(iter(self._open)))
            state.writer = PartWriter(
                self._folder,
                f"{state.prefix}-{len(state.parts):05d}.parquet",
                self._schema,
                row_group_rows=ROW_GROUP_ROWS,
                dictionary_columns=self._dictionary_columns,
            )
        # Moved to the end: the order is that of last use.
        self._open.pop(group, None)
        self._open[group] = None
        return state.writer

    def _close_file(self, group: int) -> None:
        state = self._groups[group]
        self._wait(state)
        del self._open[group]
        if state.writer is not None:
            state.parts.append(state.writer.close())
            state.writer = None

    @staticmethod
    def _wait(state: _Group) -> None:
        if state.pending is not None:
            state.pending.result()
            state.pending = None


def _scatter(rows: pa.RecordBatch, groups: NDArray[np.int64]) -> list[tuple[int, pa.RecordBatch]]:
    order = np.argsort(groups, kind="stable")
    present, starts = np.unique(groups[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    return [
        # Taken, not sliced: a slice of a rare group would keep its whole batch in memory.
        (group, rows.take(pa.array(order[begin:end])))
        for group, begin, end in zip(present.tolist(), starts.tolist(), ends.tolist(), strict=True)
        if group >= 0
    ]
