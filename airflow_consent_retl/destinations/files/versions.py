"""A folder of complete versions of one destination's rows, and the pointer to the current one.

    <path>/20261123T175107000000Z-1a2b3c4d-5e6f708192a3/part-00000.parquet, ..., _manifest.json (written last)
    <path>/_current.json (replaced at once)
    <path>/.staging-<version>/ (local disks only, while a load runs)

It never removes a file whose name differs from its own names, and never lets an older decision replace a newer one.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_consent_retl.destinations.files.export_manifest import (
    MANIFEST_NAME,
    POINTER_NAME,
    CurrentVersion,
    ExportedField,
    ExportedFile,
    ExportManifest,
    parsed,
)
from airflow_consent_retl.destinations.files.part import PartFile
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.destinations.files.storage import ExportFolder

log = module_log(__name__)

_STAGING = ".staging-"
_STAMP = "%Y%m%dT%H%M%S%fZ"
Options = dict[str, str | int | bool]


class Versions:
    """The versions below one folder, as one load uses them.

    Call `begin` first; then either `stage` for a version of the load's own rows, or `stage_from` for the current one
    without some people; then `create` for each part, and `publish`, or `keep_current`; `end` last.

    Args:
        folder: the folder of the versions.
        load: the load whose rows are published.
        options: the options that decide the bytes in addition to the rows.
    """

    def __init__(self, folder: ExportFolder, load: Load, options: Options) -> None:
        self.folder = folder
        self.load = load
        self.name = ""
        # The same version, completed by an earlier try: then written bytes are only digested, not stored.
        self.kept: ExportManifest | None = None
        self._options = options
        self._fields = tuple(ExportedField(name=field.name, type=str(field.type)) for field in load.schema)
        self._owner = _owner(load.destination)
        self._own_version = _own_version(load.destination)
        self._stamp = _stamp(load.decided_at)
        self._staging = ""

    def begin(self) -> None:
        """Lock the folder, refuse a foreign or newer one, and remove files that killed tries left."""
        with self.folder.storage("open"):
            self.folder.take()
            self._check_pointer()
            self._remove_unfinished()

    def check(self) -> None:
        """Refuse a foreign or newer folder as `begin` does, without a change."""
        with self.folder.storage("look into"):
            self._check_pointer()

    def stage(self) -> None:
        """Begin a version of the load's own rows."""
        self._begin_version(self.load.key)

    def stage_from(self, base: ExportManifest, people_sha256: str) -> None:
        """Begin a version with an earlier version's rows and form, without some people."""
        self._options = base.options
        self._fields = base.fields
        self._begin_version(f"{self.load.key} {base.name} {_files_sha256(base)} {people_sha256}")

    def create(self, name: str) -> PartFile:
        """Open a part for writing."""
        if self.kept is not None:
            return PartFile(None, fsync=False)
        with self.folder.storage("write to"):
            return PartFile(self.folder.create(f"{self._staging}/{name}"), fsync=self.folder.local)

    def current(self) -> ExportManifest | None:
        """Return the version that readers follow, or None before the first.

        Raises:
            DestinationError: a byte of it differs from what was published.
        """
        pointer = self._pointer()
        if pointer is None:
            return None
        content = self.folder.read(f"{pointer.current}/{MANIFEST_NAME}")
        manifest = parsed(ExportManifest, content)
        if (
            manifest is None
            or hashlib.sha256(content or b"").hexdigest() != pointer.manifest_sha256
            or not self._intact(manifest)
        ):
            raise DestinationError(
                f"{self.folder.uri}/{pointer.current} was changed since it was published: no one can be removed from "
                "it, a load of all rows replaces it"
            )
        return manifest

    def is_there(self) -> bool:
        """Return whether the version that readers follow is complete, by the names and sizes of its files.

        Raises:
            DestinationError: the folder is not one of loads.
            DestinationUnavailableError: the storage does not answer.
        """
        with self.folder.storage("look into"):
            return self._there() is not None

    def may_stay(self, *, keep: int | None, keep_days: float | None) -> bool:
        """Return whether the current version is complete, as this load would write it, and none is to be removed.

        Raises: as `is_there`.
        """
        with self.folder.storage("look into"):
            manifest = self._there()
            return (
                manifest is not None
                and (manifest.destination, manifest.model) == (self.load.destination, self.load.model)
                and (manifest.options, manifest.fields) == (self._options, self._fields)
                and manifest.rows == self.load.rows
                and not self._superfluous(keep, keep_days)
            )

    def _there(self) -> ExportManifest | None:
        pointer = self._pointer()
        if pointer is None:
            return None
        manifest = parsed(ExportManifest, self.folder.read(f"{pointer.current}/{MANIFEST_NAME}"))
        if manifest is None:
            return None
        try:
            sizes = [self.folder.size_bytes(f"{pointer.current}/{file.name}") for file in manifest.files]
        except FileNotFoundError:
            return None
        return manifest if sizes == [file.size_bytes for file in manifest.files] else None

    def publish(self, files: tuple[ExportedFile, ...], *, keep: int | None, keep_days: float | None = None) -> None:
        """Make the files the current version, then remove those beyond `keep`, and those decided too long ago."""
        with self.folder.storage("publish in"):
            self._check_pointer()
            manifest = self.kept or self._manifest(files)
            if manifest.rows != sum(file.rows for file in files):
                raise DestinationError(
                    f"{self.folder.uri}/{self.name} is complete with {manifest.rows:,} rows, but this load has "
                    "another number"
                )
            if self.kept is None:
                self.load.before_request()
                self._publish_version(manifest.to_json(), files)
            self.load.before_request()
            self._point_to(manifest)
        log.info("%s/%s is the current version: %s rows", self.folder.uri, self.name, f"{manifest.rows:,}")
        self._remove_older(keep, keep_days)

    def keep_current(self, manifest: ExportManifest) -> None:
        """Leave the current version, which contains none of the people to remove, and note the decision next to it.

        A load that was decided earlier, and may contain one of them, is refused from now on.
        """
        with self.folder.storage("publish in"):
            self._check_pointer()
            self._remove_staged()
            self.load.before_request()
            self._point_to(manifest)
        self._remove_older(1)

    def end(self) -> None:
        """Remove everything that was not published, and release the folder."""
        with suppress(OSError):
            self._remove_staged()
        self.folder.release()

    def _begin_version(self, content: str) -> None:
        options = json.dumps(self._options, sort_keys=True)
        digest = hashlib.sha256(content.encode() + options.encode()).hexdigest()[:12]
        self.name = f"{self._stamp}-{self._owner}-{digest}"
        with self.folder.storage("open"):
            self._check_pointer()
            self.kept = self._complete(self.name)
            if self.kept is None:
                self.folder.remove(self.name)
                self._staging = f"{_STAGING}{self.name}" if self.folder.local else self.name
                self.folder.make(self._staging)

    def _pointer(self) -> CurrentVersion | None:
        content = self.folder.read(POINTER_NAME)
        if content is None:
            return None
        pointer = parsed(CurrentVersion, content)
        if pointer is None:
            raise DestinationError(
                f"{self.folder.uri}/{POINTER_NAME} was not written by a load to files: choose another folder"
            )
        return pointer

    def _check_pointer(self) -> None:
        pointer, load = self._pointer(), self.load
        if pointer is None:
            return
        if (pointer.destination, pointer.model) != (load.destination, load.model):
            raise DestinationError(
                f"{self.folder.uri} contains model `{pointer.model}` for destination `{pointer.destination}`, not "
                f"`{load.model}` for `{load.destination}`: choose another folder"
            )
        if pointer.decided_at > datetime.now(UTC):
            # A clock was ahead. The ledger knows which decision is newer.
            log.warning(
                "%s contains rows that were decided at %s, which is in the future: a clock was ahead, and this "
                "decision replaces them",
                self.folder.uri,
                _iso(pointer.decided_at),
            )
        elif pointer.decided_at > load.decided_at:
            raise DestinationError(
                f"{self.folder.uri} contains rows decided at {_iso(pointer.decided_at)}, later than these "
                f"({_iso(load.decided_at)}): an older decision never replaces a newer one"
            )

    def _point_to(self, manifest: ExportManifest) -> None:
        encoded = self.folder.read(f"{manifest.name}/{MANIFEST_NAME}") or b""
        pointer = CurrentVersion(
            current=manifest.name,
            manifest_sha256=hashlib.sha256(encoded).hexdigest(),
            destination=manifest.destination,
            model=manifest.model,
            decided_at=self.load.decided_at,
            rows=manifest.rows,
        )
        self.folder.replace(POINTER_NAME, pointer.to_json(), temporary=f"{_STAGING}{self.name}.json")

    def _manifest(self, files: tuple[ExportedFile, ...]) -> ExportManifest:
        return ExportManifest(
            name=self.name,
            destination=self.load.destination,
            model=self.load.model,
            load_key=self.load.key,
            decided_at=self.load.decided_at,
            options=self._options,
            fields=self._fields,
            rows=sum(file.rows for file in files),
            files=files,
        )

    def _publish_version(self, manifest: bytes, files: tuple[ExportedFile, ...]) -> None:
        for file in files:
            if self.folder.size_bytes(f"{self._staging}/{file.name}") != file.size_bytes:
                raise DestinationUnavailableError(
                    f"{self.folder.uri}/{self.name}/{file.name} differs from what was written"
                )
        self.folder.write(f"{self._staging}/{MANIFEST_NAME}", manifest)
        if self.folder.local:
            self.folder.rename(self._staging, self.name)
        self._staging = ""

    def _complete(self, name: str) -> ExportManifest | None:
        """Return the version's manifest if it is this load's and every file still has its bytes."""
        manifest = parsed(ExportManifest, self.folder.read(f"{name}/{MANIFEST_NAME}"))
        if manifest is None or manifest.load_key != self.load.key or manifest.options != self._options:
            return None
        return manifest if self._intact(manifest) else None

    def _intact(self, manifest: ExportManifest) -> bool:
        return all(self.folder.sha256(f"{manifest.name}/{file.name}") == file.sha256 for file in manifest.files)

    def _remove_older(self, keep: int | None, keep_days: float | None = None) -> None:
        with self.folder.storage("remove older versions in"):
            for name in self._superfluous(keep, keep_days):
                self.folder.remove(name)
                log.info("%s/%s was removed: an older version", self.folder.uri, name)

    def _superfluous(self, keep: int | None, keep_days: float | None) -> list[str]:
        """Return the older versions beyond `keep`, and those decided too long ago."""
        pointer = self._pointer()
        current = self.name if pointer is None else pointer.current
        # Versions decided at the same time as well: their names have no order, and only one can be current.
        versions = own_versions(self.folder, self.load.destination)
        # A version of the future was decided under a clock that was ahead: no one knows when, so it is the oldest.
        now = datetime.now(UTC)
        others = [
            (time if time <= _stamp(now) else "", name)
            for name in versions
            if name != current and ((time := name.split("-")[0]) <= self._stamp or time > _stamp(now))
        ]
        kept = len(others) if keep is None else keep - 1
        oldest = "" if keep_days is None else _stamp(now - timedelta(days=keep_days))
        older = sorted(others, reverse=True)
        return [name for place, (time, name) in enumerate(older) if place >= kept or time < oldest]

    def _remove_unfinished(self) -> None:
        for name in self.folder.names():
            version = name.removeprefix(_STAGING)
            staged = self.folder.local and name.startswith(_STAGING)
            if staged and self._own_version.fullmatch(version.removesuffix(".json")) and version.endswith(".json"):
                self.folder.remove_file(name)
            elif self._own_version.fullmatch(version) and (
                staged or self.folder.read(f"{name}/{MANIFEST_NAME}") is None
            ):
                self.folder.remove(name)
                log.info("%s/%s was removed: an earlier try did not finish it", self.folder.uri, name)

    def _remove_staged(self) -> None:
        if self._staging and (self.folder.local or self.folder.read(f"{self._staging}/{MANIFEST_NAME}") is None):
            self.folder.remove(self._staging)
        self._staging = ""


def own_versions(folder: ExportFolder, destination: str) -> list[str]:
    """Return the names of the versions that loads for a destination wrote into a folder."""
    pattern = _own_version(destination)
    return [name for name in folder.names() if pattern.fullmatch(name)]


def time_of(version: str) -> datetime:
    """Return the time at which the rows of a version were decided."""
    return datetime.strptime(version.split("-", maxsplit=1)[0], _STAMP).replace(tzinfo=UTC)


def _own_version(destination: str) -> re.Pattern[str]:
    return re.compile(rf"\d{{8}}T\d{{12}}Z-{_owner(destination)}-[0-9a-f]{{12}}")


def _owner(destination: str) -> str:
    return hashlib.sha256(destination.encode()).hexdigest()[:8]


def _files_sha256(manifest: ExportManifest) -> str:
    return hashlib.sha256(" ".join(file.sha256 for file in manifest.files).encode()).hexdigest()


def _stamp(time: datetime) -> str:
    return f"{time.astimezone(UTC):{_STAMP}}"


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
