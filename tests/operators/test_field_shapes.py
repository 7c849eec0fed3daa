"""Dotted names become nested objects, and each field's NULL is sent, left out or cleared as the DAG says."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from support.guarding import POLICY, World, receiving, webhook
from support.log_lines import task_fails
from support.servers import Receiver, status

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import LoadToFilesOperator, LoadToSqlTableOperator, LoadToWebhookOperator

NOTHING_GUARDED: dict[str, Any] = {"categories": [POLICY["categories"][0]]}
MODEL = "SELECT *, CASE id WHEN 0 THEN NULL ELSE 'Rome' END AS city FROM people"
NESTED = {"id": "id", "properties.city": "city", "properties.home.phone": "phone_e164", "name": "city"}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path, monkeypatch)
    world.answers(True, True)
    return world


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving(monkeypatch) as server:
        yield server


def loaded(world: World, load: Any, **more: Any) -> Any:
    return world.load(load, policy=NOTHING_GUARDED, sql=MODEL, **more)


def test_dotted_names_are_fields_of_nested_objects_in_json(world: World, vendor: Receiver) -> None:
    loaded(world, webhook(fields=NESTED))

    assert [vendor.people[one] for one in (0, 1)] == [
        {"id": 0, "properties": {"city": None, "home": {"phone": "+490"}}, "name": None},
        {"id": 1, "properties": {"city": "Rome", "home": {"phone": "+491"}}, "name": "Rome"},
    ]


def test_an_object_is_left_out_only_where_all_of_its_fields_are(world: World, vendor: Receiver) -> None:
    fields = {"id": "id", "a.city": "city", "b.city": "city", "b.phone": "phone_e164"}

    loaded(world, webhook(fields=fields, nulls="omit"))

    assert vendor.people[0] == {"id": 0, "b": {"phone": "+490"}}
    assert vendor.people[1] == {"id": 1, "a": {"city": "Rome"}, "b": {"city": "Rome", "phone": "+491"}}


def test_a_key_in_a_nested_object_still_names_its_row_and_no_code_quotes_a_nested_value(
    world: World, vendor: Receiver
) -> None:
    results = [
        {"id": 0, "status": "rejected", "code": "bad_Rome_y", "field": "who.city"},
        {"id": 1, "status": "rejected", "code": "invalid_email", "field": "who.city"},
    ]
    vendor.answers = [status(200, body=json.dumps({"results": results}).encode())]
    fields = {"who.id": "id", "who.city": "name"}

    counts = world.load(
        webhook(fields=fields), policy=NOTHING_GUARDED, sql="SELECT *, 'Rome' AS name FROM people", max_rejected_ratio=1
    )

    assert counts["rejected"] == 2
    assert "Rome" not in json.dumps(counts)
    assert "invalid_email" in json.dumps(counts)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "id", "a": "x", "a.b": "y"}, r"fields\['a'\] would be a value and, by `a.b`, an object at once"),
        ({"id": "id", "a.b": "x", "a": "y"}, r"fields\['a'\] would be a value and, by `a.b`, an object at once"),
        ({"id": "id", "a.": "x"}, "a part of the dotted name is empty"),
    ],
)
def test_a_name_that_is_a_value_and_an_object_is_refused_when_the_dag_is_parsed(
    fields: dict[str, str], message: str
) -> None:
    def parsed(operator: Any, **options: Any) -> None:
        with DAG("d"):
            operator(task_id="load", permitted={}, destination="ads", fields=fields, **options)

    with pytest.raises(ConfigurationError, match=message):
        parsed(LoadToWebhookOperator, conn_id="hook", endpoint="/people")
    # A column, and a field of a line, may have such a name.
    parsed(LoadToSqlTableOperator, conn_id="crm", table="people")
    parsed(LoadToFilesOperator, path="file:///lake")


def test_a_line_of_a_file_keeps_a_dotted_name_as_it_is(world: World) -> None:
    loaded(world, partial(LoadToFilesOperator, path=f"file://{world.path}/lake", fields=NESTED, format="jsonl"))

    (file,) = (world.path / "lake").rglob("part-*")
    assert json.loads(file.read_text().splitlines()[1])["properties.home.phone"] == "+491"


def test_a_table_keeps_a_dotted_name_as_the_name_of_a_column(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = {"conn_type": "sqlite", "host": str(world.path / "crm.db")}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(crm))
    loaded(world, partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=NESTED))

    with closing(sqlite3.connect(world.path / "crm.db")) as connection:
        rows = connection.execute('SELECT "properties.home.phone" FROM people ORDER BY id').fetchall()
    assert rows == [("+490",), ("+491",)]


@pytest.mark.parametrize(
    ("default", "choice", "expected"),
    [
        ("null", "omit", {"id": 0}),
        ("omit", "send", {"id": 0, "city": None}),
        ("omit", "clear", {"id": 0, "city": None}),
        ("null", None, {"id": 0, "city": None}),
    ],
)
def test_a_field_has_its_own_nulls_beside_the_default_of_a_webhook(
    world: World, vendor: Receiver, default: str, choice: str | None, expected: dict[str, Any]
) -> None:
    nulls = {} if choice is None else {"city": choice}

    loaded(world, webhook(fields={"id": "id", "city": "city"}, nulls=default, field_nulls=nulls))

    assert vendor.people[0] == expected


def test_a_field_that_consent_withholds_is_sent_as_null_whatever_its_nulls_are(world: World, vendor: Receiver) -> None:
    world.answers(False, True)
    fields = {"id": "id", "phone": "phone_e164"}

    world.load(webhook(fields=fields, field_nulls={"phone": "omit"}))

    assert vendor.people[0] == {"id": 0, "phone": None}


@pytest.mark.parametrize(("default", "choice", "left"), [("overwrite", "omit", "Bonn"), ("keep", "clear", None)])
def test_a_field_has_its_own_nulls_beside_the_default_of_a_table(
    world: World, monkeypatch: pytest.MonkeyPatch, default: Any, choice: Any, left: str | None
) -> None:
    crm = {"conn_type": "sqlite", "host": str(world.path / "crm.db")}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(crm))
    with closing(sqlite3.connect(world.path / "crm.db")) as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, city TEXT, other TEXT)")
        connection.execute("INSERT INTO people VALUES (0, 'Bonn', 'Bonn')")
        connection.commit()
    fields = {"id": "id", "city": "city", "other": "city"}

    loaded(
        world,
        partial(
            LoadToSqlTableOperator,
            conn_id="crm",
            table="people",
            fields=fields,
            nulls=default,
            field_nulls={"city": choice},
        ),
    )

    with closing(sqlite3.connect(world.path / "crm.db")) as connection:
        (row,) = connection.execute("SELECT city, other FROM people WHERE id = 0").fetchall()
    assert row == (left, "Bonn" if default == "keep" else None)


@pytest.mark.parametrize(
    ("nulls", "message"),
    [
        ({"citi": "omit"}, "field_nulls names `citi`, which is no field of the load, did you mean `city`"),
        ({"city": "drop"}, r"field_nulls\['city'\] must be `send`, `omit` or `clear`"),
    ],
)
def test_nulls_that_no_field_or_no_destination_has_are_refused_when_the_dag_is_parsed(
    nulls: dict[str, Any], message: str
) -> None:
    load = webhook(fields={"id": "id", "city": "city"}, field_nulls=nulls)

    with pytest.raises(ConfigurationError, match=message):
        load(task_id="load", permitted={}, destination="crm")


def test_a_destination_without_a_choice_for_a_field_refuses_them(world: World) -> None:
    files = partial(LoadToFilesOperator, path=f"file://{world.path}/lake", fields={"id": "id", "city": "city"})

    with task_fails(match="FilesDestination has no choice for a single field, not `omit`"):
        loaded(world, files, field_nulls={"city": "omit"})
