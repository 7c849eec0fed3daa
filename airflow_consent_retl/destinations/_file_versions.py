"""A folder of complete versions of one destination's rows, and the pointer to the current one.

    <path>/20261123T175107000000Z-1a2b3c4d-5e6f708192a3/part-00000.parquet, ..., _manifest.json (written last)
    <path>/_current.json (replaced at once)
    <path>/.staging-<version>/ (local disks only, while a load runs)

It never removes a file that is not named the way it names its own, and never lets an older decision replace a newer.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fsspec.implementations.local import LocalFileSystem

from airflow_consent_retl.destinations._file_manifest import (
    MANIFEST_NAME,
    POINTER_NAME,
    CurrentVersion,
    ExportedField,
    ExportedFile,
    ExportManifest,
)
from airflow_consent_retl.destinations._file_part import PartFile
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from airflow_consent_retl.destinations.base import Load

log = logging.getLogger(__name__)

_STAGING = ".staging-"
_OWN_FILE = re.compile(r"part-\d{5,}\.(parquet|csv|jsonl)|_manifest\.json")
_CHUNK_BYTES = 1 << 20
_PERMANENT = {errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL}


class Versions:
    """The versions below one folder, seen by one load.

    Args:
        fs: the storage, with its credentials.
        path: the folder, as `fs` spells it.
        uri: the folder, as people spell it, for messages.
        load: whose rows are published.
        options: what, beside the rows, decides the bytes.
    """

    def __init__(
        self, fs: AbstractFileSystem, path: str, uri: str, load: Load, options: dict[str, str | int | bool]
    ) -> None:
        self.uri = uri
        self.schema = load.schema
        self._fs = fs
        self._path = path
        self._local = isinstance(fs, LocalFileSystem)
        self._load = load
        self._options = options
        owner = hashlib.sha256(load.destination.encode()).hexdigest()[:8]
        content = hashlib.sha256(load.key.encode() + json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]
        self.name = f"{load.decided_at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{owner}-{content}"
        self._own_version = re.compile(rf"\d{{8}}T\d{{12}}Z-{owner}-[0-9a-f]{{12}}")
        self._staging = f"{path}/{_STAGING}{self.name}" if self._local else f"{path}/{self.name}"
        self._lock: int | None = None
        self._begun = False
        self.kept: ExportManifest | None = None

    def begin(self) -> None:
        """Take the folder, clear away what killed tries left, and find out whether this version is there already."""
        with self.storage("open"):
            if self._local:
                Path(self._path).mkdir(parents=True, exist_ok=True)
                self._take_lock()
            self._check_pointer()
            self._begun = True
            self._remove_unfinished()
            self.kept = self._complete(self.name)
            if self.kept is None:
                self._remove(f"{self._path}/{self.name}")
                if self._local:
                    Path(self._staging).mkdir()

    def create(self, name: str) -> PartFile:
        """Open a part for writing; where this version is complete already, its bytes go nowhere."""
        if self.kept is not None:
            return PartFile(None, fsync=False)
        with self.storage("write to"):
            return PartFile(self._open_new(f"{self._staging}/{name}"), fsync=self._local)

    def publish(self, files: tuple[ExportedFile, ...], *, keep: int | None) -> None:
        """Make the files the current version, then remove older ones beyond `keep`."""
        with self.storage("publish in"):
            self._check_pointer()
            manifest = self.kept or self._written_manifest(files)
            if manifest.rows != sum(file.rows for file in files):
                raise DestinationError(
                    f"{self.uri}/{self.name} is complete with {manifest.rows:,} rows, but this load has another number"
                )
            if self.kept is None:
                self._publish_version(manifest.to_json(), files)
            encoded = self._read(f"{self._path}/{self.name}/{MANIFEST_NAME}") or b""
            pointer = CurrentVersion(
                current=self.name,
                manifest_sha256=hashlib.sha256(encoded).hexdigest(),
                destination=manifest.destination,
                model=manifest.model,
                decided_at=manifest.decided_at,
                rows=manifest.rows,
            )
            self._replace_pointer(pointer.to_json())
        log.info("%s/%s is the current version: %s rows", self.uri, self.name, f"{manifest.rows:,}")
        if keep is not None:
            with self.storage("remove older versions in"):
                older = sorted((name for name in self._own_versions() if name < self.name), reverse=True)
                for name in older[keep - 1 :]:
                    self._remove(f"{self._path}/{name}")
                    log.info("%s/%s was removed: an older version", self.uri, name)

    def end(self) -> None:
        """Remove what was not published and let go of the folder."""
        if (
            self._begun
            and self.kept is None
            and (self._local or self._read(f"{self._staging}/{MANIFEST_NAME}") is None)
        ):
            with suppress(OSError):
                self._remove(self._staging)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextmanager
    def storage(self, verb: str) -> Iterator[None]:
        """Turn the storage's errors into ours, which name the folder and the kind of error only."""
        try:
            yield
        except PermissionError:
            raise DestinationError(f"no permission to {verb} {self.uri}") from None
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, type(error).__name__)
            message = f"cannot {verb} {self.uri}: {reason}"
            if error.errno in _PERMANENT:
                raise DestinationError(message) from None
            raise DestinationUnavailableError(message) from None

    def _take_lock(self) -> None:
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise DestinationUnavailableError(f"another load into {self.uri} is under way") from None
        except OSError:
            # Some network file systems have no locks; deterministic names still keep two loads apart.
            os.close(descriptor)
            return
        self._lock = descriptor

    def _check_pointer(self) -> None:
        content = self._read(f"{self._path}/{POINTER_NAME}")
        if content is None:
            return
        pointer = CurrentVersion.from_json(content)
        if pointer is None:
            raise DestinationError(
                f"{self.uri}/{POINTER_NAME} was not written by a load to files: choose another folder"
            )
        if (pointer.destination, pointer.model) != (self._load.destination, self._load.model):
            raise DestinationError(
                f"{self.uri} holds model `{pointer.model}` for destination `{pointer.destination}`, not "
                f"`{self._load.model}` for `{self._load.destination}`: choose another folder"
            )
        if pointer.decided_at > self._load.decided_at:
            raise DestinationError(
                f"{self.uri} holds rows decided at {_iso(pointer.decided_at)}, later than these "
                f"({_iso(self._load.decided_at)}): an older decision never replaces a newer one"
            )

    def _written_manifest(self, files: tuple[ExportedFile, ...]) -> ExportManifest:
        return ExportManifest(
            name=self.name,
            destination=self._load.destination,
            model=self._load.model,
            load_key=self._load.key,
            decided_at=self._load.decided_at,
            options=self._options,
            fields=tuple(ExportedField(name=field.name, type=str(field.type)) for field in self._load.schema),
            rows=sum(file.rows for file in files),
            files=files,
        )

    def _publish_version(self, manifest: bytes, files: tuple[ExportedFile, ...]) -> None:
        for file in files:
            if self._fs.info(f"{self._staging}/{file.name}")["size"] != file.size_bytes:
                raise DestinationUnavailableError(f"{self.uri}/{self.name}/{file.name} is not what was written")
        if not self._local:
            self._fs.pipe_file(f"{self._staging}/{MANIFEST_NAME}", manifest)
            return
        _write_synced(f"{self._staging}/{MANIFEST_NAME}", manifest)
        _sync_folder(self._staging)
        Path(self._staging).rename(f"{self._path}/{self.name}")
        _sync_folder(self._path)

    def _replace_pointer(self, pointer: bytes) -> None:
        path = f"{self._path}/{POINTER_NAME}"
        if not self._local:
            self._fs.pipe_file(path, pointer)
            return
        temporary = f"{self._path}/{_STAGING}{self.name}.json"
        _write_synced(temporary, pointer)
        Path(temporary).replace(path)
        _sync_folder(self._path)

    def _complete(self, name: str) -> ExportManifest | None:
        """Return the version's manifest if it is this load's and every file still has its bytes."""
        manifest = ExportManifest.from_json(self._read(f"{self._path}/{name}/{MANIFEST_NAME}"))
        if manifest is None or manifest.load_key != self._load.key or manifest.options != self._options:
            return None
        intact = all(self._sha256(f"{self._path}/{name}/{file.name}") == file.sha256 for file in manifest.files)
        return manifest if intact else None

    def _own_versions(self) -> list[str]:
        return [name for name in self._names() if self._own_version.fullmatch(name)]

    def _remove_unfinished(self) -> None:
        for name in self._names():
            version = name.removeprefix(_STAGING)
            staged = self._local and name.startswith(_STAGING)
            if staged and self._own_version.fullmatch(version.removesuffix(".json")) and version.endswith(".json"):
                Path(self._path, name).unlink(missing_ok=True)
            elif self._own_version.fullmatch(version) and (
                staged or self._read(f"{self._path}/{name}/{MANIFEST_NAME}") is None
            ):
                self._remove(f"{self._path}/{name}")
                log.info("%s/%s was removed: an earlier try did not finish it", self.uri, name)

    def _remove(self, folder: str) -> None:
        """Remove our own files from a folder, the manifest first, and the folder when nothing else is in it."""
        if self._local and Path(folder).is_symlink():
            return
        names = self._names(folder)
        foreign = [name for name in names if not _OWN_FILE.fullmatch(name)]
        for name in sorted(set(names).difference(foreign)):
            self._fs.rm_file(f"{folder}/{name}")
        if foreign:
            log.warning("%s holds %d files that no load wrote; they were left", folder, len(foreign))
        elif self._local and Path(folder).is_dir():
            Path(folder).rmdir()

    def _names(self, folder: str | None = None) -> list[str]:
        self._fs.invalidate_cache()
        try:
            paths = self._fs.ls(folder or self._path, detail=False)
        except FileNotFoundError:
            return []
        return [str(path).rstrip("/").rsplit("/", 1)[-1] for path in paths]

    def _read(self, path: str) -> bytes | None:
        try:
            content: bytes = self._fs.cat_file(path)
        except FileNotFoundError:
            return None
        return content

    def _sha256(self, path: str) -> str | None:
        digest = hashlib.sha256()
        try:
            with self._fs.open(path, "rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    digest.update(chunk)
        except FileNotFoundError:
            return None
        return digest.hexdigest()

    def _open_new(self, path: str) -> IO[bytes]:
        if self._local:
            return _opened(path)
        file: IO[bytes] = self._fs.open(path, "wb")
        return file


def _opened(path: str) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb")


def _write_synced(path: str, content: bytes) -> None:
    with _opened(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
