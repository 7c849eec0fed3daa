"""The two documents next to exported files: the manifest of a version, and the pointer to the current one.

They contain names, counts and digests, and no value of a row.
"""

from __future__ import annotations

from typing import Literal, TypeVar

from pydantic import AwareDatetime

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.manifest import Document

MANIFEST_NAME = "_manifest.json"
POINTER_NAME = "_current.json"


class ExportedFile(Document):
    """One file next to its manifest."""

    name: str
    rows: int
    size_bytes: int
    sha256: str


class ExportedField(Document):
    """One field of every row, with its Arrow type."""

    name: str
    type: str


class ExportManifest(Document):
    """The content of a version; a folder without this manifest is not complete."""

    kind: Literal["consent-retl-export"] = "consent-retl-export"
    version: Literal[1] = 1
    name: str
    destination: str
    model: str
    load_key: str
    decided_at: AwareDatetime
    options: dict[str, str | int | bool]
    fields: tuple[ExportedField, ...]
    rows: int
    files: tuple[ExportedFile, ...]


class CurrentVersion(Document):
    """The pointer: the version that readers have to take.

    `decided_at` is the time of the last decision that the folder follows. It is later than the version's own where a
    removal found no one to remove.
    """

    kind: Literal["consent-retl-export-pointer"] = "consent-retl-export-pointer"
    version: Literal[1] = 1
    current: str
    manifest_sha256: str
    destination: str
    model: str
    decided_at: AwareDatetime
    rows: int


_Export = TypeVar("_Export", ExportManifest, CurrentVersion)


def parsed(kind: type[_Export], content: bytes | None) -> _Export | None:
    """Parse a document; None for anything else."""
    try:
        return kind.from_json(content or b"")
    except RefusedError:
        return None
