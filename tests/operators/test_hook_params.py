"""What a task tells its connection's hook holds for that task only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from support.bigquery_server import BigQuery
from support.postgres import Postgres, postgres
from support.snowflake_server import Snowflake

from airflow_consent_retl.operators.extract import ExtractModelOperator

__all__ = ["postgres"]


def extract(conn_id: str, folder: Path, *, sql: str = "SELECT 1 AS id", **options: Any) -> Any:
    operator = ExtractModelOperator(
        task_id="extract",
        model="people",
        conn_id=conn_id,
        sql=sql,
        primary_key=options.pop("primary_key", "id"),
        workspace=options.pop("workspace", folder.as_uri()),
        **options,
    )
    return operator.execute({})


@pytest.mark.parametrize("workspace", ["files", "warehouse:staging"])
def test_bigquery_is_told_the_labels_and_what_may_be_billed(
    workspace: str, bigquery: BigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
    bigquery.dataset("staging")
    told = {"labels": {"team": "crm"}, "api_resource_configs": {"query": {"maximumBytesBilled": "20971520"}}}
    where = {} if workspace == "files" else {"workspace": workspace}

    extract("bq", tmp_path, hook_params=told, **where)

    jobs = [job["configuration"] for job in bigquery.jobs() if "SELECT 1 AS id" in str(job["configuration"])]
    assert jobs
    assert {job["labels"]["team"] for job in jobs} == {"crm"}
    assert {job["query"]["maximumBytesBilled"] for job in jobs} == {"20971520"}


def test_snowflake_is_told_the_session_s_parameters(snowflake: Snowflake, tmp_path: Path) -> None:
    told = {"session_parameters": {"QUERY_TAG": "crm"}}

    extract("snow", tmp_path, sql="SELECT 1 AS ID", primary_key="ID", hook_params=told)

    assert snowflake.seen("SELECT * FROM (")[0]["parameters"]["QUERY_TAG"] == "crm"


def test_postgres_is_told_the_options(postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    sql = "SELECT current_setting('consent.asked')::int AS id"

    reference = extract("pg", tmp_path, sql=sql, hook_params={"options": "-c consent.asked=7"})

    assert reference["rows"] == 1
    with pytest.raises(AirflowFailException, match=r"unrecognized configuration parameter .consent\.asked."):
        extract("pg", tmp_path, sql=sql)
