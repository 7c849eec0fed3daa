"""The files that the run before wrote for the same rows and the same decisions: they are linked, not written again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.manifest import PermittedManifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import DecisionLog, Part, RecipientsGroup

_VERIFYING = 2

FormerFiles = tuple[tuple["RecipientsGroup", ...], "DecisionLog"]


def linked_files(folder: Folder, former: Folder, content_sha256: str) -> FormerFiles | None:
    """Have the files of another permitted set in a new folder too, and verify each of their bytes there.

    Args:
        folder: of the new permitted set, without files.
        former: of the run before.
        content_sha256: of the new set: see `SnapshotFilter.content_sha256`.

    Returns:
        The groups and the decision log; None where the other set has another content, or is not whole any more. Then
        the folder has no files.
    """
    if former.fs != folder.fs:
        return None
    try:
        manifest = PermittedManifest.from_json(former.read_own_manifest())
    except RefusedError:
        return None
    if manifest.content_sha256 != content_sha256:
        return None
    log = manifest.decision_log
    parts = [*(part for group in manifest.groups for part in group.parts), *log.parts, log.signatures]
    try:
        _link(folder, former, parts)
    except (OSError, RefusedError):
        # Someone removed or changed a file: all are written again.
        for part in parts:
            folder.remove_file(part.name)
        return None
    return manifest.groups, log


def _link(folder: Folder, former: Folder, parts: Sequence[Part]) -> None:
    for part in parts:
        folder.link(part.name, former, part.name)
    # INVARIANT: the manifest of this run names only bytes that this run has seen.
    with ThreadPoolExecutor(max_workers=_VERIFYING, thread_name_prefix="verify") as verifying:
        for verified in [verifying.submit(folder.verify, part) for part in parts]:
            verified.result()
