"""Extraction from Snowflake: through the unmodified hook, in chunks, the same whatever the account's settings."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.snapshots import extracted as extracted_by
from support.snowflake_server import Snowflake

from airflow_consent_retl.databases.source import ModelQuery, read_model
from airflow_consent_retl.errors import ModelError, SourceUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.operators.extract import ExtractModelOperator

MANY = "SELECT SEQ8() AS id, 'text ' || SEQ8() AS name FROM TABLE(GENERATOR(ROWCOUNT => 100000))"


def test_a_snapshot_holds_what_the_table_holds(snowflake: Snowflake, tmp_path: Path) -> None:
    snowflake.run(
        'CREATE TABLE people (id NUMBER(38, 0), "eMail" VARCHAR, ads_ok BOOLEAN)',
        "INSERT INTO people VALUES (1, 'a@example.com', TRUE), (2, NULL, FALSE), (3, '', NULL)",
    )
    operator = ExtractModelOperator(
        task_id="extract",
        model="people",
        conn_id="snow",
        sql="SELECT * FROM people ORDER BY id; -- all of them",
        primary_key="ID",
        workspace=tmp_path.as_uri(),
    )

    snapshot, rows = extracted_by(operator.execute({}))

    assert rows.to_pylist() == [
        {"ID": 1, "eMail": "a@example.com", "ADS_OK": True},
        {"ID": 2, "eMail": None, "ADS_OK": False},
        {"ID": 3, "eMail": "", "ADS_OK": None},
    ]
    assert [column.type for column in snapshot.manifest.columns] == ["int64", "string", "bool"]


def test_a_primary_key_in_another_case_is_refused_with_the_right_spelling(extracted: Callable[..., pa.Table]) -> None:
    with pytest.raises(ModelError, match="does not return the primary key `id`, did you mean `ID`"):
        extracted("SELECT 1 AS id", primary_key="id")


def test_only_the_wanted_columns_are_read(extracted: Callable[..., pa.Table]) -> None:
    table = extracted('SELECT 1 AS id, 2 AS "a""b", 3 AS c -- the end', columns=("ID", 'a"b'))

    assert table.to_pylist() == [{"ID": 1, 'a"b': 2}]


def test_what_formats_elsewhere_is_text_in_a_query(extracted: Callable[..., pa.Table]) -> None:
    table = extracted("SELECT 1 AS id, '%s %(x)s ; ?' AS x WHERE 'a' LIKE '%'")

    assert table["X"].to_pylist() == ["%s %(x)s ; ?"]


def test_the_query_can_only_read(snowflake: Snowflake, extracted: Callable[..., pa.Table]) -> None:
    snowflake.run("CREATE TABLE people (id INT)", "INSERT INTO people VALUES (1)")

    with pytest.raises(ModelError, match="the query failed"):
        extracted("DELETE FROM people")

    assert snowflake.run("SELECT COUNT(*) FROM people") == [(1,)]


def test_batches_are_no_larger_than_asked(snowflake: Snowflake) -> None:
    query = ModelQuery(conn_id="snow", sql=MANY, primary_key="ID", batch_rows=1000)

    with read_model(sql_hook("snow"), query) as rows:
        sizes = [batch.num_rows for batch in rows.batches]

    assert sum(sizes) == 100_000
    assert max(sizes) == 1000


def test_chunks_are_downloaded_as_they_are_read(snowflake: Snowflake) -> None:
    query = ModelQuery(conn_id="snow", sql=MANY.replace("100000", "2000000"), primary_key="ID")

    with read_model(sql_hook("snow"), query) as rows:
        next(iter(rows.batches))

    seen = snowflake.server.control()
    assert 1 <= len(seen["downloads"]) <= 3
    assert seen["chunks"] > 5


def test_fewer_rows_than_promised_are_an_incomplete_result(
    snowflake: Snowflake, extracted: Callable[..., pa.Table]
) -> None:
    described = {"name": "ID", "type": "fixed", "scale": 0, "precision": 38, "length": None}
    metadata = {"logicalType": "FIXED", "scale": "0", "precision": "38"}
    snowflake.answer("^SELECT", [(described, pa.array([1, 2], pa.int8()), metadata)], total=3)

    with pytest.raises(SourceUnavailableError, match="incomplete: 2 of 3 rows"):
        extracted("SELECT * FROM people")


def test_the_session_does_not_depend_on_the_accounts_settings(
    snowflake: Snowflake, extracted: Callable[..., pa.Table]
) -> None:
    extracted("SELECT 1 AS id")

    settings = snowflake.seen("SELECT * FROM (")[0]["parameters"]
    assert settings["TIMEZONE"] == "UTC"
    assert settings["ROWS_PER_RESULTSET"] == "0"
    assert settings["STRICT_JSON_OUTPUT"] == "TRUE"
    assert settings["ABORT_DETACHED_QUERY"] == "TRUE"
    assert settings["CLIENT_SESSION_KEEP_ALIVE"] == "FALSE"


def test_the_query_tag_says_which_task_it_is(
    snowflake: Snowflake, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Left by whatever ran in this process before.
    monkeypatch.delenv("AIRFLOW_CTX_DAG_RUN_ID", raising=False)
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "it's \\ a dag")
    monkeypatch.setenv("AIRFLOW_CTX_TASK_ID", "extract")

    extracted("SELECT 1 AS id")

    tag = json.loads(snowflake.seen("SELECT * FROM (")[0]["parameters"]["QUERY_TAG"])
    assert tag == {"app": "airflow-consent-retl", "dag_id": "it's \\ a dag", "task_id": "extract"}


def test_a_tag_of_the_connection_stays_and_its_time_zone_does_not(
    snowflake: Snowflake, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {"QUERY_TAG": "finance", "timezone": "Europe/Berlin"}
    monkeypatch.setenv("AIRFLOW_CONN_SNOW", snowflake.airflow_connection(session_parameters=own))

    extracted("SELECT 1 AS id")

    settings = {name.upper(): value for name, value in snowflake.seen("SELECT * FROM (")[0]["parameters"].items()}
    assert settings["QUERY_TAG"] == "finance"
    assert settings["TIMEZONE"] == "UTC"


def test_an_account_that_knows_not_every_client_setting_is_read_all_the_same(
    snowflake: Snowflake, extracted: Callable[..., pa.Table]
) -> None:
    snowflake.fail(
        "CLIENT_RESULT_CHUNK_SIZE",
        errno=1006,
        sqlstate="22023",
        message="SQL compilation error:\ninvalid parameter 'CLIENT_RESULT_CHUNK_SIZE'",
    )

    table = extracted("SELECT 1 AS id")

    assert table.num_rows == 1
    assert snowflake.seen("SELECT * FROM (")[0]["parameters"]["TIMEZONE"] == "UTC"


def test_no_row_reaches_the_log(
    snowflake: Snowflake, extracted: Callable[..., pa.Table], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    snowflake.run(
        "CREATE TABLE people (id INT, email VARCHAR)", "INSERT INTO people VALUES (1, REVERSE('moc.elpmaxe@yranac'))"
    )

    table: Any = extracted("SELECT * FROM people")

    assert table["EMAIL"].to_pylist() == ["canary@example.com"]
    assert "canary@example.com" not in caplog.text
