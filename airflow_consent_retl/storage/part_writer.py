"""Writing one Parquet part of a folder."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_consent_retl.storage.manifest import Part

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

_BUFFER_BYTES = 256 << 10
# Read in two thirds of the time that Snappy takes.
_CODEC = "lz4"
_SAMPLE_ROWS = 8_192
# Compressed to more than this share of its size, a column is faster to write and to read as it is.
_WORTH_IT = 0.8


class _DigestingSink(io.RawIOBase):
    """Passes bytes on and digests them, so that no file is read again only for its digest."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, chunk: bytes) -> int:  # type: ignore[override]
        self._raw.write(chunk)
        self._sha256.update(chunk)
        size = memoryview(chunk).nbytes
        self.size_bytes += size
        return size

    def flush(self) -> None:
        self._raw.flush()

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


class PartWriter:
    """Writes one Parquet part; `close` returns its description for the manifest. As a context manager it aborts.

    Args:
        folder: where the part goes.
        name: the file's name in the folder.
        schema: of every table written.
        row_group_rows: the most rows in a row group.
        dictionary_columns: columns whose values repeat enough for a dictionary to pay; on other columns it costs half
            of the writing time. None: all.
        plain_columns: columns that compression would not make much smaller; without effect beside nested columns.
        sorted_by: a column of integers in ascending order, by which readers look rows up.
        delta_columns: columns of integers that take less room as differences, which costs more time than plain ones.
        buffer_bytes: how much waits in memory for the file, until the part is closed.
    """

    def __init__(
        self,
        folder: Folder,
        name: str,
        schema: pa.Schema,
        *,
        row_group_rows: int,
        dictionary_columns: list[str] | None = None,
        plain_columns: Sequence[str] = (),
        sorted_by: str | None = None,
        delta_columns: Sequence[str] = (),
        buffer_bytes: int = _BUFFER_BYTES,
    ) -> None:
        self._name = name
        self._row_group_rows = row_group_rows
        self._rows = 0
        self._files = ExitStack()
        self._sink = _DigestingSink(self._files.enter_context(folder.create(name)))
        # Every call into Python waits for the interpreter lock: make a few large ones instead of one for each page.
        self._stream = pa.BufferedOutputStream(pa.PythonFile(self._sink, mode="w"), buffer_bytes)
        self._writer = pq.ParquetWriter(
            self._stream,
            schema,
            compression=_compression(schema, plain_columns),
            use_dictionary=True if dictionary_columns is None else dictionary_columns,
            # Without a sorted column, no reader looks values up by them.
            write_statistics=[] if sorted_by is None else [sorted_by],
            column_encoding=dict.fromkeys(delta_columns, "DELTA_BINARY_PACKED") or None,
        )

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._sink.size_bytes

    def write(self, table: pa.Table) -> None:
        """Append a table."""
        # Row groups of one size, instead of full ones and a small one at the end.
        row_groups = -(-table.num_rows // self._row_group_rows)
        self._writer.write_table(table, row_group_size=-(-table.num_rows // max(row_groups, 1)) or None)
        self._rows += table.num_rows

    def close(self) -> Part:
        """Finish the file and describe it."""
        self._writer.close()
        self._stream.close()
        self._files.close()
        return Part(name=self._name, sha256=self._sink.hexdigest(), rows=self._rows, size_bytes=self._sink.size_bytes)

    def abort(self) -> None:
        """Close an unfinished file. The owner of its folder removes it."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.abort()


def incompressible_columns(rows: pa.RecordBatch, dictionary_columns: Sequence[str]) -> list[str]:
    """Return the columns that compression would not make much smaller, by a sample of rows."""
    return [
        field.name
        for field, column in zip(rows.schema, rows.columns, strict=True)
        if field.name not in dictionary_columns and _is_incompressible(column)
    ]


def _is_incompressible(column: pa.Array) -> bool:
    if pa.types.is_nested(column.type) or pa.types.is_null(column.type) or pa.types.is_dictionary(column.type):
        return False
    values = column.slice(0, _SAMPLE_ROWS)
    # The last buffer has the values; a copy has nothing else.
    buffer = pa.concat_arrays([values]).buffers()[-1]
    if buffer is None or not buffer.size:
        return False
    compressed: bytes = pa.compress(buffer, codec="lz4_raw", asbytes=True)
    return len(compressed) > int(_WORTH_IT * buffer.size)


def _compression(schema: pa.Schema, plain_columns: Sequence[str]) -> str | dict[str, str]:
    if not plain_columns or any(pa.types.is_nested(field.type) for field in schema):
        return _CODEC
    return {name: "none" if name in plain_columns else _CODEC for name in schema.names}


def repeating_columns(rows: pa.RecordBatch) -> list[str]:
    """Return the columns whose values repeat enough in a sample of rows for a dictionary to pay."""
    return [
        field.name
        for field, column in zip(rows.schema, rows.columns, strict=True)
        if not pa.types.is_nested(field.type)
        # Arrow cannot count the values of a column of type null.
        and not pa.types.is_null(field.type)
        and not pa.types.is_boolean(field.type)
        and pc.count_distinct(column).as_py() * 4 < rows.num_rows
    ]
