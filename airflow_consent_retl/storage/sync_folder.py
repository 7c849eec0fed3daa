"""The folders of one sync, for its changes and its delivered state, and the removal of those no longer in use.

    <workspace>/syncs/<sync>/changes-<random>/, delivered-<random>/

The ledger says which of them are in use: the others were left by a worker that died, or belong to the past.
"""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

log = logging.getLogger(__name__)

_UNSAFE = re.compile(r"[^A-Za-z0-9_.=+-]+")
_OWN = re.compile(r"(changes|delivered)-[0-9a-f]{32}")


class SyncFolder:
    """The folders of one sync.

    Args:
        workspace: the workspace's root.
        sync: the sync's name.
    """

    def __init__(self, workspace: Folder, sync: str) -> None:
        # Two names that differ only in a character not allowed in paths still get two folders.
        digest = hashlib.sha256(sync.encode()).hexdigest()[:8]
        self.root = workspace / "syncs" / f"{_UNSAFE.sub('_', sync)[:100]}-{digest}"

    def new(self, kind: Literal["changes", "delivered"]) -> Folder:
        """Return a new folder that no one else will ever use, without making it."""
        return self.root / f"{kind}-{uuid.uuid4().hex}"

    def open(self, uri: str) -> Folder:
        """Return the folder at a URI of the ledger, wherever in the workspace it was made."""
        return self.root / uri.rstrip("/").rpartition("/")[2]

    def names(self) -> list[str]:
        """Return the names of the folders that exist now."""
        return [name for name in self.root.names() if _OWN.fullmatch(name)]

    def sweep(self, there: Collection[str], in_use: Collection[str]) -> int:
        """Remove the listed folders that are not at a URI in use, and return their number.

        The caller must hold the sync's lease.

        Args:
            there: from `names`, called before the ledger was read for `in_use`.
            in_use: URIs.
        """
        kept = {uri.rstrip("/").rpartition("/")[2] for uri in in_use}
        left = [name for name in there if name not in kept]
        for name in left:
            (self.root / name).remove()
        return len(left)
