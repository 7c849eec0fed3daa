"""A folder in any storage, as versions of files need it: read, written, listed, locked and cleared.

It never removes a file whose name differs from the names that versions give.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fsspec.implementations.local import LocalFileSystem

from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError
from airflow_consent_retl.operators.disk import in_words
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

log = module_log(__name__)

_OWN_FILE = re.compile(r"part-\d{5,}\.(parquet|csv|jsonl)|_manifest\.json")
_CHUNK_BYTES = 1 << 20
_PERMANENT = {errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL}


class ExportFolder:
    """One folder of a storage; names are relative to it.

    Args:
        fs: the storage, with its credentials.
        path: the folder, as `fs` spells it.
        uri: the folder, as people spell it, for messages.
    """

    def __init__(self, fs: AbstractFileSystem, path: str, uri: str) -> None:
        self.uri = uri
        self.local = isinstance(fs, LocalFileSystem)
        self._fs = fs
        self._path = path
        self._lock: int | None = None

    @contextmanager
    def storage(self, verb: str) -> Iterator[None]:
        """Turn the storage's errors into this package's, which name only the folder and the kind of error."""
        try:
            yield
        except OSError as error:
            message = f"cannot {verb} {self.uri}: {self._in_words(error)}"
            cannot_be_made = error.errno == errno.ENOENT and self.local and not Path(self._path).exists()
            if isinstance(error, PermissionError) or error.errno in _PERMANENT or cannot_be_made:
                raise DestinationError(message) from None
            raise DestinationUnavailableError(message) from None

    def _in_words(self, error: OSError) -> str:
        if self.local:
            return in_words(error)
        if isinstance(error, PermissionError):
            return "the storage refuses: give the connection's user the right to list, read, write and delete there"
        if isinstance(error, FileNotFoundError):
            return "there is no such bucket or container: make it, or correct the path"
        return errno.errorcode.get(error.errno or 0, type(error).__name__)

    def take(self) -> None:
        """Make the folder, and keep other loads of this machine out of it."""
        if not self.local:
            return
        Path(self._path).mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DestinationUnavailableError(f"another load into {self.uri} is running") from None
        except OSError:
            # Some network file systems have no locks; deterministic names still keep two loads apart.
            os.close(descriptor)
            return
        self._lock = descriptor

    def release(self) -> None:
        """Allow other loads again; may be called twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def names(self, folder: str = "") -> list[str]:
        """Return the names of the entries of the folder, or of one below it."""
        self._fs.invalidate_cache()
        try:
            paths = self._fs.ls(self._at(folder), detail=False)
        except FileNotFoundError:
            return []
        return [str(path).rstrip("/").rsplit("/", 1)[-1] for path in paths]

    def read(self, name: str) -> bytes | None:
        """Return a small file, or None where there is none."""
        try:
            content: bytes = self._fs.cat_file(self._at(name))
        except FileNotFoundError:
            return None
        return content

    def opened(self, name: str) -> IO[bytes]:
        """Open a file for reading, from any place."""
        file: IO[bytes] = self._fs.open(self._at(name), "rb")
        return file

    def sha256(self, name: str) -> str | None:
        """Return a file's digest, or None where there is no file."""
        digest = hashlib.sha256()
        try:
            with self.opened(name) as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except FileNotFoundError:
            return None
        return digest.hexdigest()

    def size_bytes(self, name: str) -> int:
        """Return a file's size."""
        return int(self._fs.info(self._at(name))["size"])

    def make(self, folder: str) -> None:
        """Make a folder below, where the storage has folders."""
        if self.local:
            Path(self._at(folder)).mkdir()

    def create(self, name: str) -> IO[bytes]:
        """Open a new file for writing."""
        if self.local:
            return _created(self._at(name))
        file: IO[bytes] = self._fs.open(self._at(name), "wb")
        return file

    def write(self, name: str, content: bytes) -> None:
        """Write a small new file, durably."""
        if self.local:
            _write_synced(self._at(name), content)
        else:
            self._fs.pipe_file(self._at(name), content)

    def replace(self, name: str, content: bytes, *, temporary: str) -> None:
        """Replace a small file atomically."""
        if not self.local:
            self._fs.pipe_file(self._at(name), content)
            return
        _write_synced(self._at(temporary), content)
        Path(self._at(temporary)).replace(self._at(name))
        _sync_folder(self._path)

    def rename(self, folder: str, new: str) -> None:
        """Rename a folder on a local disk, durably."""
        _sync_folder(self._at(folder))
        Path(self._at(folder)).rename(self._at(new))
        _sync_folder(self._path)

    def remove_file(self, name: str) -> None:
        """Remove a file of a local disk, if it exists."""
        Path(self._at(name)).unlink(missing_ok=True)

    def remove(self, folder: str) -> None:
        """Remove the files of versions from a folder, the manifest first, and the folder if nothing else is in it."""
        path = self._at(folder)
        if self.local and Path(path).is_symlink():
            return
        names = self.names(folder)
        foreign = [name for name in names if not _OWN_FILE.fullmatch(name)]
        for name in sorted(set(names).difference(foreign)):
            self._fs.rm_file(f"{path}/{name}")
        if foreign:
            log.warning("%s contains %d files that no load wrote; they were left", path, len(foreign))
        elif self.local and Path(path).is_dir():
            Path(path).rmdir()

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}" if name else self._path


def _created(path: str) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")


def _write_synced(path: str, content: bytes) -> None:
    with _created(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
