"""A query on Snowflake ends when nobody will read it: cancelled from outside, left by its task, or submitted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pyarrow as pa
import pytest
from support.snowflake_server import Snowflake
from support.stopping import PATIENCE_S, TaskStoppedError, cancel_until_over, stopped_when

from airflow_consent_retl.databases.source import ModelQuery, read_model, source_of
from airflow_consent_retl.databases.submitted import submitted_queries
from airflow_consent_retl.errors import ModelError, SourceUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook

NUMBERS = "(SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 10000000)))"
ENDLESS = f"SELECT a.n AS id FROM {NUMBERS} a, {NUMBERS} b WHERE a.n + b.n < 0"


def query(sql: str, *, query_id: str | None = None) -> ModelQuery:
    return ModelQuery(conn_id="snow", sql=sql, primary_key="ID", query_id=query_id)


def test_leaving_in_the_middle_cancels_the_query(snowflake: Snowflake) -> None:
    began = time.monotonic()

    with (
        pytest.raises(TaskStoppedError),
        stopped_when(lambda: snowflake.seen("SELECT * FROM (")),
        read_model(sql_hook("snow"), query(ENDLESS)),
    ):
        pass

    session = snowflake.seen("SELECT * FROM (")[0]["session"]
    assert [told["text"] for told in snowflake.seen("SELECT SYSTEM$")] == [
        f"SELECT SYSTEM$CANCEL_ALL_QUERIES({session})"
    ]
    assert time.monotonic() - began < PATIENCE_S


def test_leaving_a_query_that_is_over_cancels_nothing(snowflake: Snowflake) -> None:
    with read_model(sql_hook("snow"), query("SELECT 1 AS id")):
        pass

    assert not snowflake.seen("SELECT SYSTEM$")
    assert snowflake.server.control()["sessions"] == 0


def test_a_source_is_cancelled_from_another_thread(snowflake: Snowflake) -> None:
    source = source_of(sql_hook("snow"), query(ENDLESS))
    stopping = threading.Thread(target=cancel_until_over, args=[source, lambda: snowflake.seen("SELECT * FROM (")])

    stopping.start()
    with pytest.raises(SourceUnavailableError, match="cancelled from outside"), source.reading():
        pass

    stopping.join()
    assert not source.is_running


def test_a_submitted_query_is_read_by_another_session(snowflake: Snowflake, extracted: Callable[..., pa.Table]) -> None:
    source = source_of(
        sql_hook("snow"), query("SELECT SEQ8() AS id, '1:02:03'::TIME AS t FROM TABLE(GENERATOR(ROWCOUNT => 3))")
    )
    with submitted_queries(sql_hook("snow"), conn_id="snow") as queries:
        query_id = queries.submit(source.statement)
    with submitted_queries(sql_hook("snow"), conn_id="snow") as queries:
        while queries.is_running(query_id):
            time.sleep(0.05)

    table = extracted("SELECT never run", query_id=query_id)

    assert table["ID"].to_pylist() == [0, 1, 2]
    assert snowflake.seen("SELECT * FROM (")[0]["parameters"]["ABORT_DETACHED_QUERY"] == "FALSE"


def test_a_submitted_query_that_fails_says_why(snowflake: Snowflake, extracted: Callable[..., pa.Table]) -> None:
    with submitted_queries(sql_hook("snow"), conn_id="snow") as queries:
        query_id = queries.submit("SELECT * FROM no_such_table")

        with pytest.raises(ModelError, match="ProgrammingError 002003"):
            _wait(lambda: queries.is_running(query_id))
    with pytest.raises(ModelError, match="ProgrammingError 002003"):
        extracted("SELECT never run", query_id=query_id)


def _wait(is_running: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while is_running() and time.monotonic() < deadline:
        time.sleep(0.1)
