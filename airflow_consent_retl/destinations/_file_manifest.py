"""The two documents beside exported files: the manifest of a version, and the pointer to the current one.

They hold names, counts and digests, and no value of a row.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

MANIFEST_NAME = "_manifest.json"
POINTER_NAME = "_current.json"


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> bytes:
        """Encode with indentation: people read it."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    @classmethod
    def from_json(cls, document: bytes | None) -> Self | None:
        """Parse what `to_json` wrote; None for anything else."""
        try:
            return cls.model_validate_json(document or b"")
        except ValidationError:
            return None


class ExportedFile(_Document):
    """One file beside its manifest."""

    name: str
    rows: int
    size_bytes: int
    sha256: str


class ExportedField(_Document):
    """One field of every row, with its Arrow type."""

    name: str
    type: str


class ExportManifest(_Document):
    """What a version holds; a folder without one is not complete."""

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


class CurrentVersion(_Document):
    """The pointer: which version readers are to take."""

    kind: Literal["consent-retl-export-pointer"] = "consent-retl-export-pointer"
    version: Literal[1] = 1
    current: str
    manifest_sha256: str
    destination: str
    model: str
    decided_at: AwareDatetime
    rows: int
