"""Parts of an earlier folder that a new folder has too, without being written again."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import RefusedError

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import Part

_VERIFYING = 2


def has_linked(folder: Folder, former: Folder, parts: Collection[Part]) -> bool:
    """Have the parts of another folder in a new folder too, and verify each of their bytes there.

    Args:
        folder: the new folder, without files of these names.
        former: the other one.
        parts: of the other one's manifest.

    Returns:
        False where a part is gone or changed, or the folders are in different storages: then the folder has none.
    """
    if former.fs != folder.fs:
        return False
    try:
        for part in parts:
            folder.link(part.name, former, part.name)
        # INVARIANT: a manifest names only bytes that the run that wrote it has seen.
        with ThreadPoolExecutor(max_workers=_VERIFYING, thread_name_prefix="verify") as verifying:
            for verified in [verifying.submit(folder.verify, part) for part in parts]:
                verified.result()
    except (OSError, RefusedError):
        for part in parts:
            folder.remove_file(part.name)
        return False
    return True
