"""The test records of the user's own at the destination of a sync: made-up people, who are in no delivered state.

    <workspace>/own_records/<sync>.json

A record is noted before it is sent, and its note is gone when the destination has confirmed its removal.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.storage.sync_folder import SyncFolder, base_name

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

_FOLDER: Final = "own_records"


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """One test record: where it was sent, and the destination's fields with their made-up values."""

    target: str
    fields: dict[str, object]


class OwnRecords:
    """The notes of the test records of one sync. The caller has the sync's lease.

    Args:
        workspace: the workspace's root.
        sync: the sync's name.
    """

    def __init__(self, workspace: Folder, sync: str) -> None:
        self._folder = workspace / _FOLDER
        self._name = f"{base_name(SyncFolder(workspace, sync).root.uri)}.json"

    def all(self) -> dict[str, OwnRecord]:
        """Return each record by its key, as text.

        Raises:
            RefusedError: the notes were changed.
        """
        if not self._folder.exists(self._name):
            return {}
        noted = json.loads(self._folder.read_document(self._name))
        return {key: OwnRecord(**one) for key, one in noted.items()}

    def note(self, key: str, record: OwnRecord) -> None:
        """Note a record that is about to be sent."""
        self._write({**self.all(), key: record})

    def drop(self, key: str) -> None:
        """Delete the note of a record that is certainly removed."""
        self._write({one: record for one, record in self.all().items() if one != key})

    def _write(self, noted: Mapping[str, OwnRecord]) -> None:
        if noted:
            document = {key: asdict(record) for key, record in noted.items()}
            self._folder.put_document(self._name, json.dumps(document, indent=2, default=str).encode())
        else:
            self._folder.remove_file(self._name)
