"""Rows and records end with their retention, and what a sync needs stays, whatever its age."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.crm_sync import FIELDS, POLICY, CrmSync
from support.loading import deliver, load_of
from support.log_lines import task_fails, unwrapped
from support.noted_runs import a_load
from support.syncing import Recorder

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.contract import Batch, Destination, Outcomes
from airflow_consent_retl.contract.pruned import Pruned
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.destinations.files.destination import FilesDestination
from airflow_consent_retl.destinations.files.export_retention import prune_versions
from airflow_consent_retl.destinations.files.options import FilesOptions
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError
from airflow_consent_retl.hooks.forgotten_list import suppression_list
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.hooks.pruning import prune
from airflow_consent_retl.operators import LoadOperator, LoadToFilesOperator, LoadToSqlTableOperator, PruneOperator
from airflow_consent_retl.operators.forget import forget
from airflow_consent_retl.operators.prune import prune_old_versions
from airflow_consent_retl.reports import person_history, verify
from airflow_consent_retl.sight.report_file import report
from airflow_consent_retl.storage.expired import Limit, beyond, tables_of_sets
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import open_folder, signer
from airflow_consent_retl.storage.manifest import sha256_hex
from airflow_consent_retl.storage.records.all_streams import delivery_streams
from airflow_consent_retl.storage.records.index import RecordIndex
from airflow_consent_retl.storage.signing import SignedDocument, signed

OPTION = "AIRFLOW__CONSENT_RETL__"


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CrmSync:
    made = CrmSync(tmp_path, monkeypatch)
    made.people(1, 2, no=(3,))
    return made


def written_before(output: dict[str, Any], days: float) -> dict[str, Any]:
    """Have the manifest of a snapshot or permitted set say that it was written some days ago."""
    at = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    manifest = Path(output["manifest"].removeprefix("file://"))
    body = json.loads(SignedDocument.read(manifest.read_bytes()).body)
    body["read_at" if body["kind"] == "snapshot" else "decided_at"] = at
    content = json.dumps(body, sort_keys=True, indent=2).encode()
    manifest.write_bytes(signed(content, signer(), place=output["manifest"]))
    return {**output, "sha256": sha256_hex(manifest.read_bytes())}


def files(crm: CrmSync, kind: str) -> set[str]:
    return {path.name.split("-")[0] for path in (crm.folder / kind).rglob("*") if path.is_file()}


def found(pruned: list[Pruned]) -> set[tuple[str, str]]:
    return {(one.kind, one.reason) for one in pruned}


def test_a_snapshot_ends_after_a_week_and_a_younger_one_stays(crm: CrmSync) -> None:
    old, young = crm.extracted(), crm.extracted()
    written_before(old, 7.1)
    written_before(young, 6.9)

    shown = prune(workspace=crm.workspace, dry_run=True)
    assert Path(old["manifest"].removeprefix("file://")).exists()
    assert prune(workspace=crm.workspace) == shown
    assert found(shown) == {("snapshots", "age")}
    assert not Path(old["manifest"].removeprefix("file://")).parent.exists()
    assert Path(young["manifest"].removeprefix("file://")).exists()


def test_the_rows_of_a_permitted_set_end_with_the_snapshots_and_its_proofs_stay(crm: CrmSync) -> None:
    permitted = crm.permitted()
    written_before(permitted, 8)

    assert found(prune(workspace=crm.workspace)) == {("permitted_sets", "age")}
    assert files(crm, "permitted") == {"decisions", "manifest.json", "signatures.parquet", "pruned.json"}
    assert prune(workspace=crm.workspace) == []
    (checked,) = [one for one in verify(workspace=crm.workspace) if one.kind == "permitted"]
    assert checked.changed_files == ()
    written_before(permitted, 1097)
    assert found(prune(workspace=crm.workspace)) == {("evidence", "age")}
    assert files(crm, "permitted") == set()


def test_only_so_many_of_the_newest_of_each_model_stay_but_all_of_the_last_day(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{OPTION}SNAPSHOT_NUMBER", "1")
    for days in (3, 2):
        written_before(crm.extracted(), days)
    written_before(crm.extracted(model="others"), 3)
    crm.extracted()

    pruned = prune(workspace=crm.workspace)

    assert [(one.kind, one.reason) for one in pruned] == [("snapshots", "number")] * 2
    assert len(list(crm.folder.glob("snapshots/**/manifest.json"))) == 2


def test_a_stricter_policy_ends_rows_earlier_and_a_laxer_one_does_not_keep_them(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{OPTION}POLICY", "variable:officer")
    kept = {"snapshots": {"max_age": "3 days"}, "permitted_sets": {"max_age": "1 year"}}
    monkeypatch.setenv("AIRFLOW_VAR_OFFICER", json.dumps({**POLICY, "officer": {"retention": kept}}))
    old, older = crm.extracted(), crm.permitted(policy="variable:officer")
    written_before(old, 4)
    written_before(older, 8)

    assert found(prune(workspace=crm.workspace)) == {("snapshots", "age"), ("permitted_sets", "age")}


class Unreachable(Recorder):
    target = "crm.example.com"

    def send(self, batch: Batch) -> Outcomes:
        raise DestinationUnavailableError("the destination does not answer")


class LoadToUnreachable(LoadOperator):
    def build_destination(self) -> Destination:
        return Unreachable()


def test_a_permitted_set_whose_delivery_is_in_progress_stays_and_so_do_its_changes(crm: CrmSync) -> None:
    permitted = written_before(crm.permitted(), 30)
    other = written_before(crm.permitted(), 30)
    load = LoadToUnreachable(
        task_id="load",
        permitted=permitted,
        destination="crm",
        policy=POLICY,
        fields=FIELDS,
        workspace=crm.workspace,
    )
    with pytest.raises(DestinationUnavailableError):
        load.execute({})
    changes = list(crm.folder.glob("syncs/*/changes-*"))

    pruned = prune(workspace=crm.workspace)

    assert [one.place for one in pruned if one.kind == "permitted_sets"] == [other["manifest"].rpartition("/")[0]]
    assert len(changes) == 1
    assert changes[0].exists()


def test_changes_that_an_unfinished_delivery_needs_stay_beyond_their_retention_and_are_named(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(f"{OPTION}SNAPSHOT_DAYS", "0.000001")
    load = LoadToUnreachable(
        task_id="load",
        permitted=crm.permitted(),
        destination="crm",
        policy=POLICY,
        fields=FIELDS,
        workspace=crm.workspace,
    )
    with pytest.raises(DestinationUnavailableError):
        load.execute({})
    time.sleep(0.1)

    with caplog.at_level(logging.WARNING):
        assert prune(workspace=crm.workspace) == []

    assert len(list(crm.folder.glob("syncs/*/changes-*"))) == 1
    assert "the changes of sync `people/crm` stay: its delivery that began at" in unwrapped(caplog.text)


def test_a_policy_ends_old_versions_of_exported_files_earlier_than_the_load_says(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(f"{OPTION}POLICY", "variable:officer")
    kept = {"file_versions": {"number": 2}, "changes": {"max_age": "7 days"}}
    monkeypatch.setenv("AIRFLOW_VAR_OFFICER", json.dumps({**POLICY, "officer": {"retention": kept}}))
    for _ in range(3):
        LoadToFilesOperator(
            task_id="load",
            permitted=crm.permitted(destination="lake", policy="variable:officer"),
            destination="lake",
            fields=FIELDS,
            # The same rows are written again only by this mode.
            mode="full",
            path=(tmp_path / "lake").as_uri(),
            keep_versions=None,
            workspace=crm.workspace,
        ).execute({})

    assert len(list((tmp_path / "lake").glob("*/_manifest.json"))) == 2


def test_old_versions_of_exported_files_end_between_two_loads_too(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, now, rows = (tmp_path / "lake").as_uri(), datetime.now(UTC), pa.table({"id": [1]})
    for days in (40, 20, 10):
        load = load_of(rows, decided_at=now - timedelta(days=days))
        deliver(FilesDestination(FilesOptions(path=uri, keep_versions=None)), rows, load)
    foreign = tmp_path / "lake" / "notes.txt"
    foreign.write_text("not a load's")

    assert prune_versions(uri) == []
    monkeypatch.setenv(f"{OPTION}POLICY", "variable:officer")
    kept = {"file_versions": {"max_age": "30 days", "number": 1}}
    monkeypatch.setenv("AIRFLOW_VAR_OFFICER", json.dumps({**POLICY, "officer": {"retention": kept}}))

    main(["prune", "--workspace", crm.workspace, "--dry-run", "--exports", uri, "--json"])
    out = capsys.readouterr().out
    shown = json.loads(out[out.index("[\n") :])
    assert [(one["kind"], one["reason"]) for one in shown] == [("file_versions", "number"), ("file_versions", "age")]
    assert len(list((tmp_path / "lake").glob("*/_manifest.json"))) == 3

    assert [one.place for one in prune_versions(uri)] == [one["place"] for one in shown]
    current = json.loads((tmp_path / "lake" / "_current.json").read_text())["current"]
    assert [path.parent.name for path in (tmp_path / "lake").glob("*/_manifest.json")] == [current]
    assert foreign.exists()
    assert prune_versions(uri) == []


def test_old_versions_of_syncs_that_no_longer_run_end_with_the_prune_task(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def export(name: str, *, older: int) -> None:
        path, now, rows = (
            (tmp_path / name).as_uri(),
            datetime.now(UTC),
            pa.table({"id": [1], "email": ["u1@x.example"]}),
        )
        for days in range(older, 0, -1):
            load = load_of(rows, destination=name, model="people", decided_at=now - timedelta(days=10 * days))
            deliver(FilesDestination(FilesOptions(path=path, keep_versions=None)), rows, load)
        crm.sync(partial(LoadToFilesOperator, fields=FIELDS, path=path, keep_versions=None), destination=name)

    def versions() -> dict[str, int]:
        return {name: len(list((tmp_path / name).glob("*/_manifest.json"))) for name in ("lake", "crm")}

    export("lake", older=2)
    export("crm", older=1)
    task = PruneOperator(task_id="prune", workspace=crm.workspace)
    assert task.execute({}).get("file_versions") is None
    monkeypatch.setenv(f"{OPTION}POLICY", "variable:officer")
    retained = {"retention": {"file_versions": {"number": 1}}}
    monkeypatch.setenv("AIRFLOW_VAR_OFFICER", json.dumps({**POLICY, "officer": retained}))
    shown = PruneOperator(task_id="prune", workspace=crm.workspace, only_show=True).execute({})
    assert (shown["file_versions"], versions()) == (3, {"lake": 3, "crm": 2})
    caplog.set_level(logging.INFO)
    running = os.open(tmp_path / "lake", os.O_RDONLY)
    fcntl.flock(running, fcntl.LOCK_EX)

    assert task.execute({})["file_versions"] == 1
    assert versions() == {"lake": 3, "crm": 1}
    shutil.rmtree(tmp_path / "crm")
    assert prune_old_versions(crm.workspace) == []
    os.close(running)
    assert task.execute({})["file_versions"] == 2

    assert versions() == {"lake": 1, "crm": 0}
    assert "older versions of sync `people/lake` were left: another load into" in unwrapped(caplog.text)
    assert "older versions of sync `people/crm` were left: " in unwrapped(caplog.text)


def test_a_folder_that_no_load_wrote_is_not_pruned(tmp_path: Path) -> None:
    with pytest.raises(DestinationError, match="name the folder of one"):
        prune_versions(tmp_path.as_uri())


def test_the_staging_tables_of_sets_in_use_are_known_and_only_the_newest_of_the_others_stay(tmp_path: Path) -> None:
    root = Folder.local(tmp_path)
    table = {"namespace": "staging", "name": "consent_retl_20260101t000000_snapshot_0123456789abcdef"}
    manifest = root / "snapshots" / "run"
    manifest.make()
    manifest.publish(json.dumps({"model": "people", "table": table}).encode(), name="manifest.json")
    now = datetime.now(UTC)
    ages = [("a", "snapshot", 2), ("b", "snapshot", 3), ("c", "snapshot", 0.5), ("d", "decided", 9), ("e", "batch", 5)]

    ended = beyond(
        Limit(now - timedelta(days=7), 2), [(name, kind, now - timedelta(days=days)) for name, kind, days in ages]
    )

    assert tables_of_sets(root, [], models_in_use=["people"]) == {table["name"]}
    assert tables_of_sets(root, [], models_in_use=["others"]) == set()
    assert sorted(ended) == [("b", "number"), ("d", "age")]


def test_sets_of_a_model_whose_sync_a_task_has_stay(crm: CrmSync) -> None:
    written_before(crm.extracted(), 30)

    with open_ledger(crm.workspace) as ledger, ledger.acquire(sync_name("people", "crm"), holder="load"):
        assert prune(workspace=crm.workspace) == []

    assert found(prune(workspace=crm.workspace)) == {("snapshots", "age")}


def test_changes_that_no_sync_needs_end_at_once_and_delivered_states_stay(crm: CrmSync) -> None:
    crm.sync()
    (delivered,) = crm.folder.glob("syncs/*/delivered-*")
    left = delivered.parent / f"changes-e1-{'0' * 32}"
    unknown = delivered.parent / f"changes-e99-{'0' * 32}"
    for folder in (left, unknown):
        folder.mkdir()
        (folder / "upserts-00000.parquet").write_bytes(b"rows")

    assert ("changes", "unused") in found(prune(workspace=crm.workspace, dry_run=True))
    assert left.exists()
    prune(workspace=crm.workspace)

    assert delivered.exists()
    assert not left.exists()
    # The ledger does not know that lease.
    assert unknown.exists()
    shutil.rmtree(unknown)
    assert crm.sync()["unchanged"] == 2


def recorded_before(document: Path, days: float) -> None:
    """Have a document of records say that it was written some days ago."""
    body = json.loads(SignedDocument.read(document.read_bytes()).body)
    body["recorded_at"] = (datetime.now(UTC) - timedelta(days=days)).isoformat()
    content = json.dumps(body, sort_keys=True, indent=2).encode()
    document.write_bytes(signed(content, signer(), place=document.as_uri()))


def test_records_end_after_three_years_each_with_its_files(crm: CrmSync) -> None:
    crm.sync()
    crm.people(1, no=(2, 3))
    crm.sync()
    first, second = sorted((crm.folder / "records" / "deliveries").rglob("*.json"))
    recorded_before(first, 1097)

    assert found(prune(workspace=crm.workspace)) == {("evidence", "age")}
    assert not first.exists()
    beginning = second.stem
    assert {path.name[: len(beginning)] for path in second.parent.iterdir()} == {beginning}
    assert [event.event for event in person_history(2, workspace=crm.workspace).deliveries] == ["removed"]


def test_a_policy_ends_evidence_by_number_too_of_each_sync_and_model_but_nothing_of_the_last_day(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"evidence": {"number": 1}, "permitted_sets": {"number": 1}}
    monkeypatch.setenv("AIRFLOW_VAR_OFFICER", json.dumps({**POLICY, "officer": {"retention": kept}}))
    for people in ((1,), (1, 2)):
        crm.people(*people)
        crm.sync()
    crm.sync(model="others", table="others")
    monkeypatch.setenv(f"{OPTION}POLICY", "variable:officer")
    assert prune(workspace=crm.workspace) == []
    records = crm.folder / "records"
    for document in records.rglob("*.json"):
        recorded_before(document, 2)
    for manifest in (crm.folder / "permitted").rglob("manifest.json"):
        written_before({"manifest": manifest.as_uri()}, 2)

    assert found(prune(workspace=crm.workspace)) == {("evidence", "number")}

    assert [len(list(folder.glob("*.json"))) for folder in sorted(records.glob("deliveries/*"))] == [1, 1]
    assert [len(list(folder.glob("*.json"))) for folder in sorted(records.glob("decisions/*/*"))] == [1, 1]
    assert len(list((crm.folder / "permitted").rglob("manifest.json"))) == 2
    assert [one.event for one in person_history(2, workspace=crm.workspace).deliveries] == ["sent", "sent"]


def test_reports_end_with_the_evidence(crm: CrmSync) -> None:
    crm.sync()
    young = Path(report(syncs=["people/crm"], workspace=crm.workspace).report)
    old = Path(shutil.copy(young, young.with_stem("old")))
    at = (datetime.now(UTC) - timedelta(days=1097)).timestamp()
    os.utime(old, (at, at))

    assert found(prune(workspace=crm.workspace)) == {("reports", "age")}

    assert (young.exists(), old.exists()) == (True, False)


def test_records_of_runs_end_with_the_evidence(crm: CrmSync) -> None:
    crm.sync()
    now = datetime.now(UTC).replace(microsecond=0)
    with open_ledger(crm.workspace, None) as ledger:
        for days in (1000, 1097):
            ledger.note_run(a_load(at=now - timedelta(days=days)))

    shown = [one for one in prune(workspace=crm.workspace, dry_run=True) if one.kind == "run_records"]
    deleted = [one for one in prune(workspace=crm.workspace) if one.kind == "run_records"]

    assert [(one.files, one.reason) for one in shown] == [(1, "age")]
    assert deleted == shown
    with open_ledger(crm.workspace, None) as ledger, ledger.history() as history:
        assert min(run.ended_at for run in history.runs()) == now - timedelta(days=1000)
    assert [one for one in prune(workspace=crm.workspace) if one.kind == "run_records"] == []


def test_finished_requests_to_forget_end_with_the_evidence_and_the_suppression_stays(crm: CrmSync) -> None:
    crm.sync()
    listed = suppression_list(crm.workspace)
    for person in ("7", "8", "9"):
        forget(ids=[person], workspace=crm.workspace)
    with pytest.raises(ConfigurationError, match="`loads` has no load for it"):
        forget(ids=["1"], workspace=crm.workspace)
    requests, ages = listed.requests(), dict(zip(("7", "8", "1"), (1097, 1000, 1097), strict=True))
    request_of = {
        person: next(one for one in requests.all() if listed.people([person])[0][0] in one.digests) for person in ages
    }
    for person, days in ages.items():
        request, at = request_of[person], {"at": datetime.now(UTC) - timedelta(days=days)}
        for noted in requests.destinations(request):
            requests.note(request, noted.model_copy(update=at))
        if (rest := requests.at_rest(request)) is not None:
            requests.note_at_rest(request, rest.model_copy(update=at))
        (requests.folder / request.id).put_document("request.json", request.model_copy(update=at).to_json())

    shown = prune(workspace=crm.workspace, dry_run=True)
    pruned = [one for one in prune(workspace=crm.workspace) if "/requests/" in one.place]

    # That of person 1 is not finished.
    assert [(one.kind, one.reason, Path(one.place).name) for one in pruned] == [("evidence", "age", request_of["7"].id)]
    assert [one for one in shown if "/requests/" in one.place] == pruned
    assert len(list(requests.all())) == 3
    assert [one.event for one in person_history(7, workspace=crm.workspace).suppressions] == ["suppressed"]


def test_a_segment_of_an_index_ends_before_its_first_document_and_verify_follows_it(crm: CrmSync) -> None:
    for people in ((1, 2), (1,), (1, 2)):
        crm.people(*people)
        crm.sync()
    (stream,) = delivery_streams(open_folder(crm.workspace))
    assert RecordIndex(stream).extend(documents=2) == 1
    first, second, _ = sorted((crm.folder / "records" / "deliveries").glob("*/*.json"))
    assert {one.kind: one.changed_files for one in verify(workspace=crm.workspace)}["record_index"] == ()
    recorded_before(second, 2)
    changed = {one.kind: one.changed_files for one in verify(workspace=crm.workspace)}
    assert changed["record_index"] == (second.name,)
    recorded_before(first, 1097)

    pruned = prune(workspace=crm.workspace)

    assert [Path(one.place).name for one in pruned if one.kind == "evidence"] == ["index", first.parent.name]
    assert not list((first.parent / "index").iterdir())
    assert [event.event for event in person_history(2, workspace=crm.workspace).deliveries] == ["removed", "sent"]


def test_the_newest_decisions_stay_however_old_because_the_next_filter_compares_with_them(crm: CrmSync) -> None:
    crm.permitted()
    crm.people(1, no=(2, 3))
    crm.permitted()
    first, second = sorted((crm.folder / "records" / "decisions").rglob("*.json"))
    for document in (first, second):
        recorded_before(document, 1097)

    pruned = prune(workspace=crm.workspace)

    assert [(one.kind, one.reason) for one in pruned] == [("evidence", "age")]
    assert not first.exists()
    assert second.exists()
    crm.people(no=(1, 2, 3))
    crm.permitted()
    assert {one.signature for one in verify(workspace=crm.workspace)} == {"signed"}
    assert person_history(1, workspace=crm.workspace).decisions


def test_a_file_of_records_that_no_document_names_was_left_by_a_killed_run(crm: CrmSync) -> None:
    crm.permitted()
    (document,) = (crm.folder / "records" / "decisions").rglob("*.json")
    old, young = (document.parent / f"2023{number}.parquet" for number in (1, 2))
    for path in (old, young):
        path.write_bytes(b"rows")
    at = (datetime.now(UTC) - timedelta(days=3)).timestamp()
    os.utime(old, (at, at))

    assert found(prune(workspace=crm.workspace)) == {("unfinished", "killed")}
    assert not old.exists()
    assert young.exists()


def test_what_an_earlier_release_left_unfinished_ends_after_two_days(crm: CrmSync) -> None:
    for name, days in (("old", 3), ("young", 1)):
        folder = crm.folder / "snapshots" / "adhoc" / name
        folder.mkdir(parents=True)
        part = folder / "part.parquet"
        part.write_bytes(b"rows")
        at = (datetime.now(UTC) - timedelta(days=days)).timestamp()
        os.utime(part, (at, at))

    assert found(prune(workspace=crm.workspace)) == {("unfinished", "killed")}
    assert [path.name for path in (crm.folder / "snapshots" / "adhoc").iterdir()] == ["young"]


def test_a_load_of_a_set_whose_rows_have_ended_is_refused(crm: CrmSync) -> None:
    permitted = crm.permitted()
    for path in Path(permitted["manifest"].removeprefix("file://")).parent.glob("group-*.parquet"):
        path.unlink()

    with task_fails(match="does not exist any more"):
        LoadToSqlTableOperator(
            task_id="load",
            permitted=permitted,
            destination="crm",
            policy=POLICY,
            conn_id="crm",
            table="people",
            fields=FIELDS,
            workspace=crm.workspace,
        ).execute({})


def test_the_command_and_the_operator_show_and_delete(crm: CrmSync, capsys: pytest.CaptureFixture[str]) -> None:
    written_before(crm.extracted(), 8)

    assert main(["prune", "--workspace", crm.workspace, "--dry-run", "--json"]) == 0
    shown = capsys.readouterr().out
    assert [one["kind"] for one in json.loads(shown[shown.index("[\n") :])] == ["snapshots"]
    show = PruneOperator(task_id="show", workspace=crm.workspace, only_show=True)
    assert show.execute({}) == {"snapshots": 1}
    assert PruneOperator(task_id="prune", workspace=crm.workspace).execute({}) == {"snapshots": 1}
    assert main(["prune", "--workspace", crm.workspace, "--json"]) == 0
    assert capsys.readouterr().out.endswith("[]\n")


@pytest.mark.parametrize(
    ("option", "value"), [("SNAPSHOT_DAYS", "0"), ("EVIDENCE_DAYS", "-1"), ("SNAPSHOT_NUMBER", "-1")]
)
def test_a_limit_that_would_delete_everything_is_refused(
    crm: CrmSync, monkeypatch: pytest.MonkeyPatch, option: str, value: str
) -> None:
    monkeypatch.setenv(f"{OPTION}{option}", value)

    with pytest.raises(ConfigurationError, match="has to be above 0"):
        prune(workspace=crm.workspace)


def test_a_staging_schema_needs_its_connection(crm: CrmSync) -> None:
    with pytest.raises(ConfigurationError, match="name both, or neither"):
        prune(workspace=crm.workspace, schema="staging")
