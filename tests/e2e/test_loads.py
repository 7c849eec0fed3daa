"""Tests of loads through real Airflow, for every destination and policy source: exactly the permitted rows arrive."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.airflow_run import Airflow
from support.log_lines import row_of, shown_lines
from support.people import people, permitted_ids
from support.servers import Receiver

from airflow_consent_retl.progress import LINE

pytestmark = pytest.mark.usefixtures("warehouse", "policy")


def lake_version(tmp_path: Path) -> Path:
    lake = tmp_path / "exports" / "lake"
    current: str = json.loads((lake / "_current.json").read_text())["current"]
    return lake / current


def crm_ids(crm: Path) -> list[str]:
    with closing(sqlite3.connect(crm)) as connection:
        return sorted(row[0] for row in connection.execute("SELECT id FROM people"))


def test_the_webhook_receives_exactly_the_permitted_rows(airflow: Airflow, vendor: Receiver) -> None:
    run = airflow.run("webhook")

    assert run.state == "success", run.output
    assert sorted(row["id"] for row in vendor.applied_rows()) == permitted_ids("webhook")
    assert {tuple(row) for row in vendor.applied_rows()} == {("id", "email", "full_name")}
    assert vendor.violations == []


def test_values_that_are_no_plain_column_arrive_for_each_row_and_are_shown_as_they_were_written(
    airflow: Airflow, vendor: Receiver
) -> None:
    run = airflow.run("values")

    assert run.state == "success", run.output
    rows = vendor.applied_rows()
    assert {row["run"] for row in rows} == {"values"}
    assert {row["domain"] for row in rows} == {"example.com"}
    assert {row["analytics"] for row in rows} == {"yes", "no"}
    assert {row["id"] for row in rows if row["analytics"] == "yes"} == {
        person.user_id for person in people() if person.analytics_ok is True
    }
    (rendered,) = airflow.query(
        "SELECT rendered_fields FROM rendered_task_instance_fields WHERE run_id = ? AND task_id LIKE '%load_webhook'",
        run.run_id,
    )[0]
    assert "constant('values')" in rendered
    assert "consent('C0002', granted='yes', otherwise='no')" in rendered


def test_the_table_receives_exactly_the_permitted_rows_and_again_the_same(airflow: Airflow, crm: Path) -> None:
    states = [airflow.run("table").state for _ in range(2)]

    assert states == ["success", "success"]
    assert crm_ids(crm) == permitted_ids("crm_table")


def test_the_files_hold_exactly_the_permitted_rows(airflow: Airflow, tmp_path: Path) -> None:
    run = airflow.run("files")

    assert run.state == "success", run.output
    parts = sorted(lake_version(tmp_path).glob("part-*.csv"))
    rows = [row for part in parts for row in csv.DictReader(part.read_text().splitlines())]
    assert sorted(row["id"] for row in rows) == permitted_ids("lake")


def test_a_task_of_ones_own_receives_exactly_the_permitted_rows(airflow: Airflow, tmp_path: Path) -> None:
    run = airflow.run("own_tasks")

    assert run.state == "success", run.output
    assert sorted(json.loads((tmp_path / "collected.json").read_text())) == permitted_ids("crm_table")
    assert airflow.xcom(run, "collect") == {
        "arrow": len(permitted_ids("crm_table")),
        "pandas": len(permitted_ids("lake")),
    }


@pytest.mark.samples(1)
@pytest.mark.parametrize("dag_id", ["sync_variable", "sync_connection", "sync_file", "sync_inline"])
def test_a_sync_feeds_every_destination_wherever_the_policy_is(
    airflow: Airflow, vendor: Receiver, crm: Path, tmp_path: Path, dag_id: str
) -> None:
    run = airflow.run(dag_id)

    assert run.state == "success", run.output
    assert sorted(row["id"] for row in vendor.applied_rows()) == permitted_ids("webhook")
    assert crm_ids(crm) == permitted_ids("crm_table")
    exported = pq.read_table(sorted(lake_version(tmp_path).glob("*.parquet")))
    assert sorted(exported.column("id").to_pylist()) == permitted_ids("lake")


def test_the_asset_event_of_a_destination_carries_counts_that_add_up(airflow: Airflow, vendor: Receiver) -> None:
    run = airflow.run("webhook")

    events = airflow.asset_events(run)
    counts = events["consent_retl/webhook"]
    assert events.pop(f"consent_retl/{counts['model']}/webhook") == counts
    assert counts == airflow.xcom(run, "load")
    assert counts["read"] == counts["permitted"] + counts["denied"] == 90
    assert counts["permitted"] == counts["accepted"] == len(vendor.applied_rows())
    assert counts["denied_by_reason"] == {
        "C0002:denied": 30,
        "C0002:unknown": 30,
        "C0004:denied": 18,
        "C0004:invalid": 36,
        "C0004:unknown": 18,
    }


def test_the_log_shows_permitted_rows_and_the_reasons_of_denials(airflow: Airflow, vendor: Receiver) -> None:
    run = airflow.run("webhook")

    assert "read 90 = permitted somewhere" in run.output
    assert "`webhook`: verified 6 permitted rows" in run.output
    assert "C0004:invalid 36" in run.output
    lines = shown_lines(run.as_shown)
    # A word is never cut: a path may be longer.
    assert [line for line in lines if len(line) > LINE and "://" not in line] == []
    counts = row_of(lines, "load of model")
    assert counts["read"] == counts["permitted"] + counts["denied"] == 90
    assert counts["permitted"] == counts["accepted"] == counts["added"]


def test_what_travels_between_tasks_is_a_reference_with_counts(airflow: Airflow, vendor: Receiver) -> None:
    run = airflow.run("webhook")

    permitted = airflow.xcom(run, "consent")
    assert set(permitted) == {"kind", "manifest", "sha256", "model", "rows", "at", "permitted"}
    assert permitted["permitted"] == {name: len(permitted_ids(name)) for name in ("crm_table", "lake", "webhook")}
