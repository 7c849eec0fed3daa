"""Runs of a real DAG with a mapped task group: a list that was edited and shifted moves no one into another sync."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from support.airflow_run import Airflow, DagRunResult


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eight people behind connection `warehouse`, and the tables' file behind connection `crm`."""
    file, crm = tmp_path / "people.duckdb", tmp_path / "crm.db"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE TABLE people AS SELECT i AS id, format('u{}@x.example', i) AS email, TRUE AS ads_ok "
            "FROM range(1, 9) AS r(i)"
        )
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(crm)}))
    return crm


def people(crm: Path) -> dict[str, list[int]]:
    """Return the ids in each table."""
    with closing(sqlite3.connect(crm)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE name LIKE 'part%'")]
        return {name: [id_ for (id_,) in connection.execute(f"SELECT id FROM {name} ORDER BY id")] for name in tables}


def loads(airflow: Airflow, run: DagRunResult) -> dict[int, str]:
    """Return the state of each load of a run, by its index."""
    sql = "SELECT map_index, state FROM task_instance WHERE run_id = ? AND task_id = 'one_part.load'"
    return dict(airflow.query(sql, run.run_id))


@pytest.mark.long
def test_a_mapped_group_keeps_each_part_in_its_own_sync(
    airflow: Airflow, crm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*parts: str) -> DagRunResult:
        monkeypatch.setenv("PARTS", json.dumps(parts))
        return airflow.run("parts", module="mapped_group")

    first = run("id < 4", "id > 5")
    assert first.state == "success", first.output
    delivered = {"part_0": [1, 2, 3], "part_1": [6, 7, 8]}
    assert people(crm) == delivered

    # The first part is a new one; what was the first is the second now, and was edited.
    shifted = run("id = 4", "id < 3", "id > 5")

    assert shifted.state == "failed"
    assert set(loads(airflow, shifted).values()) <= {"failed", "up_for_retry"}
    assert "mapped tasks of this run have not filtered yet" in shifted.output or "the expanded list" in shifted.output
    assert people(crm) == delivered

    # A part of the same length that took the place of another, which no query of the last run shows.
    rotated = run("id = 4", "id < 4")

    assert rotated.state == "failed"
    assert people(crm) == delivered

    # An edit alone, and an element at the end.
    edited = run("id < 4 OR id = 4", "id > 5")
    assert (edited.state, people(crm)) == ("success", {"part_0": [1, 2, 3, 4], "part_1": [6, 7, 8]}), edited.output
    longer = run("id < 4 OR id = 4", "id > 5", "id = 5")
    assert (longer.state, people(crm)["part_2"]) == ("success", [5]), longer.output
