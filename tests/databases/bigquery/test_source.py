"""Extraction from BigQuery: by the Storage API and by REST, as one job that says whose it is and what it cost."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pyarrow as pa
import pytest
from support.bigquery_server import BigQuery
from support.log_lines import unwrapped

from airflow_consent_retl.errors import ConfigurationError, ModelError, SourceUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook

MANY = "SELECT n AS id, CONCAT('p', n) AS email FROM UNNEST(GENERATE_ARRAY(1, 50000)) AS n"


def test_reads_every_row_by_the_storage_api(bigquery: BigQuery, extracted: Callable[..., pa.Table]) -> None:
    table = extracted(MANY)

    assert sorted(table["id"].to_pylist()) == list(range(1, 50_001))
    assert table.schema == pa.schema({"id": pa.int64(), "email": pa.string()})
    assert bigquery.server.control()["sessions"] == 1


def test_reads_a_small_result_without_a_session(bigquery: BigQuery, extracted: Callable[..., pa.Table]) -> None:
    table = extracted("SELECT 1 AS id; -- all")

    assert table.to_pylist() == [{"id": 1}]
    assert bigquery.server.control()["sessions"] == 0


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "UNIMPLEMENTED"])
def test_reads_by_rest_where_the_storage_api_may_not_be_used(
    code: str, bigquery: BigQuery, extracted: Callable[..., pa.Table], caplog: pytest.LogCaptureFixture
) -> None:
    bigquery.server.control(storage_answers=[code])

    table = extracted(MANY)

    assert sorted(table["id"].to_pylist()) == list(range(1, 50_001))
    assert "bigquery.readsessions.create" in unwrapped(caplog.text)


def test_reads_by_rest_where_there_is_no_storage_api(
    bigquery: BigQuery, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BQ", bigquery.airflow_connection(storage_endpoint=None))

    table = extracted(MANY)

    assert sorted(table["id"].to_pylist()) == list(range(1, 50_001))


def test_an_empty_result_has_a_schema(extracted: Callable[..., pa.Table]) -> None:
    table = extracted("SELECT 1 AS id, CAST('1.5' AS NUMERIC) AS Spent, [1] AS tags FROM (SELECT 1) WHERE FALSE")

    assert table.num_rows == 0
    assert table.schema == pa.schema({"id": pa.int64(), "Spent": pa.decimal128(38, 9), "tags": pa.string()})


def test_batches_hold_no_more_rows_than_asked_for(extracted: Callable[..., pa.Table]) -> None:
    table = extracted(MANY, batch_rows=700)

    assert max(len(batch) for batch in table.to_batches()) == 700


def test_reads_only_the_columns_that_are_wanted(bigquery: BigQuery, extracted: Callable[..., pa.Table]) -> None:
    sql = "SELECT 1 AS id, 'x' AS `select`, 'y' AS eMail; -- the last word;\n"

    table = extracted(sql, columns=("id", "select"))

    assert table.to_pylist() == [{"id": 1, "select": "x"}]
    assert bigquery.seen("consent_model")


def test_a_declared_type_wins(extracted: Callable[..., pa.Table]) -> None:
    table = extracted("SELECT '7' AS id", column_types={"id": "int64"})

    assert table.to_pylist() == [{"id": 7}]


def test_jobs_say_whose_they_are(
    bigquery: BigQuery, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BQ", bigquery.airflow_connection(labels={"Team": "Süd & West"}))
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", "customers.daily")
    # Left by whatever ran in this process before.
    for name in ("AIRFLOW_CTX_TASK_ID", "AIRFLOW_CTX_DAG_RUN_ID"):
        monkeypatch.delenv(name, raising=False)

    extracted("SELECT 1 AS id")

    (job,) = bigquery.jobs()
    assert job["id"].startswith("consent_retl_")
    assert job["configuration"]["labels"] == {
        "app": "airflow-consent-retl",
        "dag_id": "customers_daily",
        "team": "s_d___west",
    }


def test_jobs_run_where_and_as_the_connection_says(
    bigquery: BigQuery, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = {"location": "EU", "priority": "BATCH", "maximum_bytes_billed": "1000"}
    configs = {"query": {"useQueryCache": False}}
    monkeypatch.setenv("AIRFLOW_CONN_BQ", bigquery.airflow_connection(**extra, api_resource_configs=configs))

    extracted("SELECT 1 AS id")

    (job,) = bigquery.jobs()
    assert job["location"] == "EU"
    told = job["configuration"]["query"]
    assert (told["priority"], told["maximumBytesBilled"], told["useQueryCache"]) == ("BATCH", "1000", False)
    assert told["useLegacySql"] is False


def test_what_a_query_cost_is_logged(
    bigquery: BigQuery, extracted: Callable[..., pa.Table], caplog: pytest.LogCaptureFixture
) -> None:
    bigquery.server.control(processed_bytes=123_456_789)

    with caplog.at_level(logging.INFO):
        extracted("SELECT 1 AS id")

    assert "read 117.7 MiB, is billed 118.0 MiB" in unwrapped(caplog.text)


def test_a_query_that_would_cost_too_much_is_refused(
    bigquery: BigQuery, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    bigquery.server.control(processed_bytes=1)
    monkeypatch.setenv("AIRFLOW_CONN_BQ", bigquery.airflow_connection(maximum_bytes_billed=1000))

    with pytest.raises(ConfigurationError, match=r"limit is 1,000 bytes, the query needs 10,485,760"):
        extracted("SELECT 1 AS id")


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("CREATE TABLE staging.x AS SELECT 1 AS id", "not one query: CREATE_TABLE_AS_SELECT"),
        ("DECLARE x INT64 DEFAULT 1; SELECT x AS id", "not one query: SCRIPT"),
    ],
)
def test_what_is_no_query_never_runs(
    sql: str, told: str, bigquery: BigQuery, extracted: Callable[..., pa.Table]
) -> None:
    with pytest.raises(ModelError, match=told):
        extracted(sql)

    assert not bigquery.jobs()


def test_rows_that_do_not_come_fail_the_extraction(bigquery: BigQuery, extracted: Callable[..., pa.Table]) -> None:
    bigquery.server.control(lost_rows=1)

    with pytest.raises(SourceUnavailableError, match="49,999 of 50,000 rows"):
        extracted(MANY)


def test_a_connection_of_google_cloud_reads_bigquery(
    bigquery: BigQuery, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BQ", bigquery.airflow_connection(conn_type="google_cloud_platform"))

    assert sql_hook("bq").conn_type == "gcpbigquery"
    assert extracted("SELECT 1 AS id").to_pylist() == [{"id": 1}]


@pytest.mark.parametrize(
    "extra", [{"maximum_bytes_billed": "much"}, {"retry_timeout_s": "long"}, {"labels": "{"}, {"labels": "[]"}]
)
def test_a_wrong_setting_is_told(
    extra: dict[str, str], bigquery: BigQuery, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BQ", bigquery.airflow_connection(**extra))

    with pytest.raises(ConfigurationError, match=f"extra: .*{next(iter(extra))}"):
        extracted("SELECT 1 AS id")
