"""What the deployment's policy declares about a model applies in files and in a warehouse alike."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.log_lines import task_fails
from support.postgres import Postgres

from airflow_consent_retl.consent import ConsentSource
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
)

POLICY: dict[str, Any] = {
    "categories": [{"id": "C1", "name": "Agreed", "destinations": ["crm"]}],
    "officer": {
        "models": {
            "customers": {
                "connection": "pg",
                "consent": {"C1": "said"},
                "consent_sources": [
                    {
                        "format": "ConsentSource",
                        "sql": "SELECT id AS person, ok AS said FROM customers",
                        "subject": "person",
                        "key": "id",
                        "columns": ["said"],
                    }
                ],
            }
        },
        "suppression_lists": [
            {"sql": "SELECT 'canary-1@example.com' AS email", "subject": "email", "conn_id": "pg"},
        ],
    },
}
SQL = "SELECT id, email FROM customers"
TRUE = ConsentSource("SELECT id, TRUE AS said FROM customers", subject="id", columns=["said"])


@pytest.fixture(params=[None, "warehouse:staging"])
def place(
    request: pytest.FixtureRequest, customers: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str | None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", "variable:central")
    monkeypatch.setenv("AIRFLOW_VAR_CENTRAL", json.dumps(POLICY))
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}))
    found: str | None = request.param
    return found


def extract(place: str | None, **more: Any) -> Any:
    return ExtractModelOperator(
        **{
            "task_id": "extract",
            "model": "customers",
            "conn_id": "pg",
            "sql": SQL,
            "primary_key": "id",
            "workspace": place,
            **more,
        }
    ).execute({})


def people(tmp_path: Path) -> set[str]:
    with closing(sqlite3.connect(tmp_path / "crm.db")) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM people")}


def test_the_policys_source_and_list_decide_although_the_dag_names_neither(
    place: str | None, customers: Postgres, tmp_path: Path
) -> None:
    permitted = ConsentFilterOperator(task_id="consent", snapshot=extract(place), destinations=["crm"]).execute({})
    into: dict[str, Any] = {"conn_id": "crm", "table": "people", "fields": {"id": "id"}}
    LoadToSqlTableOperator(task_id="load", permitted=permitted, destination="crm", **into).execute({})

    with customers.connect() as connection:
        said = connection.execute("SELECT id FROM customers WHERE ok AND id <> 'c1'").fetchall()
        connection.execute("UPDATE customers SET ok = FALSE WHERE id = 'c2'")
    assert people(tmp_path) == {row[0] for row in said}

    PropagateWithdrawalsOperator(
        task_id="withdraw",
        model="customers",
        conn_id="pg",
        sql=SQL,
        primary_key="id",
        loads={"crm": partial(LoadToSqlTableOperator, **into)},
    ).execute({})
    assert people(tmp_path) == {row[0] for row in said} - {"c2"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"sql": "SELECT id, email, TRUE AS said FROM customers"}, "the model already has a column `said`"),
        ({"consent_sources": [TRUE]}, "the policy brings column `said` to model `customers`"),
    ],
)
def test_a_dag_cannot_bring_the_column_itself(place: str | None, more: dict[str, Any], sentence: str) -> None:
    with task_fails(match=sentence):
        extract(place, **more)
