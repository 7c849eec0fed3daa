"""The files that the run before wrote for the same rows and the same decisions: they are linked, not written again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.linked_parts import has_linked
from airflow_consent_retl.storage.manifest import PermittedManifest

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import DecisionLog, RecipientsGroup


def linked_files(
    folder: Folder, former: Folder, content_sha256: str
) -> tuple[tuple[RecipientsGroup, ...], DecisionLog] | None:
    """Have the files of another permitted set in a new folder too.

    Args:
        folder: of the new permitted set, without files.
        former: of the run before.
        content_sha256: of the new set: see `SnapshotFilter.content_sha256`.

    Returns:
        The groups and the decision log; None where the other set has another content, or is not whole any more. Then
        the folder has no files.
    """
    try:
        manifest = PermittedManifest.from_json(former.read_own_manifest())
    except RefusedError:
        return None
    log = manifest.decision_log
    parts = [*(part for group in manifest.groups for part in group.parts), *log.parts, log.signatures]
    if manifest.content_sha256 != content_sha256 or not has_linked(folder, former, parts):
        return None
    return manifest.groups, log
