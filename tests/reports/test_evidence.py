"""Evidence about a person is complete, readable, free of values, and can be checked without the workspace."""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.crm_sync import CrmSync

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.consent import parse_recorded_policy
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.reports import evidence, verify

SECRET = "AIRFLOW__CONSENT_RETL__DIGEST_KEY"


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    """Person 4711 was delivered and withdrew; 2 is delivered; 3 always said no."""
    monkeypatch.setenv(SECRET, "0123456789abcdef0123456789abcdef")
    made = CrmSync(tmp_path, monkeypatch)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", made.workspace)
    made.people(4711, 2, no=(3,))
    made.sync()
    made.people(2, no=(3, 4711))
    made.sync()
    return made


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data.strip())


def written(crm: CrmSync, subject: int, name: str = "bundle", **options: Any) -> Path:
    return evidence(subject, crm.path / name, workspace=crm.workspace, **options)


def read(bundle: Path, name: str) -> Any:
    return json.loads((bundle / name).read_bytes())


def test_a_bundle_tells_everything_about_the_person_to_people_and_to_machines(crm: CrmSync) -> None:
    bundle = written(crm, 4711, reference="request 17")

    page = _Cells()
    page.feed((bundle / "index.html").read_text())
    told = " ".join(page.texts)
    history = read(bundle, "history.json")
    assert [(one["before"], one["decision"]) for one in history["decisions"]] == [
        ("not_in_model", "permitted"),
        ("permitted", "denied"),
    ]
    assert [one["event"] for one in history["deliveries"]] == ["sent", "removed"]
    assert "request 17" in told
    assert "C0004:denied" in told
    assert "consent_withdrawn" in told
    assert all(one["batch_key"] in told for one in history["deliveries"])


def test_a_receipt_has_the_statuses_of_consent_and_the_events_of_delivery(crm: CrmSync) -> None:
    (record,) = read(written(crm, 4711), "consent-receipt.jsonld")["dpv:hasRecordOfActivity"]
    (refused,) = read(written(crm, 3, "other"), "consent-receipt.jsonld")["dpv:hasRecordOfActivity"]

    assert record["@type"] == "dpv:ConsentRecord"
    assert [one["@type"] for one in record["dpv:hasConsentStatus"]] == ["dpv:ConsentGiven", "dpv:ConsentWithdrawn"]
    assert [one["@type"] for one in refused["dpv:hasConsentStatus"]] == ["dpv:ConsentRefused"]
    assert [one["cr:event"] for one in record["dpv:hasProcess"]["cr:deliveries"]] == ["sent", "removed"]
    assert record["dpv:hasProcess"]["cr:needs"] == "C0004"


def test_the_policies_that_events_name_are_in_the_bundle(crm: CrmSync) -> None:
    bundle = written(crm, 4711)

    (name,) = [file.name for file in bundle.iterdir() if file.name.startswith("policy-")]
    digest = read(bundle, "history.json")["decisions"][0]["policy_digest"]
    assert parse_recorded_policy(read(bundle, name)).digest == digest
    assert read(bundle, "manifest.json")["policies"] == [digest]


def test_a_person_who_was_never_seen_gets_evidence_of_that(crm: CrmSync) -> None:
    bundle = written(crm, 9)

    page = (bundle / "index.html").read_text()
    assert "the id was in none of the models below" in page
    assert "Nothing was sent, and nothing was removed" in page
    assert read(bundle, "manifest.json")["decisions"] == 0


@pytest.mark.parametrize("name", ["bundle", "bundle.zip"])
def test_a_bundle_is_checked_without_the_workspace_wherever_it_lies(
    crm: CrmSync, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = written(crm, 4711, name)
    elsewhere = tmp_path / "elsewhere" / name
    elsewhere.parent.mkdir(mode=0o700)
    bundle.rename(elsewhere)
    shutil.rmtree(crm.folder)
    manifest = str(elsewhere) if name.endswith(".zip") else f"file://{elsewhere}/manifest.json"

    assert main(["verify", manifest, "--json"]) == 0
    (checked,) = verify(manifest)
    assert (checked.kind, checked.signature, checked.changed_files) == ("evidence", "signed", ())


def test_a_changed_bundle_is_found_out(crm: CrmSync) -> None:
    bundle = written(crm, 4711)
    page = bundle / "index.html"
    page.write_text(page.read_text().replace("removed", "updated"))

    (checked,) = verify(f"file://{bundle}/manifest.json")

    assert checked.changed_files == ("index.html",)
    assert not checked.is_true
    lines = (bundle / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    assert sums["index.html"] != hashlib.sha256(page.read_bytes()).hexdigest()
    assert sums["history.json"] == hashlib.sha256((bundle / "history.json").read_bytes()).hexdigest()


def test_a_bundle_has_no_value_of_a_row_and_only_its_owner_reads_it(crm: CrmSync) -> None:
    bundle = written(crm, 4711)

    assert stat.S_IMODE(bundle.stat().st_mode) == 0o700
    for file in bundle.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        words = file.read_text().replace('"', " ").replace(">", " ").replace("<", " ").split()
        assert "4711" not in words
        assert "u4711@x.example" not in file.read_text()


def test_evidence_is_never_overwritten(crm: CrmSync) -> None:
    written(crm, 4711)

    with pytest.raises(ConfigurationError, match="exists already: evidence is never overwritten"):
        written(crm, 4711)


def test_the_command_writes_a_zip_file(crm: CrmSync, capsys: pytest.CaptureFixture[str]) -> None:
    target = crm.path / "request.zip"

    assert (
        main(["evidence", "4711", str(target), "--workspace", crm.workspace, "--reference", "<b>17</b>", "--json"]) == 0
    )

    with zipfile.ZipFile(target) as bundle:
        assert "manifest.json" in bundle.namelist()
        assert "&lt;b&gt;17" in bundle.read("index.html").decode()


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"no zip")

    with pytest.raises(RefusedError, match="no bundle of evidence"):
        verify(str(tmp_path / "x.zip"))
