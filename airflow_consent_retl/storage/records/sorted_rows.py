"""Rows of records, sorted by subject in bounded memory, written as Parquet parts, and found in them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa

from airflow_consent_retl.storage.part_writer import PartWriter
from airflow_consent_retl.storage.records.documents import SubjectPart
from airflow_consent_retl.values.buffers import values_of
from airflow_consent_retl.values.pipeline import in_order
from airflow_consent_retl.values.spill import Spill

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import Part

SUBJECT: Final = "subject"
# A look-up decodes one row group of each part.
_ROW_GROUP_ROWS = 16_384
_PART_ROWS = 1_048_576
_PARTITION_BITS = 8
# More rows are put into partitions first, which are sorted one by one.
_SORTED_AT_ONCE_ROWS = 1_048_576
_WORKERS = 2


class SubjectRows:
    """Rows that are added in any order and written in the order of their subjects. A context manager.

    Args:
        schema: of the rows: `subject`, an unsigned integer of 64 bits, and other columns.
        dictionary_columns: those whose values repeat.
        part_rows: up to so many rows are written as one part; up to 16 times as many as 16 parts; more as 256.
    """

    def __init__(self, schema: pa.Schema, *, dictionary_columns: list[str], part_rows: int = _PART_ROWS) -> None:
        self._schema = schema
        self._dictionary_columns = dictionary_columns
        self._part_rows = part_rows
        self._pending: list[Sequence[NDArray[Any]]] = []
        self._pending_rows = 0
        self._spill: Spill | None = None

    @property
    def rows(self) -> int:
        """The number of rows added."""
        return self._pending_rows + (0 if self._spill is None else self._spill.rows)

    def add(self, subjects: NDArray[np.uint64], *columns: NDArray[Any]) -> None:
        """Add rows; the columns are those of the schema after `subject`."""
        self._pending.append((subjects, *columns))
        self._pending_rows += len(subjects)
        if self._spill is not None or self._pending_rows > _SORTED_AT_ONCE_ROWS:
            self._put_down()

    def write(self, folder: Folder, name: str) -> tuple[SubjectPart, ...]:
        """Write all rows, and return the parts.

        Args:
            folder: of the parts.
            name: the beginning of their names.
        """
        if not self.rows:
            return ()
        digits = 0 if self.rows <= self._part_rows else 1 if self.rows <= 16 * self._part_rows else 2
        of_parts = self._sorted_at_once(digits) if self._spill is None else self._spilled(digits)
        prefixes = (f"{number:0{digits}x}" if digits else "" for number in count())

        def write(of_part: tuple[str, Iterator[pa.RecordBatch]]) -> SubjectPart:
            prefix, slices = of_part
            return SubjectPart(
                prefix=prefix, part=self._write_part(folder, f"{name}-{prefix or 'all'}.parquet", slices)
            )

        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="record") as working:
            parts = list(in_order(write, zip(prefixes, of_parts, strict=False), working, under_way=_WORKERS))
        return tuple(part for part in parts if part.part.rows)

    def _put_down(self) -> None:
        """Move the rows in memory to the spill."""
        if self._spill is None:
            self._spill = Spill(self._schema, 1 << _PARTITION_BITS)
        for columns in self._pending:
            self._spill.put(self._batch(columns), columns[0] >> np.uint64(64 - _PARTITION_BITS))
        self._pending, self._pending_rows = [], 0

    def _sorted_at_once(self, digits: int) -> Iterator[Iterator[pa.RecordBatch]]:
        """Yield the rows of each part, from rows that are all in memory."""
        columns = _in_order([np.concatenate(some) for some in zip(*self._pending, strict=True)])
        rows = self._batch(columns)
        bounds = np.arange(1, 1 << 4 * digits, dtype=np.uint64) << np.uint64(64 - 4 * digits if digits else 0)
        cuts = [0, *np.searchsorted(columns[0], bounds).tolist(), rows.num_rows]
        for start, end in pairwise(cuts):
            yield iter([rows.slice(start, end - start)] if start < end else [])

    def _spilled(self, digits: int) -> Iterator[Iterator[pa.RecordBatch]]:
        """Yield the rows of each part, one partition of the spill after the other."""
        if self._spill is not None:
            # Before several threads take partitions.
            self._spill.seal()
        partitions_per_part = 1 << (_PARTITION_BITS - 4 * digits)
        for first in range(0, 1 << _PARTITION_BITS, partitions_per_part):
            yield self._partitions(range(first, first + partitions_per_part))

    def _partitions(self, numbers: range) -> Iterator[pa.RecordBatch]:
        if self._spill is None:
            return
        for number in filter(self._spill.has_rows, numbers):
            taken = self._spill.take(number)
            yield self._batch(
                _in_order(
                    [
                        values_of(column, field.type.to_pandas_dtype())
                        for column, field in zip(taken.columns, self._schema, strict=True)
                    ]
                )
            )

    def _batch(self, columns: Sequence[NDArray[Any]]) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=self._schema)

    def _write_part(self, folder: Folder, name: str, slices: Iterator[pa.RecordBatch]) -> Part:
        numbers = [one for one in self._schema.names if one not in self._dictionary_columns]
        with PartWriter(
            folder,
            name,
            self._schema,
            row_group_rows=_ROW_GROUP_ROWS,
            dictionary_columns=self._dictionary_columns,
            # Their bits are as good as random.
            plain_columns=numbers,
            sorted_by=SUBJECT,
            # Small numbers win more by it than subjects do, in less time.
            delta_columns=numbers[1:] or numbers,
        ) as writer:
            for group in _row_groups(slices):
                writer.write(group)
            return writer.close()

    def close(self) -> None:
        """Delete the temporary file, if there is one."""
        if self._spill is not None:
            self._spill.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def find_rows(folder: Folder, part: Part, subjects: Sequence[int]) -> list[dict[str, Any]]:
    """Return the rows of some subjects; only the row groups that may have them are decoded.

    Raises:
        RefusedError: the part is gone, or has another number of rows than its document says.
    """
    found: list[dict[str, Any]] = []
    with folder.open_parquet(part) as file:
        for number in range(file.num_row_groups):
            bounds = file.metadata.row_group(number).column(0).statistics
            here = [one for one in subjects if bounds.min <= one <= bounds.max]
            if not here:
                continue
            rows = file.read_row_group(number, use_threads=False)
            known = np.asarray(rows[SUBJECT])
            for one in here:
                first, end = (int(np.searchsorted(known, np.uint64(one), side)) for side in ("left", "right"))
                found += rows.slice(first, end - first).to_pylist()
    return found


def _in_order(columns: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Return columns in the order of the first; rows of one subject stay in the order in which they were added."""
    subjects, *others = columns
    # Numbers are sorted in a quarter of the time that their order takes. So the last bits of each are replaced by its
    # place, which also keeps equal ones in their order. The first bits nearly always suffice to tell subjects apart.
    place_bits = np.uint64((1 << max(len(subjects) - 1, 0).bit_length()) - 1)
    places = subjects & ~place_bits
    places |= np.arange(len(subjects), dtype=np.uint64)
    places.sort()
    places &= place_bits
    order = places.view(np.int64)
    found = subjects.take(order)
    if np.any(found[1:] < found[:-1]):
        order = np.argsort(subjects, kind="stable")
        found = subjects.take(order)
    return [found, *(column.take(order) for column in others)]


def _row_groups(sorted_rows: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    pending: list[pa.RecordBatch] = []
    rows = 0
    for some in sorted_rows:
        pending.append(some)
        rows += some.num_rows
        if rows >= _ROW_GROUP_ROWS:
            yield pa.Table.from_batches(pending)
            pending, rows = [], 0
    if rows:
        yield pa.Table.from_batches(pending)
