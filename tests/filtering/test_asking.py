"""Tests of consent that is read again from real sources: it can only take permission away."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from support.permitting import CONSENT, POLICY
from support.postgres import Postgres, postgres

from airflow_consent_retl.consent import RemovalCause, parse_consent_mapping, parse_policy
from airflow_consent_retl.databases.source import ModelQuery
from airflow_consent_retl.errors import ModelError, PolicyError, SourceUnavailableError
from airflow_consent_retl.filtering.asking import ConsentQuestion
from airflow_consent_retl.filtering.subject_index import SubjectIndex
from airflow_consent_retl.hooks.sql import sql_hook

__all__ = ["postgres"]

AT = datetime(2026, 11, 23, 19, 0, tzinfo=UTC)
Execute = Callable[[str], None]
COLUMNS = ("id", "email", "analytics_ok", "ads_ok")
SQL = "SELECT * FROM customers -- all of them\n;"


@pytest.fixture(params=["duckdb", "sqlite", "postgres"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """Make connection `warehouse` with an empty table, and return a function that runs a statement on it."""
    execute = {"duckdb": _duckdb, "sqlite": _sqlite, "postgres": _postgres}[request.param](
        request, tmp_path, monkeypatch
    )
    execute("DROP TABLE IF EXISTS customers")
    execute("CREATE TABLE customers (id BIGINT, email VARCHAR(99), analytics_ok BOOLEAN, ads_ok BOOLEAN)")
    return execute


def _duckdb(_: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    file = str(tmp_path / "warehouse.duckdb")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": file}))

    def execute(statement: str) -> None:
        with duckdb.connect(file) as connection:
            connection.execute(statement)

    return execute


def _sqlite(_: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    file = str(tmp_path / "warehouse.sqlite")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": file}))

    def execute(statement: str) -> None:
        with closing(sqlite3.connect(file)) as connection, connection:
            connection.execute(statement)

    return execute


def _postgres(request: pytest.FixtureRequest, _: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    server: Postgres = request.getfixturevalue("postgres")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", server.airflow_connection())

    def execute(statement: str) -> None:
        with server.connect() as connection:
            connection.execute(statement.encode())

    return execute


def question(**changes: Any) -> ConsentQuestion:
    return ConsentQuestion(
        **{
            "hook": sql_hook("warehouse"),
            "query": ModelQuery(
                conn_id="warehouse",
                sql=SQL,
                primary_key="id",
                column_types={"analytics_ok": pa.bool_(), "ads_ok": pa.bool_()},
            ),
            "columns": COLUMNS,
            "mapping": parse_consent_mapping(CONSENT),
            "id_type": pa.int64(),
            "policy": parse_policy(POLICY),
            "destinations": ["webhook"],
            **changes,
        }
    )


def not_permitted(ids: list[int], asked: ConsentQuestion, destination: str = "webhook") -> dict[str, list[int]]:
    """Return the ids in `ids` of people who are not permitted now, by cause."""
    with SubjectIndex([pa.array(ids, pa.int64())], pa.int64(), people=len(ids)) as people:
        found = people.not_permitted(asked.ask(at=AT), destination)
    return {str(cause): [ids[position] for position in positions.tolist()] for cause, positions in found.items()}


def test_names_people_who_lost_permission_with_the_cause(source: Execute) -> None:
    source(
        "INSERT INTO customers VALUES (1, 'a', TRUE, TRUE), (2, 'b', TRUE, FALSE), (3, 'c', TRUE, NULL), "
        "(5, 'e', TRUE, TRUE), (5, 'e', TRUE, TRUE), (6, 'f', TRUE, TRUE), (6, 'f', FALSE, TRUE), (7, 'g', TRUE, TRUE)"
    )

    found = not_permitted([7, 6, 5, 4, 3, 2, 1], question())

    assert found == {
        "consent_withdrawn": [6, 2],
        "consent_missing": [3],
        "left_model": [4],
        "id_ambiguous": [5],
    }


def test_reads_the_primary_key_and_the_needed_consent_columns_only(source: Execute) -> None:
    assert question(destinations=["ads"]).wanted_columns == ("id", "ads_ok")
    assert question(destinations=["ads"], withdrawn_at="email").wanted_columns == ("id", "ads_ok", "email")


def test_permits_no_one_when_the_table_is_empty(source: Execute) -> None:
    assert not_permitted([1, 2], question()) == {"left_model": [1, 2]}


def test_a_row_without_an_id_is_ignored(source: Execute) -> None:
    source("INSERT INTO customers VALUES (NULL, 'a', TRUE, TRUE), (1, 'a', TRUE, TRUE)")

    assert not_permitted([1, 2], question()) == {"left_model": [2]}


def test_a_stricter_policy_applies_at_once(source: Execute) -> None:
    source("INSERT INTO customers VALUES (1, 'a', TRUE, TRUE), (2, 'b', FALSE, TRUE)")
    stricter = {
        "categories": [{"id": "C0002", "name": "Analytics", "destinations": ["ads"]}, *POLICY["categories"][1:]]
    }

    before = not_permitted([1, 2], question(destinations=["ads"]), "ads")
    after = not_permitted([1, 2], question(destinations=["ads"], policy=parse_policy(stricter)), "ads")

    assert before == {}
    assert after == {"consent_withdrawn": [2]}


def test_a_consent_column_that_was_renamed_fails_the_question(source: Execute) -> None:
    source("ALTER TABLE customers RENAME COLUMN ads_ok TO advertising_ok")

    with pytest.raises((ModelError, PolicyError)):
        not_permitted([1], question())


def test_a_missing_table_fails_the_question(source: Execute) -> None:
    source("DROP TABLE customers")

    with pytest.raises(ModelError):
        not_permitted([1], question())


def test_many_people_in_many_batches_each_keep_their_own_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "warehouse.duckdb")
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": file}))
    with duckdb.connect(file) as connection:
        connection.execute(
            "CREATE TABLE customers AS SELECT i AS id, '' AS email, TRUE AS analytics_ok, i % 7 != 0 AS ads_ok "
            "FROM range(400000) AS r(i) ORDER BY hash(i)"
        )
    ids = np.arange(400_100)[::-1]
    arrays = [pa.array(ids[start : start + 10_000]) for start in range(0, len(ids), 10_000)]

    with SubjectIndex(arrays, pa.int64(), people=len(ids)) as people:
        found = people.not_permitted(question().ask(at=AT), "webhook")

    assert set(ids[found[RemovalCause.CONSENT_WITHDRAWN]].tolist()) == set(range(0, 400_000, 7))
    assert set(ids[found[RemovalCause.LEFT_MODEL]].tolist()) == set(range(400_000, 400_100))
    assert len(found) == 2


def test_an_error_of_the_source_is_raised_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "warehouse.sqlite"
    monkeypatch.setenv(
        "AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "sqlite", "host": str(file), "extra": {"timeout": "0.05"}})
    )
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE customers (id, email, analytics_ok, ads_ok)")
        connection.commit()
        connection.execute("BEGIN EXCLUSIVE")

        with pytest.raises(SourceUnavailableError):
            not_permitted([1], question())
