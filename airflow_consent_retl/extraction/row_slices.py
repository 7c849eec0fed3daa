"""Batches of any size, cut into tables of requested sizes."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from airflow_consent_retl.errors import RefusedError


class RowSlices:
    """Batches of any size, as tables of requested sizes."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._left: pa.Table | None = None

    def take(self, rows: int) -> pa.Table:
        """Return the next rows.

        Raises:
            RefusedError: fewer rows are left.
        """
        left = self._left
        while left is None or left.num_rows < rows:
            batch = next(self._batches, None)
            if batch is None:
                raise RefusedError("the join with consent sources returned answers for fewer rows than the model's")
            more = pa.Table.from_batches([batch])
            left = more if left is None else pa.concat_tables([left, more])
        self._left = left.slice(rows)
        return left.slice(0, rows)
