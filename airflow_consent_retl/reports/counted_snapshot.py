"""The signatures of a snapshot, counted where its rows are, for whoever asks without filtering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import parse_consent_mapping, parse_source_document
from airflow_consent_retl.filtering.files import SnapshotFilter, column_kinds, repeated_ids
from airflow_consent_retl.storage.location import manifest_folder
from airflow_consent_retl.storage.manifest import ManifestRef, SnapshotManifest

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentMapping, ConsentMappingLike
    from airflow_consent_retl.filtering.files import DecidedSignatures
    from airflow_consent_retl.filtering.warehouse import PlanFor
    from airflow_consent_retl.storage.folder import Folder


@dataclass(frozen=True, slots=True)
class OpenedSnapshot:
    """A snapshot that a task's output refers to.

    Args:
        folder: of its manifest.
        manifest: verified.
    """

    folder: Folder
    manifest: SnapshotManifest

    @classmethod
    def of(cls, snapshot: object) -> OpenedSnapshot:
        """Open what an extraction returned. Raises `RefusedError` if it is something else, or changed."""
        ref = ManifestRef.from_xcom(snapshot, kind="snapshot")
        folder = manifest_folder(ref.manifest)
        return cls(folder, SnapshotManifest.from_json(folder.read_manifest(sha256=ref.sha256)))

    def mapping(self, consent: ConsentMappingLike) -> ConsentMapping:
        """Return a mapping with what the snapshot's sources of consent add."""
        sources = map(parse_source_document, self.manifest.source.consent_sources)
        return parse_consent_mapping(consent).with_sources(sources)

    @contextmanager
    def counted(self, plan_for: PlanFor, *, at: datetime) -> Iterator[DecidedSignatures]:
        """Yield the snapshot's signatures, decided.

        Args:
            plan_for: makes the plan that is decided by.
            at: the time of the decision.

        Raises:
            PolicyError: the plan does not fit the columns.
            RefusedError: the snapshot changed.
        """
        if self.manifest.table is not None:
            from airflow_consent_retl.filtering.warehouse import WarehouseFilter
            from airflow_consent_retl.hooks.workspaces import staging_warehouse

            warehouse = staging_warehouse(self.manifest.source.conn_id, self.manifest.table.namespace)
            with warehouse, WarehouseFilter(warehouse, self.manifest, plan_for, at=at) as staged:
                yield staged.decide()
            return
        plan = plan_for(column_kinds(self.manifest.columns))
        duplicates, _ = repeated_ids(self.folder, self.manifest)
        with SnapshotFilter(self.folder, self.manifest, plan, duplicates=duplicates, at=at) as run:
            yield run.decide()
