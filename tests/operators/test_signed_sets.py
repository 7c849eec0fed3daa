"""Only what this deployment wrote, where it wrote it, is filtered and sent."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.crm_sync import CONSENT, FIELDS, POLICY, CrmSync
from support.log_lines import task_fails
from support.permitting import changed_by_hand, unsigned_by_hand

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.operators import ConsentFilterOperator, LoadToSqlTableOperator, permitted_batches
from airflow_consent_retl.operators import permitted_dataframes as frames
from airflow_consent_retl.reports import verify
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import manifest_folder
from airflow_consent_retl.storage.part_writer import PartWriter
from airflow_consent_retl.storage.signing import Signer

KEY = "AIRFLOW__CONSENT_RETL__DIGEST_KEY"
PREVIOUS = "AIRFLOW__CONSENT_RETL__DIGEST_KEY_PREVIOUS"
OLD, NEW = "o" * 40, "n" * 40


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, no=(3, 4, 5))
    return made


def load(crm: CrmSync, permitted: Any, **options: Any) -> Any:
    return LoadToSqlTableOperator(
        task_id="load",
        permitted=permitted,
        destination="crm",
        policy=POLICY,
        conn_id="crm",
        table="people",
        fields=FIELDS,
        settle_s=0,
        workspace=crm.workspace,
        **options,
    ).execute({})


def has_table(crm: CrmSync) -> bool:
    with closing(sqlite3.connect(crm.path / "crm.db")) as connection:
        return bool(connection.execute("SELECT name FROM sqlite_master WHERE name = 'people'").fetchall())


def forged(crm: CrmSync, real: dict[str, Any], folder: Path, **changed: Any) -> dict[str, Any]:
    """Return a reference to a permitted set of everybody that someone made who may write files."""
    rows = pa.table({"id": range(1, 6), "email": [f"u{one}@x.example" for one in range(1, 6)], "ads_ok": [True] * 5})
    with PartWriter(Folder.local(folder), "part.parquet", rows.schema, row_group_rows=100) as writer:
        writer.write(rows)
        part = writer.close()
    manifest = shutil.copy(document_of(real), folder)
    counts = json.loads(Path(manifest).read_bytes())["destinations"]["crm"]
    groups = [{"recipients": ["crm"], "withheld": {}, "parts": [part.model_dump()], "rows": 5, "fingerprint": None}]
    sha256 = changed_by_hand(
        Path(manifest),
        groups=groups,
        destinations={"crm": {**counts, "permitted": 5, "denied": 0, "denied_by_reason": {}}},
        decided_at=datetime.now(UTC).isoformat(),
        **changed,
    )
    return {**real, "manifest": f"{folder.as_uri()}/manifest.json", "sha256": sha256, "rows": 5}


def document_of(output: dict[str, Any]) -> Path:
    return Path(manifest_folder(output["manifest"]).path) / "manifest.json"


@pytest.mark.parametrize(
    ("place", "changed"),
    [
        pytest.param("outside", {}, id="outside of the workspace"),
        pytest.param("workspace/permitted/adhoc/0123456789ab", {}, id="inside of it"),
        pytest.param("outside", {"workspace": "file:///elsewhere"}, id="for another workspace"),
        pytest.param(
            "outside",
            {"consent": {"C0004": {"format": "Literals", "column": "id", "granted": [1, 2, 3, 4, 5], "denied": []}}},
            id="with a consent mapping of its own",
        ),
    ],
)
@pytest.mark.parametrize("options", [{}, {"recheck_interval_s": None}], ids=["asked again", "not asked again"])
def test_a_permitted_set_that_was_made_by_hand_is_not_sent(
    crm: CrmSync, place: str, changed: dict[str, Any], options: dict[str, Any]
) -> None:
    made = forged(crm, crm.permitted(), crm.path / place, **changed)

    with task_fails(match="has a false signature, so someone else changed or wrote it"):
        load(crm, made, **options)
    assert not has_table(crm)


def test_nor_is_it_given_to_a_task_of_the_dag(crm: CrmSync) -> None:
    made = forged(crm, crm.permitted(), crm.path / "outside")

    for give in (permitted_batches, frames):
        with task_fails(match=r"has a false signature.*: run the extraction and the filter again", kind=RefusedError):
            give(made, destination="crm", policy=POLICY)


def test_a_manifest_without_a_signature_is_not_taken(crm: CrmSync) -> None:
    real = crm.permitted()
    sha256 = unsigned_by_hand(document_of(real))

    with task_fails(match="is not signed, so an earlier release or a stranger wrote it"):
        load(crm, {**real, "sha256": sha256})
    assert not has_table(crm)


def test_a_signed_set_that_was_copied_elsewhere_is_not_taken(crm: CrmSync) -> None:
    real = crm.permitted()
    shutil.copytree(manifest_folder(real["manifest"]).path, crm.path / "copy")
    copy = {**real, "manifest": f"{(crm.path / 'copy').as_uri()}/manifest.json"}

    with task_fails(match="is a copy of"):
        load(crm, copy)
    assert load(crm, real)["accepted"] == 2


def test_a_snapshot_that_was_made_by_hand_is_not_filtered(crm: CrmSync) -> None:
    real = crm.extracted()
    made = {**real, "sha256": changed_by_hand(document_of(real), model="other")}

    with task_fails(match="has a false signature"):
        ConsentFilterOperator(
            task_id="consent", snapshot=made, policy=POLICY, consent=CONSENT, destinations=["crm"]
        ).execute({})


def test_the_key_file_of_the_workspace_that_a_set_names_proves_nothing(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Someone else's deployment, with a key file of its own.
    monkeypatch.setenv("AIRFLOW_HOME", str(crm.path / "stranger"))
    made = crm.permitted()
    monkeypatch.setenv("AIRFLOW_HOME", str(crm.path / "own"))

    with task_fails(match=r"was signed with key .* set `\[consent_retl\] digest_key` alike"):
        load(crm, made)


# Rotation


def test_a_set_signed_before_a_rotation_is_sent_after_it_and_its_causes_are_found(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, OLD)
    crm.people(1, 2, 3)
    load(crm, crm.permitted())
    crm.people(1, no=(2,))
    before = crm.permitted()
    monkeypatch.setenv(KEY, NEW)

    with task_fails(match="add a secret that was replaced to `digest_key_previous`"):
        load(crm, before)
    monkeypatch.setenv(PREVIOUS, OLD)

    # The decision log of the set was written under the old key too.
    assert load(crm, before)["removals_by_cause"] == {"consent_withdrawn": 1, "left_model": 1}
    key_ids = {one.key_id for one in verify(workspace=crm.workspace)}
    assert key_ids == {Signer([OLD]).key_id, Signer([NEW]).key_id}


def test_a_sync_goes_on_after_a_rotation_that_forgot_the_old_secret(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, OLD)
    crm.sync()
    monkeypatch.setenv(KEY, NEW)
    crm.people(1, no=(2,))

    # The ledger names the delivered state by its digest.
    assert crm.sync()["removed"] == 1


# `verify`


def test_verify_says_which_manifests_are_true(
    crm: CrmSync, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY, OLD)
    crm.sync()
    monkeypatch.setenv(KEY, NEW)
    monkeypatch.setenv(PREVIOUS, OLD)
    real = crm.permitted()

    assert {(one.kind, one.signature, one.is_present_key) for one in verify(workspace=crm.workspace)} == {
        ("snapshot", "signed", False),
        ("permitted", "signed", False),
        ("delivered", "signed", False),
        ("delivery_records", "signed", False),
        ("decision_records", "signed", False),
        ("decision_records", "signed", True),
        ("snapshot", "signed", True),
        ("permitted", "signed", True),
    }
    assert main(["verify", "--workspace", crm.workspace, "--json"]) == 0
    assert main(["verify", real["manifest"], "--json"]) == 0
    capsys.readouterr()

    forged(crm, real, crm.folder / "permitted" / "forged")
    part = next(Path(manifest_folder(real["manifest"]).path).glob("group-*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"X")
    monkeypatch.delenv(PREVIOUS)

    assert main(["verify", "--workspace", crm.workspace, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert {one["signature"] for one in found} == {"signed", "unknown_key", "false"}
    changed = {one["manifest"]: one["changed_files"] for one in found}
    assert changed[real["manifest"]] == [part.name]
    assert main(["verify", real["manifest"], "--json"]) == 1
    assert main(["verify", real["manifest"], "--signatures-only", "--json"]) == 0


def test_verify_of_what_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", f"{tmp_path.as_uri()}/manifest.json"]) == 2
    assert "does not exist any more" in capsys.readouterr().err
    assert main(["verify", "--workspace", (tmp_path / "empty").as_uri(), "--json"]) == 0
