"""Errors of BigQuery: each names its reason, is retried only where that helps, and contains no value of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from google.api_core import exceptions
from google.auth import exceptions as auth_exceptions
from support.bigquery_server import BigQuery

from airflow_consent_retl.databases.bigquery.errors import translated
from airflow_consent_retl.databases.source import ModelQuery, read_model
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, ModelError, SourceUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook

# Their classes have no types.
api: Any = exceptions
auth: Any = auth_exceptions
CANARY = "canary-7f3a@example.com"
MANY = "SELECT n AS id FROM UNNEST(GENERATE_ARRAY(1, 5000)) AS n"
DENIED = f"Access Denied: Table p:d.people: User does not have permission to query {CANARY}"
DAILY = f"Custom quota exceeded: Your usage exceeded the custom quota for {CANARY}"
DATA = "GET .*/data"


@pytest.mark.parametrize(
    ("reason", "message", "error", "wording"),
    [
        ("accessDenied", DENIED, ConfigurationError, r"lacks a right: \w+ \(accessDenied\)$"),
        ("billingNotEnabled", "Billing is not enabled", ConfigurationError, "no billing"),
        ("notFound", f"Not found: {CANARY} was not found in location EU", ModelError, r"\(notFound\)$"),
        ("quotaExceeded", DAILY, SourceUnavailableError, r"quota is used up: \w+ \(quotaExceeded\)$"),
        ("rateLimitExceeded", "Exceeded rate limits", SourceUnavailableError, "too many requests"),
        ("jobRateLimitExceeded", "Exceeded rate limits", SourceUnavailableError, "too many requests"),
        ("backendError", f"Error {CANARY}", SourceUnavailableError, "failed for the time being"),
        ("internalError", f"Error {CANARY}", SourceUnavailableError, "failed for the time being"),
        ("stopped", "Job execution was cancelled", SourceUnavailableError, "cancelled from outside"),
        ("tableUnavailable", "unavailable", SourceUnavailableError, "table is not available"),
        ("resourcesExceeded", f"too much for {CANARY}", ModelError, "more resources"),
        ("responseTooLarge", "Response too large to return", ModelError, "keep the rows in the warehouse"),
        ("billingTierLimitExceeded", "tier", ModelError, "billing tier"),
        ("invalidQuery", f"Bad int64 value: {CANARY}", ModelError, "the query failed.*invalidQuery"),
        ("a new reason", f"Bad value: {CANARY}", ModelError, "the query failed.*a new reason"),
    ],
)
def test_a_job_that_fails_says_why_and_whether_to_try_again(
    reason: str,
    message: str,
    error: type[ConsentRetlError],
    wording: str,
    bigquery: BigQuery,
    extracted: Callable[..., pa.Table],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The first is the dry run.
    bigquery.server.control(pattern="SELECT 7", answer={"pass": True})
    bigquery.fail("SELECT 7", reason=reason, message=message)

    with pytest.raises(error, match=f"(?s)(?=.*`bq`).*{wording}") as failure:
        extracted("SELECT 7 AS id")

    assert type(failure.value) is error
    assert "canary" not in repr(failure.value)
    assert failure.value.__context__ is None
    assert "canary" not in caplog.text


def test_a_quota_is_waited_for(bigquery: BigQuery, extracted: Callable[..., pa.Table]) -> None:
    bigquery.fail("SELECT 7", reason="quotaExceeded", message=DAILY)

    with pytest.raises(SourceUnavailableError) as failure:
        extracted("SELECT 7 AS id")

    assert failure.value.retry_after_s == 600


@pytest.mark.parametrize(
    ("status", "reason", "error"),
    [
        (401, "authError", ConfigurationError),
        (403, "accessDenied", ConfigurationError),
        (403, "rateLimitExceeded", SourceUnavailableError),
        (429, "rateLimitExceeded", SourceUnavailableError),
        (500, "internalError", SourceUnavailableError),
        (502, "badGateway", SourceUnavailableError),
        (503, "backendError", SourceUnavailableError),
    ],
)
def test_a_request_that_keeps_failing_says_whether_to_try_again(
    status: int, reason: str, error: type[ConsentRetlError], bigquery: BigQuery, extracted: Callable[..., pa.Table]
) -> None:
    bigquery.fail("POST .*/jobs", status=status, reason=reason, message="as asked", times=100)

    with pytest.raises(error, match="`bq`") as failure:
        extracted("SELECT 1 AS id")

    assert type(failure.value) is error
    assert failure.value.__context__ is None


@pytest.mark.parametrize("pattern", ["POST .*/jobs", "GET .*/queries", DATA])
def test_a_request_that_fails_once_is_made_again(
    pattern: str, bigquery: BigQuery, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BQ", bigquery.airflow_connection(retry_timeout_s=20))
    bigquery.fail(pattern, status=503, reason="backendError", message="as asked")

    assert extracted("SELECT 1 AS id").to_pylist() == [{"id": 1}]


def test_a_job_whose_insertion_was_answered_into_the_void_is_found_again(
    bigquery: BigQuery, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_BQ", bigquery.airflow_connection(retry_timeout_s=20))
    bigquery.server.control(pattern="SELECT 7", answer={"pass": True})
    bigquery.server.control(pattern="SELECT 7", answer={"void": True})

    assert extracted("SELECT 7 AS id").to_pylist() == [{"id": 7}]
    assert len(bigquery.jobs()) == 1


@pytest.mark.parametrize(
    ("sql", "wording"),
    [
        ("SELECT nope", "nope"),
        ("SELECT id FROM staging.no_such_table", "no_such_table"),
        ("SELECT 1 AS id FROM", "invalidQuery"),
        ("SELECT 1.5 AS id", "an id that passes through a float"),
        ("SELECT [1] AS id, 2 AS ID", "differ by case only|[Dd]uplicate"),
        ("SELECT 1 AS user_id", "`id`"),
    ],
)
def test_names_what_is_wrong_with_the_query(
    sql: str, wording: str, bigquery: BigQuery, extracted: Callable[..., pa.Table]
) -> None:
    bigquery.dataset("staging")

    with pytest.raises(ModelError, match=wording):
        extracted(sql)


@pytest.mark.parametrize("rows", [10, 5000])
def test_a_result_that_has_expired_is_asked_for_again(rows: int, bigquery: BigQuery) -> None:
    sql = f"SELECT n AS id FROM UNNEST(GENERATE_ARRAY(1, {rows})) AS n"
    query = ModelQuery(conn_id="bq", sql=sql, primary_key="id")

    with read_model(sql_hook("bq"), query) as model:
        bigquery.server.control(expire=True)

        with pytest.raises(SourceUnavailableError, match="result is gone"):
            list(model.batches)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("NOT_FOUND", SourceUnavailableError),
        ("UNAVAILABLE", SourceUnavailableError),
        ("INTERNAL", SourceUnavailableError),
        ("RESOURCE_EXHAUSTED", SourceUnavailableError),
        ("DEADLINE_EXCEEDED", SourceUnavailableError),
        ("INVALID_ARGUMENT", ModelError),
    ],
)
def test_a_download_that_does_not_begin_says_whether_to_try_again(
    code: str, error: type[ConsentRetlError], bigquery: BigQuery, extracted: Callable[..., pa.Table]
) -> None:
    bigquery.server.control(storage_answers=[code] * 50)

    with pytest.raises(error, match="`bq`") as failure:
        extracted(MANY)

    assert type(failure.value) is error


@pytest.mark.parametrize(
    ("failure", "stage", "error"),
    [
        (auth.TransportError("reset"), "prepare", SourceUnavailableError),
        (auth.RefreshError("invalid_grant", retryable=False), "prepare", ConfigurationError),
        (auth.RefreshError("503", retryable=True), "prepare", SourceUnavailableError),
        (auth.DefaultCredentialsError("none found"), "connect", ConfigurationError),
        (ConnectionResetError(104, "Connection reset by peer"), "read", SourceUnavailableError),
        (ConnectionResetError(104, "Connection reset by peer"), "connect", SourceUnavailableError),
        (api.RetryError("timeout", cause=api.ServiceUnavailable("x")), "read", SourceUnavailableError),
        (api.Aborted("x"), "read", SourceUnavailableError),
        (ValueError(CANARY), "connect", ConfigurationError),
        (ValueError(CANARY), "read", ModelError),
    ],
    ids=lambda value: getattr(type(value), "__name__", None) if isinstance(value, Exception) else None,
)
def test_what_breaks_on_the_way_says_whether_to_try_again(
    failure: Exception, stage: str, error: type[ConsentRetlError]
) -> None:
    wording = translated(failure, stage, conn_id="bq")  # type: ignore[arg-type]

    assert type(wording) is error
    assert "canary" not in str(wording)


def test_a_server_that_is_not_there_is_tried_again(
    bigquery: BigQuery, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", "http://127.0.0.1:1")

    with pytest.raises(SourceUnavailableError, match="does not answer"):
        extracted("SELECT 1 AS id")
