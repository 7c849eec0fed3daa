"""An extraction waits for its query outside of a worker, and goes on with the result, in files and in the warehouse."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred
from support.snowflake_server import Snowflake

from airflow_consent_retl.errors import SourceUnavailableError
from airflow_consent_retl.operators import ExtractModelOperator
from airflow_consent_retl.triggers.submitted_query import SubmittedQueryTrigger

CUSTOMERS = "CREATE TABLE CUSTOMERS AS SELECT COLUMN1 AS ID, COLUMN2 AS OK FROM VALUES (1, TRUE), (2, FALSE), (3, NULL)"

NUMBERS = "(SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 10000000)))"
ENDLESS = f"SELECT a.n AS id FROM {NUMBERS} a, {NUMBERS} b WHERE a.n + b.n < 0"


@pytest.fixture
def customers(snowflake: Snowflake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Snowflake:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    snowflake.run("CREATE SCHEMA STAGING")
    snowflake.run(CUSTOMERS)
    return snowflake


def extraction(workspace: str | None = None, **parameters: Any) -> ExtractModelOperator:
    return ExtractModelOperator(
        task_id="extract",
        model="customers",
        conn_id="snow",
        sql="SELECT * FROM CUSTOMERS",
        primary_key="ID",
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


@pytest.mark.parametrize("workspace", [None, "warehouse:STAGING"])
def test_what_is_read_is_what_a_worker_that_waited_would_have_read(customers: Snowflake, workspace: str | None) -> None:
    deferral = deferred(extraction(workspace))
    event = event_of(deferral.trigger)

    resumed = extraction(workspace).resume({}, event)

    assert event["over"] is True
    assert resumed["rows"] == 3
    assert deferral.method_name == "resume"


def test_a_query_that_takes_too_long_is_cancelled_and_the_task_is_tried_again(customers: Snowflake) -> None:
    operator = extraction(query_timeout_s=0)
    operator.sql = ENDLESS
    event = event_of(deferred(operator).trigger)

    with pytest.raises(SourceUnavailableError, match="did not end within 0 s"):
        operator.resume({}, event)
    assert event["over"] is False


@pytest.mark.parametrize("workspace", [None, "warehouse:STAGING"])
def test_a_query_that_fails_while_nobody_waits_fails_the_task_with_its_reason(
    customers: Snowflake, workspace: str | None
) -> None:
    operator = extraction(workspace)
    operator.sql = "SELECT ID, OK, 1 / (ID - ID) AS X FROM NO_SUCH_TABLE"

    with pytest.raises(Exception, match="NO_SUCH_TABLE"):
        operator.resume({}, event_of(deferred(operator).trigger))
