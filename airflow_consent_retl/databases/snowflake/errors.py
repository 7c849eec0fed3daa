"""Errors of Snowflake's connector as this package's: whether another try may help, and what a person has to do.

A message of the server is shown only if the statement never ran: later messages may quote a value of a row, whatever
their number. After a failure the session has the server compile the statement again, and only that message is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, ModelError, SourceUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.fence import Stage

# The attribute of a connector's error with the error of compiling the statement again, or None.
COMPILING = "consent_retl_compiling"
NO_SUCH_OBJECT = frozenset({2003, 2043})
# Error numbers are the server's (six digits, `000604`) or the connector's (from 250001 on, in its errorcode.py).
# https://docs.snowflake.com/en/user-guide/warehouses-overview, .../resource-monitors, .../querying-cancel-statements,
# and `snowflake/connector/errorcode.py`, `network.py` of 4.8.1 (read 2026-11-24)
_CANCELLED, _TIMED_OUT, _NO_WAREHOUSE, _NO_PRIVILEGE = 604, 630, 606, 3001
_AGAIN = {
    603: "an internal error of Snowflake ended the query",
    625: "the query waited for a lock, or lost it",
    _CANCELLED: "the query was cancelled from outside",
    707: "the query's result has expired",
    709: "the query's result has expired",
    710: "the query's result has expired",
    252010: "a part of the result could not be downloaded",
    252013: "the result came incomplete",
    253003: "a file could not be uploaded",
    290403: "the result's parts have expired: they can be downloaded for 6 hours after the query",
}
_SESSION_GONE = frozenset({390104, 390110, 390111, 390112, 390114, 390115, 390195, 250002, 252006, 252007})
_NETWORK = frozenset({250001, 250003, 250005, 250006, 251011, 251012})
# Problems that a person has to solve.
_TO_CONFIGURE = {
    _NO_WAREHOUSE: "no warehouse runs the query: the connection names none, or one that does not exist, that the role "
    "may not use, or that is suspended and does not resume by itself",
    _NO_PRIVILEGE: "the role lacks a right",
    90073: "the warehouse may not be resumed: its resource monitor has exceeded its quota",
}
# The connector's names of HTTP answers that another try may change; the others mean a wrong account or host.
_TRANSIENT_ANSWERS = frozenset(
    {
        "BadGatewayError",
        "GatewayTimeoutError",
        "InternalServerError",
        "OtherHTTPRetryableError",
        "RequestExceedMaxRetryError",
        "RequestTimeoutError",
        "ServiceUnavailableError",
        "TooManyRequests",
    }
)


def translated(error: Exception, stage: Stage, *, conn_id: str) -> ConsentRetlError:
    """Return this package's error for the connector's, without a value of a row.

    Args:
        error: from the connector.
        stage: in which it was raised.
        conn_id: of the Airflow connection.
    """
    errno, sqlstate = getattr(error, "errno", None) or 0, getattr(error, "sqlstate", None) or ""
    cause = f"{type(error).__name__} {errno:06d}" + (f" (SQLSTATE {sqlstate})" if sqlstate else "")
    if errno <= 0:
        cause = type(error).__name__
    if stage == "connect":
        return _connecting(error, errno, cause, conn_id=conn_id)
    if errno == _TIMED_OUT:
        return _timed_out(error, cause, conn_id=conn_id)
    if reason := _transient_reason(error, errno):
        return SourceUnavailableError(f"connection `{conn_id}`: {reason}: {cause}")
    if errno in _TO_CONFIGURE:
        refused = _compiling(error)
        message = f": {_message(refused)}" if refused is not None and errno == _NO_PRIVILEGE else ""
        return ConfigurationError(f"connection `{conn_id}`: {_TO_CONFIGURE[errno]}: {cause}{message}")
    return ModelError(_failed(error, stage, errno, cause, conn_id=conn_id))


def _failed(error: Exception, stage: Stage, errno: int, cause: str, *, conn_id: str) -> str:
    if isinstance(error, OverflowError):
        return (
            f"the query on connection `{conn_id}` returns timestamps with nanoseconds outside of the years 1678 to "
            f"2261, which no type holds: cast the column in the SQL, for example to TIMESTAMP_NTZ(6)"
        )
    if type(error).__name__ == "NotSupportedError":
        return f"connection `{conn_id}`: the SQL gives no Arrow result: it must be one SELECT"
    if (refused := _compiling(error)) is not None:
        return f"the query failed on connection `{conn_id}`: {cause}: {_message(refused)}"
    what = "the query failed while its rows were read" if stage == "read" else "the query failed"
    return f"{what} on connection `{conn_id}`: {cause}"


def _connecting(error: Exception, errno: int, cause: str, *, conn_id: str) -> ConsentRetlError:
    is_rejected = type(error).__name__ == "ForbiddenError" or "404" in str(errno)
    if (reason := _transient_reason(error, errno)) and not is_rejected:
        return SourceUnavailableError(f"connection `{conn_id}` is not available: {reason}: {cause}")
    return ConfigurationError(f"connection `{conn_id}` cannot be opened: {cause}: {_message(error)}")


def _timed_out(error: Exception, cause: str, *, conn_id: str) -> ConsentRetlError:
    if "queued" in str(error):
        return SourceUnavailableError(f"connection `{conn_id}`: the query waited too long for the warehouse: {cause}")
    return ModelError(
        f"connection `{conn_id}`: the query ran longer than STATEMENT_TIMEOUT_IN_SECONDS of the session or the "
        f"warehouse allows: {cause}"
    )


def _transient_reason(error: Exception, errno: int) -> str:
    """Return the reason why another try may succeed; empty if there is none."""
    if errno in _AGAIN:
        return _AGAIN[errno]
    if errno in _SESSION_GONE:
        return "the session has ended"
    is_network = errno in _NETWORK or isinstance(error, ConnectionError | TimeoutError)
    if is_network or type(error).__name__ in _TRANSIENT_ANSWERS or 290500 <= errno < 290600:
        return "Snowflake does not answer"
    return ""


def may_be_about_the_statement(error: Exception) -> bool:
    """Return whether an error may come from compiling a statement; numbers from 100000 on are about values."""
    errno = getattr(error, "errno", None) or 0
    known = errno in _AGAIN or errno == _TIMED_OUT or (errno in _TO_CONFIGURE and errno != _NO_PRIVILEGE)
    return 0 < errno < 100_000 and not known


def _compiling(error: Exception) -> Exception | None:
    """Return the server's refusal to compile the statement again."""
    refused = getattr(error, COMPILING, None)
    return refused if isinstance(refused, Exception) and may_be_about_the_statement(refused) else None


def _message(error: Exception) -> str:
    return " ".join(str(getattr(error, "raw_msg", None) or "").split())
