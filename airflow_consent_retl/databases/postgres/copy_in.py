"""A bulk load of Arrow batches by COPY, with psycopg 3 or psycopg2. Makes no table and ends no transaction."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.types as pt

_COPY_BYTES = 1 << 20


def copy_into(connection: Any, table: str, columns: Iterable[str], batches: Iterable[pa.RecordBatch]) -> int:
    """Load batches into a table, and return the number of rows loaded.

    Args:
        connection: of the driver.
        table: its name, quoted.
        columns: their names, in the batches' order.
        batches: are streamed.

    Raises:
        Exception: any error of the driver; its message may quote a row.
    """
    statement = f"COPY {table} ({', '.join(map(quote, columns))}) FROM STDIN (FORMAT csv, NULL '', ENCODING 'UTF8')"
    with connection.cursor() as cursor:
        if hasattr(cursor, "copy"):
            with cursor.copy(statement) as copy:
                for batch in batches:
                    copy.write(_csv(batch))
        else:
            cursor.copy_expert(statement, _Stream(_csv(batch) for batch in batches), _COPY_BYTES)
        return int(cursor.rowcount)


def quote(name: str) -> str:
    """Return a name, quoted, for PostgreSQL's SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return a text as a literal of PostgreSQL's SQL."""
    return "'" + text.replace("'", "''") + "'"


class _Stream(io.RawIOBase):
    """The file object that psycopg2 reads a COPY from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._left = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._left = piece
        taken, self._left = (self._left, b"") if size < 0 else (self._left[:size], self._left[size:])
        return taken


def _csv(batch: pa.RecordBatch) -> bytes:
    """Return rows as CSV in which every value but NULL is quoted."""
    columns = [_as_text(column) if pt.is_binary(column.type) else column for column in batch.columns]
    sink = io.BytesIO()
    rows = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
    pacsv.write_csv(rows, sink, pacsv.WriteOptions(include_header=False, quoting_style="all_valid"))
    return sink.getvalue()


def _as_text(values: pa.Array) -> pa.Array:
    return pa.array([None if value is None else f"\\x{value.hex()}" for value in values.to_pylist()], pa.string())
