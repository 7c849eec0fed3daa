"""One file of a version during writing: encoded, digested and counted in one pass."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from airflow_consent_retl.destinations.files.export_manifest import ExportedFile

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.destinations.files.formats import FileFormat, Refused


class PartFile(io.RawIOBase):
    """A file that is digested while it is written."""

    def __init__(self, raw: IO[bytes] | None, *, fsync: bool) -> None:
        self._raw = raw
        self._fsync = fsync
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def writable(self) -> bool:
        """Return True: Arrow asks before it writes."""
        return True

    def write(self, chunk: bytes) -> int:  # type: ignore[override]
        """Write a chunk, digest it and count it."""
        size = memoryview(chunk).nbytes
        if self._raw is not None:
            self._raw.write(chunk)
        self._sha256.update(chunk)
        self.size_bytes += size
        return size

    def finish(self) -> str:
        """Close the file for good and return its SHA-256."""
        if self._raw is not None:
            if self._fsync:
                self._raw.flush()
                os.fsync(self._raw.fileno())
            self._raw.close()
        return self._sha256.hexdigest()

    def give_up(self) -> None:
        """Close without publishing; a buffered upload is dropped."""
        if self._raw is not None:
            with suppress(OSError):
                discard = getattr(self._raw, "discard", None)
                if discard is not None:
                    discard()
                self._raw.close()


class OpenPart:
    """An open part of a version: takes rows, and `close` returns its description for the manifest.

    Args:
        name: the file's name in its version.
        file: the target of the bytes.
        file_format: turns rows into bytes.
        schema: of all rows written.
    """

    def __init__(self, name: str, file: PartFile, file_format: FileFormat, schema: pa.Schema) -> None:
        self._name = name
        self._file = file
        self._encoder = file_format.encoder(file, schema)
        self.rows = 0

    def write(self, rows: pa.RecordBatch) -> Refused:
        """Append the rows, and return the positions and codes of those that the format cannot express."""
        refused = self._encoder.write(rows)
        self.rows += rows.num_rows - len(refused)
        return refused

    def close(self) -> ExportedFile:
        """Finish the file and describe it."""
        self._encoder.close()
        sha256 = self._file.finish()
        return ExportedFile(name=self._name, rows=self.rows, size_bytes=self._file.size_bytes, sha256=sha256)

    def give_up(self) -> None:
        """Drop the file."""
        # Otherwise Arrow's writer would write its footer into a closed file when it is garbage-collected.
        with suppress(OSError):
            self._encoder.close()
        self._file.give_up()
