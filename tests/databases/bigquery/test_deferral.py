"""An extraction waits for its job outside of a worker, and goes on with the result, in files and in the warehouse."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from support.bigquery_server import BigQuery

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # Airflow 3.1 keeps it elsewhere
    from airflow.exceptions import TaskDeferred  # type: ignore[no-redef]

from airflow_consent_retl.errors import SourceUnavailableError
from airflow_consent_retl.operators import ExtractModelOperator
from airflow_consent_retl.triggers.submitted_query import SubmittedQueryTrigger

CUSTOMERS = "CREATE TABLE shop.customers AS SELECT n AS id, n > 1 AS ok FROM UNNEST([1, 2, 3]) AS n"
NUMBERS = "UNNEST(GENERATE_ARRAY(1, 1000000))"
ENDLESS = f"SELECT a AS id FROM {NUMBERS} a, {NUMBERS} b WHERE a + b < 0"


@pytest.fixture
def customers(bigquery: BigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BigQuery:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    bigquery.run("CREATE SCHEMA shop", "CREATE SCHEMA staging", CUSTOMERS)
    return bigquery


def extraction(workspace: str | None = None, **parameters: Any) -> ExtractModelOperator:
    return ExtractModelOperator(
        task_id="extract",
        model="customers",
        conn_id="bq",
        sql="SELECT * FROM shop.customers -- everybody",
        primary_key="id",
        workspace=workspace,
        deferrable=True,
        poll_interval_s=0.05,
        **parameters,
    )


def deferred(operator: ExtractModelOperator) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute({})
    return deferral.value


def event_of(trigger: SubmittedQueryTrigger) -> dict[str, Any]:
    """Run the trigger as a triggerer does: from what was stored of it."""
    _, stored = trigger.serialize()

    async def first() -> dict[str, Any]:
        async for event in SubmittedQueryTrigger(**stored).run():
            payload: dict[str, Any] = event.payload
            return payload
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())


@pytest.mark.parametrize("workspace", [None, "warehouse:staging"])
def test_what_is_read_is_what_a_worker_that_waited_would_have_read(customers: BigQuery, workspace: str | None) -> None:
    deferral = deferred(extraction(workspace))
    event = event_of(deferral.trigger)

    resumed = extraction(workspace).resume({}, event)

    assert event["over"] is True
    assert resumed["rows"] == 3


def test_a_query_that_takes_too_long_is_cancelled_and_the_task_is_tried_again(customers: BigQuery) -> None:
    operator = extraction(query_timeout_s=0)
    operator.sql = ENDLESS
    event = event_of(deferred(operator).trigger)

    with pytest.raises(SourceUnavailableError, match="did not end within 0 s"):
        operator.resume({}, event)
    assert event["over"] is False
    assert customers.seen("a + b")[0]["is_cancelled"]


@pytest.mark.parametrize("workspace", [None, "warehouse:staging"])
def test_a_query_that_fails_while_nobody_waits_fails_the_task_and_quotes_no_row(
    customers: BigQuery, workspace: str | None
) -> None:
    operator = extraction(workspace)
    operator.sql = "SELECT id, ok, CAST(CONCAT('canary-', id) AS INT64) AS x FROM shop.customers"

    with pytest.raises(Exception, match="the query failed") as failure:
        operator.resume({}, event_of(deferred(operator).trigger))

    assert "canary" not in str(failure.value)
