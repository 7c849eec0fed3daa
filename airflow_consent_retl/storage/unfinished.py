"""Folders of the workspace that a run is writing, and the removal of those whose run was killed.

    <workspace>/unfinished/<name>.json

A marker names the folder. On a local disk its process holds it, so the next run knows that a process is dead. In object
storage a marker counts as abandoned after two days.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Final

from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import MANIFEST_NAME
from airflow_consent_retl.values.held_file import abandoned_file, held_file

UNFINISHED: Final = "unfinished"
# The folders whose content a run writes.
KINDS: Final = ("snapshots", "permitted")
_ABANDONED: Final = timedelta(days=2)


@contextmanager
def publishing(root: Folder, folder: Folder) -> Iterator[Folder]:
    """Yield a new folder for writing. If the block fails it is removed; if the process is killed, the next run does it.

    Args:
        root: of the workspace.
        folder: below it, not made yet.
    """
    sweep_unfinished(root)
    markers, name = root / UNFINISHED, f"{uuid.uuid4().hex}.json"
    marker = {"folder": folder.path.removeprefix(f"{root.path}/"), "began_at": datetime.now(UTC).isoformat()}
    content = json.dumps(marker).encode()
    with ExitStack() as held:
        if root.is_local:
            markers.make()
            held.enter_context(held_file(Path(markers.file_path(name)), content))
        else:
            with markers.create(name) as file:
                file.write(content)
            held.callback(markers.remove_file, name)
        with folder.publishing():
            yield folder


def sweep_unfinished(root: Folder) -> int:
    """Remove the folders of runs that were killed, and return their number.

    A folder with a manifest is finished, and stays.
    """
    markers, swept = root / UNFINISHED, 0
    for name in markers.names():
        if root.is_local:
            with abandoned_file(Path(markers.file_path(name))) as content:
                swept += content is not None and _remove(root, content)
        else:
            content = markers.read(name)
            if _is_old(content):
                swept += _remove(root, content)
                markers.remove_file(name)
    return swept


def _remove(root: Folder, content: bytes) -> bool:
    try:
        names = str(json.loads(content)["folder"]).split("/")
    except (ValueError, TypeError, KeyError):
        # Killed before the marker was complete: then nothing was written yet.
        return False
    if names[0] not in KINDS or not {"", ".", ".."}.isdisjoint(names):
        return False
    folder = reduce(Folder.__truediv__, names, root)
    if folder.exists(MANIFEST_NAME):
        return False
    folder.remove()
    return True


def _is_old(content: bytes) -> bool:
    try:
        return datetime.fromisoformat(json.loads(content)["began_at"]) < datetime.now(UTC) - _ABANDONED
    except (ValueError, TypeError, KeyError):
        return True
