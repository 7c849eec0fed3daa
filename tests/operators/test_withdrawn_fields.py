"""The fast lane clears the fields that people withdraw consent to, and nothing else of these people."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from airflow.sdk import BaseHook
from support.guarding import FIELDS, POLICY, World, receiving, webhook
from support.log_lines import task_fails
from support.postgres import Postgres
from support.servers import Receiver, apply_and, reset, status

from airflow_consent_retl.errors import DestinationUnavailableError
from airflow_consent_retl.operators import LoadToFilesOperator, LoadToSqlTableOperator
from airflow_consent_retl.reports import person_history

TABLE = {
    "sqlite": "CREATE TABLE people (id INTEGER PRIMARY KEY, phone TEXT, name TEXT NOT NULL DEFAULT 'kept')",
    "duckdb": "CREATE TABLE people (id BIGINT PRIMARY KEY, phone TEXT, name TEXT NOT NULL DEFAULT 'kept')",
    "postgres": "CREATE TABLE people (id bigint PRIMARY KEY, phone text, name text NOT NULL DEFAULT 'kept')",
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving(monkeypatch) as server:
        yield server


def crm(world: World, monkeypatch: pytest.MonkeyPatch, database: str, postgres: Postgres | None = None) -> Any:
    """Return the hook of an empty table with a column that the model does not have, which takes no NULL."""
    if postgres is not None and database == "postgres":
        monkeypatch.setenv("AIRFLOW_CONN_CRM", postgres.airflow_connection())
    else:
        connection = {"conn_type": database, "host": str(world.path / f"crm.{database}")}
        monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection))
    hook: Any = BaseHook.get_connection("crm").get_hook()  # type: ignore[no-untyped-call]
    hook.run(f"DROP TABLE IF EXISTS people; {TABLE[database]}", split_statements=True, autocommit=True)
    return hook


def table_load(**options: Any) -> Any:
    return partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS, **options)


def rows(hook: Any) -> list[tuple[Any, ...]]:
    return sorted(map(tuple, hook.get_records("SELECT id, phone, name FROM people")))


@pytest.mark.parametrize("database", ["sqlite", "duckdb", "postgres"])
def test_only_the_withdrawn_field_of_only_this_person_is_cleared_in_a_table(
    world: World, monkeypatch: pytest.MonkeyPatch, postgres: Postgres, database: str
) -> None:
    hook = crm(world, monkeypatch, database, postgres)
    load = table_load(nulls="keep")
    world.answers(True, True, True)
    world.load(load)
    world.answers(False, True, None)

    first, again = world.withdraw(load), world.withdraw(load)

    assert (first["cleared"], first["removed"], first["removals_by_cause"]) == (2, 0, {"field_withdrawn": 2})
    assert (again["cleared"], again["removals_by_cause"]) == (0, {})
    assert rows(hook) == [(0, None, "kept"), (1, "+491", "kept"), (2, None, "kept")]
    assert world.load(load)["updated"] == 2
    assert world.withdraw(load)["cleared"] == 0
    world.answers(True, True, True)
    world.load(load)
    assert [phone for _, phone, _ in rows(hook)] == ["+490", "+491", "+492"]
    world.answers(False, True, True)
    assert world.withdraw(load)["cleared"] == 1


@pytest.mark.parametrize("nulls", ["null", "omit"])
def test_a_receiver_gets_the_key_and_the_field_as_null_and_a_removal_as_before(
    world: World, vendor: Receiver, nulls: str
) -> None:
    load = webhook(fields={**FIELDS, "name": "id"}, nulls=nulls)
    world.answers(True, True, True)
    world.load(load)
    before = len(vendor.received)
    world.answers(True, False)

    # The third person left the model, which a load decides about.
    counts = world.withdraw(load)

    (request,) = vendor.received[before:]
    assert (request.method, request.rows) == ("POST", [{"id": 1, "phone": None}])
    assert (counts["cleared"], counts["removed"], counts["absent"]) == (1, 0, 1)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"format": "jsonl", "nulls": "omit"},
            ['{"id":0,"phone":null,"score":0.5}', '{"id":1,"phone":"+491","score":1.5}'],
        ),
        ({"format": "csv", "null_text": "NULL"}, ["0,NULL,0.5", '1,"\'+491",1.5', '"id","phone","score"']),
        ({"format": "csv", "escape_formulas": True}, ["0,,0.5", '1,"\'+491",1.5', '"id","phone","score"']),
        ({"format": "parquet"}, [{"id": 0, "phone": None, "score": 0.5}, {"id": 1, "phone": "+491", "score": 1.5}]),
    ],
)
def test_the_field_is_empty_in_the_next_version_of_exported_files_and_no_older_one_is_left(
    world: World, options: dict[str, Any], expected: list[Any]
) -> None:
    fields = {**FIELDS, "score": "score"}
    load = partial(LoadToFilesOperator, path=f"file://{world.path}/lake", fields=fields, **options)
    sql = "SELECT *, id + 0.5 AS score FROM people"
    world.answers(True, True)
    world.load(load, sql=sql)
    world.answers(False, True)

    counts = world.withdraw(load)

    (file,) = (world.path / "lake").rglob("part-*")
    found: list[Any] = (
        pq.read_table(file).to_pylist() if options["format"] == "parquet" else file.read_text().splitlines()
    )
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert (counts["cleared"], counts["removed"]) == (1, 0)
    assert world.withdraw(load)["cleared"] == 0


def test_a_load_that_is_refused_clears_the_field_all_the_same(world: World, vendor: Receiver) -> None:
    world.answers(True, True)
    world.load(webhook(fields=FIELDS))
    world.answers(False, True)

    with task_fails(match="the policy guards field `phone`") as refused:
        world.load(webhook(fields={"id": "id"}))

    assert str(refused.value).endswith("withdrawn fields were cleared of 1 person")
    assert vendor.people[0]["phone"] is None


def test_a_refusal_of_the_receiver_fails_the_task_until_the_next_load_sends_the_whole_row(
    world: World, vendor: Receiver
) -> None:
    load = webhook(fields=FIELDS)
    world.answers(True, True)
    world.load(load)
    world.answers(False, True)
    vendor.answers = [status(422)]

    with task_fails(match="did not clear withdrawn fields of 1 of 1 people"):
        world.withdraw(load)

    assert vendor.people[0]["phone"] == "+490"
    assert world.load(load)["updated"] == 1
    assert vendor.people[0] == {"id": 0, "phone": None}
    assert world.withdraw(load)["cleared"] == 0


def test_a_lost_answer_is_asked_for_again_under_the_same_key(world: World, vendor: Receiver) -> None:
    load = webhook(fields=FIELDS, max_attempts=1)
    world.answers(True, True)
    world.load(load)
    world.answers(False, True)
    vendor.answers = [apply_and(reset)]

    with pytest.raises(DestinationUnavailableError, match="is unknown"):
        world.withdraw(load)

    assert world.withdraw(load)["cleared"] == 1
    assert vendor.people[0] == {"id": 0, "phone": None}
    # The next load sends the person once more, because the first request may have come late.
    assert world.load(load)["updated"] == 1
    assert world.withdraw(load)["cleared"] == 0


def test_a_value_that_a_trigger_keeps_is_not_cleared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = crm(world, monkeypatch, "sqlite")
    world.answers(True, True)
    world.load(table_load())
    hook.run("CREATE TRIGGER keep BEFORE UPDATE ON people WHEN new.id = 0 BEGIN SELECT RAISE(IGNORE); END")
    world.answers(False, False)

    with task_fails(match=r"fields of 1 of 2 people.*not_cleared 1"):
        world.withdraw(table_load())

    assert rows(hook) == [(0, "+490", "kept"), (1, None, "kept")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("ALTER TABLE people RENAME COLUMN phone TO telephone", "no_column"),
        ("CREATE TABLE p (id INTEGER PRIMARY KEY, phone TEXT NOT NULL, name TEXT); INSERT INTO p SELECT * FROM people; "
         "DROP TABLE people; ALTER TABLE p RENAME TO people", "not_null"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_be_cleared_fails_the_task(
    world: World, monkeypatch: pytest.MonkeyPatch, change: str, code: str
) -> None:
    hook = crm(world, monkeypatch, "sqlite")
    world.answers(True, True)
    world.load(table_load())
    hook.run(change, split_statements=True, autocommit=True)
    world.answers(False, True)

    with task_fails(match=code):
        world.withdraw(table_load())


def test_the_records_of_the_person_say_that_fields_were_cleared(world: World, vendor: Receiver) -> None:
    load = webhook(fields=FIELDS)
    world.answers(True, True)
    world.load(load)
    world.answers(False, True)
    world.withdraw(load)

    events = person_history("0", workspace=world.workspace).deliveries

    assert [(event.event, event.cause, event.status) for event in events] == [
        ("sent", "", "accepted"),
        ("cleared", "field_withdrawn", "accepted"),
    ]
    assert events[-1].batch_key == vendor.received[-1].key


def test_a_person_who_withdraws_everything_is_removed_and_not_cleared(world: World, vendor: Receiver) -> None:
    load = webhook(fields=FIELDS)
    denied = POLICY | {
        "categories": [{**POLICY["categories"][0], "id": "C0005"}, {**POLICY["categories"][1], "id": "C0004"}]
    }
    world.answers(True, True, True)
    world.load(load, policy=denied)
    world.answers(False, True, True)

    counts = world.withdraw(load, policy=denied)

    assert (counts["cleared"], counts["removed"], sorted(vendor.people)) == (0, 1, [1, 2])
