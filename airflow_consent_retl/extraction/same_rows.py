"""The snapshot of an extraction that finds the rows of the last one: a new manifest for the same files."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConsentRetlError
from airflow_consent_retl.extraction.files import published
from airflow_consent_retl.storage.linked_parts import has_linked
from airflow_consent_retl.storage.opening import OpenedSnapshot, open_snapshot

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.last_snapshot import LastSnapshot
    from airflow_consent_retl.storage.manifest import ManifestRef, ModelSource, SnapshotManifest


def published_again(
    folder: Folder,
    last: LastSnapshot,
    *,
    fingerprint: str,
    source: ModelSource,
    primary_key: str,
    check_primary_key: bool,
    read_at: datetime,
    as_of: datetime | None,
) -> tuple[SnapshotManifest, ManifestRef] | None:
    """Publish the files of the last snapshot in a new folder, and return the manifest and its reference.

    Args:
        folder: the new folder.
        last: the last snapshot.
        fingerprint: of the rows.
        source: of the rows.
        primary_key: the name of the column with the ids.
        check_primary_key: whether ids that are NULL or occur twice are errors.
        read_at: a time before the fingerprint was computed.
        as_of: the time that the rows stand for, if that is no column.

    Returns:
        None where the last snapshot has other rows, or comes from another query, or is not whole any more.
    """
    opened = _opened(last)
    if opened is None:
        return None
    manifest = opened.manifest
    if (manifest.fingerprint, manifest.source, manifest.primary_key) != (fingerprint, source, primary_key):
        return None
    if check_primary_key and not manifest.primary_key_checked:
        return None
    if manifest.linked is not None or not has_linked(folder, opened.folder, manifest.parts):
        return None
    return published(folder, manifest.model_copy(update={"read_at": read_at, "as_of": as_of}))


def _opened(last: LastSnapshot) -> OpenedSnapshot | None:
    snapshot = last.read()
    if snapshot is None:
        return None
    try:
        return open_snapshot(snapshot.to_xcom())
    except ConsentRetlError:
        # Pruned, changed, or in a storage that is not there any more.
        return None
