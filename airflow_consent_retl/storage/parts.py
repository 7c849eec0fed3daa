"""Parquet parts that belong together: written one after the other up to a size, read from any row on.

This module knows rows and batches; its caller knows what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.storage.part_writer import PartWriter, repeating_columns
from airflow_consent_retl.values.canonical import plain_type

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import Part

_PART_BYTES = 256 << 20
_SAMPLE_ROWS = 32_768


class PartsWriter:
    """Writes rows of one schema into as many parts as they need, in row groups of one size.

    Args:
        folder: where the parts go.
        prefix: the beginning of the parts' names.
        schema: of every batch.
        row_group_rows: rows in a row group.
        part_bytes: a part is closed after the row group that brings it to this size.
    """

    def __init__(
        self, folder: Folder, prefix: str, schema: pa.Schema, *, row_group_rows: int, part_bytes: int = _PART_BYTES
    ) -> None:
        self._folder = folder
        self._prefix = prefix
        self._schema = schema
        self._row_group_rows = row_group_rows
        self._part_bytes = part_bytes
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._dictionary_columns: list[str] | None = None
        self._writer: PartWriter | None = None
        self._parts: list[Part] = []
        self.rows = 0

    def write(self, rows: pa.RecordBatch) -> None:
        """Append rows."""
        self.rows += rows.num_rows
        while rows.num_rows:
            taken = rows.slice(0, self._row_group_rows - self._pending_rows)
            rows = rows.slice(taken.num_rows)
            self._pending.append(taken)
            self._pending_rows += taken.num_rows
            if self._pending_rows == self._row_group_rows:
                self._flush()

    def close(self) -> tuple[Part, ...]:
        """Write what is left, and return the parts."""
        self._flush()
        self._finish_part()
        return tuple(self._parts)

    def abort(self) -> None:
        """Close an unfinished part. The caller removes the folder."""
        if self._writer is not None:
            self._writer.abort()

    def _flush(self) -> None:
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending, schema=self._schema)
        self._pending, self._pending_rows = [], 0
        if self._writer is None:
            if self._dictionary_columns is None:
                self._dictionary_columns = _repeating_leaves(table.slice(0, _SAMPLE_ROWS))
            self._writer = PartWriter(
                self._folder,
                f"{self._prefix}-{len(self._parts):05d}.parquet",
                self._schema,
                row_group_rows=self._row_group_rows,
                dictionary_columns=self._dictionary_columns,
            )
        self._writer.write(table)
        if self._writer.size_bytes >= self._part_bytes:
            self._finish_part()

    def _finish_part(self) -> None:
        if self._writer is not None:
            self._parts.append(self._writer.close())
            self._writer = None


def _repeating_leaves(table: pa.Table) -> list[str]:
    """Return the columns, and the fields of structs, for which a dictionary pays."""
    leaves: dict[str, pa.Array] = {}
    for field, column in zip(table.schema, table.combine_chunks().columns, strict=True):
        values = column.combine_chunks()
        if pa.types.is_struct(field.type):
            leaves |= zip((f"{field.name}.{leaf.name}" for leaf in field.type), values.flatten(), strict=True)
        else:
            leaves[field.name] = values
    # Arrow counts values in their plain form only.
    plain = {name: values for name, values in leaves.items() if plain_type(values.type) == values.type}
    return repeating_columns(pa.RecordBatch.from_arrays(list(plain.values()), names=list(plain)))


def read_from(
    folder: Folder,
    parts: Sequence[Part],
    start: int,
    *,
    columns: Sequence[str] | None = None,
    batch_rows: int,
    skip: Callable[[int, int], bool] = lambda start, end: False,
    use_threads: bool = False,
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Yield rows of some parts with the position of the first of them, without decoding the row groups before `start`.

    Args:
        skip: called with the positions at which a row group begins and ends; True leaves its rows out.
        use_threads: decode columns in parallel, for a caller that does nothing else meanwhile.
    """
    position = 0
    for part in parts:
        if position + part.rows <= start:
            position += part.rows
            continue
        with folder.open_parquet(part) as file:
            for group in range(file.num_row_groups):
                end = position + file.metadata.row_group(group).num_rows
                if end > start and not skip(position, end):
                    at = position
                    for rows in file.iter_batches(
                        batch_size=batch_rows,
                        row_groups=[group],
                        columns=None if columns is None else list(columns),
                        use_threads=use_threads,
                    ):
                        late = min(max(start - at, 0), rows.num_rows)
                        if late < rows.num_rows:
                            yield at + late, rows.slice(late)
                        at += rows.num_rows
                position = end


def full_batches(batches: Iterable[pa.RecordBatch], batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches that are all full except the last."""
    pending: list[pa.RecordBatch] = []
    pending_rows = 0
    for batch in batches:
        rest = batch
        while rest.num_rows:
            taken = rest.slice(0, batch_rows - pending_rows)
            rest = rest.slice(taken.num_rows)
            pending.append(taken)
            pending_rows += taken.num_rows
            if pending_rows == batch_rows:
                yield pa.concat_batches(pending) if len(pending) > 1 else pending[0]
                pending, pending_rows = [], 0
    if pending:
        yield pa.concat_batches(pending)
