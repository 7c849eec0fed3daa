"""A query is stopped at its server when its task is: nobody would read what it goes on to find."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

import pytest
from support.postgres import Postgres

from airflow_consent_retl.databases.source import ModelQuery, Source, source_of
from airflow_consent_retl.errors import ConsentRetlError
from airflow_consent_retl.hooks.sql import sql_hook

ENDLESS = {
    "duck": "SELECT a.range + b.range AS id FROM range(10000000) a, range(10000000) b WHERE a.range + b.range < 0",
    "lite": "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n WHERE id < 0",
    "pg": "SELECT pg_sleep(600)::text AS id",
}


@pytest.fixture
def connections(
    postgres: Postgres, run_duckdb: Callable[[str], None], run_sqlite: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps(json.loads(postgres.airflow_connection())))


@pytest.mark.usefixtures("connections")
@pytest.mark.parametrize("conn_id", list(ENDLESS))
def test_cancelling_ends_a_query_that_would_run_for_long(conn_id: str) -> None:
    source = source_of(sql_hook(conn_id), ModelQuery(conn_id=conn_id, sql=ENDLESS[conn_id], primary_key="id"))
    stopping = threading.Timer(1, _stop_until_over, [source])
    began = time.monotonic()

    stopping.start()
    with pytest.raises(ConsentRetlError), source.reading() as rows:
        list(rows.batches)

    assert time.monotonic() - began < 60
    stopping.join()


def test_cancelling_is_no_error_where_no_query_runs(run_duckdb: Callable[[str], None]) -> None:
    source = source_of(sql_hook("duck"), ModelQuery(conn_id="duck", sql="SELECT 1 AS id", primary_key="id"))

    source.cancel()
    with source.reading() as rows:
        read = [batch.num_rows for batch in rows.batches]
    source.cancel()

    assert read == [1]


def _stop_until_over(source: Source) -> None:
    # What is stopped before it began is not stopped.
    while source.is_running:
        source.cancel()
        time.sleep(0.2)
