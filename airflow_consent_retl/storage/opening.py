"""Snapshots and permitted sets, opened from the reference that a task returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.storage.location import manifest_folder
from airflow_consent_retl.storage.manifest import ManifestRef, PermittedManifest, SnapshotManifest

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class OpenedSnapshot:
    """A snapshot that a task's output refers to.

    Args:
        folder: of its manifest.
        manifest: with the digest that the reference names.
        sha256: that digest.
    """

    folder: Folder
    manifest: SnapshotManifest
    sha256: str


@dataclass(frozen=True, slots=True)
class OpenedPermitted:
    """A permitted set that a task's output refers to.

    Args:
        folder: of its manifest.
        manifest: with the digest that the reference names.
        sha256: that digest.
    """

    folder: Folder
    manifest: PermittedManifest
    sha256: str


def open_snapshot(output: object) -> OpenedSnapshot:
    """Open the snapshot that an `ExtractModelOperator` returned.

    Raises:
        RefusedError: the output is something else, or its manifest is gone or changed.
    """
    ref = ManifestRef.from_xcom(output, kind="snapshot")
    folder = manifest_folder(ref.manifest)
    return OpenedSnapshot(folder, SnapshotManifest.from_json(folder.read_manifest(sha256=ref.sha256)), ref.sha256)


def open_permitted(output: object) -> OpenedPermitted:
    """Open the permitted set that a `ConsentFilterOperator` returned. Its rows are not verified yet.

    Raises:
        RefusedError: the output is something else, or its manifest is gone or changed.
    """
    ref = ManifestRef.from_xcom(output, kind="permitted")
    folder = manifest_folder(ref.manifest)
    return OpenedPermitted(folder, PermittedManifest.from_json(folder.read_manifest(sha256=ref.sha256)), ref.sha256)
