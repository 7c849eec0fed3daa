"""Tests of refusals: a problem stops the run before anything is sent, and the log names the problem and its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.airflow_run import Airflow
from support.people import CANARY
from support.servers import Receiver

pytestmark = pytest.mark.usefixtures("warehouse", "policy")


@pytest.mark.samples(3)
@pytest.mark.parametrize(
    ("meddling", "message"),
    [
        ("flip", "was changed since it was written: its SHA-256 differs"),
        ("truncate", "bytes, its manifest says"),
        ("remove", "does not exist any more"),
        ("manifest", "manifest.json was changed since it was written"),
        ("policy", "the policy changed since consent was decided for `webhook`: run the filter again"),
    ],
)
def test_a_load_refuses_what_changed_since_the_filter(
    airflow: Airflow, vendor: Receiver, monkeypatch: pytest.MonkeyPatch, meddling: str, message: str
) -> None:
    monkeypatch.setenv("E2E_MEDDLE", meddling)

    run = airflow.run("meddled")

    assert run.tasks == {"extract": "success", "consent": "success", "meddle": "success", "load": "failed"}
    assert message in run.output
    assert vendor.received == []


def test_nothing_meddled_with_is_loaded(airflow: Airflow, vendor: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("E2E_MEDDLE", "nothing")

    run = airflow.run("meddled")

    assert run.state == "success"
    assert vendor.applied_rows()


@pytest.mark.parametrize(
    ("dag_id", "failed_task", "message"),
    [
        ("wrong_destination", "load", "not made for destination `lakes`, did you mean `lake`?"),
        ("too_old", "load", "max_age_s is 0: run the filter again"),
        (
            "duplicate_ids",
            "extract",
            "primary key `user_id` is not unique: in 180 rows, 90 ids occur more than once. Make them unique",
        ),
        ("column_twice", "extract", "`email`"),
        ("broken_query", "extract", "ConversionException"),
        ("guarded", "consent", "nothing was published: `crm_table`: 75 of 90 rows are denied, max_denied_ratio is 0.1"),
    ],
)
def test_a_run_that_cannot_be_right_fails_and_says_why(
    airflow: Airflow, vendor: Receiver, dag_id: str, failed_task: str, message: str
) -> None:
    run = airflow.run(dag_id)

    assert run.tasks[failed_task] == "failed"
    assert message in run.output
    assert CANARY not in run.output
    assert vendor.received == []


def test_every_problem_of_a_policy_is_reported_at_once_before_anything_is_written(
    airflow: Airflow, tmp_path: Path, vendor: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {
        "unmapped_destination": "error",
        "categories": [
            {"id": "C0002", "name": "Analytics", "destinations": []},
            {"id": "C0002", "name": "A name of more than twenty characters", "destinations": ["lake"]},
        ],
    }
    monkeypatch.setenv("AIRFLOW_VAR_E2E_POLICY", json.dumps(broken))

    run = airflow.run("webhook")

    assert run.tasks["consent"] == "failed"
    for finding in (
        "did you mean `unmapped_destinations`?",
        "@ $.categories[0].destinations",
        "@ $.categories[1].id",
        "@ $.categories[1].name",
    ):
        assert finding in run.output
    assert not (tmp_path / "workspace" / "permitted").exists()


def test_a_misspelt_destination_is_never_taken_for_an_unmapped_one(
    airflow: Airflow, vendor: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["web_hook", "crm_tabel"]}]}
    monkeypatch.setenv("AIRFLOW_VAR_E2E_POLICY", json.dumps(policy))

    run = airflow.run("webhook")

    assert run.tasks["consent"] == "failed"
    assert "did you mean `web_hook`?" in run.output
    assert "did you mean `crm_tabel`?" in run.output
    assert vendor.received == []


def test_a_missing_policy_variable_fails_the_task(
    airflow: Airflow, vendor: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_E2E_POLICY")

    run = airflow.run("webhook")

    assert run.tasks["consent"] == "failed"
    assert "e2e_policy" in run.output
    assert vendor.received == []


def test_an_unmapped_destination_receives_every_row_with_a_warning(
    airflow: Airflow, vendor: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = {"categories": [{"id": "C0002", "name": "Analytics", "destinations": ["warehouse_sync"]}]}
    monkeypatch.setenv("AIRFLOW_VAR_E2E_POLICY", json.dumps(policy))

    run = airflow.run("webhook")

    assert run.state == "success"
    assert len(vendor.applied_rows()) == 90
    assert "destination `webhook` is mapped to no consent category and receives every row" in run.output
