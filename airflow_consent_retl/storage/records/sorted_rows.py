"""Rows of records, sorted by subject in bounded memory, written as Parquet parts, and found in them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa

from airflow_consent_retl.storage.part_writer import PartWriter
from airflow_consent_retl.storage.records.documents import SubjectPart
from airflow_consent_retl.values.buffers import values_of
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
        self._spill = Spill(schema, 1 << _PARTITION_BITS)

    @property
    def rows(self) -> int:
        """The number of rows added."""
        return self._spill.rows

    def add(self, subjects: NDArray[np.uint64], *columns: NDArray[Any]) -> None:
        """Add rows; the columns are those of the schema after `subject`."""
        rows = pa.RecordBatch.from_arrays([pa.array(column) for column in (subjects, *columns)], schema=self._schema)
        self._spill.put(rows, subjects >> np.uint64(64 - _PARTITION_BITS))

    def write(self, folder: Folder, name: str) -> tuple[SubjectPart, ...]:
        """Write all rows, and return the parts.

        Args:
            folder: of the parts.
            name: the beginning of their names.
        """
        if not self.rows:
            return ()
        digits = 0 if self.rows <= self._part_rows else 1 if self.rows <= 16 * self._part_rows else 2
        partitions_per_part = 1 << (_PARTITION_BITS - 4 * digits)
        parts = []
        for number in range(1 << 4 * digits):
            prefix = f"{number:0{digits}x}" if digits else ""
            first = number * partitions_per_part
            partitions = range(first, first + partitions_per_part)
            part = self._write_part(folder, f"{name}-{prefix or 'all'}.parquet", partitions)
            parts.append(SubjectPart(prefix=prefix, part=part))
        return tuple(part for part in parts if part.part.rows)

    def _write_part(self, folder: Folder, name: str, partitions: range) -> Part:
        with PartWriter(
            folder,
            name,
            self._schema,
            row_group_rows=_ROW_GROUP_ROWS,
            dictionary_columns=self._dictionary_columns,
            sorted_by=SUBJECT,
        ) as writer:
            filled = filter(self._spill.has_rows, partitions)
            for group in _row_groups(self._sorted(partition) for partition in filled):
                writer.write(group)
            return writer.close()

    def _sorted(self, partition: int) -> pa.RecordBatch:
        rows = self._spill.take(partition)
        return rows.take(pa.array(_order(values_of(rows[SUBJECT], np.uint64))))

    def close(self) -> None:
        """Delete the temporary file."""
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


def _order(subjects: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the order of subjects; rows of one subject stay in the order in which they were added."""
    # Four times as fast as the stable sort, and most subjects occur once.
    order = np.argsort(subjects)
    found = subjects[order]
    return np.argsort(subjects, kind="stable") if np.any(found[1:] == found[:-1]) else order


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
