"""Tests of the law up to the destination: both workspaces write the same files and tables, value by value."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from parity.comparing import assert_same_rows
from parity.engines import Engine, environment
from parity.law import decided
from parity.rounds import every_change
from parity.workspaces import Both, without_run_names

from airflow_consent_retl.operators import LoadOperator, LoadToFilesOperator, LoadToSqlTableOperator

# `make test` compares files and warehouses by the other modules of this folder.
pytestmark = pytest.mark.long

_TABLE = "people"


@pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)
def test_files_and_tables_hold_the_same_people_with_the_same_values(warehouse: Engine, root: Path) -> None:
    both, script = Both.of(warehouse, root), every_change(warehouse)
    places = root / "of_lake", root / "of_warehouse"
    for round_ in script.rounds[:2]:
        warehouse.create("runs", round_.model.kinds, round_.model.rows)
        both.extract(round_.model, table="runs")
        permitted = both.filter(round_.setup)
        outcomes: list[list[dict[str, Any]]] = []
        for (workspace, _), output, place in zip(both.each, permitted, places, strict=True):
            with environment(AIRFLOW_CONN_PARITY_TARGET=_sqlite_in(place)):
                outcomes.append(
                    [
                        without_run_names(workspace.carry_out(load))
                        for load in _loads(output, place, round_.setup.policy)
                    ]
                )

        expected = decided(round_.setup, round_.model.people, asked=()).recipients
        assert outcomes[0] == outcomes[1], round_.name
        assert_same_rows(_file(places[1]), _file(places[0]))
        assert _table(places[1]) == _table(places[0])
        assert set(_file(places[1])["id"].to_pylist()) == {i for i, names in expected.items() if "crm" in names}
        assert {row[0] for row in _table(places[1])} == {i for i, names in expected.items() if "welcome" in names}


def _loads(permitted: dict[str, Any], place: Path, policy: dict[str, Any]) -> list[LoadOperator]:
    shared: dict[str, Any] = {"permitted": permitted, "policy": policy, "max_removed_ratio": None}
    return [
        LoadToFilesOperator(
            task_id="files",
            destination="crm",
            path=(place / "files").as_uri(),
            format="parquet",
            fields={
                "id": "id",
                "note": "note",
                "amount": "amount",
                "ratio": "ratio",
                "seen_at": "seen_at",
                "raw": "raw",
            },
            **shared,
        ),
        LoadToSqlTableOperator(
            task_id="table",
            destination="welcome",
            conn_id="parity_target",
            table=_TABLE,
            fields={"id": "id", "note": "note", "tail": "tail", "counted": "counted"},
            **shared,
        ),
    ]


def _sqlite_in(place: Path) -> str:
    place.mkdir(parents=True, exist_ok=True)
    return json.dumps({"conn_type": "sqlite", "host": str(place / "target.db")})


def _file(place: Path) -> pa.Table:
    version = json.loads((place / "files" / "_current.json").read_text())["current"]
    return pa.concat_tables(
        [pq.read_table(file) for file in sorted((place / "files" / version).glob("*.parquet"))]
    ).sort_by("id")


def _table(place: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(place / "target.db")) as connection:
        return sorted(connection.execute(f"SELECT id, note, tail, counted FROM {_TABLE}").fetchall(), key=str)
