"""No message of the server that came while rows were computed is shown: its words may be a value of a row."""

from __future__ import annotations

from typing import Any

import pytest
from support.log_lines import task_fails
from support.postgres import Postgres

from airflow_consent_retl.operators import ExtractModelOperator

CANARY = "canary9f@x.example"
QUOTING = [
    "current_setting(email)",
    "set_config(email, 'x', true)",
    "nextval(email)",
    "email::regclass::text",
    "email::regtype::text",
    "email::regproc::text",
    "to_regclass(email)::oid::text || email::regrole::text",
    "quoting(email)",
]


@pytest.fixture
def people(postgres_driver: Postgres) -> Postgres:
    with postgres_driver.connect() as connection:
        connection.execute("DROP SCHEMA IF EXISTS staging CASCADE; CREATE SCHEMA staging; DROP TABLE IF EXISTS people")
        connection.execute(
            f"CREATE TABLE people AS SELECT i AS id, '{CANARY}' || i AS email FROM generate_series(1, 3) i"
        )
        connection.execute(
            "CREATE OR REPLACE FUNCTION quoting(email text) RETURNS text LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION USING ERRCODE = '42704', MESSAGE = 'no such setting: ' || email; END $$"
        )
    return postgres_driver


def refusal(sql: str, workspace: Any) -> str:
    with task_fails() as refused:
        ExtractModelOperator(
            task_id="extract", model="m", conn_id="pg", sql=sql, primary_key="id", workspace=workspace
        ).execute({})
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    return str(refused.value)


@pytest.fixture(params=["files", "warehouse:staging"])
def place(request: pytest.FixtureRequest, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "documents").as_uri())
    return (tmp_path / "rows").as_uri() if request.param == "files" else str(request.param)


@pytest.mark.parametrize("expression", QUOTING)
def test_a_function_that_quotes_a_row_is_not_quoted(expression: str, place: str, people: Postgres) -> None:
    message = refusal(f"SELECT id, {expression} AS x FROM people", place)

    assert "canary" not in message
    assert "the query failed while its rows were read on connection `pg`" in message


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT id, emial FROM people", 'column "emial" does not exist'),
        ("SELECT id FROM poeple", 'relation "poeple" does not exist'),
        ("SELECT id FRM people", "syntax error at or near"),
        ("SELECT id, no_such(email) FROM people", "function no_such(text) does not exist"),
        ("SELECT id FROM nowhere.people", 'relation "nowhere.people" does not exist'),
    ],
)
def test_a_message_about_the_statement_is_shown(sql: str, said: str, place: str, people: Postgres) -> None:
    assert said in refusal(sql, place)
