"""The permitted sets of a mapped filter: each of its tasks has a folder `map-<index>` beside those of the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from airflow_consent_retl.storage.manifest import MANIFEST_NAME, PermittedManifest

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_consent_retl.storage.folder import Folder

MAPPED = "map-"


def sets_beside(own: Folder, map_index: int) -> Iterator[PermittedManifest]:
    """Yield the newest permitted set of each other task of the same mapped filter, in the same run.

    Args:
        own: the folder of one set.
        map_index: of its task; nothing is yielded where the folder is not of this index.

    Raises:
        RefusedError: a manifest was changed.
    """
    of_task = own.parent
    if of_task.name != f"{MAPPED}{map_index}":
        return
    of_filter = of_task.parent
    for name in sorted(of_filter.names()):
        if name.startswith(MAPPED) and name != of_task.name:
            newest = max(_sets(of_filter / name), key=_decided_at, default=None)
            if newest is not None:
                yield newest


def _sets(folder: Folder) -> Iterator[PermittedManifest]:
    for name in folder.names():
        if (folder / name).exists(MANIFEST_NAME):
            yield PermittedManifest.from_json((folder / name).read_document(MANIFEST_NAME))


def _decided_at(manifest: PermittedManifest) -> datetime:
    return manifest.decided_at
