"""Downloads through BigQuery's Storage API: a few streams at once, each in a thread, with a short queue of messages.

The client's own bulk reads do the same, but with methods that the client has deprecated.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from google.api_core.retry import Retry
    from google.cloud.bigquery import TableReference

# Each stream holds a message and decodes another one. A third stream was not faster, and took 30 MiB.
_STREAMS = 2
# The longest time after which a thread notices that its reader has stopped.
_NOTICE_S = 0.2


def open_streams(
    client: Any, table: TableReference, *, project: str, retry: Retry
) -> Generator[pa.RecordBatch, None, None]:
    """Start to read a table, and return its batches, in any order. Closing the generator ends the downloads.

    Args:
        client: a `BigQueryReadClient`.
        table: all of its present rows are read.
        project: that pays.
        retry: for the first request; a stream that breaks later resumes at the same row.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: from the client, also while batches are read.
    """
    from google.cloud.bigquery_storage_v1 import types

    compression = types.ArrowSerializationOptions.CompressionCodec.LZ4_FRAME
    session = client.create_read_session(
        parent=f"projects/{project}",
        read_session=types.ReadSession(
            table=table.to_bqstorage(),
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(
                arrow_serialization_options=types.ArrowSerializationOptions(buffer_compression=compression)
            ),
        ),
        max_stream_count=_STREAMS,
        retry=retry,
    )
    schema = pa.ipc.read_schema(pa.py_buffer(session.arrow_schema.serialized_schema))
    return _Downloads([client.read_rows(stream.name) for stream in session.streams], schema).batches()


class _Downloads:
    """Threads that each read one stream into one short queue."""

    def __init__(self, streams: Sequence[Any], schema: pa.Schema) -> None:
        self._streams = streams
        self._schema = schema
        # A batch; the error of a stream; None from each stream at its end.
        self._waiting: queue.Queue[pa.RecordBatch | Exception | None] = queue.Queue(maxsize=_STREAMS)
        self._is_left = threading.Event()

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        threads = [threading.Thread(target=self._read, args=[stream], daemon=True) for stream in self._streams]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                found = self._waiting.get()
                if isinstance(found, Exception):
                    raise found
                if found is None:
                    running -= 1
                else:
                    yield found
                del found
        finally:
            self._is_left.set()
            for stream in self._streams:
                stream.cancel()
            for thread in threads:
                thread.join()

    def _read(self, stream: Any) -> None:
        try:
            for message in stream:
                buffer = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
                if not self._put(pa.ipc.read_record_batch(buffer, self._schema)):
                    return
        except Exception as error:  # noqa: BLE001 - it is raised again where the batches are read
            self._put(error)
        self._put(None)

    def _put(self, found: pa.RecordBatch | Exception | None) -> bool:
        while not self._is_left.is_set():
            try:
                self._waiting.put(found, timeout=_NOTICE_S)
            except queue.Full:
                continue
            return True
        return False
