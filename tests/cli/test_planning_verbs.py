"""`plan`, `preview` and `send-test`: a load of a DAG file before its run, through the command."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.crm_sync import CrmSync

from airflow_consent_retl.progress import LINE

from .conftest import Run

DAG_FILE = """
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.operators import LoadToSqlTableOperator
from airflow_consent_retl.sync import consent_sync

crm = partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields={"id": "id", "email": "email"})
with DAG("people"):
    consent_sync(
        "people", conn_id="source", sql="SELECT id, email, ads_ok FROM people", primary_key="id",
        column_types={"id": "int64", "email": "string", "ads_ok": "bool"}, consent={"C0004": "ads_ok"},
        loads={"crm": crm},
    )
"""


@pytest.fixture
def dag(crm: CrmSync) -> str:
    file = crm.path / "dags" / "people.py"
    file.parent.mkdir()
    file.write_text(DAG_FILE)
    return str(file)


def test_a_plan_shows_what_the_load_of_a_dag_file_would_do(run: Run, dag: str, crm: CrmSync) -> None:
    plain, as_json = run("plan", dag, "--extract"), run("plan", dag, "--extract", "--json")
    by_id = run("plan", dag, "--task", "people.people.load_crm", "--extract", "--show-ids", "--json")

    (document,) = as_json.document
    assert (plain.code, as_json.code) == (0, 0), plain.err
    assert "would be added" in plain.out
    assert max(map(len, plain.out.splitlines())) <= LINE
    assert (document["dry_run"], document["added"], document["denied"]) == (True, 2, 1)
    assert by_id.document[0]["people"] == {"added": ["1", "2"]}
    assert "@x.example" not in plain.out + as_json.out + plain.err + as_json.err
    # SQLite itself makes an empty file.
    assert (crm.path / "crm.db").read_bytes() == b""


def test_a_plan_that_a_limit_would_stop_ends_with_1(run: Run, dag: str, crm: CrmSync) -> None:
    crm.sync()
    crm.people(7)

    stopped = run("plan", dag, "--extract", "--markdown")

    assert stopped.code == 1
    assert "a run would stop: it would remove 2 of 2 people (left_model 2)" in stopped.out


def test_a_preview_masks_values_unless_they_are_asked_for(run: Run, dag: str, crm: CrmSync) -> None:
    output = json.dumps(crm.permitted(policy=f"file:{crm.path}/policy.json"))

    masked = run("preview", dag, "--permitted", output, "--rows", "1")
    shown = run("preview", dag, "--permitted", output, "--show-values", "--json")

    assert masked.code == 0, masked.err
    assert "<str, 12>" in masked.out
    assert "x.example" not in masked.out + masked.err
    assert shown.document[0]["rows"] == [
        {"id": 1, "email": "u1@x.example"},
        {"id": 2, "email": "u2@x.example"},
    ]


def test_a_test_record_is_sent_and_removed(run: Run, dag: str, crm: CrmSync) -> None:
    record = '{"id": -1, "email": "me@example.com"}'

    sent = run("send-test", dag, "--extract", "--record", record, "--json")
    there = _people(crm)
    removed = run("send-test", dag, "--extract", "--record", '{"id": -1}', "--remove", "--json")

    assert (sent.code, sent.document["status"], sent.document["record"]) == (0, "accepted", json.loads(record))
    assert there == [(-1, "me@example.com")]
    assert (removed.code, removed.document["action"], _people(crm)) == (0, "removed", [])


def test_wrong_use_is_told(run: Run, dag: str, tmp_path: Path) -> None:
    for arguments, message in {
        ("plan", dag): "where do the rows come from? --extract",
        ("plan", dag, "--task", "lod"): "has no load named `lod`; it has people.people.load_crm",
        ("plan", str(tmp_path / "none.py"), "--extract"): "does not exist",
        ("preview", dag, "--permitted", "{"): "--permitted is no JSON",
        ("send-test", dag, "--extract", "--record", '{"id": 1}'): "a person of the model is sent by a load alone",
    }.items():
        refused = run(*arguments)
        assert refused.code == 2, arguments
        assert message in refused.err, arguments


def _people(crm: CrmSync) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(crm.path / "crm.db")) as connection:
        return connection.execute("SELECT id, email FROM people").fetchall()


def test_the_decisions_about_a_person_are_explained_by_the_filter_of_a_dag_file(
    run: Run, dag: str, crm: CrmSync
) -> None:
    (crm.path / "extract.json").write_text(json.dumps(crm.extracted()))
    snapshot = ("--snapshot", str(crm.path / "extract.json"))

    no, plain = run("explain", "3", dag, *snapshot, "--json"), run("explain", "3", dag, *snapshot)
    yes = run("explain", "1", dag, *snapshot, "--json")
    nobody, other = run("explain", "77", dag, *snapshot), run("explain", "1", dag, *snapshot, "--destination", "crn")

    keys = "rows subject policy_digest at statuses regimes signals destinations"
    assert set(no.document) == set(keys.split())
    assert no.document["destinations"]["crm"]["reasons"] == ["C0004:denied"], no.err
    assert yes.document["destinations"]["crm"]["permitted"] is True
    assert "a yes in place of the no" in " ".join(plain.out.split())
    assert max(map(len, plain.out.splitlines())) <= LINE
    assert "@x.example" not in no.out + yes.out + plain.out
    assert (nobody.code, other.code) == (2, 2)
    assert "did you mean `crm`" in other.err
