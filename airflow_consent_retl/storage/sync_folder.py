"""The folders of one sync, for its changes and its delivered state, and the removal of those no longer in use.

    <workspace>/syncs/<sync>/changes-e<epoch>-<random>/, delivered-e<epoch>-<random>/

The ledger says which of them are in use: the others were left by a worker that died, or belong to the past. The epoch
is that of the lease under which a folder was made: a ledger whose epoch is lower does not know what happened since.
Folders of earlier releases have no epoch in their names.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING, Final, Literal

from airflow_consent_retl.progress import module_log
from airflow_consent_retl.storage.records.places import DELIVERIES, RECORDS

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

log = module_log(__name__)

_UNSAFE = re.compile(r"[^A-Za-z0-9_.=+-]+")
_OWN = re.compile(r"(changes|delivered)-(?:e([0-9]{1,18})-)?[0-9a-f]{32}")
SYNCS: Final = "syncs"


def base_name(uri: str) -> str:
    """Return the name of the folder at a URI of the ledger."""
    return uri.rstrip("/").rpartition("/")[2]


def epoch_of(name: str) -> int | None:
    """Return the epoch of the lease under which a folder was made; None where its name has none."""
    own = _OWN.fullmatch(name)
    return None if own is None or own[2] is None else int(own[2])


def is_delivered(name: str) -> bool:
    """Return whether a folder has this name because it holds a version of the delivered state."""
    return name.startswith("delivered-")


class SyncFolder:
    """The folders of one sync.

    Args:
        workspace: the workspace's root.
        sync: the sync's name.
        epoch: of the lease under which new folders are made; None: there is no lease, and their names have no epoch.
    """

    def __init__(self, workspace: Folder, sync: str, *, epoch: int | None = None) -> None:
        # Two names that differ only in a character not allowed in paths still get two folders.
        digest = hashlib.sha256(sync.encode()).hexdigest()[:8]
        self.root = workspace / SYNCS / f"{_UNSAFE.sub('_', sync)[:100]}-{digest}"
        self._workspace = workspace
        self._mark = "" if epoch is None else f"e{epoch}-"

    def of(self, sync: str) -> SyncFolder:
        """Return the folder of another sync in the same workspace, for reading."""
        return SyncFolder(self._workspace, sync)

    @property
    def records(self) -> Folder:
        """The folder of the records of the sync's deliveries: they outlast its changes and delivered states."""
        return self._workspace / RECORDS / DELIVERIES / base_name(self.root.uri)

    def new(self, kind: Literal["changes", "delivered"]) -> Folder:
        """Return a new folder that no one else will ever use, without making it."""
        return self.root / f"{kind}-{self._mark}{uuid.uuid4().hex}"

    def open(self, uri: str) -> Folder:
        """Return the folder at a URI of the ledger, wherever in the workspace it was made."""
        return self.root / base_name(uri)

    def names(self) -> list[str]:
        """Return the names of the folders that exist now."""
        return own_names(self.root)

    def sweep(self, there: Collection[str], in_use: Collection[str]) -> int:
        """Remove the listed folders that are not at a URI in use, and return their number.

        The caller must hold the sync's lease.

        Args:
            there: from `names`, called before the ledger was read for `in_use`.
            in_use: URIs.
        """
        kept = set(map(base_name, in_use))
        left = [name for name in there if name not in kept]
        for name in left:
            (self.root / name).remove()
        return len(left)


def own_names(folder: Folder) -> list[str]:
    """Return the names of the folders of changes and delivered states in a sync's folder."""
    return [name for name in folder.names() if _OWN.fullmatch(name)]
