"""The writer of rows into one set of Parquet parts per group, each row once, in bounded memory.

The caller passes each row's group. The writer knows no decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from airflow_consent_retl.storage.part_writer import PartWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import Part

ROW_GROUP_ROWS = 32_768
_BUFFER_BYTES = 21 << 20
# Arrow's texts can be this long together, which only batches of very wide rows reach.
_MOST_BYTES = 1 << 30
# So many rows are copied at once to be written, or those of one group that has more.
_TAKEN_ROWS = 32_768
# So many rows of one group in one batch are written without waiting for more.
_DIRECT_ROWS = 8_192
# The largest number of groups with an open file. Beyond it, the least recently written file is closed, and its group
# continues in a further part.
_OPEN_FILES = 128
# What waits in memory for all open files together.
_FILES_BYTES, _FILE_BYTES = 4 << 20, 256 << 10


@dataclass(slots=True)
class _Group:
    prefix: str
    writer: PartWriter | None = None
    parts: list[Part] = field(default_factory=list)


class PartitionedWriter:
    """A writer that splits batches by group and writes each group's rows, in order, into parts of its own.

    Many rows of one group in one batch are written at once. Others wait in one buffer for all groups together, which
    bounds the memory, whatever the number of groups. When it is full, its rows are sorted by group, the largest groups
    are written, and the others stay. The same rows in the same batches always result in the same files.

    Args:
        folder: the folder of the parts.
        schema: the schema of every batch.
        prefixes: the beginning of the parts' names, for each group.
        dictionary_columns: columns whose values repeat often enough for dictionary encoding.
        plain_columns: columns that are not compressed.
    """

    def __init__(
        self,
        folder: Folder,
        schema: pa.Schema,
        prefixes: Mapping[int, str],
        *,
        dictionary_columns: list[str],
        plain_columns: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._schema = schema
        self._dictionary_columns = dictionary_columns
        self._plain_columns = plain_columns
        self._groups = {group: _Group(prefix) for group, prefix in prefixes.items()}
        # Numbers of 16 bits are sorted several times as fast.
        self._number_type = np.min_scalar_type(-1 - max(prefixes, default=0))
        self._open: dict[int, None] = {}
        self._rows: list[pa.RecordBatch] = []
        self._numbers: list[NDArray[np.signedinteger[Any]]] = []
        self._size_bytes = 0
        self._is_waiting = np.zeros(len(prefixes), dtype=np.bool_)

    def write(self, rows: pa.RecordBatch, groups: NDArray[np.int64]) -> None:
        """Add a batch. `groups` contains each row's group, or a negative number for a row that is not written."""
        numbers = groups.astype(self._number_type)
        order = np.argsort(numbers, kind="stable")
        # INVARIANT: each row keeps its own group, and a row without a group is in no slice.
        order = order[np.count_nonzero(numbers < 0) :]
        sizes = np.bincount(numbers[order], minlength=len(self._groups))
        # Large groups go into their files at once, unless earlier rows of them wait in the buffer.
        is_direct = (sizes >= _DIRECT_ROWS) & ~self._is_waiting
        goes_directly = is_direct[numbers[order]]
        self._write_slices(rows, order[goes_directly], np.flatnonzero(is_direct), sizes)
        waiting = order[~goes_directly]
        if len(waiting):
            self._buffer(rows.take(pa.array(waiting)), numbers[waiting])
        if self._size_bytes >= _BUFFER_BYTES:
            self._relieve(_BUFFER_BYTES // 2)

    def close(self) -> dict[int, list[Part]]:
        """Write the remaining rows, finish the files, and return each group's parts."""
        self._relieve(0)
        for group in list(self._open):
            self._close_file(group)
        return {group: state.parts for group, state in self._groups.items()}

    def abort(self) -> None:
        """Stop writing. The caller removes the folder."""
        for group in self._open:
            writer = self._groups[group].writer
            if writer is not None:
                writer.abort()

    def _buffer(self, rows: pa.RecordBatch, numbers: NDArray[np.signedinteger[Any]]) -> None:
        if self._size_bytes and self._size_bytes + rows.nbytes > _MOST_BYTES:
            self._relieve(0)
        self._rows.append(rows)
        self._numbers.append(numbers)
        self._size_bytes += rows.nbytes
        self._is_waiting[numbers] = True

    def _relieve(self, size_bytes: int) -> None:
        """Write the largest groups until about so many bytes are left in the buffer."""
        if not self._rows:
            return
        numbers = np.concatenate(self._numbers)
        left = len(numbers) * size_bytes // max(self._size_bytes, 1)
        rows = self._taken_rows()
        self._numbers, self._size_bytes = [], 0
        self._is_waiting[:] = False
        order = np.argsort(numbers, kind="stable")
        sizes = np.bincount(numbers, minlength=len(self._groups))
        by_size = np.argsort(-sizes, kind="stable")
        # Before each group, the number of rows that larger groups leave.
        remaining = len(numbers) - np.cumsum(sizes[by_size]) + sizes[by_size]
        is_written = np.zeros(len(sizes), dtype=np.bool_)
        is_written[by_size] = (sizes[by_size] > 0) & ((remaining > left) | (sizes[by_size] >= _DIRECT_ROWS))
        goes = is_written[numbers[order]]
        self._write_slices(rows, order[goes], np.flatnonzero(is_written), sizes)
        if not goes.all():
            # A copy, not slices: they would keep all rows in memory.
            self._buffer(rows.take(pa.array(order[~goes])), numbers[order[~goes]])

    def _taken_rows(self) -> pa.RecordBatch:
        """Return the buffer's rows as one batch. The buffer is released column by column, so that they exist once."""
        columns = [[some.column(number) for some in self._rows] for number in range(len(self._schema))]
        self._rows = []
        joined = []
        while columns:
            joined.append(pa.concat_arrays(columns.pop(0)))
        return pa.RecordBatch.from_arrays(joined, schema=self._schema)

    def _write_slices(
        self, rows: pa.RecordBatch, order: NDArray[np.int64], groups: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> None:
        """Write the rows at these places, which are in the order of the groups, each into its group's file."""
        ends = np.cumsum(sizes[groups])
        first, begin = 0, 0
        while first < len(groups):
            # Several small groups with one take, which costs less; not all rows at once, which would be a second copy.
            last = max(int(np.searchsorted(ends, begin + _TAKEN_ROWS, side="right")), first + 1)
            taken = rows.take(pa.array(order[begin : ends[last - 1]]))
            for group, end in zip(groups[first:last].tolist(), ends[first:last].tolist(), strict=True):
                size = int(sizes[group])
                slice_ = taken.slice(end - size - begin, size)
                self._writer(group).write(pa.Table.from_batches([slice_], schema=self._schema))
            first, begin = last, int(ends[last - 1])

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
                plain_columns=self._plain_columns,
                buffer_bytes=min(_FILE_BYTES, _FILES_BYTES // min(len(self._groups), _OPEN_FILES)),
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
