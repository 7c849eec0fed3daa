"""Tests of errors: they name the problem, contain no value of a row, and leave nothing behind."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.log_lines import task_fails

from airflow_consent_retl.errors import SourceUnavailableError

CANARY = "canary-7f3a@example.com"
ID_FROM = {"duck": "FROM range(3) AS r(id)", "lite": "FROM people", "pg": "FROM generate_series(0, 2) AS r(id)"}


@pytest.fixture
def sources(run_duckdb: Any, run_sqlite: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the connections `duck`, `lite` and `pg`."""
    run_sqlite("CREATE TABLE people (id); INSERT INTO people VALUES (0), (1), (2)")
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())


@pytest.mark.parametrize("conn_id", ["duck", "lite", "pg"])
@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT id AS user_id {source}", "does not return the primary key `id`"),
        ("SELECT id AS idd {source}", "did you mean `idd`"),
        ("SELECT id, id AS email, id AS email {source}", "returns column `email` 2 times"),
        ('SELECT id, id AS "ID" {source}', "columns `id` and `ID`, which differ by case only"),
        ("SELECT NULL AS id {source}", r"primary key `id` is NULL in 3 of 3 rows"),
        ("SELECT CASE id WHEN 1 THEN NULL ELSE id END AS id {source}", "is NULL in 1 of 3 rows"),
        ("SELECT 'x' AS id {source}", "not unique: in 3 rows, 1 id occurs more than once"),
        ("SELECT id % 2 AS id {source}", "not unique: in 3 rows, 1 id occurs more than once"),
        ("SELECT id + CAST(0.5 AS DOUBLE PRECISION) AS id {source}", "an id that passes through a float"),
        ("SELECT nope {source}", "nope"),
        ("SELECT id FROM no_such_table", "no_such_table"),
        ("SELEC id", "syntax error"),
    ],
)
@pytest.mark.usefixtures("sources")
def test_names_what_is_wrong_with_the_query(conn_id: str, sql: str, message: str, workspace: Any) -> None:
    with task_fails(match=f"(?i){message}"):
        workspace.extract(sql.format(source=ID_FROM[conn_id]), conn_id=conn_id)

    assert not workspace.files()


def test_a_name_that_is_too_long_is_refused(workspace: Any, run_duckdb: Any) -> None:
    with task_fails(match="has a name of 129 characters"):
        workspace.extract(f"SELECT 1 AS id, 2 AS {'x' * 129}", conn_id="duck")


@pytest.mark.parametrize(
    ("conn_id", "sql"),
    [
        ("duck", f"SELECT CAST(x AS INTEGER) AS id FROM (VALUES ('{CANARY}'), ('1')) AS t(x)"),
        ("duck", f"SELECT 1 AS id, error('{CANARY}')"),
        ("lite", f"SELECT 1 AS id, CAST(x'ff' || '{CANARY}' AS TEXT) AS email"),
        ("lite", f"SELECT 1 AS id, json('{CANARY}') AS doc"),
        ("pg", f"SELECT x::int AS id FROM (VALUES ('{CANARY}'), ('1')) AS t(x)"),
        ("pg", f"SELECT 1 AS id, ('{CANARY}' || i)::date AS d FROM generate_series(1, 2) i"),
    ],
)
@pytest.mark.usefixtures("sources")
def test_a_driver_that_quotes_a_row_is_not_quoted(
    conn_id: str, sql: str, workspace: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with task_fails(match=r"the query failed|is not UTF-8") as failure:
        workspace.extract(sql, conn_id=conn_id)

    assert "canary" not in repr(failure.value)
    assert failure.value.__context__ is None
    assert failure.value.__cause__ is None
    assert "canary" not in caplog.text
    assert not workspace.files()


def test_a_column_of_text_and_integers_asks_for_a_cast(workspace: Any, run_sqlite: Any) -> None:
    run_sqlite("CREATE TABLE people (id, x)")
    run_sqlite("INSERT INTO people VALUES (?, ?)", [(1, 5), (2, CANARY)])

    for batch_rows in (1, 100):
        with task_fails(match=r"column `x` holds (int64|integer) and (string|text).*cast") as e:
            workspace.extract("SELECT * FROM people", conn_id="lite", batch_rows=batch_rows)

        assert CANARY not in str(e.value)
        assert not workspace.files()


def test_an_integer_that_is_not_exact_as_a_float_is_refused_with_floats(workspace: Any, run_sqlite: Any) -> None:
    run_sqlite("CREATE TABLE people (id, x)")
    run_sqlite("INSERT INTO people VALUES (?, ?)", [(1, 2**53 + 1), (2, 0.5)])

    for batch_rows in (1, 100):
        with task_fails(match="column `x`"):
            workspace.extract("SELECT * FROM people", conn_id="lite", batch_rows=batch_rows)


@pytest.mark.parametrize("infinite", ["'infinity'::date", "'-infinity'::timestamp", "'infinity'::timestamptz"])
@pytest.mark.parametrize("conn_id", ["duck", "pg"])
@pytest.mark.usefixtures("sources")
def test_infinite_dates_are_refused(conn_id: str, infinite: str, workspace: Any) -> None:
    with task_fails(match="column `x` holds"):
        workspace.extract(f"SELECT 1 AS id, {infinite} AS x", conn_id=conn_id)


@pytest.mark.parametrize(
    "expression", ["170141183460469231731687303715884105727::HUGEINT", "union_value(a := 1)", "[5::HUGEINT]"]
)
def test_duckdb_types_without_an_exact_counterpart_are_refused(
    expression: str, workspace: Any, run_duckdb: Any
) -> None:
    with task_fails() as refusal:
        workspace.extract(f"SELECT 1 AS id, {expression} AS x", conn_id="duck")

    assert "17014118346" not in str(refusal.value)


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"emial": "string"}, "column_types names `emial`, which the query does not return, did you mean `email`"),
        ({"email": "strng"}, "names no type: `strng`, did you mean `string`"),
        ({"email": "integer"}, "names no type: `integer`"),
    ],
)
def test_a_wrong_declared_type_is_named(types: dict[str, str], message: str, workspace: Any, run_duckdb: Any) -> None:
    with task_fails(match=message):
        workspace.extract("SELECT 1 AS id, 'x' AS email", conn_id="duck", column_types=types)


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_missing_file_is_an_error_and_is_not_created(
    kind: str, tmp_path: Path, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setenv("AIRFLOW_CONN_GONE", json.dumps({"conn_type": kind, "host": str(missing)}))

    with task_fails(match="a file that does not exist"):
        workspace.extract("SELECT 1 AS id", conn_id="gone")

    assert not missing.exists()


def test_a_missing_connection_is_named(workspace: Any, airflow_db: Path) -> None:
    with task_fails(match="no connection `nowhere`"):
        workspace.extract("SELECT 1 AS id", conn_id="nowhere")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nonsense", "of type `nonsense`, whose hook is not installed"),
        ("fs", "of type `fs`, which is no SQL connection|has no hook"),
    ],
)
def test_a_connection_of_another_kind_is_named(
    kind: str, message: str, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps({"conn_type": kind}))

    with task_fails(match=message):
        workspace.extract("SELECT 1 AS id", conn_id="other")


@pytest.mark.parametrize(
    ("conn_id", "sql"), [("duck", "DELETE FROM people"), ("lite", "DELETE FROM people"), ("duck", "")]
)
@pytest.mark.usefixtures("sources")
def test_only_queries_run(conn_id: str, sql: str, workspace: Any, tmp_path: Path) -> None:
    with task_fails():
        workspace.extract(sql, conn_id=conn_id)

    with closing(sqlite3.connect(tmp_path / "source.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM people").fetchall() == [(3,)]


def test_a_locked_sqlite_file_is_retried(workspace: Any, run_sqlite: Any, tmp_path: Path) -> None:
    path = tmp_path / "source.sqlite"
    run_sqlite("CREATE TABLE people (id)")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")

        with pytest.raises(SourceUnavailableError, match="the database is locked"):
            workspace.extract("SELECT id FROM people", conn_id="lite")


def test_a_postgres_that_does_not_answer_is_retried(
    workspace: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = {"conn_type": "postgres", "host": str(tmp_path), "login": "x", "schema": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps(connection))

    with pytest.raises(SourceUnavailableError, match="connection `pg` is not available"):
        workspace.extract("SELECT 1 AS id", conn_id="pg")


def test_a_postgres_session_that_is_ended_is_retried(workspace: Any, postgres_driver: Any) -> None:
    sql = (
        "SELECT i AS id, CASE i WHEN 500 THEN pg_terminate_backend(pg_backend_pid()) END FROM generate_series(1, 999) i"
    )

    with pytest.raises(SourceUnavailableError, match="connection `pg` is not available"):
        workspace.extract(sql, conn_id="pg", batch_rows=10)

    assert not workspace.files()


def test_a_database_that_does_not_exist_is_not_retried(
    workspace: Any, postgres: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection(database="nowhere"))

    with task_fails(match='database "nowhere" does not exist'):
        workspace.extract("SELECT 1 AS id", conn_id="pg")


def test_postgres_cannot_be_written_to(workspace: Any, postgres_driver: Any) -> None:
    with postgres_driver.connect() as connection:
        connection.execute("DROP SEQUENCE IF EXISTS s; CREATE SEQUENCE s")

    with task_fails(match="SQLSTATE 25006"):
        workspace.extract("SELECT nextval('s') AS id", conn_id="pg")


def test_a_duckdb_file_that_this_process_writes_is_read_through_the_same_instance(
    workspace: Any, run_duckdb: Any, tmp_path: Path
) -> None:
    with duckdb.connect(str(tmp_path / "source.duckdb")) as writer:
        writer.execute("CREATE TABLE people AS SELECT 1 AS id")

        extracted = workspace.extract("SELECT * FROM people", conn_id="duck")

    assert extracted.column("id") == [1]
