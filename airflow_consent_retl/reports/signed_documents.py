"""The documents that the deployment signs in a workspace: manifests, records, suppressions, and proofs of policies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.known_files import KNOWN
from airflow_consent_retl.storage.location import POLICY_ARCHIVE
from airflow_consent_retl.storage.manifest import MANIFEST_NAME
from airflow_consent_retl.storage.policy_archive import PURPOSE
from airflow_consent_retl.storage.records.places import RECORDS
from airflow_consent_retl.storage.signing import MANIFEST
from airflow_consent_retl.storage.suppression import FOLDER as SUPPRESSION

if TYPE_CHECKING:
    from typing import Any

# Folders of proofs: all of their documents are signed, and some have a list of their files.
_PROOFS = frozenset({SUPPRESSION, POLICY_ARCHIVE})


@dataclass(frozen=True, slots=True)
class PublishedDocument:
    """The place of a document, and the purpose for which it has to be signed there."""

    folder: Folder
    name: str
    purpose: str = MANIFEST

    def kind_of(self, parsed: Any) -> str:
        """Return the kind of the document, empty where it names none."""
        if self.purpose == PURPOSE:
            return POLICY_ARCHIVE
        return str(parsed.get("kind", "")) if isinstance(parsed, dict) else ""


def published(root: Folder, *, below: Folder | None = None) -> Iterator[PublishedDocument]:
    """Yield each signed document of a workspace.

    One folder is listed at a time.

    Args:
        root: of the workspace.
        below: only in this folder of it; None: everywhere.
    """
    root.fs.invalidate_cache()
    start = root.path if below is None else below.path
    waiting = [start]
    while waiting:
        path = waiting.pop()
        try:
            listed = root.fs.ls(path, detail=True)
        except FileNotFoundError:
            # There is no workspace, or a run deleted the folder meanwhile.
            continue
        inside = str(path).strip("/").removeprefix(root.path.strip("/")).strip("/")
        folders = inside.split("/") if inside else []
        for one in listed:
            inner, name = str(one["name"]).rstrip("/"), str(one["name"]).rstrip("/").rpartition("/")[2]
            if one["type"] == "directory":
                # Some storages list a folder as a part of itself.
                if inner.strip("/") != str(path).strip("/"):
                    waiting.append(inner)
            elif _is_signed(folders, name):
                purpose = PURPOSE if folders[:1] == [POLICY_ARCHIVE] else MANIFEST
                yield PublishedDocument(reduce(Folder.__truediv__, folders, root), name, purpose)


def _is_signed(folders: Sequence[str], name: str) -> bool:
    top = folders[0] if folders else ""
    is_document = name.endswith(".json") and (top == RECORDS or top in _PROOFS)
    return name == MANIFEST_NAME or is_document or (name == KNOWN and top in _PROOFS)
