"""A load writes only the rows that its DAG allows it to write, and never keeps a value that consent withholds."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from support.guarding import FIELDS, World, receiving, webhook
from support.log_lines import task_fails

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields import consent
from airflow_consent_retl.operators import LoadToSqlTableOperator


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Three people of the model, two of whom the CRM has already, one with a number that a person typed."""
    world = World(tmp_path, monkeypatch)
    world.answers(True, True, True)
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}))
    with closing(sqlite3.connect(tmp_path / "crm.db")) as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, phone TEXT)")
        connection.execute("INSERT INTO people VALUES (0, 'typed'), (1, NULL)")
        connection.commit()
    return world


def load(write: Any, **options: Any) -> Any:
    options = {"fields": FIELDS, **options}
    return partial(LoadToSqlTableOperator, conn_id="crm", table="people", write=write, **options)


def phones(world: World) -> list[tuple[int, str | None]]:
    with closing(sqlite3.connect(world.path / "crm.db")) as connection:
        return connection.execute("SELECT id, phone FROM people ORDER BY id").fetchall()


@pytest.mark.parametrize(
    ("write", "expected", "rejected"),
    [
        ("upsert", [(0, "+490"), (1, "+491"), (2, "+492")], 0),
        ("create_only", [(0, "typed"), (1, None), (2, "+492")], 0),
        ("update_only", [(0, "+490"), (1, "+491")], 1),
        ("fill_empty", [(0, "typed"), (1, "+491"), (2, "+492")], 0),
    ],
)
def test_each_way_of_writing_touches_only_its_rows(
    world: World, write: str, expected: list[tuple[int, str | None]], rejected: int
) -> None:
    counts = world.load(load(write), max_rejected_ratio=1)

    assert phones(world) == expected
    assert (counts["rejected"], counts["accepted"]) == (rejected, 3 - rejected)
    again = world.load(load(write), max_rejected_ratio=1)
    assert (again["unchanged"], again["added"]) == (3 - rejected, rejected)


@pytest.mark.parametrize("write", ["create_only", "update_only", "fill_empty"])
def test_a_withheld_field_is_emptied_by_a_load_however_rows_are_written(world: World, write: str) -> None:
    world.load(load(write), max_rejected_ratio=1)
    world.answers(False, True, True)

    world.load(load(write), max_rejected_ratio=1)

    assert phones(world)[0] == (0, None)


def test_a_person_who_appears_later_is_updated_by_the_next_load(world: World) -> None:
    world.load(load("update_only"), max_rejected_ratio=1)
    with closing(sqlite3.connect(world.path / "crm.db")) as connection:
        connection.execute("INSERT INTO people VALUES (2, NULL)")
        connection.commit()

    counts = world.load(load("update_only"))

    assert (counts["rejected"], phones(world)[2]) == (0, (2, "+492"))


def test_a_destination_that_cannot_write_so_refuses_before_a_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(monkeypatch) as vendor:
        with task_fails(match="WebhookDestination can upsert, not `create_only`"):
            world.load(webhook(fields=FIELDS, write="create_only"))

        assert vendor.received == []


@pytest.mark.parametrize("write", ["create_only", "fill_empty"])
def test_an_answer_that_could_never_be_taken_back_is_refused_when_the_dag_is_parsed(write: str) -> None:
    fields = {"id": "id", "calls": consent("C0005", granted="yes", otherwise="no")}

    with DAG("d"), pytest.raises(ConfigurationError, match="a yes that ends would never arrive"):
        load(write, fields=fields)(task_id="load", permitted={}, destination="ads")
