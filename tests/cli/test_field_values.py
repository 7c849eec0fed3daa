"""`check`, `plan` and `preview` understand the values of fields that are no plain column."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.crm_sync import CrmSync

from .conftest import Run

DAG_FILE = """
from functools import partial

from airflow.sdk import DAG

from airflow_consent_retl.fields import columns, consent, constant, expression
from airflow_consent_retl.operators import LoadToSqlTableOperator
from airflow_consent_retl.sync import consent_sync

with DAG("people"):
    consent_sync(
        "people", conn_id="source", sql="SELECT id, email, ads_ok FROM people", primary_key="id",
        column_types={"id": "int64", "email": "string", "ads_ok": "bool"}, consent={"C0004": "ads_ok"},
        loads={"crm": partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS)},
    )
"""
SOUND = """{
    "id": "id", "source": constant("shop"), "up": expression("upper(email)"), "ads": consent("C0004", granted="yes"),
}"""


@pytest.fixture
def dags(crm: CrmSync) -> Path:
    folder = crm.path / "dags"
    folder.mkdir()
    return folder


def written(dags: Path, fields: str) -> str:
    (dags / "people.py").write_text(DAG_FILE.replace("FIELDS", fields))
    return str(dags / "people.py")


def test_a_sound_load_is_checked_planned_and_previewed(run: Run, dags: Path) -> None:
    file = written(dags, SOUND)

    checked, planned = run("check", file, "--json"), run("plan", file, "--extract", "--json")
    shown = run("preview", file, "--extract", "--show-values", "--json")

    assert (checked.code, planned.code, shown.code) == (0, 0, 0), checked.out + planned.err + shown.err
    assert planned.document[0]["added"] == 2
    assert shown.document[0]["rows"] == [
        {"id": 1, "source": "shop", "up": "U1@X.EXAMPLE", "ads": "yes"},
        {"id": 2, "source": "shop", "up": "U2@X.EXAMPLE", "ads": "yes"},
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('{"id": "id", "up": expression("upper(emial)")}', "column `emial` is not in the model, did you mean `email`?"),
        ('{"id": "id", "ads": consent("C0009", granted=1)}', "category `C0009` is not in the policy"),
        ('{"id": "id", "up": expression("random()")}', "is not among the functions and operators"),
        ('{"id": "id", "all": columns("email", "mail")}', "column `mail` is not in the model"),
        ('{"id": "id", "up": "constant(1, 2)"}', "cannot be read as constant(…)"),
    ],
)
def test_a_mistake_is_found_before_the_first_run(run: Run, dags: Path, fields: str, message: str) -> None:
    checked = run("check", written(dags, fields), "--json")

    assert checked.code == 1
    assert message in "\n".join(one["message"] for one in checked.document["findings"])
