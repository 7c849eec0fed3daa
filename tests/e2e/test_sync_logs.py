"""Sync logs of real runs: a load that fails and one that succeeds, without a value of a row in the tables."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from e2e.test_canaries import coded, leaks
from support.airflow_run import Airflow
from support.people import CANARY, people, permitted_ids
from support.servers import Receiver

pytestmark = pytest.mark.usefixtures("warehouse", "policy")


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "logs.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_LOGS", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    return file


def rows(file: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def test_runs_leave_counts_and_never_a_value_of_a_row(
    airflow: Airflow, vendor: Receiver, logs: Path, tmp_path: Path
) -> None:
    vendor.answers.append(coded(f"dup_{CANARY}", f"{CANARY}-2", "invalid_email"))

    failed = airflow.run("logged", module="logged")

    # The tables are written all the same, and their task does not make a failed load a success.
    assert (failed.state, failed.tasks["people.load_webhook"]) == ("failed", "failed")
    assert failed.tasks["people.sync_logs"] == "success", failed.output
    assert airflow.xcom(failed, "people.sync_logs")["runs"] == 1
    assert rows(logs, "SELECT state, failure, rejected FROM consent_sync_runs") == [("failed", "GuardError", 3)]
    assert rows(logs, "SELECT code, people FROM consent_sync_counts WHERE what = 'not_accepted' ORDER BY code") == [
        ("rejected:invalid_email", 1),
        ("rejected:other", 2),
    ]

    done = airflow.run("logged", module="logged")
    again = airflow.run("all_logged", module="logged")

    assert (done.state, again.state) == ("success", "success"), done.output
    permitted, everyone = len(permitted_ids("webhook")), len(people())
    last = "SELECT sync, dag_id, task_id, read, permitted, people FROM consent_sync_runs WHERE state = 'done'"
    assert rows(logs, last) == [
        ("people/webhook", "logged", "people.load_webhook", everyone, permitted, permitted),
    ]
    assert rows(logs, "SELECT COUNT(*) FROM consent_sync_runs") == [(2,)]
    assert CANARY.encode() not in logs.read_bytes()
    assert [leaks(airflow, run, tmp_path) for run in (failed, done, again)] == [[], [], []]
