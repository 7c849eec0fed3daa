"""The check of a workspace can be limited to what was written since a time, or by one sync, and says how far it is."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.crm_sync import POLICY, CrmSync

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.operators.forget import forget
from airflow_consent_retl.reports import verify
from airflow_consent_retl.reports.signature_check import CheckProgress
from airflow_consent_retl.storage.location import open_folder, policy_archive

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
SINCE = datetime(2021, 1, 1, tzinfo=UTC)
MEBIBYTE = 1 << 20


class Lines:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, message: str, /, *arguments: object) -> None:
        self.lines.append(message % arguments)


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, no=(3,))
    made.sync()
    for file in made.folder.rglob("*"):
        os.utime(file, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    return made


def since(crm: CrmSync) -> dict[str, tuple[str, ...] | None]:
    return {one.kind: one.changed_files for one in verify(workspace=crm.workspace, since=SINCE)}


def part_of(crm: CrmSync, kind: str) -> Path:
    (folder,) = {
        Path(one.manifest.removeprefix("file://")).parent for one in verify(workspace=crm.workspace) if one.kind == kind
    }
    return next(folder.glob("*.parquet"))


def test_nothing_older_is_checked(crm: CrmSync) -> None:
    assert len(verify(workspace=crm.workspace)) >= 5
    assert verify(workspace=crm.workspace, since=SINCE) == []
    assert verify(workspace=crm.workspace, since=LONG_AGO) == verify(workspace=crm.workspace)


def test_what_a_later_run_wrote_is_checked(crm: CrmSync) -> None:
    before = {one.manifest for one in verify(workspace=crm.workspace)}
    crm.people(1, no=(2, 3))
    crm.sync()

    found = verify(workspace=crm.workspace, since=SINCE)

    assert {"snapshot", "permitted", "delivery_records", "decision_records"} <= {one.kind for one in found}
    assert all(one.is_true for one in found)
    assert before.isdisjoint(one.manifest for one in found)


@pytest.mark.parametrize("kind", ["snapshot", "delivered", "delivery_records"])
def test_an_old_manifest_is_checked_if_one_of_its_files_was_written_since(crm: CrmSync, kind: str) -> None:
    part = part_of(crm, kind)
    part.write_bytes(part.read_bytes()[:-1] + b"X")

    assert since(crm) == {kind: (part.name,)}


def test_an_old_manifest_is_checked_if_one_of_its_files_is_gone(crm: CrmSync) -> None:
    part = part_of(crm, "delivery_records")
    part.unlink()

    assert since(crm) == {"delivery_records": (part.name,)}


def test_a_manifest_that_was_written_since_is_checked(crm: CrmSync) -> None:
    (manifest,) = [one.manifest for one in verify(workspace=crm.workspace) if one.kind == "delivered"]
    file = Path(manifest.removeprefix("file://"))
    file.write_bytes(file.read_bytes().replace(b"crm", b"crn", 1))

    (found,) = verify(workspace=crm.workspace, since=SINCE)

    assert (found.manifest, found.signature) == (manifest, "false")


def test_only_what_a_sync_has_written_is_checked(crm: CrmSync) -> None:
    own = ("changes", "delivered", "delivery_records")
    found = verify(workspace=crm.workspace, sync="people/crm")

    assert {"delivered", "delivery_records"} <= {one.kind for one in found} <= set(own)
    assert [one for one in verify(workspace=crm.workspace) if one.kind in own] == found


def test_a_sync_without_files_and_a_manifest_with_a_sync_are_refused(crm: CrmSync) -> None:
    with pytest.raises(RefusedError, match="has nothing of sync `people/cmr`"):
        verify(workspace=crm.workspace, sync="people/cmr")
    with pytest.raises(ConfigurationError, match="no name of a sync"):
        verify(workspace=crm.workspace, sync="people")
    (manifest,) = [one.manifest for one in verify(workspace=crm.workspace) if one.kind == "delivered"]
    with pytest.raises(ConfigurationError, match="leave them out"):
        verify(manifest, since=SINCE)


def test_the_command_takes_a_time_and_a_sync(crm: CrmSync, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = ["--workspace", crm.workspace]

    assert main(["verify", *workspace, "--since", "2021-01-01"]) == 0
    printed = capsys.readouterr()
    assert "there is nothing to check" in printed.out
    assert "checked 0 manifests, 0.0 MB of files" in printed.err
    assert main(["verify", *workspace, "--sync", "people/crm", "--json"]) == 0
    assert "delivered" in {one["kind"] for one in json.loads(capsys.readouterr().out)}
    assert main(["verify", *workspace, "--since", "yesterday"]) == 2
    assert "`yesterday` is no time" in capsys.readouterr().err


@pytest.fixture
def proofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    """A deployment with an approved policy, and a person who was forgotten."""
    crm = CrmSync(tmp_path, monkeypatch)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", crm.workspace)
    policy_archive().approve(parse_policy(POLICY), "variable:officer", by="Ida Officer", at=SINCE, note="case 12")
    forget(ids=["7"], workspace=crm.workspace, by="Ida Officer")
    return crm


PROOFS = {
    "an approval": "policy_archive/approvals/*/*.json",
    "a policy": "policy_archive/documents/*.json",
    "an act of the suppression list": "suppression/acts/*.json",
    "a request to forget": "suppression/requests/*/request.json",
}


@pytest.mark.parametrize("proof", PROOFS)
def test_a_proof_that_was_changed_is_found(proofs: CrmSync, proof: str) -> None:
    (file,) = proofs.folder.glob(PROOFS[proof])
    assert [one.manifest for one in verify(workspace=proofs.workspace) if not one.is_true] == []
    file.write_text(file.read_text().replace("{", '{\n  "more": 1,', 1))

    found = {one.manifest: one.signature for one in verify(workspace=proofs.workspace) if not one.is_true}

    assert found == {file.as_uri(): "false"}


@pytest.mark.parametrize("proof", ["an approval", "an act of the suppression list"])
def test_a_proof_that_was_deleted_is_named(proofs: CrmSync, proof: str) -> None:
    (file,) = proofs.folder.glob(PROOFS[proof])
    file.unlink()

    found = [(one.manifest, one.changed_files) for one in verify(workspace=proofs.workspace) if not one.is_true]

    assert found == [(f"{file.parent.as_uri()}/known", (file.name,))]


def test_a_long_check_says_how_far_it_is() -> None:
    log = Lines()
    progress = CheckProgress(log, interval_s=0)

    progress.manifest()
    progress.read(2_500_000)
    progress.manifest()

    assert log.lines == [
        "checked 1 manifests, 0.0 MB of files",
        "checked 1 manifests, 2.5 MB of files",
        "checked 2 manifests, 2.5 MB of files",
    ]


def test_a_large_file_takes_little_memory(crm: CrmSync) -> None:
    content = bytes(64 * MEBIBYTE)
    folder = open_folder(crm.workspace) / "permitted" / "large"
    with folder.create("rows.parquet") as file:
        file.write(content)
    part = {
        "name": "rows.parquet",
        "sha256": hashlib.sha256(content).hexdigest(),
        "rows": 1,
        "size_bytes": len(content),
    }
    folder.publish(json.dumps({"kind": "large", "part": part}, indent=2).encode())
    del content

    tracemalloc.start()
    try:
        found = verify(workspace=crm.workspace, since=SINCE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert [(one.kind, one.is_true) for one in found] == [("large", True)]
    assert peak < 8 * MEBIBYTE
