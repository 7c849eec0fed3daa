"""The places at destinations whose older versions outlast the runs of a sync: a load notes them, and `prune` ends them.

<workspace>/old_versions/<sync>.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.storage.sync_folder import SyncFolder, base_name

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

_FOLDER: Final = "old_versions"


@dataclass(frozen=True, slots=True)
class VersionsPlace:
    """A place with versions of a sync's rows.

    Args:
        sync: its name.
        operator: the name of the load's class, which this package offers.
        place: as the operator's parameter has it, with the id of a connection and without its secrets.
    """

    sync: str
    operator: str
    place: str


class OldVersions:
    """The notes of a workspace.

    Args:
        workspace: the workspace's root.
    """

    def __init__(self, workspace: Folder) -> None:
        self._workspace = workspace
        self._folder = workspace / _FOLDER

    def note(self, found: VersionsPlace) -> None:
        """Note a place before a load writes to it; earlier places stay. The caller has the sync's lease."""
        name = f"{base_name(SyncFolder(self._workspace, found.sync).root.uri)}.json"
        noted = self._read(name) if self._folder.exists(name) else []
        if found not in noted:
            document = {"places": [asdict(one) for one in (*noted, found)]}
            self._folder.put_document(name, json.dumps(document, indent=2).encode())

    def all(self) -> list[VersionsPlace]:
        """Return every place, once.

        Raises:
            RefusedError: the notes were changed.
        """
        return [one for name in sorted(self._folder.names()) if name.endswith(".json") for one in self._read(name)]

    def _read(self, name: str) -> list[VersionsPlace]:
        return [VersionsPlace(**one) for one in json.loads(self._folder.read_document(name))["places"]]
