"""The check of signatures: which documents of a workspace the deployment wrote, and which were changed since."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from fsspec.implementations.zip import ZipFileSystem

from airflow_consent_retl.delivery.ledger.records import parsed_sync_name
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.reports.signed_documents import PublishedDocument, published
from airflow_consent_retl.storage.expired import PRUNED_NAME
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import manifest_folder, open_folder, signer, workspace_root
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, Part, sha256_hex
from airflow_consent_retl.storage.signing import SignatureState, SignedDocument
from airflow_consent_retl.storage.sync_folder import SyncFolder

if TYPE_CHECKING:
    from airflow_consent_retl.progress import Log

_PART_FIELDS = frozenset(Part.model_fields)
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class CheckedManifest:
    """The result for one manifest.

    Args:
        manifest: its URI.
        kind: such as `snapshot`, `permitted`, `delivery_records` or `policy_archive`; empty where it cannot be read.
        signature: `signed`, `unsigned`, `unknown_key`, `moved` (a copy of one that was signed elsewhere) or `false`.
        key_id: of the key that signed it, as the manifest names it; None: it is unsigned.
        is_present_key: whether that is the present key, and not one that was replaced.
        changed_files: the names of its files that differ, or are gone though `prune` did not delete them; None: they
            were not checked.
    """

    manifest: str
    kind: str
    signature: str
    key_id: str | None
    is_present_key: bool
    changed_files: tuple[str, ...] | None

    @property
    def is_true(self) -> bool:
        """Whether the deployment wrote it as it is."""
        return self.signature == SignatureState.SIGNED and not self.changed_files


def verify(
    manifest: str | None = None,
    *,
    workspace: str | None = None,
    sync: str | None = None,
    since: datetime | None = None,
    files: bool = True,
    log: Log | None = None,
) -> list[CheckedManifest]:
    """Check the signature of a manifest, or of all manifests, records and proofs of a workspace.

    Proofs are the acts and requests of the suppression list, and the archive of policies with its approvals.

    Files are read in small pieces, whatever their size.

    Args:
        manifest: the URI of one, or the path of a bundle of evidence that ends in `.zip`; None: all of the workspace.
        workspace: as for the loads; the documents of a warehouse workspace are in the deployment's workspace.
        sync: only the changes, the delivered states and the records of deliveries of this sync.
        since: only documents that were written at this time or later, or of which a file was, or is gone. The times are
            those of the storage: whoever can set the times of files can hide from this check, and not from a full one.
        files: whether to compare the files that a manifest names with their digests too, which reads all of them.
        log: gets a line every ten seconds, and one at the end.

    Returns:
        One result for each manifest, by URI.

    Raises:
        RefusedError: there is no such manifest, or nothing of the sync.
        ConfigurationError: the deployment has no secret, or the workspace cannot be opened; or one manifest was named,
            and a sync or a time as well.
    """
    progress = CheckProgress(log)
    if manifest is not None:
        if sync is not None or since is not None:
            raise ConfigurationError("one manifest has no sync or time to choose it by: leave them out")
        folder = _bundle(manifest) if manifest.endswith(".zip") else manifest_folder(manifest)
        named = PublishedDocument(folder, MANIFEST_NAME)
        return [_checked(named, _read(named), files=files, progress=progress)]
    root = open_folder(workspace_root(workspace))
    found = [
        one
        for top in ([root] if sync is None else _folders_of(root, sync))
        for document in published(root, below=top)
        if (one := _checked_if_there(document, since=since, files=files, progress=progress)) is not None
    ]
    progress.end()
    return sorted(found, key=lambda one: one.manifest)


class CheckProgress:
    """A counter of manifests and bytes that logs a line from time to time.

    Args:
        log: gets the lines; None: no one.
        interval_s: between two lines.
    """

    def __init__(self, log: Log | None, *, interval_s: float = 10.0) -> None:
        self._log = log
        self._interval_s = interval_s
        self._due = time.monotonic() + interval_s
        self._manifests = 0
        self._bytes = 0

    def manifest(self) -> None:
        """Count a manifest."""
        self._manifests += 1
        self._say_if_due()

    def read(self, size_bytes: int) -> None:
        """Count bytes of files."""
        self._bytes += size_bytes
        self._say_if_due()

    def end(self) -> None:
        """Log the last line."""
        if self._log is not None:
            self._log.info("checked %s manifests, %s MB of files", f"{self._manifests:,}", f"{self._bytes / 1e6:,.1f}")

    def _say_if_due(self) -> None:
        if (now := time.monotonic()) >= self._due:
            self._due = now + self._interval_s
            self.end()


def _bundle(path: str) -> Folder:
    try:
        return Folder(ZipFileSystem(path), "", path)
    except (OSError, BadZipFile):
        raise RefusedError(f"{path} is no bundle of evidence that can be read") from None


def _folders_of(root: Folder, sync: str) -> list[Folder]:
    of_sync = SyncFolder(root, parsed_sync_name(sync))
    there = [folder for folder in (of_sync.records, of_sync.root) if folder.names()]
    if not there:
        raise RefusedError(f"{root.uri} has nothing of sync `{sync}`: `consent-retl syncs` lists the syncs")
    return there


@dataclass(frozen=True, slots=True)
class _Read:
    """A document: its signature, and its content; None where it is no JSON."""

    signed: SignedDocument
    parsed: Any


def _read(document: PublishedDocument) -> _Read:
    signed = SignedDocument.read(document.folder.read(document.name))
    try:
        return _Read(signed, json.loads(signed.body))
    except (ValueError, RecursionError):
        return _Read(signed, None)


def _checked_if_there(
    document: PublishedDocument, *, since: datetime | None, files: bool, progress: CheckProgress
) -> CheckedManifest | None:
    """Return the result; None: it is older, or a run deleted it meanwhile."""
    folder, name = document.folder, document.name
    try:
        read = _read(document)
        if since is not None and not _is_written_since(folder, name, read.parsed, since):
            return None
        checked = _checked(document, read, files=files, progress=progress)
    except RefusedError:
        if folder.exists(name):
            raise
        return None
    return checked if checked.is_true or folder.exists(name) else None


def _is_written_since(folder: Folder, name: str, parsed: Any, since: datetime) -> bool:
    """Return whether a manifest or one of its files was written at a time or later, or a file of it is gone."""
    if _is_newer(folder, name, since) or _lacks_documents(folder, parsed):
        return True
    ended = _ended(folder)
    return any(_is_newer(folder, part.name, since) for part in _parts(parsed) if part.name not in ended)


def _is_newer(folder: Folder, name: str, since: datetime) -> bool:
    try:
        at: datetime = folder.fs.modified(folder.file_path(name))
    except FileNotFoundError:
        return True
    return (at if at.tzinfo else at.replace(tzinfo=UTC)) >= since


def _checked(document: PublishedDocument, read: _Read, *, files: bool, progress: CheckProgress) -> CheckedManifest:
    present, signed = signer(), read.signed
    key_id = None if signed.signature is None else signed.signature.key_id
    place = f"{document.folder.uri}/{document.name}"
    progress.manifest()
    return CheckedManifest(
        manifest=place,
        kind=document.kind_of(read.parsed),
        signature=str(signed.state(present, place=place, purpose=document.purpose)),
        key_id=key_id,
        is_present_key=key_id == present.key_id,
        changed_files=tuple(_changed(document.folder, read.parsed, progress)) if files else None,
    )


def _ended(folder: Folder) -> Collection[str]:
    """Return the names of the files that `prune` deleted."""
    if not folder.exists(PRUNED_NAME):
        return ()
    ended: list[str] = json.loads(folder.read_document(PRUNED_NAME))["files"]
    return ended


def _changed(folder: Folder, parsed: object, progress: CheckProgress) -> Iterator[str]:
    ended = _ended(folder)
    for part in _parts(parsed):
        if part.name not in ended and not _is_as_described(folder, part, progress):
            yield part.name
    yield from _gone_or_changed_documents(folder, parsed)


def _lacks_documents(folder: Folder, parsed: object) -> bool:
    """Return whether a document is gone that a list or an index names; changed ones are newer themselves."""
    if not isinstance(parsed, dict) or parsed.get("kind") != "record_index":
        return any(_gone_or_changed_documents(folder, parsed))
    named = {str(one.get("document")) for one in parsed.get("documents", ())}
    return not named.issubset(folder.parent.names())


def _gone_or_changed_documents(folder: Folder, parsed: object) -> Iterator[str]:
    """Yield the documents that a list or an index names, and which are gone or not the ones it names."""
    if not isinstance(parsed, dict):
        return
    listed = parsed.get("acts" if parsed.get("kind") == "suppression_acts" else "names")
    if isinstance(listed, list):
        yield from sorted(set(map(str, listed)).difference(folder.names()))
    if parsed.get("kind") == "record_index":
        for one in parsed.get("documents", ()):
            name = str(one.get("document"))
            if not folder.parent.exists(name) or sha256_hex(folder.parent.read(name)) != one.get("digest"):
                yield name


def _is_as_described(folder: Folder, part: Part, progress: CheckProgress) -> bool:
    sha256, size_bytes = hashlib.sha256(), 0
    try:
        with folder.fs.open(folder.file_path(part.name), "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                sha256.update(block)
                size_bytes += len(block)
                progress.read(len(block))
    except (FileNotFoundError, RefusedError):
        return False
    return size_bytes == part.size_bytes and sha256.hexdigest() == part.sha256


def _parts(parsed: Any) -> Iterator[Part]:
    """Yield the files that a document describes, wherever in it."""
    if isinstance(parsed, dict):
        if parsed.keys() == _PART_FIELDS:
            yield Part.model_validate(parsed)
            return
        parsed = list(parsed.values())
    if isinstance(parsed, list):
        for one in parsed:
            yield from _parts(one)
