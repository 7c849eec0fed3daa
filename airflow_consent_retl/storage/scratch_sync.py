"""The folder of a sync in a dry run: what is there is read, and what is made is made elsewhere."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

from airflow_consent_retl.storage.sync_folder import SyncFolder, base_name

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder


class ScratchSyncFolder(SyncFolder):
    """The folders of one sync, as they are, and new ones in a scratch folder that the caller removes.

    Args:
        workspace: the workspace's root.
        sync: the sync's name.
        scratch: for new folders.
        epoch: see `SyncFolder`.
    """

    def __init__(self, workspace: Folder, sync: str, scratch: Folder, *, epoch: int) -> None:
        super().__init__(workspace, sync, epoch=epoch)
        self._scratch = scratch
        self._made: set[str] = set()

    def new(self, kind: Literal["changes", "delivered"]) -> Folder:
        """Return a new folder in the scratch folder, without making it."""
        name = base_name(super().new(kind).uri)
        self._made.add(name)
        return self._scratch / name

    def open(self, uri: str) -> Folder:
        """Return the folder at a URI: of this dry run, or in the workspace."""
        name = base_name(uri)
        return self._scratch / name if name in self._made else super().open(uri)

    def names(self) -> list[str]:
        """Return no names: nothing of the workspace may be swept."""
        return []

    def sweep(self, there: Collection[str], in_use: Collection[str]) -> int:
        """Remove nothing."""
        return 0
