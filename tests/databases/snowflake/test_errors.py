"""Errors of Snowflake: each names its reason, is retried only where that helps, and contains no value of a row."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest
from snowflake.connector.errors import InterfaceError, OperationalError
from support.snowflake_server import Snowflake

from airflow_consent_retl.databases.snowflake.errors import translated
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, ModelError, SourceUnavailableError

CANARY = "canary-7f3a@example.com"
DENIED = "SQL access control error:\nInsufficient privileges"


@pytest.mark.parametrize(
    ("errno", "message", "error", "wording"),
    [
        (3001, f"{DENIED} to operate on table 'PEOPLE'", ConfigurationError, "lacks a right.*on table 'PEOPLE'"),
        (606, "No active warehouse selected in the current session.", ConfigurationError, "is suspended and does not"),
        (90073, "Warehouse 'WH' cannot be resumed because resource monitor", ConfigurationError, "exceeded its quota"),
        (604, "SQL execution canceled", SourceUnavailableError, "cancelled from outside"),
        (603, f"SQL execution internal error: {CANARY}", SourceUnavailableError, "internal error"),
        (630, "Statement reached its statement or warehouse timeout of 5 second(s)", ModelError, "ran longer than"),
        (630, "Statement reached its statement queued timeout", SourceUnavailableError, "too long for the warehouse"),
        (2003, "SQL compilation error:\nObject 'PEOPLE' does not exist", ModelError, "'PEOPLE' does not exist"),
        (904, "SQL compilation error: error line 1\ninvalid identifier 'X'", ModelError, "invalid identifier 'X'"),
        (8, "Actual statement count 2 did not match", ModelError, "statement count 2"),
        (100038, f"Numeric value '{CANARY}' is not recognized", ModelError, "100038"),
        (100035, f"Timestamp '{CANARY}' is not recognized", ModelError, "100035"),
        (390114, "Authentication token has expired.", SourceUnavailableError, "session has ended"),
        (709, "Statement 01b2 not found", SourceUnavailableError, "expired"),
    ],
)
def test_says_what_is_wrong_and_whether_to_try_again(
    errno: int,
    message: str,
    error: type[ConsentRetlError],
    wording: str,
    snowflake: Snowflake,
    extracted: Callable[..., pa.Table],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The second is the attempt to compile the statement again.
    for _ in range(2):
        snowflake.fail("FROM people", errno=errno, sqlstate="00000", message=message)

    with pytest.raises(error, match=f"(?s)`snow`.*{wording}") as failure:
        extracted("SELECT * FROM people")

    assert type(failure.value) is error
    assert "canary" not in repr(failure.value)
    assert failure.value.__context__ is None
    assert "canary" not in caplog.text


@pytest.mark.parametrize("errno", [904, 2003, 1003, 8, 3001])
def test_no_message_of_a_statement_that_compiles_is_shown_whatever_its_number(
    errno: int, snowflake: Snowflake, extracted: Callable[..., pa.Table], caplog: pytest.LogCaptureFixture
) -> None:
    message = f"SQL compilation error: invalid identifier '{CANARY}'"
    snowflake.fail("SELECT 7", errno=errno, sqlstate="42000", message=message)

    with pytest.raises(ConsentRetlError, match=f"{errno:06d}") as failure:
        extracted("SELECT 7 AS id")

    assert "canary" not in repr(failure.value)
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    ("sql", "wording"),
    [
        ("SELECT nope", "NOPE"),
        ("SELECT 1 AS id FROM", "001003"),
        ("SELECT id FROM (SELECT 1 AS id", "001003"),
        ("SELECT 1.5::FLOAT AS id", "an id that passes through a float"),
    ],
)  # fmt: skip
def test_names_what_is_wrong_with_the_query(sql: str, wording: str, extracted: Callable[..., pa.Table]) -> None:
    with pytest.raises(ModelError, match=wording):
        extracted(sql)


@pytest.mark.parametrize(
    ("twin", "wording"),
    [("X", "returns column `X` 2 times"), ("x", "columns `X` and `x`, which differ by case only")],
)
def test_columns_that_could_be_confused_are_refused(
    twin: str, wording: str, snowflake: Snowflake, extracted: Callable[..., pa.Table]
) -> None:
    described = {"type": "fixed", "scale": 0, "precision": 38, "length": None}
    sent = pa.array([1], pa.int8()), {"scale": "0", "precision": "38"}
    snowflake.answer("^SELECT", [({**described, "name": name}, *sent) for name in ("ID", "X", twin)])

    with pytest.raises(ModelError, match=wording):
        extracted("SELECT * FROM people")


@pytest.mark.parametrize(
    ("errno", "message", "error"),
    [
        (390100, "Incorrect username or password was specified.", ConfigurationError),
        (390144, "JWT token is invalid.", ConfigurationError),
        (390189, "Role 'NOPE' specified in the connect string does not exist or not authorized.", ConfigurationError),
        (390422, "Incoming request with IP/Token 10.0.0.1 is not allowed to access Snowflake.", ConfigurationError),
        (390114, "Authentication token has expired.", SourceUnavailableError),
    ],
)
def test_a_refused_login_is_reported(
    errno: int,
    message: str,
    error: type[ConsentRetlError],
    snowflake: Snowflake,
    extracted: Callable[..., pa.Table],
) -> None:
    snowflake.fail("^LOGIN$", errno=errno, sqlstate="08001", message=message)

    with pytest.raises(error, match=str(errno)) as failure:
        extracted("SELECT 1 AS id")

    assert type(failure.value) is error
    assert "not a secret" not in str(failure.value)


def test_a_connection_without_an_account_is_a_matter_of_configuration(
    snowflake: Snowflake, extracted: Callable[..., pa.Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SNOW", snowflake.airflow_connection(account="", host=""))

    with pytest.raises(ConfigurationError, match=r"(?i)account"):
        extracted("SELECT 1 AS id")


@pytest.mark.parametrize(
    "error",
    [
        OperationalError(msg="Could not connect", errno=250001, sqlstate="08001"),
        InterfaceError(msg=f"403 Forbidden: get https://bucket/{CANARY}", errno=290403, sqlstate="08001"),
        OperationalError(msg="Incomplete result", errno=252013),
        InterfaceError(msg="503 Service Unavailable", errno=290503, sqlstate="08001"),
        ConnectionResetError(104, "Connection reset by peer"),
    ],
    ids=lambda error: f"{type(error).__name__}-{getattr(error, 'errno', '')}",
)
def test_a_download_that_breaks_is_tried_again(error: Exception) -> None:
    # The connector makes ten attempts at each, which takes a minute.
    wording = translated(error, "read", conn_id="snow")

    assert type(wording) is SourceUnavailableError
    assert "canary" not in str(wording)


def test_a_chunk_that_fails_once_is_downloaded_again(snowflake: Snowflake, extracted: Callable[..., pa.Table]) -> None:
    snowflake.server.control(chunk_answers=[503])

    table = extracted("SELECT SEQ8() AS id FROM TABLE(GENERATOR(ROWCOUNT => 100000))")

    assert table["ID"].to_pylist() == list(range(100_000))
