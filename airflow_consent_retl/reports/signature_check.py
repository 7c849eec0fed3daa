"""The check of signatures: which manifests of a workspace the deployment wrote, and which were changed since."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any
from zipfile import BadZipFile

from fsspec.implementations.zip import ZipFileSystem

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.expired import PRUNED_NAME
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.known_files import KNOWN
from airflow_consent_retl.storage.location import manifest_folder, open_folder, signer, workspace_root
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, Part, sha256_hex
from airflow_consent_retl.storage.records.places import RECORDS
from airflow_consent_retl.storage.signing import SignatureState, SignedDocument
from airflow_consent_retl.storage.suppression import FOLDER as SUPPRESSION

_PART_FIELDS = frozenset(Part.model_fields)


@dataclass(frozen=True, slots=True)
class CheckedManifest:
    """The result for one manifest.

    Args:
        manifest: its URI.
        kind: such as `snapshot`, `permitted`, `delivered` or `delivery_records`; empty where it cannot be read.
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


def verify(manifest: str | None = None, *, workspace: str | None = None, files: bool = True) -> list[CheckedManifest]:
    """Check the signature of a manifest, or of all manifests and records of a workspace.

    Args:
        manifest: the URI of one, or the path of a bundle of evidence that ends in `.zip`; None: all of the workspace.
        workspace: as for the loads; the documents of a warehouse workspace are in the deployment's workspace.
        files: whether to compare the files that a manifest names with their digests too, which reads all of them.

    Returns:
        One result for each manifest, by URI.

    Raises:
        RefusedError: there is no such manifest.
        ConfigurationError: the deployment has no secret, or the workspace cannot be opened.
    """
    if manifest is not None and manifest.endswith(".zip"):
        return [_checked(_bundle(manifest), MANIFEST_NAME, files=files)]
    if manifest is not None:
        return [_checked(manifest_folder(manifest), MANIFEST_NAME, files=files)]
    found = published(open_folder(workspace_root(workspace)))
    return [_checked(folder, name, files=files) for folder, name in found]


def _bundle(path: str) -> Folder:
    try:
        return Folder(ZipFileSystem(path), "", path)
    except (OSError, BadZipFile):
        raise RefusedError(f"{path} is no bundle of evidence that can be read") from None


def published(root: Folder) -> Iterator[tuple[Folder, str]]:
    """Yield the folder and the name of each manifest, of each document of records, and of the list of acts."""
    root.fs.invalidate_cache()
    for path in sorted(root.fs.find(root.path)):
        *folders, name = str(path).removeprefix(root.path).strip("/").split("/")
        is_record = folders[:1] == [RECORDS] and name.endswith(".json")
        if name == MANIFEST_NAME or is_record or (folders[:1] == [SUPPRESSION] and name == KNOWN):
            yield reduce(Folder.__truediv__, folders, root), name


def _checked(folder: Folder, name: str, *, files: bool) -> CheckedManifest:
    present = signer()
    document = SignedDocument.read(folder.read(name))
    key_id = None if document.signature is None else document.signature.key_id
    try:
        parsed = json.loads(document.body)
    except (ValueError, RecursionError):
        parsed = {}
    kind = parsed.get("kind", "") if isinstance(parsed, dict) else ""
    return CheckedManifest(
        manifest=f"{folder.uri}/{name}",
        kind=str(kind),
        signature=str(document.state(present, place=f"{folder.uri}/{name}")),
        key_id=key_id,
        is_present_key=key_id == present.key_id,
        changed_files=tuple(_changed(folder, parsed)) if files else None,
    )


def _changed(folder: Folder, parsed: object) -> Iterator[str]:
    ended = json.loads(folder.read_document(PRUNED_NAME))["files"] if folder.exists(PRUNED_NAME) else ()
    for part in _parts(parsed):
        if part.name in ended:
            continue
        try:
            folder.verify(part)
        except RefusedError:
            yield part.name
    if isinstance(parsed, dict) and parsed.get("kind") == "suppression_acts":
        yield from sorted(set(parsed["acts"]).difference(folder.names()))
    if isinstance(parsed, dict) and parsed.get("kind") == "record_index":
        for one in parsed.get("documents", ()):
            name = str(one.get("document"))
            if not folder.parent.exists(name) or sha256_hex(folder.parent.read(name)) != one.get("digest"):
                yield name


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
