"""Fields that a category guards, in real loads: a guard applies to something, and what was withdrawn is cleared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.guarding import ALIASES, FIELDS, POLICY, World, receiving, webhook
from support.log_lines import task_fails
from support.postgres import Postgres
from support.servers import Receiver

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.operators import LoadToFilesOperator, LoadToSqlTableOperator, permitted_batches


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving(monkeypatch) as server:
        yield server


@pytest.mark.parametrize(
    ("fields", "sql"),
    [
        ({"id": "id", "tel": "phone_e164"}, "SELECT * FROM people"),
        ({"id": "id", "phone_number": "phone_e164"}, "SELECT * FROM people"),
        ({"id": "id", "contact": "c"}, "SELECT id, ads_ok, calls_ok, phone_e164 AS c FROM people"),
        ({"id": "id"}, "SELECT * FROM people"),
    ],
)
def test_a_guard_that_applies_to_no_field_stops_the_load(
    world: World, vendor: Receiver, fields: dict[str, str], sql: str
) -> None:
    world.answers(False, True)

    with task_fails(match="fields_not_sent"):
        world.load(webhook(fields=fields), sql=sql)

    assert vendor.received == []


def test_the_same_guard_stops_a_task_that_reads_the_rows_itself(world: World) -> None:
    world.answers(False, True)
    permitted = world.permitted()

    with pytest.raises(RefusedError, match="the policy guards field `phone`"):
        permitted_batches(permitted, destination="ads", policy=POLICY, fields={"x": "phone_e164"})

    (rows,) = permitted_batches(
        permitted, destination="ads", policy=POLICY, fields={"id": "id"}, fields_not_sent=["phone"]
    )
    assert sorted(rows.column("id").to_pylist()) == [0, 1]


@pytest.mark.parametrize("name", ["phone", "tel", "anything"])
def test_an_alias_of_the_policy_guards_the_column_under_every_field_name(
    world: World, vendor: Receiver, name: str
) -> None:
    world.answers(False, True)

    world.load(webhook(fields={"id": "id", name: "phone_e164"}), policy=ALIASES)

    assert {row["id"]: row[name] for row in vendor.applied_rows()} == {0: None, 1: "+491"}


def test_a_dag_may_say_that_it_does_not_send_a_guarded_field(
    world: World, vendor: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    world.answers(False, True)

    world.load(webhook(fields={"id": "id"}), fields_not_sent=["phone"])

    assert sorted(vendor.people.items()) == [(0, {"id": 0}), (1, {"id": 1})]
    assert "the policy guards `phone`: not sent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("not_sent", "message"),
    [(["phone"], "is sent it as `phone`"), (["phones"], "did you mean `phone`")],
)
def test_a_wrong_word_about_fields_that_are_not_sent_is_refused(
    world: World, vendor: Receiver, not_sent: list[str], message: str
) -> None:
    world.answers(True)

    with task_fails(match=message):
        world.load(webhook(fields=FIELDS), fields_not_sent=not_sent)

    assert vendor.received == []


@pytest.mark.diagonal("nulls")
@pytest.mark.parametrize("mode", ["mirror", "upsert", "insert", "full"])
@pytest.mark.parametrize("nulls", ["null", "omit"])
def test_a_withdrawn_field_is_cleared_at_a_receiver_that_merges(
    world: World, vendor: Receiver, mode: Any, nulls: str
) -> None:
    load = webhook(fields=FIELDS, nulls=nulls)
    world.answers(True, True)
    world.load(load, mode=mode)
    world.answers(False, True)

    world.load(load, mode=mode)

    merged: dict[int, dict[str, Any]] = {}
    for row in vendor.applied_rows():
        merged.setdefault(row["id"], {}).update(row)
    assert merged == {0: {"id": 0, "phone": None}, 1: {"id": 1, "phone": "+491"}}


@pytest.mark.diagonal("mode")
@pytest.mark.parametrize("mode", ["mirror", "insert"])
@pytest.mark.parametrize("database", ["sqlite", "duckdb", "postgres"])
def test_a_withdrawn_field_is_cleared_in_a_table_that_keeps_other_values(
    world: World, monkeypatch: pytest.MonkeyPatch, postgres: Postgres, database: str, mode: Any
) -> None:
    connection = {
        "sqlite": json.dumps({"conn_type": "sqlite", "host": str(world.path / "crm.db")}),
        "duckdb": json.dumps({"conn_type": "duckdb", "host": str(world.path / "crm.duckdb")}),
        "postgres": postgres.airflow_connection(),
    }
    monkeypatch.setenv("AIRFLOW_CONN_CRM", connection[database])
    table = f"people_{mode}"
    load = partial(LoadToSqlTableOperator, conn_id="crm", table=table, fields=FIELDS, nulls="keep")
    world.answers(True, True)
    world.load(load, mode=mode)
    world.answers(False, True)

    world.load(load, mode=mode)

    from airflow.sdk import BaseHook

    hook: Any = BaseHook.get_connection("crm").get_hook()  # type: ignore[no-untyped-call]
    assert sorted(map(tuple, hook.get_records(f"SELECT id, phone FROM {table}"))) == [(0, None), (1, "+491")]


def test_json_lines_say_that_a_withdrawn_field_is_empty(world: World) -> None:
    target = f"file://{world.path}/lake"
    load = partial(LoadToFilesOperator, path=target, format="jsonl", nulls="omit", fields=FIELDS)
    world.answers(False, True)

    world.load(load)

    (file,) = (world.path / "lake").rglob("*.jsonl")
    assert sorted(file.read_text().splitlines()) == ['{"id":0,"phone":null}', '{"id":1,"phone":"+491"}']


def test_a_guarded_field_that_leaves_the_mapping_is_refused_until_it_is_cleared(world: World, vendor: Receiver) -> None:
    world.answers(True, True)
    world.load(webhook(fields=FIELDS))
    world.answers(False, True)

    with task_fails(match="does not map it any more"):
        world.load(webhook(fields={"id": "id"}), fields_not_sent=["phone"])

    world.load(webhook(fields=FIELDS), sql="SELECT id, NULL AS phone_e164, ads_ok, calls_ok FROM people")
    assert [person["phone"] for person in vendor.people.values()] == [None, None]


ADS, CALLS = POLICY["categories"]
PLAIN = {**CALLS, "destinations": ["lake"], "fields": {"lake": ["phone"]}}
OPENED: dict[str, dict[str, Any]] = {
    "the guard is gone": {**POLICY, "categories": [ADS, PLAIN]},
    "another field is guarded": {**POLICY, "categories": [ADS, {**CALLS, "fields": {"ads": ["email"]}}]},
    "the category is disabled": {**POLICY, "categories": [ADS, {**CALLS, "enabled": False}]},
    "the category is exempt": {
        **POLICY, "categories": [ADS, {**CALLS, "regime": "exempt", "reason": "own use", "owner": "law"}]
    },
}  # fmt: skip


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
def test_a_policy_that_releases_a_field_of_many_people_stops_the_run(world: World, opened: dict[str, Any]) -> None:
    world.answers(*[False] * 20, *[True] * 5)
    world.permitted()

    for _ in range(2):
        with task_fails(match="20 of 25 rows are released, 20 of them with what was withheld before .phone 20."):
            world.permitted(policy=opened)

    assert world.permitted()["rows"] == 25


def test_a_guard_with_another_name_and_the_old_one_as_alias_releases_nothing(world: World) -> None:
    world.answers(*[False] * 20, *[True] * 5)
    world.permitted()

    assert world.permitted(policy=ALIASES)["rows"] == 25
