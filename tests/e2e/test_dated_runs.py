"""Runs of real DAGs whose SQL names a day: a backfill is refused, and a run that a newer one overtook is skipped."""

from __future__ import annotations

import json
import sqlite3
import warnings
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from support.airflow_run import Airflow
from support.log_lines import unwrapped

# On the 27th, 2 withdrew, 3 was erased and 4 joined.
DAYS = """
    ('2026-11-26', 1, 'a@x.example', true), ('2026-11-26', 2, 'b@x.example', true),
    ('2026-11-26', 3, 'c@x.example', true), ('2026-11-27', 1, 'a@x.example', true),
    ('2026-11-27', 2, 'b@x.example', false), ('2026-11-27', 4, 'd@x.example', true)
"""


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model's partitions behind connection `warehouse`, and the table's file behind connection `crm`."""
    file, crm = tmp_path / "days.duckdb", tmp_path / "crm.db"
    with duckdb.connect(str(file)) as connection:
        connection.execute(f"CREATE TABLE days AS SELECT * FROM (VALUES {DAYS}) AS t(ds, id, email, ads_ok)")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(crm)}))
    return crm


def people(crm: Path) -> set[int]:
    with closing(sqlite3.connect(crm)) as connection:
        return {id_ for (id_,) in connection.execute("SELECT id FROM people")}


def run_of_day(airflow: Airflow, day: int) -> tuple[str, dict[str, str], str]:
    """Run the DAG for one day, and return its state, those of its tasks, and its log."""
    dag = airflow.dag("daily", module="dated")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = dag.test(logical_date=datetime(2026, 11, day, tzinfo=UTC))
    states = airflow.query("SELECT task_id, state FROM task_instance WHERE run_id = ?", run.run_id)
    printed = airflow.capture.readouterr()
    return str(run.state), dict(states), unwrapped(printed.out + printed.err)


@pytest.mark.long
def test_a_backfill_of_an_older_day_is_refused_by_the_date_of_its_run(airflow: Airflow, crm: Path) -> None:
    newest, _, _ = run_of_day(airflow, 27)

    state, tasks, log = run_of_day(airflow, 26)

    assert (newest, state) == ("success", "failed")
    assert (tasks["extract"], tasks["consent"], tasks["load"]) == ("success", "success", "failed")
    assert "already has newer data" in log
    assert "never goes back in time" in log
    assert people(crm) == {1, 4}


def test_the_next_day_is_delivered_and_is_not_asked_again(airflow: Airflow, crm: Path) -> None:
    run_of_day(airflow, 26)

    state, _, log = run_of_day(airflow, 27)

    assert state == "success"
    assert "consent is not asked again: the model's SQL is bound to a date" in log
    assert people(crm) == {1, 4}


def test_a_load_that_a_newer_one_overtook_is_skipped_and_the_run_succeeds(airflow: Airflow, crm: Path) -> None:
    run = airflow.run("overtaken", module="dated")

    assert run.state == "success", run.output
    assert (run.tasks["load_newer"], run.tasks["load_older"]) == ("success", "skipped")
    (reason,) = [line for line in run.output.splitlines() if "Skipping task." in line]
    assert "delivered by `overtaken" in reason
    # The reason of a skipped task is logged as a value: a line end would be shown as a backslash.
    assert "\\" not in reason
    assert "load_newer try 1`" in run.output
    assert people(crm) == {1, 4}


@pytest.mark.long
def test_of_mapped_tasks_of_one_sync_the_newest_decision_stays(airflow: Airflow, crm: Path) -> None:
    run = airflow.run("mapped", module="dated")

    states = dict(
        airflow.query("SELECT map_index, state FROM task_instance WHERE run_id = ? AND task_id = 'load'", run.run_id)
    )
    # The scheduler chooses the order of mapped tasks. One load is skipped, and the rows are those of the other one.
    assert sorted(states.values()) == ["skipped", "success"], run.output
    newest_day_first = states[0] == "success"
    assert people(crm) == ({1, 4} if newest_day_first else {1, 2, 3})
