"""Snapshots, filter runs and permitted sets for the tests, made by the package itself on real files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from airflow_consent_retl.compat import AirflowFailException, AirflowSkipException
from airflow_consent_retl.consent import (
    ConsentMappingLike,
    ConsentPlan,
    DecisionCounts,
    mapping_document,
    parse_consent_mapping,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.extraction.files import SnapshotWriter
from airflow_consent_retl.filtering.files import SnapshotFilter, column_kinds
from airflow_consent_retl.filtering.permitted import check_permitted
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows, verified_files
from airflow_consent_retl.filtering.summary import destination_counts
from airflow_consent_retl.storage import OpenedPermitted
from airflow_consent_retl.storage.decision_log import SubjectKey
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import open_folder
from airflow_consent_retl.storage.manifest import (
    MANIFEST_NAME,
    Column,
    ManifestRef,
    ModelSource,
    PermittedManifest,
    SnapshotManifest,
    sha256_hex,
)
from airflow_consent_retl.storage.part_writer import PartWriter

__all__ = [
    "AT",
    "CONSENT",
    "DESTINATIONS",
    "KEY",
    "POLICY",
    "AirflowFailException",
    "AirflowSkipException",
    "Filtered",
    "changed_by_hand",
    "customers",
    "filter_rows",
    "filtered_customers",
    "plan_for",
    "snapshot_in_parts",
    "snapshot_of",
    "unsigned_by_hand",
    "warehouse_with",
]

AT = datetime(2026, 11, 23, 18, 5, 9, 125_000, tzinfo=UTC)
SOURCE = ModelSource(conn_id="warehouse", sql="SELECT * FROM customers")
KEY = SubjectKey("0123456789abcdef0123456789abcdef")

POLICY: dict[str, Any] = {
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["lake", "webhook"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["ads", "webhook"]},
    ]
}
CONSENT = {"C0002": "analytics_ok", "C0004": "ads_ok"}
DESTINATIONS = ["ads", "lake", "webhook"]


def customers() -> pa.Table:
    """Five customers: both consents, ads only, analytics only, none, unknown."""
    return pa.table(
        {
            "id": pa.array([1, 2, 3, 4, 5], pa.int64()),
            "email": ["a@example.com", "b@example.com", "c@example.com", "d@example.com", "e@example.com"],
            "analytics_ok": [True, False, True, False, None],
            "ads_ok": [True, True, False, False, None],
        }
    )


def warehouse_with(path: Path, monkeypatch: pytest.MonkeyPatch, rows: pa.Table | None = None) -> Path:
    """Make connection `warehouse`, from which consent can be read again, with these rows as its customers."""
    file = path / "warehouse.duckdb"
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    model = customers() if rows is None else rows
    with duckdb.connect(str(file)) as connection:
        connection.register("model", model)
        connection.execute("CREATE OR REPLACE TABLE customers AS SELECT * FROM model")
    return file


def snapshot_of(
    folder: Folder, rows: pa.Table, *, primary_key: str = "id", checked: bool = False
) -> tuple[SnapshotManifest, ManifestRef]:
    """Publish a snapshot of these rows, signed, as an extraction does."""
    signed_folder = open_folder(folder.uri)
    with SnapshotWriter(signed_folder, rows.schema, primary_key=primary_key, check_primary_key=checked) as writer:
        for batch in rows.to_batches():
            writer.write(batch)
        return writer.publish(model="customers", source=SOURCE, read_at=datetime.now(UTC))


def snapshot_in_parts(
    folder: Folder, rows: pa.Table, *, part_rows: int, primary_key: str = "id", checked: bool = False
) -> SnapshotManifest:
    """Write a snapshot in parts with fewer rows than an extraction would ever write."""
    parts = []
    for number, start in enumerate(range(0, rows.num_rows, part_rows)):
        with PartWriter(folder, f"part-{number:05d}.parquet", rows.schema, row_group_rows=part_rows) as writer:
            writer.write(rows.slice(start, part_rows))
            parts.append(writer.close())
    return SnapshotManifest(
        model="customers",
        primary_key=primary_key,
        primary_key_checked=checked,
        source=SOURCE,
        sql_sha256="0" * 64,
        read_at=AT,
        columns=tuple(Column(name=field.name, type=str(field.type)) for field in rows.schema),
        parts=tuple(parts),
        rows=rows.num_rows,
        size_bytes=sum(part.size_bytes for part in parts),
    )


def changed_by_hand(manifest: Path, **members: Any) -> str:
    """Change members of a signed manifest, with the signature that it had, and return its digest."""
    head, marker, tail = manifest.read_bytes().rpartition(b',\n  "signature": ')
    body = json.dumps(json.loads(head + b"\n}") | members, sort_keys=True, indent=2).encode()
    content = body.removesuffix(b"\n}") + marker + tail
    manifest.write_bytes(content)
    return sha256_hex(content)


def unsigned_by_hand(manifest: Path) -> str:
    """Take the signature from a manifest, and return its digest."""
    content = manifest.read_bytes().rpartition(b',\n  "signature": ')[0] + b"\n}"
    manifest.write_bytes(content)
    return sha256_hex(content)


@dataclass(frozen=True)
class Filtered:
    """One filter run."""

    folder: Folder
    manifest: PermittedManifest
    sha256: str
    counts: DecisionCounts

    @property
    def ref(self) -> dict[str, object]:
        return ManifestRef(
            kind="permitted",
            manifest=f"{self.folder.uri}/{MANIFEST_NAME}",
            sha256=self.sha256,
            model=self.manifest.model,
            rows=self.manifest.rows_read - self.manifest.rows_for_nobody,
            at=self.manifest.decided_at,
        ).to_xcom()

    def groups(self) -> dict[tuple[str, ...], list[dict[str, Any]]]:
        """Return every written row by its recipients."""
        return {
            group.recipients: [
                row for rows in self.folder.read_rows(group.parts, batch_rows=10_000) for row in rows.to_pylist()
            ]
            for group in self.manifest.groups
        }


def plan_for(
    snapshot: SnapshotManifest,
    policy: Mapping[str, Any],
    *,
    consent: ConsentMappingLike,
    destinations: Sequence[str],
) -> ConsentPlan:
    """Check a policy against a snapshot."""
    return plan_consent(
        parse_policy(policy), destinations=destinations, mapping=consent, columns=column_kinds(snapshot.columns)
    )


def filter_rows(
    source: Folder,
    snapshot: SnapshotManifest,
    plan: ConsentPlan,
    target: Folder,
    *,
    duplicates: pa.Array | None = None,
    key: SubjectKey = KEY,
    at: datetime = AT,
    consent: ConsentMappingLike = CONSENT,
    policy_source: str = "inline",
) -> Filtered:
    """Filter a snapshot and publish the permitted set."""
    with SnapshotFilter(source, snapshot, plan, duplicates=duplicates, at=at) as run:
        decided = run.decide()
        groups, log = run.write(decided, target, key)
    manifest = PermittedManifest(
        model=snapshot.model,
        primary_key=snapshot.primary_key,
        source=snapshot.source,
        workspace="file:///workspace",
        consent=mapping_document(parse_consent_mapping(consent)),
        snapshot_sha256="0" * 64,
        snapshot_read_at=snapshot.read_at,
        policy_source=policy_source,
        policy_digest=plan.policy.digest,
        decided_at=at,
        columns=snapshot.columns,
        destinations=destination_counts(plan, decided.counts),
        groups=groups,
        decision_log=log,
        rows_read=decided.counts.read,
        rows_for_nobody=decided.counts.for_nobody,
    )
    return Filtered(target, manifest, target.publish(manifest.to_json()), decided.counts)


def filtered_customers(tmp_path: Path, rows: pa.Table | None = None, *, at: datetime = AT) -> Filtered:
    """Filter the five customers, or others with the same consent columns, for three destinations."""
    source = Folder.local(tmp_path / "snapshot")
    snapshot, _ = snapshot_of(source, customers() if rows is None else rows)
    plan = plan_for(snapshot, POLICY, consent=CONSENT, destinations=DESTINATIONS)
    return filter_rows(source, snapshot, plan, Folder.local(tmp_path / "permitted"), at=at)


def verify(
    folder: Folder,
    manifest: PermittedManifest,
    *,
    manifest_sha256: str,
    destination: str,
    fields: Mapping[str, str] | None,
    policy_digest: str | None,
    max_age_s: float | None,
    now: datetime,
) -> FilePermittedRows:
    """Check a manifest and verify its files, as a load does."""
    opened = OpenedPermitted(folder, manifest, manifest_sha256)
    checked = check_permitted(
        opened,
        destination=destination,
        fields=fields,
        policy_digest=policy_digest,
        max_age_s=max_age_s,
        now=now,
        guards={},
    )
    return verified_files(opened, destination=destination, fields=checked.fields)
