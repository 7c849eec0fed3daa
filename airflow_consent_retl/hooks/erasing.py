"""The rows of forgotten people at rest: in snapshots and in permitted sets, of files and of warehouses.

A snapshot or permitted set that has a row of one of them loses all its rows. Its manifest and its decision log stay as
proof: they hold counts and keyed digests. Nothing is written anew, so no signature and no digest has to be made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.hooks.workspaces import open_workspace
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, PermittedManifest, SnapshotManifest, sha256_hex
from airflow_consent_retl.storage.opening import OpenedPermitted, OpenedSnapshot

if TYPE_CHECKING:
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.forgotten import ForgottenPeople

_SNAPSHOTS, _PERMITTED = "snapshots", "permitted"


@dataclass(slots=True)
class Erased:
    """The numbers of snapshots and permitted sets whose rows were deleted, and of those that cannot be read."""

    snapshots: int = 0
    permitted: int = 0
    unreadable: int = 0


def erase_at_rest(root: Folder, people_of: Callable[[str], ForgottenPeople | None], *, log: TaskLog) -> Erased:
    """Delete the rows of every snapshot and permitted set that has a row of a forgotten person.

    A run that still needs one of them fails, and its next run begins with an extraction.

    Args:
        root: of the workspace.
        people_of: returns the forgotten people of a model; None: the model is not concerned.
        log: the task's.

    Raises:
        ConfigurationError, SourceUnavailableError: a warehouse cannot be reached.
    """
    erased = Erased()
    for kind in (_SNAPSHOTS, _PERMITTED):
        for folder in (root / kind).holding(MANIFEST_NAME):
            try:
                opened = _opened(kind, folder)
            except RefusedError as error:
                log.warning("%s cannot be read, so its rows stay: %s", folder.uri, error)
                erased.unreadable += 1
                continue
            manifest = opened.manifest
            people = people_of(manifest.model)
            if not people:
                continue
            workspace = open_workspace(manifest, source=manifest.source, model=manifest.model, log=log)
            if workspace.erase(opened, people):
                if kind == _SNAPSHOTS:
                    erased.snapshots += 1
                else:
                    erased.permitted += 1
    return erased


def _opened(kind: str, folder: Folder) -> OpenedSnapshot | OpenedPermitted:
    sha256 = sha256_hex(folder.read(MANIFEST_NAME))
    content = folder.read_manifest(sha256=sha256)
    if kind == _SNAPSHOTS:
        return OpenedSnapshot(folder, SnapshotManifest.from_json(content), sha256)
    return OpenedPermitted(folder, PermittedManifest.from_json(content), sha256)
