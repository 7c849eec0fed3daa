"""The mistakes that people make first, as `consent-retl check` shows them: whole sentences, in lines that fit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support.crm_sync import POLICY, CrmSync

from .conftest import Run
from .test_check import SOUND, dags, written

__all__ = ["dags"]

LOAD = str(SOUND["loads"])
WEBHOOK = '"webhook": partial(LoadToWebhookOperator, conn_id="hook", endpoint="/x", fields={"id": "id"})'
LAKE = '"lake": partial(LoadToFilesOperator, path="file:///proc/nope/lake", fields={"id": "id"})'
# By number: what the DAG has instead, the task and the place, and the begin of the sentence.
IN_THE_DAG: dict[str, tuple[dict[str, object], str, str]] = {
    "1": (
        {"consent": {"C0004": "ads_okk"}},
        "people.consent: consent.C0004",
        "column `ads_okk` is not in the model, did you mean `ads_ok`?",
    ),
    "2": (
        {"consent": {"C004": "ads_ok"}},
        "people.consent: consent.C004",
        "category `C004` is not in the policy, did you mean `C0004`?",
    ),
    "3": (
        {"loads": LOAD.replace('"crm":', '"crmm":')},
        "people.consent: destinations[0]",
        "destination `crmm` is not in the policy, did you mean `crm`? If it is another one, name it in the policy's "
        "`destinations` section",
    ),
    "5": (
        {"conn_id": "policy_conn"},
        "people.extract: conn_id=policy_conn",
        "connection `policy_conn` is of type `consentpolicy`, which is no SQL connection: ConsentPolicyHook is not a "
        "DbApiHook",
    ),
    "7": (
        {"loads": LAKE},
        "people.load_lake: target",
        "cannot write to file:///proc/nope/lake: the folder does not exist and cannot be made: check the path, and "
        "whether its disk is mounted (ENOENT)",
    ),
    "8": (
        {"primary_key": "idd"},
        "people.extract: sql",
        "the query does not return the primary key `idd`, did you mean `id`? (it returns `id`, `email`, `ads_ok`)",
    ),
    "10": (
        {"loads": LOAD.replace('"id": "id"', '"id": "id", "mail": "e_mail"')},
        "people.load_crm: fields",
        "fields['mail']: column `e_mail` is not in the model, did you mean `email`?",
    ),
    "11": (
        {"sql": "SELECT id, email, ads_ok FROM peple"},
        "people.extract: sql",
        "the query failed on connection `source`: OperationalError: no such table: peple",
    ),
    "17": (
        {"consent": {"C0004": "email"}},
        "people.consent: consent.C0004",
        "column `email` is text, expected boolean: declare the values that grant, Literals('email', granted=(...), "
        "denied=(...))",
    ),
    "19": (
        {"conn_id": "sourse"},
        "people.extract: conn_id=sourse",
        "there is no connection `sourse`, did you mean `source`? `airflow connections list` shows those that exist",
    ),
    "20": (
        {"loads": LOAD.replace('conn_id="crm"', 'conn_id="crmm"')},
        "people.load_crm: conn_id=crmm",
        "there is no connection `crmm`, did you mean `crm`? `airflow connections list` shows those that exist",
    ),
    "22": (
        {"loads": WEBHOOK},
        "people.load_webhook: target",
        "the host of connection `hook` resolves to 127.0.0.1, an address inside the own network; set `allow_private` "
        "in the connection's extra if that is meant",
    ),
    "23": (
        {"loads": WEBHOOK.replace('"hook"', '"other"')},
        "people.load_webhook: conn_id=other",
        "connection `other` is of type `generic`, an HTTP destination needs `consentwebhook` or `http`. In Airflow's "
        "pages, edit it and choose the type `Consent webhook`.",
    ),
}


@pytest.fixture(autouse=True)
def _connections(crm: CrmSync) -> None:
    crm.connect("policy_conn", conn_type="consentpolicy", extra={"policy": "{}"})
    crm.connect("hook", conn_type="http", host="127.0.0.1")
    crm.connect("other", conn_type="generic", host="127.0.0.1")
    crm.run_sql("CREATE TABLE people (id INTEGER PRIMARY KEY)")


def shown(run: Run, place: str) -> dict[str, str]:
    """Return the problems by task and place. Nothing of their sentences is cut where people read them."""
    document, text = run("check", place, "--json"), run("check", place)

    assert (document.code, text.code) == (1, 1)
    found = {f"{one['task']}: {one['path']}": one["message"] for one in document.document["findings"]}
    assert max(map(len, text.out.splitlines())) <= 110
    commands = {command for one in found.values() for command in re.findall("`((?:airflow|consent-retl) [^`]*)`", one)}
    assert commands <= {*text.out.splitlines()}
    words = "".join(text.out.split())
    assert [one for one in found.values() if not all(part in words for part in one.split())] == []
    return found


@pytest.mark.parametrize("mistake", IN_THE_DAG)
def test_a_mistake_in_the_dag_is_shown_as_its_task_would_fail(run: Run, dags: Path, mistake: str) -> None:
    changed, place, sentence = IN_THE_DAG[mistake]

    assert shown(run, written(dags, **changed))[place].startswith(sentence)


@pytest.mark.parametrize(
    ("mistake", "document", "place", "sentence"),
    [
        ("12", '{\n  "categories": [],\n}', "$", "the document is not JSON: a comma too many (line 2, column 19)"),
        (
            "13",
            json.dumps({"categories": [{"id": 4, "name": "Advertising", "destinations": ["crm"]}]}),
            "$.categories[0].id",
            "expected text, found a number: write it in quotes",
        ),
    ],
)
def test_a_mistake_in_the_policy_is_shown_with_its_place(
    run: Run, crm: CrmSync, dags: Path, mistake: str, document: str, place: str, sentence: str
) -> None:
    (crm.path / "policy.json").write_text(document)

    assert shown(run, written(dags))[f"people.consent: {place}"] == sentence


def test_4_a_variable_that_is_not_there_is_shown_with_the_nearest(
    run: Run, dags: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:consent_polcy")
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(POLICY))

    assert shown(run, written(dags))["people.consent: policy"].startswith(
        "there is no Variable `consent_polcy`, which `[consent_retl] policy` names, did you mean `consent_policy`? "
        'To set it: `airflow variables set consent_polcy "$(cat policy.json)"`'
    )


def test_7_a_workspace_without_rights_is_shown_in_words(run: Run, dags: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", "file:///proc/nope/workspace")

    found = shown(run, written(dags))["people.extract: workspace"]

    assert "the folder does not exist and cannot be made: check the path, and whether its disk is mounted" in found


def test_9_and_14_a_file_that_is_no_dag_has_its_line_and_every_problem(run: Run, dags: Path) -> None:
    (dags / "no_key.py").write_text(
        "from airflow.sdk import DAG\n"
        "from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator\n"
        "with DAG('no_key'):\n"
        "    ExtractModelOperator(task_id='extract', model='m', conn_id='source', sql='SELECT 1 AS id')\n"
    )
    (dags / "twice.py").write_text(
        "from airflow.sdk import DAG\n"
        "from airflow_consent_retl.operators import ConsentFilterOperator\n"
        "with DAG('twice'):\n"
        "    ConsentFilterOperator(task_id='c', snapshot={}, destinations=['lake', 'crm', 'lake', 'crm'])\n"
    )

    ran = run("check", str(dags), "--no-connect", "--json")
    text = run("check", str(dags), "--no-connect").out

    found = {Path(one["dag"]).name: (one["path"], one["message"]) for one in ran.document["findings"]}
    assert found["no_key.py"] == ("line 4", "TypeError: missing keyword argument 'primary_key'")
    assert found["twice.py"] == (
        "line 4",
        "the consent policy cannot be applied, 2 problems:\n"
        "destination `lake` is asked for twice @ destinations[2]\n"
        "destination `crm` is asked for twice @ destinations[3]",
    )
    assert "destination `lake` is asked for twice @ destinations[2]" in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 110


def test_a_verb_that_needs_a_dag_names_every_problem_of_a_file_that_is_none(run: Run, dags: Path) -> None:
    (dags / "twice.py").write_text(
        "from airflow.sdk import DAG\n"
        "from airflow_consent_retl.operators import ConsentFilterOperator\n"
        "ConsentFilterOperator(task_id='c', snapshot={}, destinations=['lake', 'crm', 'lake', 'crm'])\n"
    )

    planned = run("plan", str(dags / "twice.py"))

    assert planned.code == 2
    assert "twice.py, line 3, cannot be parsed: the consent policy cannot be applied, 2 problems:" in planned.err
    assert "destination `lake` is asked for twice @ destinations[2]" in planned.err
    assert "destination `crm` is asked for twice @ destinations[3]" in planned.err
