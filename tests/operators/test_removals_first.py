"""A removal needs only the key: no other field, and no refusal of additions, delays the removal of a person."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.log_lines import task_fails

from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToFilesOperator,
    LoadToSqlTableOperator,
)

POLICY: dict[str, Any] = {"categories": [{"id": "C1", "name": "Ads", "destinations": ["out"]}]}
FIELDS = {"id": "id", "v": "v"}
BEFORE = "SELECT i AS id, TRUE AS ok, i AS v FROM range(5) t(i)"


@pytest.fixture(autouse=True)
def connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind, file in (("source", "duckdb", "source.duckdb"), ("crm", "sqlite", "crm.sqlite")):
        uri = {"conn_type": kind, "host": str(tmp_path / file)}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(uri))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    duckdb.connect(str(tmp_path / "source.duckdb")).close()


def permitted(sql: str) -> Any:
    snapshot = ExtractModelOperator(task_id="extract", model="m", conn_id="source", sql=sql, primary_key="id").execute(
        {}
    )
    return ConsentFilterOperator(
        task_id="consent",
        snapshot=snapshot,
        policy=POLICY,
        consent={category["id"]: "ok" for category in POLICY["categories"]},
        destinations=["out"],
    ).execute({})


def to_table(sql: str, **parameters: Any) -> Any:
    options = {"fields": FIELDS, "table": "people", "conn_id": "crm", "max_removed_ratio": None, **parameters}
    return LoadToSqlTableOperator(
        task_id="load", permitted=permitted(sql), destination="out", policy=POLICY, **options
    ).execute({})


def to_files(sql: str, folder: Path, **parameters: Any) -> Any:
    options = {"fields": FIELDS, "format": "jsonl", **parameters}
    return LoadToFilesOperator(
        task_id="load", permitted=permitted(sql), destination="out", policy=POLICY, path=folder.as_uri(), **options
    ).execute({})


def failure(work: Callable[[], object]) -> str:
    with task_fails() as failed:
        work()
    return str(failed.value)


def in_crm(tmp_path: Path, statement: str) -> list[Any]:
    with closing(sqlite3.connect(tmp_path / "crm.sqlite")) as connection, connection:
        return [value for (value,) in connection.execute(statement).fetchall()]


def in_files(folder: Path) -> list[int]:
    current = folder / json.loads((folder / "_current.json").read_text())["current"]
    files = [current / file["name"] for file in json.loads((current / "_manifest.json").read_text())["files"]]
    return sorted(json.loads(line)["id"] for file in files for line in file.read_text().splitlines())


@pytest.mark.parametrize(
    ("drifted", "reason"),
    [
        ("SELECT i AS id, i <> 2 AS ok, 'x' || i AS v FROM range(5) t(i)", "does not fit column `v`"),
        ("SELECT i AS id, i <> 2 AS ok, i AS w FROM range(5) t(i)", "column `v` is not in the model"),
        ("SELECT i AS id, i <> 2 AS ok, MAP {'a': i} AS v FROM range(5) t(i)", "no column can hold `v`"),
        ("SELECT i AS id, i <> 2 AS ok, 1.5::DECIMAL(4, 2) + i AS v FROM range(5) t(i)", "does not fit column `v`"),
    ],
    ids=["type", "name", "a type that no column holds", "decimals"],
)
def test_a_drifted_field_does_not_delay_a_withdrawal(tmp_path: Path, drifted: str, reason: str) -> None:
    to_table(BEFORE)

    message = failure(lambda: to_table(drifted))

    assert reason in message
    assert "removed first, since a removal needs only the key: 1 person" in message
    assert in_crm(tmp_path, "SELECT id FROM people ORDER BY id") == [0, 1, 3, 4]


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE people ADD COLUMN added TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE people DROP COLUMN v",
        "ALTER TABLE people RENAME COLUMN v TO w",
    ],
)
def test_a_table_that_takes_no_additions_does_not_delay_removals_of_any_cause(tmp_path: Path, change: str) -> None:
    to_table(BEFORE)
    in_crm(tmp_path, change)

    after = "SELECT i AS id, i <> 2 AS ok, i * 10 AS v FROM range(4) t(i)"
    message = failure(lambda: to_table(after)) if "ADD" not in change else str(to_table(after))

    # 2 withdrew, and 4 left the model.
    assert ("removed first, since a removal needs only the key: 2 people" in message) is ("ADD" not in change)
    assert in_crm(tmp_path, "SELECT id FROM people ORDER BY id") == [0, 1, 3]


def test_the_next_load_goes_on_from_the_removals(tmp_path: Path) -> None:
    to_table(BEFORE)
    failure(lambda: to_table("SELECT i AS id, i <> 2 AS ok, 'x' || i AS v FROM range(5) t(i)"))

    counts = to_table("SELECT i AS id, i <> 2 AS ok, i AS v FROM range(5) t(i)")

    assert (counts["unchanged"], counts["accepted"], counts["removed"]) == (4, 0, 0)


def test_a_rejected_row_does_not_delay_a_withdrawal(tmp_path: Path) -> None:
    in_crm(tmp_path, "CREATE TABLE people (id INTEGER PRIMARY KEY, v INTEGER CHECK (v < 100))")
    to_table(BEFORE)

    message = failure(lambda: to_table("SELECT i AS id, i <> 2 AS ok, i * 100 AS v FROM range(5) t(i)"))

    assert "rejected" in message
    assert in_crm(tmp_path, "SELECT id FROM people ORDER BY id") == [0, 1, 3, 4]


@pytest.mark.parametrize(
    "drifted",
    [
        "SELECT i AS id, i <> 2 AS ok, CASE WHEN i = 1 THEN 'NaN'::DOUBLE END AS v FROM range(5) t(i)",
        "SELECT i AS id, i <> 2 AS ok, i AS w FROM range(5) t(i)",
    ],
    ids=["a rejected row", "name"],
)
def test_files_that_could_not_be_replaced_lose_the_people_who_withdrew(tmp_path: Path, drifted: str) -> None:
    folder = tmp_path / "lake"
    to_files(BEFORE, folder)

    message = failure(lambda: to_files(drifted, folder))

    assert "removed first, since a removal needs only the key: 1 person" in message
    assert in_files(folder) == [0, 1, 3, 4]


def test_removals_that_are_impossible_are_counted(tmp_path: Path) -> None:
    to_table(BEFORE)
    in_crm(tmp_path, "CREATE TABLE orders (person INTEGER REFERENCES people(id))")
    in_crm(tmp_path, "ALTER TABLE people RENAME COLUMN id TO no")

    message = failure(lambda: to_table("SELECT i AS id, i > 2 AS ok, 'x' AS v FROM range(5) t(i)"))

    assert "those of 5 people delivered who withdrew still wait to be removed" in message
    assert "there is no column `id`" in message


def test_a_key_of_another_type_is_not_matched_and_the_error_says_how_many_people_are_delivered(tmp_path: Path) -> None:
    to_table(BEFORE)

    message = failure(lambda: to_table("SELECT i::VARCHAR AS id, i <> 2 AS ok, i AS v FROM range(5) t(i)"))

    assert message.count("was int64 when people were delivered and is string now") == 2
    assert "those of 5 people delivered who withdrew still wait to be removed" in message


def test_where_consent_is_not_asked_again_the_error_says_how_many_people_are_delivered(tmp_path: Path) -> None:
    to_table(BEFORE, recheck_interval_s=None)

    message = failure(
        lambda: to_table("SELECT i::VARCHAR AS id, i <> 2 AS ok, i AS v FROM range(5) t(i)", recheck_interval_s=None)
    )

    assert "those of 5 people delivered who withdrew still wait to be removed" in message


def test_a_first_load_that_fails_says_nothing_about_removals(tmp_path: Path) -> None:
    message = failure(lambda: to_table("SELECT i AS id, TRUE AS ok, i AS w FROM range(5) t(i)"))

    assert message == "fields['v']: column `v` is not in the model"


def test_a_guard_that_applies_to_no_field_does_not_delay_a_withdrawal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_table(BEFORE)
    calls = {"id": "C2", "name": "Telephone", "fields": {"out": ["phone"]}}
    monkeypatch.setitem(POLICY, "categories", [*POLICY["categories"], calls])
    sql = "SELECT i AS id, i <> 2 AS ok, i AS v FROM range(5) t(i)"

    message = failure(lambda: to_table(sql))

    assert "the guard would withhold nothing" in message
    assert "removed first, since a removal needs only the key: 1 person" in message
    assert in_crm(tmp_path, "SELECT id FROM people ORDER BY id") == [0, 1, 3, 4]
