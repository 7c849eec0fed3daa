"""`doctor` finds what would stop every run of a deployment, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
from support.crm_sync import CrmSync
from support.postgres import Postgres, postgres

from airflow_consent_retl.delivery.ledger.schema import SCHEMA_VERSION
from airflow_consent_retl.progress import LINE

from .conftest import Ran, Run

__all__ = ["postgres"]


def problems(ran: Ran) -> dict[str, str]:
    return {one["what"]: f"{one['found']} {one['remedy']}" for one in ran.document if one["state"] == "problem"}


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.suffix not in {".db-wal", ".db-shm"}}


def test_a_sound_deployment_has_no_problem_and_keeps_its_files(run: Run, crm: CrmSync) -> None:
    crm.sync()
    before = files(crm.folder)

    found, plain = run("doctor", "--json"), run("doctor")

    assert (found.code, problems(found)) == (0, {})
    assert files(crm.folder) == before
    assert set(found.document[0]) == {"what", "state", "found", "remedy"}
    assert max(map(len, plain.out.splitlines())) <= LINE
    by_name = {one["what"]: one["found"] for one in found.document}
    assert f"1 syncs, schema version {SCHEMA_VERSION}" in by_name["ledger"]
    assert by_name["digest key"].startswith("the workspace's own, id ")
    assert "sha256:" in by_name["policy"]


def test_a_deployment_before_its_first_run_stays_empty(run: Run, crm: CrmSync) -> None:
    found = run("doctor", "--json")

    assert (found.code, problems(found)) == (0, {})
    assert "the first run joins it with the workspace" in found.out
    assert not crm.folder.exists()


def test_each_thing_that_would_stop_a_run_is_a_problem_with_a_remedy(
    run: Run, crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.sync()
    crm.folder.chmod(0o755)
    (crm.folder / "digest.key").chmod(0o644)
    identity = json.loads((crm.folder / "workspace.json").read_text())
    (crm.folder / "workspace.json").write_text(json.dumps({**identity, "ledger": "another"}))
    (crm.path / "policy.json").write_text("{}")

    found = run("doctor", "--json")

    assert found.code == 1
    assert problems(found).keys() == {"workspace rights", "ledger", "digest key rights", "policy"}
    assert f"chmod o-rwx {crm.folder}" in problems(found)["workspace rights"]
    assert "belongs to ledger another" in problems(found)["ledger"]
    assert "chmod 600" in problems(found)["digest key rights"]


def test_what_cannot_be_read_is_told_for_each_thing_and_the_rest_is_looked_at(
    run: Run, crm: CrmSync, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.connect("ledger", conn_type="postgres", host="127.0.0.1", port=1, login="ida", password="not-shown")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "short")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:nowhere")

    found = run("doctor", "--ledger-conn-id", "ledger", "--json")

    assert found.code == 1
    assert problems(found).keys() == {"ledger", "clock", "digest key", "policy"}
    assert "not-shown" not in found.out + found.err
    assert "Traceback" not in found.err


def test_object_storage_is_written_to_and_the_clock_of_postgresql_is_compared(
    run: Run, crm: CrmSync, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = MemoryFileSystem()
    attach("memory", fs=storage)
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", postgres.airflow_connection())
    place = ("--workspace", "memory://doctor/retl", "--ledger-conn-id", "ledger", "--json")

    without_key = run("doctor", *place)
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "k" * 32)
    sound = run("doctor", *place)

    assert problems(without_key).keys() == {"digest key"}
    assert (sound.code, problems(sound)) == (0, {})
    assert {one["what"]: one["found"] for one in sound.document}["clock"].endswith(" s from the ledger's")
    assert storage.find("/doctor") == []
