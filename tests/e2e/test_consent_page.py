"""Tests of the examples of `docs/consent.md`: they do what the page says, and leave no personal value anywhere."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.airflow_run import Airflow
from support.people import CANARY
from support.servers import Receiver

NOW = datetime.now(UTC)
COLUMNS = "user_id, email, phone, country, gpc, integrations, crm_ads_ok, crm_changed_at"
EVERYONE: dict[str, dict[str, Any]] = {
    "yes": {},
    "no": {"ads": False},
    "withdrew": {"ads": [True, False]},
    "silent": {"ads": None},
    "old": {"at": NOW - timedelta(days=500)},
    "crm says yes": {"ads": False, "crm_ads_ok": True, "crm_changed_at": NOW},
    "crm says no": {"crm_ads_ok": False, "crm_changed_at": NOW},
    "American": {"country": "US", "stats": None},
    "German": {"country": "DE", "stats": None},
    "signals": {"gpc": True},
    "switched off": {"integrations": '{"Webhooks": false}'},
    "suppressed": {},
    "no calls": {"calls": False},
    "linked to a no": {},
}
SENT = {"yes", "crm says yes", "American", "no calls"}


def blocks(repo: Path, language: str) -> list[str]:
    page = (repo / "docs" / "consent.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def id_of(name: str) -> str:
    return f"{CANARY}-{name}"


@pytest.fixture
def recorded(warehouse: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set up the page's policy, and people whose names say what they answered."""
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY_RECORDED", blocks(repo, "json")[0])
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(
            "CREATE TABLE customers (user_id VARCHAR, email VARCHAR, phone VARCHAR, country VARCHAR, gpc BOOLEAN, "
            "integrations VARCHAR, crm_ads_ok BOOLEAN, crm_changed_at TIMESTAMPTZ)"
        )
        connection.execute(
            "CREATE TABLE consent_events (user_id VARCHAR, category VARCHAR, given BOOLEAN, changed_at TIMESTAMPTZ)"
        )
        connection.execute("CREATE TABLE do_not_contact AS SELECT ? AS email", [f"{CANARY}-suppressed@example.com"])
        connection.execute("CREATE TABLE identity_graph (person_id VARCHAR, email_sha256 VARCHAR)")
        for name in ("linked to a no", "a device"):
            connection.execute("INSERT INTO identity_graph VALUES (?, 'shared')", [id_of(name)])
        device = [id_of("a device"), "C0004", False, NOW - timedelta(days=30)]
        connection.execute("INSERT INTO consent_events VALUES (?, ?, ?, ?)", device)
        for name, person in EVERYONE.items():
            row = {
                "user_id": id_of(name),
                "email": f"{CANARY}-{name}@example.com",
                "phone": f"{CANARY}-phone",
                **{"country": "DE", "gpc": False} | {k: v for k, v in person.items() if k in COLUMNS.split(", ")},
            }
            connection.execute(
                f"INSERT INTO customers ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values())
            )
            answers = {
                "C0002": person.get("stats", True),
                "C0004": person.get("ads", True),
                "C0005": person.get("calls", True),
            }
            for category, given in answers.items():
                for later, answer in enumerate(given if isinstance(given, list) else [given]):
                    at = person.get("at", NOW - timedelta(days=30)) + timedelta(hours=later)
                    if answer is not None:
                        event = [id_of(name), category, answer, at]
                        connection.execute("INSERT INTO consent_events VALUES (?, ?, ?, ?)", event)
    return warehouse


def test_the_dag_sends_the_people_whom_all_records_permit(airflow: Airflow, vendor: Receiver, recorded: Path) -> None:
    run = airflow.run("customers_recorded", module="readme")

    assert run.state == "success", run.output
    sent = {row["id"]: row["phone"] for row in vendor.applied_rows()}
    assert set(sent) == {id_of(name) for name in SENT}
    assert {id_ for id_, phone in sent.items() if phone is None} == {id_of("no calls")}
    assert "`webhook`: 1 rows go without field `phone`" in run.output
    assert "category `C0004`: in 2 rows, its records contradict each other" in run.output
    assert "category `C0004`: in 1 clusters of linked people, one says yes and another no" in run.output
    assert CANARY not in run.output


@pytest.mark.long
def test_a_withdrawal_in_the_history_reaches_the_vendor_with_the_next_run(
    airflow: Airflow, vendor: Receiver, recorded: Path
) -> None:
    airflow.run("customers_recorded", module="readme")
    with duckdb.connect(str(recorded)) as connection:
        connection.execute("INSERT INTO consent_events VALUES (?, 'C0002', FALSE, now())", [id_of("yes")])

    run = airflow.run("customers_recorded", module="readme")

    assert run.state == "success", run.output
    assert [row["id"] for rows in vendor.removed.values() for row in rows] == [id_of("yes")]


@pytest.mark.long
def test_a_policy_that_would_release_many_stops_the_task(
    airflow: Airflow, vendor: Receiver, recorded: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.run("customers_recorded", module="readme")
    policy = json.loads(blocks(repo, "json")[0])
    policy["categories"][0]["enabled"] = False
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY_RECORDED", json.dumps(policy))

    run = airflow.run("customers_recorded", module="readme")

    assert run.tasks["customers.consent"] == "failed"
    assert "max_released_ratio is 0.2; `webhook`: 6 of 14 rows are released" in run.output
    assert CANARY not in run.output


def test_the_format_of_ones_own_is_the_one_that_the_tests_run(repo: Path) -> None:
    (shown,) = [block for block in blocks(repo, "python") if "class ContactFlags" in block]

    assert shown == (repo / "tests" / "e2e" / "dags" / "our_formats.py").read_text()


@pytest.mark.long
def test_the_other_examples_run(
    airflow: Airflow, vendor: Receiver, recorded: Path, repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"]}]}
    new = {"categories": [*old["categories"], {"id": "C0002", "name": "Analytics", "destinations": ["webhook"]}]}
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(old))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "next_policy.json").write_text(json.dumps(new))
    snapshot = airflow.xcom(airflow.run("customers_recorded", module="readme"), "customers.extract")
    names: dict[str, Any] = {}
    for block in blocks(repo, "python"):
        if "with DAG(" not in block:
            exec(block, names)  # noqa: S102 - the blocks are this repository's own

    reports = names["review"].function(snapshot, id_of("no"))

    assert "| `webhook` | 8 | 6 | 0 | 2 |  | C0002:unknown 2 |" in reports["who gains, who loses"]
    assert (
        "| `webhook` | C0002 and C0004 | denied: C0004:denied | `C0004`: a yes in place of the no |"
        in reports["one person"]
    )
    assert "`webhook`" in reports["beside Segment"]
    assert CANARY not in "".join(reports.values())
    assert [c["destinations"] for c in names["policy"]["categories"]] == [["webhook"], ["google_ads", "webhook"]]
    assert names["warnings"] == ()
