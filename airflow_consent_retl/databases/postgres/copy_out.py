"""Arrow columns from PostgreSQL's COPY: the server writes CSV, and Arrow's own reader parses it.

CSV distinguishes NULL (nothing) from empty text (`""`). COPY writes each type that is read this way as the same text
that a cursor would send. Does not know what a model is.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from queue import Full, Queue
from threading import Event, Thread
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from airflow_consent_retl.databases.cursor_rows import RowColumn, column_array
from airflow_consent_retl.databases.postgres.edge_values import NOT_A_NUMBER, edge_error, exact
from airflow_consent_retl.errors import ModelError

# Arrow parses a block as a whole, and counts its bytes in 32 bits.
_BLOCK_BYTES = 16 << 20
_WAIT_S = 0.1
_OPTIONS = {
    "null_values": [""],
    "strings_can_be_null": True,
    "quoted_strings_can_be_null": False,
    "true_values": ["t"],
    "false_values": ["f"],
}
_PARSE = pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)


def copy_statement(query: str) -> str:
    """Return the statement that makes the server write a query's rows."""
    # On lines of its own: the query may end in a comment.
    return f"COPY (\n{query}\n) TO STDOUT (FORMAT csv, ENCODING 'UTF8')"


def copied_blocks(connection: Any, statement: str, *, rows: int) -> Generator[bytes, None, None]:
    """Run a COPY and yield its lines in blocks of at most `rows` lines. Close it before the connection.

    Raises:
        Exception: any error of the driver.
    """
    blocks = _psycopg2_blocks if is_psycopg2(connection) else _psycopg_blocks
    return blocks(connection, statement, rows=rows)


def is_psycopg2(connection: Any) -> bool:
    """Return whether a hook's connection is one of psycopg2, the older driver."""
    return type(connection).__module__.startswith("psycopg2")


def copied_arrays(block: bytes, columns: Sequence[RowColumn], *, texts: Sequence[bool]) -> list[pa.Array]:
    """Return an array for each column of some whole lines.

    Args:
        block: lines of a COPY, at least one.
        columns: in the order of the lines' values; a decimal without a type gets the digits of its values.
        texts: whether a column without a type is text, in the columns' order.

    Raises:
        ModelError: a value has no counterpart in its column's type, such as the date `infinity`.
    """
    types = {str(place): _read_as(column) for place, column in enumerate(columns)}
    table = _parsed_or_none(block, types) or _parsed_as_texts(block, columns, types)
    return [
        _array(table.column(place), column, is_text=is_text)
        for place, (column, is_text) in enumerate(zip(columns, texts, strict=True))
    ]


def _parsed(block: bytes, types: dict[str, pa.DataType], *, only: str | None = None) -> pa.Table:
    return pacsv.read_csv(
        pa.BufferReader(block),
        pacsv.ReadOptions(column_names=list(types), block_size=max(len(block), 1) + 1),
        _PARSE,
        pacsv.ConvertOptions(column_types=types, include_columns=[only] if only else None, **_OPTIONS),
    )


def _parsed_or_none(block: bytes, types: dict[str, pa.DataType], *, only: str | None = None) -> pa.Table | None:
    """Return the columns; None if Arrow's reader does not take a value. Its message quotes the value: it ends here."""
    try:
        return _parsed(block, types, only=only)
    except pa.ArrowInvalid:
        return None


def _parsed_as_texts(block: bytes, columns: Sequence[RowColumn], types: dict[str, pa.DataType]) -> pa.Table:
    """Return the columns of a block with a value that Arrow's reader does not take."""
    found = {}
    for place, column in enumerate(columns):
        name = str(place)
        table = _parsed_or_none(block, types, only=name)
        if table is None:
            texts = _parsed_or_none(block, {**types, name: pa.string()}, only=name)
            if texts is None:
                raise ModelError("the server sent rows that are no CSV")
            table = pa.table([exact(texts.column(0).combine_chunks(), types[name], column=column.name)], names=[name])
        found[name] = table.column(0)
    return pa.table(found)


def _read_as(column: RowColumn) -> pa.DataType:
    # Bytes come as hexadecimal digits.
    return pa.string() if column.type is None or pa.types.is_binary(column.type) else column.type


def _array(values: pa.ChunkedArray, column: RowColumn, *, is_text: bool) -> pa.Array:
    array = values.combine_chunks()
    if column.type is None and not is_text:
        numbers = [None if text is None else Decimal(text) for text in array.to_pylist()]
        others = sum(number is not None and not number.is_finite() for number in numbers)
        if others:
            raise edge_error(column.name, NOT_A_NUMBER, others)
        return column_array(column.name, numbers, is_key=False)
    if column.type is not None and pa.types.is_binary(column.type):
        decoded = [None if text is None else bytes.fromhex(text[len("\\x") :]) for text in array.to_pylist()]
        return pa.array(decoded, pa.binary())
    return array


def _psycopg_blocks(connection: Any, statement: str, *, rows: int) -> Generator[bytes, None, None]:
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        # The server sends each row as a message of its own.
        lines = iter(copy.read, b"")
        while block := _joined(lines, rows):
            yield block


def _joined(lines: Iterator[Any], rows: int) -> bytes:
    taken: list[Any] = []
    size = 0
    for line in islice(lines, rows):
        taken.append(line)
        size += len(line)
        if size >= _BLOCK_BYTES:
            break
    return b"".join(taken)


def _psycopg2_blocks(connection: Any, statement: str, *, rows: int) -> Generator[bytes, None, None]:
    """Let the driver write into a queue from a thread: it cannot return control within a COPY."""
    sink = _Sink(rows)

    def run() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.copy_expert(statement, sink)
            sink.flush()
            sink.put(None)
        except Exception as error:  # noqa: BLE001 - raised again in the reader's thread
            sink.put(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while (block := sink.queue.get()) is not None:
            if isinstance(block, Exception):
                raise block
            yield block
    finally:
        sink.stop.set()
        while thread.is_alive():
            connection.cancel()
            thread.join(_WAIT_S)


class _Sink:
    """The file object that psycopg2 writes a COPY to, one row at a time."""

    def __init__(self, rows: int) -> None:
        self.queue: Queue[bytes | Exception | None] = Queue(maxsize=1)
        self.stop = Event()
        self._rows = rows
        self._lines: list[bytes] = []
        self._size = 0

    def write(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        if len(self._lines) >= self._rows or self._size >= _BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._lines:
            lines, self._lines, self._size = self._lines, [], 0
            self.put(b"".join(lines))

    def put(self, item: bytes | Exception | None) -> None:
        while not self.stop.is_set():
            try:
                self.queue.put(item, timeout=_WAIT_S)
            except Full:
                continue
            return
        if item is not None and not isinstance(item, Exception):
            raise BrokenPipeError
