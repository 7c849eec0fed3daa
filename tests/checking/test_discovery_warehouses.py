"""The sample of Snowflake and of BigQuery: bounded, taken by the warehouse, and of the columns that may be read."""

from __future__ import annotations

from typing import Any

from support.bigquery_server import BigQuery
from support.snowflake_server import Snowflake

from airflow_consent_retl.checking.discovery.finder import Discovery, discover
from airflow_consent_retl.operators.model_source import model_source


def found(conn_id: str, sql: str) -> Discovery:
    given: dict[str, Any] = {"hook_params": None, "session_time_zone": None, "column_types": None}
    return discover(model_source(conn_id=conn_id, sql=sql, consent_sources=(), **given), rows=50)


def test_snowflake_samples_a_query(snowflake: Snowflake) -> None:
    snowflake.run(
        "CREATE TABLE people AS SELECT SEQ8() AS user_id, 'u@x.example' AS email, TRUE AS ads_ok, 'no' AS ads_consent "
        "FROM TABLE(GENERATOR(ROWCOUNT => 1000))"
    )

    looked = found("snow", "SELECT * FROM people; -- all of them")

    assert (looked.rows, looked.not_read) == (50, ("USER_ID", "EMAIL"))
    assert [(one.column, one.category) for one in looked.proposals] == [("ADS_OK", "C0004"), ("ADS_CONSENT", "C0004")]
    assert looked.proposals[0].reading == {"granted": 50}


def test_bigquery_samples_a_query(bigquery: BigQuery) -> None:
    sql = (
        "SELECT n AS user_id, CONCAT('u', n, '@x.example') AS email, MOD(n, 2) = 0 AS ads_ok "
        "FROM UNNEST(GENERATE_ARRAY(1, 1000)) AS n"
    )

    looked = found("bq", sql)

    assert (looked.rows, looked.primary_key, looked.not_read) == (50, "user_id", ("user_id", "email"))
    assert [(one.column, one.category) for one in looked.proposals] == [("ads_ok", "C0004")]
    assert sum(looked.proposals[0].reading.values()) == 50
