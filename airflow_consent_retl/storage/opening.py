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


def open_snapshot(output: object, *, is_proof: bool = True) -> OpenedSnapshot:
    """Open the snapshot that an `ExtractModelOperator` returned.

    Args:
        output: of the operator.
        is_proof: the manifest has to be signed; False: nothing is decided by it.

    Raises:
        RefusedError: the output is something else, or its manifest is gone, changed, or not the deployment's.
    """
    ref = ManifestRef.from_xcom(output, kind="snapshot")
    folder = manifest_folder(ref.manifest)
    manifest = SnapshotManifest.from_json(folder.read_manifest(sha256=ref.sha256, is_proof=is_proof))
    return OpenedSnapshot(folder, manifest, ref.sha256)


def open_permitted(output: object, *, is_proof: bool = True) -> OpenedPermitted:
    """Open the permitted set that a `ConsentFilterOperator` returned. Its rows are not verified yet.

    Args:
        output: of the operator.
        is_proof: the manifest has to be signed; False: nothing is sent by it, or the ledger knows it already.

    Raises:
        RefusedError: the output is something else, or its manifest is gone, changed, or not the deployment's.
    """
    ref = ManifestRef.from_xcom(output, kind="permitted")
    folder = manifest_folder(ref.manifest)
    manifest = PermittedManifest.from_json(folder.read_manifest(sha256=ref.sha256, is_proof=is_proof))
    return OpenedPermitted(folder, manifest, ref.sha256)
