"""Manifests and references: read back as written, and nothing else is taken for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.permitting import AT, customers, filtered_customers, snapshot_of

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import ManifestRef, PermittedManifest, SnapshotManifest

REF: dict[str, Any] = {
    "kind": "permitted",
    "manifest": "file:///x/manifest.json",
    "sha256": "0" * 64,
    "model": "customers",
    "rows": 3,
    "at": "2026-11-23T18:05:09Z",
    "permitted": {"ads": 2},
}


@pytest.fixture
def permitted(tmp_path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(filtered_customers(tmp_path).manifest.to_json())
    return document


def test_manifests_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    snapshot, _ = snapshot_of(Folder.local(tmp_path / "a"), customers())
    permitted = filtered_customers(tmp_path / "b").manifest

    assert SnapshotManifest.from_json(snapshot.to_json()) == snapshot
    assert PermittedManifest.from_json(permitted.to_json()) == permitted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "snapshot"}, "Input should be 'permitted' @ kind"),
        ({"version": 1}, "Input should be 2 @ version"),
        ({"version": "2"}, "Input should be 2 @ version"),
        ({"sneaked_in": 1}, "Extra inputs are not permitted @ sneaked_in"),
        ({"rows_read": "5"}, "Input should be a valid integer @ rows_read"),
        ({"rows_read": 5.0}, "Input should be a valid integer @ rows_read"),
        ({"decided_at": "2026-11-23T18:05:09"}, "Input should have timezone info @ decided_at"),
        ({"policy_digest": None}, "Input should be a valid string @ policy_digest"),
    ],
)
def test_a_document_that_is_not_quite_a_manifest_is_refused(
    permitted: dict[str, Any], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(RefusedError) as refusal:
        PermittedManifest.from_json(json.dumps({**permitted, **change}))

    assert str(refusal.value) == f"not a PermittedManifest: {message}"


def test_an_unknown_key_anywhere_is_refused(permitted: dict[str, Any]) -> None:
    permitted["groups"][0]["recipient"] = "ads"

    with pytest.raises(RefusedError, match=r"Extra inputs are not permitted @ groups\.0\.recipient"):
        PermittedManifest.from_json(json.dumps(permitted))


@pytest.mark.parametrize("document", ["", "{", "[]", "null", "{}", '{"kind": "permitted"}', "\ufeff{}"])
def test_what_is_no_manifest_at_all_is_refused(document: str) -> None:
    with pytest.raises(RefusedError, match="not a PermittedManifest: "):
        PermittedManifest.from_json(document)


def test_the_manifest_of_a_snapshot_is_not_taken_for_one_of_a_permitted_set(tmp_path: Path) -> None:
    snapshot, _ = snapshot_of(Folder.local(tmp_path), customers())

    with pytest.raises(RefusedError, match="Input should be 'permitted' @ kind"):
        PermittedManifest.from_json(snapshot.to_json())


def test_a_refusal_quotes_no_value_of_the_document(permitted: dict[str, Any]) -> None:
    broken = {**permitted, "model": {"canary": "canary"}, "rows_read": "canary", "decided_at": "canary"}

    with pytest.raises(RefusedError) as refusal:
        PermittedManifest.from_json(json.dumps(broken))

    assert "canary" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_a_reference_survives_xcom() -> None:
    ref = ManifestRef(kind="snapshot", manifest="file:///x", sha256="0" * 64, model="m", rows=1, at=AT)

    stored = json.loads(json.dumps(ref.to_xcom()))

    assert ManifestRef.from_xcom(stored, kind="snapshot") == ref


@pytest.mark.parametrize("value", [None, "file:///x/manifest.json", [REF], 1])
def test_what_is_no_reference_is_refused(value: object) -> None:
    message = f"output of an upstream ConsentFilterOperator, as in `permitted=task.output`, got {type(value).__name__}"

    with pytest.raises(RefusedError, match=message):
        ManifestRef.from_xcom(value, kind="permitted")


def test_a_reference_to_the_other_kind_is_refused() -> None:
    with pytest.raises(
        RefusedError, match="expected a reference to a snapshot manifest, got one to a permitted manifest"
    ):
        ManifestRef.from_xcom(REF, kind="snapshot")


@pytest.mark.parametrize(
    "change", [{"kind": "other"}, {"rows": "3"}, {"sha256": None}, {"rows_at": 1}, {"permitted": {"ads": "2"}}]
)
def test_a_reference_with_another_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RefusedError, match="not a ManifestRef: "):
        ManifestRef.from_xcom({**REF, **change}, kind="permitted")


def test_the_models_reject_changes_after_they_are_made(tmp_path: Path) -> None:
    manifest = filtered_customers(tmp_path).manifest

    with pytest.raises(ValueError, match="Instance is frozen"):
        manifest.rows_read = 7
