"""Tests with canary values: Airflow keeps and prints no personal value, after success and after failure."""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.airflow_run import Airflow, DagRunResult
from support.people import CANARY, people
from support.servers import Answer, Receiver, apply_and, reset, says, status

from airflow_consent_retl.sight.report_file import report

pytestmark = pytest.mark.usefixtures("warehouse", "policy")

FIRST = people()[0]


def leaks(airflow: Airflow, run: DagRunResult, tmp_path: Path) -> list[str]:
    """Return the places with a canary, except the warehouse, the destinations and the workspace's own rows."""
    places: list[tuple[str, bytes]] = [("output", run.output.encode()), *airflow.everything_kept()]
    places += [(str(path), path.read_bytes()) for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
    places += list(pseudonymous(tmp_path / "workspace"))
    places.append(("report", Path(report(tmp_path / "report.html").report).read_bytes()))
    return [place for place, content in places if CANARY.encode() in content]


def pseudonymous(workspace: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file of the workspace but those of the rows themselves, which end with their retention."""
    rows = re.compile(r"(snapshots|permitted|syncs)/.*/(?!decisions-|signatures)[a-z]+-[^/]*\.parquet")
    for path in workspace.rglob("*"):
        if path.is_file() and not rows.fullmatch(str(path.relative_to(workspace))):
            yield str(path), path.read_bytes()


def test_the_sweep_finds_a_value_that_is_there(airflow: Airflow, vendor: Receiver, tmp_path: Path) -> None:
    run = airflow.run("webhook")
    places = [tmp_path / "tmp" / "left-over", tmp_path / "workspace" / "suppression" / "acts" / "act.json"]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"… {FIRST.user_id} …")

    found = leaks(airflow, run, tmp_path)

    assert found == list(map(str, places))


@pytest.mark.samples(2)
@pytest.mark.parametrize("dag_id", ["webhook", "table", "files", "own_tasks", "sync_variable"])
def test_nothing_personal_is_kept_after_success(
    airflow: Airflow, vendor: Receiver, crm: Path, tmp_path: Path, dag_id: str
) -> None:
    run = airflow.run(dag_id)

    assert run.state == "success", run.output
    assert leaks(airflow, run, tmp_path) == []


@pytest.mark.samples(3)
@pytest.mark.parametrize(
    "dag_id", ["broken_query", "duplicate_ids", "column_twice", "guarded", "wrong_destination", "too_old"]
)
def test_nothing_personal_is_kept_after_a_refusal(
    airflow: Airflow, vendor: Receiver, tmp_path: Path, dag_id: str
) -> None:
    run = airflow.run(dag_id)

    assert run.state == "failed"
    assert leaks(airflow, run, tmp_path) == []


def coded(*codes: str) -> Answer:
    """Return an answer that refuses the first rows with codes that are made from rows."""
    return says({"errors": [{"index": row, "code": code} for row, code in enumerate(codes)]})


def quoting(code: int) -> Answer:
    """Return an answer that quotes the refused values in every possible place, as vendors do."""
    errors = [{"index": 0, "code": FIRST.user_id, "message": f"{CANARY}-0@example.com is no address"}]
    return says({"errors": errors, "message": f"bad row {FIRST.user_id}"}, code)


@pytest.mark.samples(4)
@pytest.mark.parametrize(
    "answer",
    [
        coded(f"dup_{CANARY}"),
        coded(f"{CANARY}-2", f"{CANARY}-1"),
        coded(*[f"dup_{CANARY}"] * 6),
        quoting(200),
        quoting(400),
        quoting(422),
        status(500, f"could not store {CANARY}".encode()),
        status(401, f"who is {CANARY}".encode()),
        status(302, Location=f"https://example.com/{CANARY}"),
        status(200, f"<html>{CANARY}</html>".encode()),
        apply_and(reset),
    ],
    ids=[
        "part of a value",
        "values of other rows",
        "one code for many rows",
        "200",
        "400",
        "422",
        "500",
        "401",
        "302",
        "html",
        "reset",
    ],
)
def test_nothing_personal_is_kept_when_the_vendor_quotes_it_back(
    airflow: Airflow, vendor: Receiver, tmp_path: Path, answer: Answer
) -> None:
    vendor.answers.append(answer)

    run = airflow.run("webhook")

    assert run.tasks["load"] == "failed"
    assert leaks(airflow, run, tmp_path) == []


def test_nothing_personal_is_kept_when_the_database_quotes_it_back(airflow: Airflow, crm: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(crm)) as connection:
        connection.execute(
            "CREATE TABLE people (id TEXT PRIMARY KEY, email TEXT CHECK (length(email) < 3), full_name TEXT)"
        )

    run = airflow.run("table")

    assert run.tasks["load"] == "failed"
    assert "check" in run.output
    assert leaks(airflow, run, tmp_path) == []


def test_nothing_personal_is_kept_when_the_vendor_is_gone(
    airflow: Airflow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "http", "host": "127.0.0.1", "port": 9, "extra": {"allow_private": True}}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_HTTP", json.dumps(connection))

    run = airflow.run("webhook")

    assert run.tasks["load"] == "failed"
    assert leaks(airflow, run, tmp_path) == []


def test_no_header_of_the_connection_is_shown(
    airflow: Airflow, vendor: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_CRM_HTTP"])
    connection["extra"] = {**connection["extra"], "headers": {"X-Shop": f"{CANARY}-shop"}}
    monkeypatch.setenv("AIRFLOW_CONN_CRM_HTTP", json.dumps(connection))

    run = airflow.run("webhook")

    assert run.state == "success", run.output
    assert vendor.received[0].headers["x-shop"] == f"{CANARY}-shop"
    assert leaks(airflow, run, tmp_path) == []


def test_template_fields_show_ids_references_and_counts_only(airflow: Airflow, vendor: Receiver) -> None:
    run = airflow.run("webhook")

    rendered = dict(
        airflow.query("SELECT task_id, rendered_fields FROM rendered_task_instance_fields WHERE run_id = ?", run.run_id)
    )
    assert set(rendered) == {"extract", "consent", "load"}
    assert '"kind": "permitted"' in rendered["load"] or "'kind': 'permitted'" in rendered["load"]
    assert CANARY not in "".join(rendered.values())
