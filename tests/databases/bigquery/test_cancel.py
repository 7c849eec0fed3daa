"""A job on BigQuery ends when nobody will read its result: cancelled from outside, left by its task, or submitted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pyarrow as pa
import pytest
from support.bigquery_server import BigQuery
from support.stopping import PATIENCE_S, TaskStoppedError, cancel_until_over, stopped_when

from airflow_consent_retl.databases.source import ModelQuery, read_model, source_of
from airflow_consent_retl.databases.submitted import submitted_queries
from airflow_consent_retl.errors import ConfigurationError, ModelError, SourceUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook

NUMBERS = "UNNEST(GENERATE_ARRAY(1, 1000000))"
ENDLESS = f"SELECT a AS id FROM {NUMBERS} a, {NUMBERS} b WHERE a + b < 0"


def query(sql: str) -> ModelQuery:
    return ModelQuery(conn_id="bq", sql=sql, primary_key="id")


def test_leaving_in_the_middle_cancels_the_job(bigquery: BigQuery) -> None:
    began = time.monotonic()

    with pytest.raises(TaskStoppedError), stopped_when(bigquery.jobs), read_model(sql_hook("bq"), query(ENDLESS)):
        pass

    (job,) = bigquery.jobs()
    assert job["is_cancelled"]
    assert time.monotonic() - began < PATIENCE_S


def test_leaving_a_query_that_is_over_cancels_nothing(bigquery: BigQuery) -> None:
    with read_model(sql_hook("bq"), query("SELECT 1 AS id")):
        pass

    assert not [seen for seen in bigquery.server.control()["requests"] if seen.endswith("/cancel")]


def test_leaving_in_the_middle_of_the_rows_ends_the_downloads(bigquery: BigQuery) -> None:
    many = query("SELECT n AS id, REPEAT('x', 100) AS x FROM UNNEST(GENERATE_ARRAY(1, 300000)) AS n")

    with read_model(sql_hook("bq"), many) as rows:
        next(rows.batches)

    assert not [thread for thread in threading.enumerate() if "_read" in thread.name]


def test_a_source_is_cancelled_from_another_thread(bigquery: BigQuery) -> None:
    source = source_of(sql_hook("bq"), query(ENDLESS))
    stopping = threading.Thread(target=cancel_until_over, args=[source, bigquery.jobs])

    stopping.start()
    with pytest.raises(SourceUnavailableError, match="cancelled from outside"), source.reading():
        pass

    stopping.join()
    assert not source.is_running


def test_a_submitted_query_is_read_by_another_session(bigquery: BigQuery, extracted: Callable[..., pa.Table]) -> None:
    with submitted_queries(sql_hook("bq"), conn_id="bq") as queries:
        query_id = queries.submit("SELECT n AS id FROM UNNEST(GENERATE_ARRAY(1, 5000)) AS n")
    with submitted_queries(sql_hook("bq"), conn_id="bq") as queries:
        _wait(lambda: queries.is_running(query_id))

    table = extracted("SELECT never run", query_id=query_id)

    assert query_id.startswith(f"{bigquery.project}:US.consent_retl_")
    assert sorted(table["id"].to_pylist()) == list(range(1, 5001))
    assert len(bigquery.jobs()) == 1


def test_a_submitted_query_that_still_runs_is_waited_for(
    bigquery: BigQuery, extracted: Callable[..., pa.Table]
) -> None:
    slow = "SELECT COUNT(*) AS id FROM UNNEST(GENERATE_ARRAY(1, 30000)) a, UNNEST(GENERATE_ARRAY(1, 30000)) b"
    with submitted_queries(sql_hook("bq"), conn_id="bq") as queries:
        query_id = queries.submit(slow)

    assert extracted(slow, query_id=query_id)["id"].to_pylist() == [900_000_000]


def test_a_query_that_cannot_be_run_is_not_submitted(bigquery: BigQuery) -> None:
    bigquery.dataset("staging")

    with submitted_queries(sql_hook("bq"), conn_id="bq") as queries, pytest.raises(ModelError, match="no_such_table"):
        queries.submit("SELECT * FROM staging.no_such_table")

    assert not bigquery.jobs()


def test_a_submitted_query_that_fails_says_so_and_quotes_no_row(
    bigquery: BigQuery, extracted: Callable[..., pa.Table]
) -> None:
    with submitted_queries(sql_hook("bq"), conn_id="bq") as queries:
        query_id = queries.submit("SELECT CAST(CONCAT('canary-', n) AS INT64) AS id FROM UNNEST([1, 2]) AS n")

        with pytest.raises(ModelError, match="the query failed") as failure:
            _wait(lambda: queries.is_running(query_id))
    with pytest.raises(ModelError, match="the query failed"):
        extracted("SELECT never run", query_id=query_id)

    assert "canary" not in repr(failure.value)


@pytest.mark.parametrize("query_id", ["01b2c3d4", "project.job", ":US.job"])
def test_what_is_no_query_id_is_refused(query_id: str, bigquery: BigQuery) -> None:
    with (
        submitted_queries(sql_hook("bq"), conn_id="bq") as queries,
        pytest.raises(ConfigurationError, match=r"project:location\.job"),
    ):
        queries.is_running(query_id)


def _wait(is_running: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while is_running() and time.monotonic() < deadline:
        time.sleep(0.1)
