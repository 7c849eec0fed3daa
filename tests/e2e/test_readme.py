"""Tests of the examples of README and of the pages that belong to it: they do what the text says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.airflow_run import Airflow
from support.people import people
from support.servers import Receiver

from airflow_consent_retl.consent import parse_policy

PAGES = (
    "README.md",
    "docs/dags.md",
    "docs/policy.md",
    "docs/what-you-see.md",
    "docs/loads.md",
    "docs/in-the-warehouse.md",
    "docs/withdrawals.md",
    "docs/new-destination.md",
)


def blocks(repo: Path, language: str) -> list[str]:
    text = "\n".join((repo / page).read_text() for page in PAGES)
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def customers(warehouse: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Set up README's policy and model, and return the ids that consented to both categories."""
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", blocks(repo, "json")[0])
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(
            "CREATE TABLE customers AS SELECT user_id, email, analytics_ok, ads = 'yes' AS ads_ok FROM people"
        )
    return sorted(person.user_id for person in people() if person.analytics_ok is True and person.ads == "yes")


def test_the_ten_line_dag_loads_the_people_whom_both_categories_permit(
    airflow: Airflow, vendor: Receiver, customers: list[str]
) -> None:
    run = airflow.run("customers", module="readme")

    assert run.state == "success", run.output
    assert sorted(row["id"] for row in vendor.applied_rows()) == customers


def test_the_fast_lane_removes_a_person_who_withdrew(
    airflow: Airflow, vendor: Receiver, customers: list[str], warehouse: Path
) -> None:
    airflow.run("customers", module="readme")
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("UPDATE customers SET ads_ok = FALSE WHERE user_id = ?", [customers[0]])

    run = airflow.run("withdrawals", module="readme")

    assert run.state == "success", run.output
    assert [row["id"] for rows in vendor.removed.values() for row in rows] == customers[:1]


def test_the_sync_of_one_call_has_a_load_for_each_destination(airflow: Airflow) -> None:
    dag = airflow.dag("customers_sync", module="readme")

    assert set(dag.task_ids) == {
        "customers.extract",
        "customers.consent",
        "customers.load_crm_table",
        "customers.load_lake",
        "customers.prune",
    }


def test_the_policy_is_one(repo: Path) -> None:
    documents = [document for document in blocks(repo, "json") if '"categories"' in document]

    policies = [parse_policy(document) for document in documents]

    assert [policy.required_for("webhook") for policy in policies] == [("C0002", "C0004")] * len(policies)
    assert len(set(documents)) == 1


def test_readme_is_short(repo: Path) -> None:
    assert len((repo / "README.md").read_text().splitlines()) <= 200


def test_the_other_examples_run_on_the_permitted_set_of_the_first(
    airflow: Airflow, vendor: Receiver, customers: list[str], repo: Path, tmp_path: Path
) -> None:
    permitted = airflow.xcom(airflow.run("customers", module="readme"), "consent")
    names: dict[str, Any] = {}
    for block in blocks(repo, "python"):
        if "with DAG(" not in block:
            exec(block, names)  # noqa: S102 - the blocks are this repository's own

    counted = names["count_rows"].function(permitted)
    denied = names["explain"](permitted, next(p.user_id for p in people() if p.analytics_ok is False and p.ads == "no"))
    load = names["LoadToPrinterOperator"](
        task_id="load",
        permitted=permitted,
        destination="webhook",
        fields={"id": "user_id"},
        workspace=tmp_path.as_uri(),
    )
    counts = load.run({})
    audience = names["load_audience"](permitted)

    assert (audience.destination, audience.deferrable) == ("google_ads", True)
    assert counted == {"arrow": len(customers), "pandas": len(customers)}
    assert [dict(row.denied) for row in denied] == [{"webhook": ["C0002:denied", "C0004:denied"]}]
    assert counts["accepted"] == len(customers)
    assert json.dumps(counts)


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_commands_are_targets(repo: Path, command: str) -> None:
    target = command.removeprefix("make ")

    assert command in (repo / "README.md").read_text()
    assert re.search(rf"^{target}:", (repo / "Makefile").read_text(), re.MULTILINE)
