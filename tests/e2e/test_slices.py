"""Loads in slices through real Airflow: every permitted row arrives once, whatever happens to one of the tasks."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
from support.airflow_run import Airflow
from support.people import CANARY
from support.servers import Receiver, apply_and, status

POLICY = {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["webhook"]}]}
PEOPLE = 330
PERMITTED = {f"{CANARY}-{number}" for number in range(PEOPLE) if number % 11}


@pytest.fixture
def customers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A warehouse of people of whom ten in eleven consent: 150 requests, so three slices of 50."""
    file = tmp_path / "customers.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            f"CREATE TABLE customers AS SELECT format('{{}}-{{}}', ?, i) AS user_id, "
            f"format('{{}}{{}}@example.com', ?, i) AS email, i % 11 <> 0 AS ads_ok FROM range({PEOPLE}) AS r(i)",
            [CANARY, CANARY],
        )
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    monkeypatch.setenv("AIRFLOW_VAR_CONSENT_POLICY", json.dumps(POLICY))
    return file


def withdraw(customers: Path, *numbers: int) -> None:
    with duckdb.connect(str(customers)) as connection:
        for number in numbers:
            connection.execute("UPDATE customers SET ads_ok = FALSE WHERE user_id = ?", [f"{CANARY}-{number}"])


@pytest.mark.long
def test_every_permitted_row_arrives_once_and_nothing_personal_is_kept(
    airflow: Airflow, customers: Path, vendor: Receiver, tmp_path: Path
) -> None:
    run = airflow.run("sliced", module="sliced")

    assert run.state == "success", run.output
    assert sorted(row["id"] for row in vendor.applied_rows()) == sorted(PERMITTED)
    assert vendor.violations == []
    tasks = airflow.query(
        "SELECT task_id, map_index, rendered_map_index, state FROM task_instance "
        "WHERE run_id = ? AND task_id LIKE '%load%' ORDER BY task_id, map_index",
        run.run_id,
    )
    assert [tuple(task) for task in tasks] == [
        ("customers.load_webhook", -1, None, "success"),
        ("customers.load_webhook__begin", -1, None, "success"),
        ("customers.load_webhook__slices", 0, "1 of 3", "success"),
        ("customers.load_webhook__slices", 1, "2 of 3", "success"),
        ("customers.load_webhook__slices", 2, "3 of 3", "success"),
    ]
    counts = airflow.xcom(run, "customers.load_webhook")
    assert counts["added"] == counts["accepted"] == counts["delivered"] == 300
    begun = airflow.xcom(run, "customers.load_webhook__begin")
    assert [(part["first"], part["end"]) for part in begun] == [(0, 50), (50, 100), (100, 150)]
    assert [place for place, content in airflow.everything_kept() if CANARY.encode() in content] == []
    assert CANARY not in run.output

    # Nothing changed: no slice is needed, and the load has nothing to do.
    again = airflow.run("sliced", module="sliced")

    assert again.state == "success", again.output
    assert airflow.xcom(again, "customers.load_webhook__begin") == []
    assert len(vendor.applied_rows()) == 300


@pytest.mark.long
def test_after_a_slice_failed_the_fast_lane_removes_and_the_next_run_sends_what_is_left(
    airflow: Airflow, customers: Path, vendor: Receiver
) -> None:
    # The second slice gets an error, and the third is sent all the same.
    vendor.answers = [*[apply_and(status(204))] * 60, status(500)]
    failed = airflow.run("sliced", module="sliced")
    arrived = {row["id"] for row in vendor.applied_rows()}
    gone = sorted(arrived)[0]
    withdraw(customers, int(gone.rpartition("-")[2]))

    removed = airflow.run("sliced_withdrawals", module="sliced")
    after = airflow.run("sliced", module="sliced")

    assert failed.state == "failed"
    assert 100 < len(arrived) < 300
    assert removed.state == "success", removed.output
    assert after.state == "success", after.output
    assert vendor.people.keys() == PERMITTED - {gone}
    assert vendor.violations == []
