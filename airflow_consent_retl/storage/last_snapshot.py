"""The last snapshot of a model, for an extraction that finds the same rows again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.manifest import Document, ManifestRef

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

_NAME: Final = "last.json"


class RecordedSnapshot(Document):
    """The reference to the last snapshot of a model."""

    kind: Literal["last_snapshot"] = "last_snapshot"
    version: Literal[1] = 1
    snapshot: ManifestRef


class LastSnapshot:
    """The reference to the last snapshot of one model, in a file that each extraction replaces.

    Args:
        folder: of the file.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def read(self) -> ManifestRef | None:
        """Return the reference; None without one that the deployment signed."""
        try:
            return RecordedSnapshot.from_json(self._folder.read_document(_NAME)).snapshot
        except RefusedError:
            return None

    def keep(self, snapshot: ManifestRef) -> None:
        """Replace the reference, once the snapshot is published."""
        self._folder.put_document(_NAME, RecordedSnapshot(snapshot=snapshot).to_json())
