"""Tests of the examples of `docs/policy-officer.md`: they do what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pytest
from airflow.exceptions import AirflowClusterPolicyViolation
from support.airflow_run import Airflow
from support.people import CANARY
from support.servers import Receiver

from airflow_consent_retl import cluster_policy
from airflow_consent_retl.cli.app import main
from airflow_consent_retl.consent.officer_reader import KEYS, OF_A_DESTINATION, OF_A_MODEL
from airflow_consent_retl.consent.retention import KINDS


def blocks(repo: Path, language: str) -> list[str]:
    page = (repo / "docs" / "policy-officer.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


@pytest.fixture
def bound(warehouse: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up the page's settings and policy, and three people: a yes, a no, and a yes on the list."""
    section, option, place = re.fullmatch(r"\[(\w+)\]\n(\w+) = (\S+)\n", blocks(repo, "ini")[0]).groups()  # type: ignore[union-attr]
    monkeypatch.setenv(f"AIRFLOW__{section.upper()}__{option.upper()}", place)
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", blocks(repo, "json")[0])
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("CREATE TABLE customers (user_id VARCHAR, email VARCHAR)")
        connection.execute("CREATE TABLE consents (person_id VARCHAR, ads_consent BOOLEAN)")
        connection.execute("CREATE TABLE do_not_contact AS SELECT ? AS email", [f"{CANARY}-listed@example.com"])
        for name, answer in (("yes", True), ("no", False), ("listed", True)):
            connection.execute(
                "INSERT INTO customers VALUES (?, ?)", [f"{CANARY}-{name}", f"{CANARY}-{name}@example.com"]
            )
            connection.execute("INSERT INTO consents VALUES (?, ?)", [f"{CANARY}-{name}", answer])
    return warehouse


def test_the_dag_that_leaves_everything_to_the_policy_sends_who_may_be_sent(
    airflow: Airflow, vendor: Receiver, bound: Path
) -> None:
    for task in airflow.dag("customers_bound", module="readme").tasks:
        cluster_policy.task_policy(task)

    run = airflow.run("customers_bound", module="readme")

    assert run.state == "success", run.output
    assert [row["id"] for row in vendor.applied_rows()] == [f"{CANARY}-yes"]
    assert CANARY not in run.output


def test_the_refusal_that_the_page_shows(
    airflow: Airflow, bound: Path, tmp_path: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.json").write_text(blocks(repo, "json")[0])
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", f"file:{tmp_path}/policy.json")
    dag = airflow.dag("customers_bound", module="readme")
    task = dag.get_task("customers.consent")
    task.consent = {"C0004": "newsletter_ok"}

    with pytest.raises(AirflowClusterPolicyViolation) as refusal:
        cluster_policy.task_policy(task)

    assert blocks(repo, "text")[0].strip() in str(refusal.value)


def test_the_command_finds_what_the_page_shows(repo: Path, bound: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["lint", "--json"])

    assert code == 1
    assert json.loads(capsys.readouterr().out) == json.loads(blocks(repo, "json")[1])


def test_the_page_names_every_part(repo: Path) -> None:
    page = (repo / "docs" / "policy-officer.md").read_text()
    parts = (*KEYS, *OF_A_MODEL, *OF_A_DESTINATION, *KINDS)

    missing = [name for name in parts if f"`{name}" not in page]

    assert missing == []
