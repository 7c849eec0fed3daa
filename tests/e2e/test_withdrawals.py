"""Tests of the fast lane's example: it removes a person who withdraws from every destination, and reports the lag."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from support.airflow_run import Airflow
from support.people import CANARY
from support.servers import Receiver, receiver

POLICY = {
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["crm_table", "webhook"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["webhook"]},
    ]
}


@pytest.fixture
def customers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The warehouse of the example: ten people who all consent to everything."""
    file = tmp_path / "customers.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE TABLE customers AS SELECT format('{}-{}', ?, i) AS user_id, format('{}{}@example.com', ?, i) AS "
            "email, TRUE AS analytics_ok, TRUE AS ads_ok, now() - INTERVAL 1 DAY AS consent_changed_at FROM range(10) "
            "AS r(i)",
            [CANARY, CANARY],
        )
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(POLICY))
    return file


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "crm.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    return file


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiver() as server:
        connection = {"conn_type": "http", "host": server.url, "extra": {"allow_private": True}}
        monkeypatch.setenv("AIRFLOW_CONN_CRM_HTTP", json.dumps(connection))
        yield server


def in_crm(crm: Path) -> set[str]:
    with closing(sqlite3.connect(crm)) as connection:
        return {id_ for (id_,) in connection.execute("SELECT id FROM people")}


def removed(vendor: Receiver) -> set[str]:
    return {row["id"] for rows in vendor.removed.values() for row in rows}


def test_a_person_who_withdraws_is_removed_from_every_destination_and_the_lag_is_reported(
    airflow: Airflow, customers: Path, crm: Path, vendor: Receiver
) -> None:
    assert airflow.run("consent_customers", module="withdrawals").state == "success"
    everyone = {f"{CANARY}-{number}" for number in range(10)}
    assert in_crm(crm) == everyone == {row["id"] for row in vendor.applied_rows()}
    with duckdb.connect(str(customers)) as connection:
        connection.execute(
            "UPDATE customers SET ads_ok = FALSE, consent_changed_at = now() - INTERVAL 90 SECOND "
            "WHERE user_id IN (?, ?)",
            [f"{CANARY}-3", f"{CANARY}-7"],
        )
        connection.execute(
            "UPDATE customers SET analytics_ok = FALSE, consent_changed_at = now() - INTERVAL 600 SECOND "
            "WHERE user_id = ?",
            [f"{CANARY}-5"],
        )

    run = airflow.run("consent_withdrawals", module="withdrawals")

    assert run.state == "success"
    withdrawn = {f"{CANARY}-{number}" for number in (3, 5, 7)}
    assert removed(vendor) == withdrawn
    assert in_crm(crm) == everyone - {f"{CANARY}-5"}
    counts = airflow.xcom(run, "withdraw")
    assert counts["webhook"]["removals_by_cause"] == {"consent_withdrawn": 3}
    assert (counts["webhook"]["delivered"], counts["crm_table"]["delivered"]) == (7, 9)
    assert 90 <= counts["webhook"]["lag_s"]["median"] < 300
    assert all(600 <= counts[name]["lag_s"]["oldest"] < 800 for name in ("webhook", "crm_table"))
    assert CANARY not in run.output
    assert CANARY not in json.dumps(counts)


def test_a_second_run_has_nothing_left_to_do(airflow: Airflow, customers: Path, crm: Path, vendor: Receiver) -> None:
    airflow.run("consent_customers", module="withdrawals")

    run = airflow.run("consent_withdrawals", module="withdrawals")

    assert run.state == "success"
    assert removed(vendor) == set()
    assert [counts["removed"] for counts in airflow.xcom(run, "withdraw").values()] == [0, 0]


def test_before_the_first_load_the_sync_is_unknown_and_the_task_fails(
    airflow: Airflow, customers: Path, crm: Path, vendor: Receiver
) -> None:
    run = airflow.run("consent_withdrawals", module="withdrawals")

    assert run.state == "failed"
    assert "set allow_unknown=True until the first load" in run.output
    assert vendor.received == []


def test_a_truncated_consent_table_does_not_empty_the_destinations(
    airflow: Airflow, customers: Path, crm: Path, vendor: Receiver
) -> None:
    airflow.run("consent_customers", module="withdrawals")
    with duckdb.connect(str(customers)) as connection:
        connection.execute("UPDATE customers SET analytics_ok = NULL, ads_ok = NULL")
        connection.execute("UPDATE customers SET analytics_ok = FALSE WHERE user_id = ?", [f"{CANARY}-5"])

    run = airflow.run("consent_withdrawals", module="withdrawals")

    assert run.state == "failed"
    assert "it would remove 9 of 10 people (consent_missing 9), max_removed_ratio is 0.5" in run.output
    assert in_crm(crm) == {f"{CANARY}-{number}" for number in range(10)} - {f"{CANARY}-5"}
    assert removed(vendor) == {f"{CANARY}-5"}
