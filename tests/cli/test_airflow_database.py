"""A verb reads Variables and connections from Airflow's metadata database, where its process reaches it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crm_sync import POLICY, CrmSync

from airflow_consent_retl.hooks.outside_of_tasks import database_obstacle

from .conftest import Run


@pytest.fixture
def stored(airflow_db: Path, tmp_path: Path) -> Iterator[None]:
    """Store a policy in a Variable, and a connection."""
    from airflow.models import Connection, Variable
    from airflow.utils.session import create_session

    rows = [
        Variable(key="stored_policy", val=json.dumps(POLICY)),  # type: ignore[no-untyped-call]
        Connection(conn_id="stored_people", conn_type="sqlite", host=str(tmp_path / "source.db")),
    ]
    with create_session() as session:
        session.add_all(rows)
    yield
    with create_session() as session:
        for row in rows:
            session.delete(row)


@pytest.mark.usefixtures("stored")
def test_variables_and_connections_of_the_database_are_read(run: Run, crm: CrmSync) -> None:
    policy = run("diff", "variable:stored_policy", f"file:{crm.path}/policy.json")
    people = run("forget", "--sql", "SELECT id FROM people", "--conn-id", "stored_people", "--json")

    assert policy.out == "the two policies are the same\n", policy.err
    assert people.document[0]["people"] == 3, people.err
    assert "_AIRFLOW_PROCESS_CONTEXT" not in os.environ


@pytest.mark.usefixtures("stored")
def test_the_environment_comes_before_the_database(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_STORED_POLICY", json.dumps({**POLICY, "unmapped_destinations": "permit"}))
    monkeypatch.setenv("AIRFLOW_VAR_STORED_TOO", json.dumps(POLICY))

    compared = run("diff", "variable:stored_too", "variable:stored_policy", "--json")

    assert compared.document["opens"] == ["destinations that the policy does not name receive every row"]


def test_a_name_that_is_nowhere_is_told_without_an_obstacle_where_the_database_is_read(
    run: Run, airflow_db: Path
) -> None:
    refused = run("lint", "variable:not_there")

    assert "airflow variables set not_there" in refused.err
    assert "is not read" not in refused.err


@pytest.mark.parametrize(
    ("url", "obstacle"),
    [
        ("sqlite:////nowhere/airflow.db", "there is no file `/nowhere/airflow.db`"),
        ("postgresql+psycopg2://ida:secret@127.0.0.1:1/airflow", "postgresql+psycopg2://ida:***@127.0.0.1:1/airflow"),
        ("ida:secret", "is no URL"),
    ],
)
def test_a_database_that_is_not_reached_is_told_only_where_it_matters(
    run: Run, crm: CrmSync, monkeypatch: pytest.MonkeyPatch, url: str, obstacle: str
) -> None:
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    monkeypatch.setenv("AIRFLOW_VAR_IN_THE_ENVIRONMENT", json.dumps(POLICY))
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")

    fine, refused = run("lint", "variable:in_the_environment"), run("lint", "variable:not_there")

    assert fine.code == 0
    assert fine.err == ""
    assert refused.code == 2
    assert obstacle in refused.err
    assert "ida:secret" not in refused.err
    assert "Traceback" not in refused.err
    assert os.environ["_AIRFLOW_PROCESS_CONTEXT"] == "server"


def test_a_file_without_airflows_tables_is_no_database_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "airflow.db").touch()
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", f"sqlite:///{tmp_path}/airflow.db")

    assert "no such table: variable" in (database_obstacle() or "")
