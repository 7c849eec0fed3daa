"""The writer of rows into one set of Parquet parts per group, each row once, in bounded memory.

The caller passes each row's group. The writer knows no decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.storage.part_writer import PartWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import Part

ROW_GROUP_ROWS = 32_768
_BUFFER_BYTES = 24 << 20
# The largest number of groups with an open file. Beyond it, the least recently written file is closed, and its group
# continues in a further part.
_OPEN_FILES = 128


@dataclass(slots=True)
class _Group:
    prefix: str
    buffered: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    size_bytes: int = 0
    writer: PartWriter | None = None
    parts: list[Part] = field(default_factory=list)


class PartitionedWriter:
    """A writer that splits batches by group and writes each group's rows, in order, into parts of its own.

    Memory is bounded by one buffer for all groups together, whatever their number: when it is full, the largest groups
    are written first. The same rows in the same batches always result in the same files.

    Args:
        folder: the folder of the parts.
        schema: the schema of every batch.
        prefixes: the beginning of the parts' names, for each group.
        dictionary_columns: columns whose values repeat often enough for dictionary encoding.
    """

    def __init__(
        self, folder: Folder, schema: pa.Schema, prefixes: Mapping[int, str], *, dictionary_columns: list[str]
    ) -> None:
        self._folder = folder
        self._schema = schema
        self._dictionary_columns = dictionary_columns
        self._groups = {group: _Group(prefix) for group, prefix in prefixes.items()}
        self._open: dict[int, None] = {}

    def write(self, rows: pa.RecordBatch, groups: NDArray[np.int64]) -> None:
        """Add a batch. `groups` contains each row's group, or a negative number for a row that is not written."""
        if not rows.num_rows:
            return
        order = np.argsort(groups, kind="stable")
        present, starts = np.unique(groups[order], return_index=True)
        ends = np.append(starts[1:], len(order))
        for group, begin, end in zip(present.tolist(), starts.tolist(), ends.tolist(), strict=True):
            if group >= 0:
                # A copy, not a slice: a slice of a rare group would keep its whole batch in memory.
                self._buffer(group, rows.take(pa.array(order[begin:end])))
        self._relieve()

    def close(self) -> dict[int, list[Part]]:
        """Write the remaining rows, finish the files, and return each group's parts."""
        for group, state in self._groups.items():
            if state.rows:
                self._flush(group)
        for group in list(self._open):
            self._close_file(group)
        return {group: state.parts for group, state in self._groups.items()}

    def abort(self) -> None:
        """Stop writing. The caller removes the folder."""
        for group in self._open:
            writer = self._groups[group].writer
            if writer is not None:
                writer.abort()

    def _buffer(self, group: int, rows: pa.RecordBatch) -> None:
        state = self._groups[group]
        state.buffered.append(rows)
        state.rows += rows.num_rows
        state.size_bytes += rows.nbytes

    def _relieve(self) -> None:
        """Write the largest groups until the buffer is below its limit: a few each time, never all at once."""
        total = sum(state.size_bytes for state in self._groups.values())
        for group, state in sorted(self._groups.items(), key=lambda item: -item[1].rows):
            if total < _BUFFER_BYTES and state.rows < 2 * ROW_GROUP_ROWS:
                break
            total -= state.size_bytes
            self._flush(group)

    def _flush(self, group: int) -> None:
        state = self._groups[group]
        table = pa.Table.from_batches(state.buffered, schema=self._schema)
        state.buffered, state.rows, state.size_bytes = [], 0, 0
        self._writer(group).write(table)

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
        # Moved to the end: the order is that of the last use.
        self._open.pop(group, None)
        self._open[group] = None
        return state.writer

    def _close_file(self, group: int) -> None:
        state = self._groups[group]
        del self._open[group]
        if state.writer is not None:
            state.parts.append(state.writer.close())
            state.writer = None
