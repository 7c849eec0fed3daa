"""`consent-retl check` finds, before the first run, what it would refuse: all at once, with DAG, task and place."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.crm_sync import POLICY, CrmSync

from airflow_consent_retl.checking.dag_check import check_dags
from airflow_consent_retl.checking.findings import CheckReport
from airflow_consent_retl.compat import dag_bag

from .conftest import Run

DAG = """
from functools import partial
from airflow.sdk import DAG
from airflow_consent_retl.operators import LoadToFilesOperator, LoadToSqlTableOperator, LoadToWebhookOperator
from airflow_consent_retl.sync import consent_sync

with DAG("people"):
    consent_sync(
        "people",
        conn_id="{conn_id}",
        sql="{sql}",
        primary_key="{primary_key}",
        column_types={{"id": "int64", "email": "string", "ads_ok": "bool"}},
        consent={consent},
        loads={{{loads}}},
    )
"""
SOUND = {
    "conn_id": "source",
    "sql": "SELECT id, email, ads_ok FROM people -- of {{{{ ds }}}}",
    "primary_key": "id",
    "consent": {"C0004": "ads_ok"},
    "loads": '"crm": partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields={"id": "id"})',
}


@pytest.fixture
def dags(crm: CrmSync) -> Path:
    folder = crm.path / "dags"
    folder.mkdir()
    return folder


def written(dags: Path, **changed: object) -> str:
    text = DAG.format(**{**SOUND, **changed})
    (dags / "people.py").write_text(text.replace("{{{{", "{{").replace("}}}}", "}}"))
    return str(dags)


def problems(report: CheckReport) -> dict[str, str]:
    return {f"{one.task}: {one.path}": one.message for one in report.problems}


def test_a_sound_dag_has_no_problem_and_nothing_is_written(run: Run, crm: CrmSync, dags: Path) -> None:
    checked = run("check", written(dags), "--json")

    assert checked.code == 0, checked.out
    assert set(checked.document) == {"dags", "tasks", "findings"}
    assert (checked.document["dags"], checked.document["tasks"]) == (1, 4)
    assert [one for one in checked.document["findings"] if one["kind"] == "problem"] == []
    assert not crm.folder.exists()
    with closing(sqlite3.connect(crm.path / "crm.db")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_every_mistake_is_found_at_once(run: Run, crm: CrmSync, dags: Path) -> None:
    crm.connect("hook", conn_type="http", host="https://127.0.0.1")
    crm.run_sql("CREATE TABLE people (id INTEGER PRIMARY KEY)")
    place = written(
        dags,
        consent={"C004": "ads_okk"},
        loads=(
            '"crm": partial(LoadToSqlTableOperator, conn_id="crm", table="people",'
            ' fields={"id": "id", "mail": "email"}),'
            '"webhok": partial(LoadToWebhookOperator, conn_id="hook", endpoint="/x",'
            ' fields={"id": "id", "m": "e_mail"}),'
            '"lake": partial(LoadToWebhookOperator, conn_id="hook", endpoint="/x", fields={"id": "id"})'
        ),
    )
    (dags / "broken.py").write_text("import nothing_of_the_kind\n# airflow DAG\n")

    checked = run("check", place, "--json")

    assert checked.code == 1
    found = [one for one in checked.document["findings"] if one["kind"] == "problem"]
    told = "\n".join(f"{one['task']}: {one['message']}" for one in found)
    assert "No module named 'nothing_of_the_kind'" in told
    assert "people.consent: category `C004` is not in the policy, did you mean `C0004`?" in told
    assert "people.consent: destination `webhok` is not in the policy, did you mean `webhook`?" in told
    assert "people.load_webhok: fields['m']: column `e_mail` is not in the model, did you mean `email`?" in told
    assert "people.load_crm: " in told
    assert "`mail`" in told
    assert "people.load_lake: " in told
    assert "allow_private" in told
    assert {one["dag"] for one in found} == {"people", str(dags / "broken.py")}


@pytest.mark.parametrize(
    ("changed", "place", "message"),
    [
        ({"consent": {"C0004": "ads_okk"}}, "people.consent: consent.C0004", "did you mean `ads_ok`?"),
        ({"primary_key": "ID2"}, "people.extract: sql", "does not return the primary key `ID2`"),
        ({"conn_id": "nowhere"}, "people.extract: conn_id=nowhere", "there is no connection `nowhere`"),
        ({"sql": "SELECT id, email, ads_ok FROM persons"}, "people.extract: sql", "no such table"),
    ],
    ids=["consent column", "primary key", "connection", "table of the model"],
)
def test_a_mistake_has_its_task_and_its_place(dags: Path, changed: dict[str, object], place: str, message: str) -> None:
    found = problems(check_dags([written(dags, **changed)]))

    assert message in found[place], found


def test_without_a_connection_names_are_checked_and_the_rest_is_named(
    run: Run, dags: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for conn_id in ("SOURCE", "CRM"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{conn_id}")

    sound = run("check", written(dags), "--no-connect", "--json")
    wrong = run("check", written(dags, consent={"C004": "ads_ok"}), "--no-connect")

    assert sound.code == 0, sound.out
    assert {one["kind"] for one in sound.document["findings"]} == {"unchecked"}
    assert wrong.code == 1
    assert max(map(len, wrong.out.splitlines())) <= 110


def test_a_policy_file_stands_in_for_a_variable_that_this_process_does_not_reach(
    run: Run, crm: CrmSync, dags: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:in_production_only")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "sqlite:////nowhere/airflow.db")
    place = written(dags)
    renamed = {**POLICY, "categories": [{**POLICY["categories"][0], "destinations": ["crn"]}]}
    (crm.path / "next.json").write_text(json.dumps(renamed))

    missing = run("check", place)
    good = run("check", place, "--policy-file", str(crm.path / "policy.json"))
    other = run("check", place, "--policy-file", str(crm.path / "next.json"))

    assert (missing.code, good.code, other.code) == (1, 0, 1), good.out
    assert "AIRFLOW_VAR_IN_PRODUCTION_ONLY" in " ".join(missing.out.split())
    assert "did you mean `crn`?" in " ".join(other.out.split())


def test_a_path_that_is_not_there_is_wrong_use(run: Run) -> None:
    refused = run("check", "no/such/folder")

    assert refused.code == 2
    assert "there is no file or folder `no/such/folder`" in refused.err


WRONG_OPTIONS = """
from functools import partial
from airflow.sdk import DAG
from airflow_consent_retl.operators import (
    ConsentFilterOperator, ExtractModelOperator, LoadToBrazeOperator, LoadToFilesOperator, PropagateWithdrawalsOperator
)

MODEL = dict(model="people", conn_id="source", sql="SELECT id, ads_ok FROM people", primary_key="id")
with DAG("people"):
    extract = ExtractModelOperator(task_id="extract", **MODEL, batch_rows=0)
    permitted = ConsentFilterOperator(
        task_id="consent", snapshot=extract.output, consent={"C0004": "ads_ok"}, destinations=["crm"],
        on_duplicate_id="denny",
    )
    LoadToBrazeOperator(
        task_id="load_braze", permitted=permitted.output, destination="crm", fields={"external_id": "id"},
        workspace_name="shop", conn_id="nowhere", on_withdrawal="delet", identifier="emial", batch_rows=76,
    )
    LoadToFilesOperator(
        task_id="load_lake", permitted=permitted.output, destination="lake", fields={"id": "id"},
        path="{{ 'exports' }}", mode="miror",
    )
    PropagateWithdrawalsOperator(
        task_id="withdraw", **MODEL, consent={"C0004": "ads_ok"}, min_found_ratio=50,
        loads={"crm": partial(LoadToBrazeOperator, workspace_name="shop", on_withdrawal="unsubscribe")},
    )
"""


@pytest.mark.parametrize("options", [(), ("--no-connect",)], ids=["with connections", "without"])
def test_wrong_options_of_all_tasks_are_found_at_once_each_with_its_place(
    run: Run, dags: Path, options: tuple[str, ...]
) -> None:
    (dags / "people.py").write_text(WRONG_OPTIONS)

    checked = run("check", str(dags), "--json", *options)

    found = {f"{one['dag']}.{one['task']}: {one['path']}": one["message"] for one in checked.document["findings"]}
    expected = {
        "people.extract: batch_rows": "batch_rows must be at least 1",
        "people.consent: on_duplicate_id": "on_duplicate_id must be `fail` or `deny`, did you mean `deny`?",
        "people.load_braze: identifier": (
            "identifier must be `external_id`, `email` or `user_alias`, did you mean `email`?"
        ),
        "people.load_braze: batch_rows": "Braze takes at most 75 objects in a request",
        "people.load_lake: path": (
            "path `file://exports` is not absolute: write a local folder as file:///exports/lake"
        ),
        "people.withdraw: min_found_ratio": "min_found_ratio must be at most 1",
    }
    assert {place: found.get(place) for place in expected} == expected
    assert "did you mean `delete`?" in found["people.load_braze: on_withdrawal"]
    assert "did you mean `mirror`?" in found["people.load_lake: mode"]
    assert "which needs it" in found["people.withdraw: loads['crm'].unsubscribes"]
    # A wrong option hides nothing else of the task.
    nowhere = [place for place in found if "conn_id=nowhere" in place]
    assert bool(nowhere) is not bool(options)


def test_the_same_file_is_no_dag_for_airflow(dags: Path) -> None:
    (dags / "people.py").write_text(WRONG_OPTIONS)

    (text,) = dag_bag(str(dags)).import_errors.values()

    assert text.rstrip().endswith("airflow_consent_retl.errors.OptionsError: batch_rows must be at least 1")
