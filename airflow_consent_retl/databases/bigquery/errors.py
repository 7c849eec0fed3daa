"""Errors of BigQuery's clients as this package's: whether another try may help, and what a person has to do.

A message of the server is shown only if the statement never ran: later messages may quote a value of a row, whatever
their reason.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, ModelError, SourceUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.fence import Stage

# Reasons: https://docs.cloud.google.com/bigquery/docs/error-messages (not read again).
_AGAIN = {
    "backendError": "BigQuery failed for the time being",
    "internalError": "BigQuery failed for the time being",
    "jobBackendError": "BigQuery failed for the time being",
    "jobInternalError": "BigQuery failed for the time being",
    "badGateway": "BigQuery does not answer",
    "rateLimitExceeded": "too many requests in a short time",
    "jobRateLimitExceeded": "too many requests in a short time",
    "tableUnavailable": "a table is not available for the time being",
    "stopped": "the job was cancelled from outside",
}
_TO_CONFIGURE = {
    "accessDenied": "the account lacks a right",
    "billingNotEnabled": "the project has no billing",
    "blocked": "the project or the account is blocked",
    "policyViolation": "a policy of the organisation forbids it",
    "required": "a setting is missing",
}
_TOO_MUCH = {
    "billingTierLimitExceeded": "the query needs more computation than its billing tier allows",
    "resourcesExceeded": "the query needs more resources than BigQuery gives it",
    "responseTooLarge": "the result is larger than BigQuery returns: keep the rows in the warehouse "
    "(`workspace='warehouse:<dataset>'`), or select fewer",
}
# A connection reads no row, and a check is a dry run.
_BEFORE_ROWS: frozenset[Stage] = frozenset({"connect", "check"})
# https://docs.cloud.google.com/bigquery/docs/troubleshoot-quotas (read 2026-11-24): ten minutes or longer.
_QUOTA_RETRY_S = 600.0
_DIGITS = re.compile(r"\d+")
# gRPC has no reasons. A session of the Storage API expires after 6 hours, with its streams.
# https://docs.cloud.google.com/bigquery/docs/reference/storage (not read again)
_RESULT_GONE = frozenset({"NotFound", "FailedPrecondition", "OutOfRange"})
_EXPIRED = "the query's result is gone: BigQuery keeps it for 24 hours, and a session that reads it for 6"


def reason_of(error: BaseException) -> str:
    """Return BigQuery's reason for an error; empty if it gives none."""
    for part in getattr(error, "errors", None) or ():
        if isinstance(part, dict) and part.get("reason"):
            return str(part["reason"])
    return ""


def message_of(error: BaseException) -> str:
    """Return BigQuery's message on one line, without the request that it answers."""
    for part in getattr(error, "errors", None) or ():
        if isinstance(part, dict) and part.get("message"):
            return " ".join(str(part["message"]).split())
    return " ".join(str(getattr(error, "message", "")).split())


def translated(error: Exception, stage: Stage, *, conn_id: str) -> ConsentRetlError:
    """Return this package's error for a client's, without a value of a row.

    Args:
        error: from the client.
        stage: in which it was raised.
        conn_id: of the Airflow connection.
    """
    from google.api_core.exceptions import RetryError
    from google.auth.exceptions import GoogleAuthError

    if isinstance(error, RetryError) and isinstance(error.cause, Exception):
        error = error.cause
    reason = reason_of(error)
    cause = type(error).__name__ + (f" ({reason})" if reason else "")
    where = f"connection `{conn_id}`"
    message = f": {message_of(error)}" if stage in _BEFORE_ROWS else ""
    if isinstance(error, GoogleAuthError):
        return _signing_in(error, cause, where)
    if problem := _of_limits(error, reason, cause + message, where):
        return problem
    if again := _transient_reason(error, reason, stage):
        return SourceUnavailableError(f"{where}: {again}: {cause}")
    if stage == "connect" and not reason:
        return ConfigurationError(f"{where} cannot be opened: {cause}")
    if reason in _TO_CONFIGURE or _is_refused(error):
        what = _TO_CONFIGURE.get(reason, "the account lacks a right, or the project is wrong")
        return ConfigurationError(f"{where}: {what}: {cause}{message}")
    what = "the query failed while its rows were read" if stage == "read" else "the query failed"
    return ModelError(f"{what} on {where}: {cause}{message}")


def _of_limits(error: Exception, reason: str, cause: str, where: str) -> ConsentRetlError | None:
    if reason == "bytesBilledLimitExceeded":
        return _limit_passed(error, where)
    if reason == "quotaExceeded":
        return SourceUnavailableError(f"{where}: a quota is used up: {cause}", retry_after_s=_QUOTA_RETRY_S)
    return ModelError(f"{where}: {_TOO_MUCH[reason]}: {cause}") if reason in _TOO_MUCH else None


def _signing_in(error: Any, cause: str, where: str) -> ConsentRetlError:
    from google.auth.exceptions import TransportError

    if isinstance(error, TransportError) or getattr(error, "retryable", False):
        return SourceUnavailableError(f"{where}: Google does not give a token for the time being: {cause}")
    return ConfigurationError(f"{where}: Google does not accept the connection's credentials: {cause}")


def _limit_passed(error: Exception, where: str) -> ConsentRetlError:
    # "Query exceeded limit for bytes billed: 1000. 10485760 or higher required."
    numbers = [int(digits) for digits in _DIGITS.findall(message_of(error))]
    figures = ""
    if len(numbers) >= 2:
        figures = f" the limit is {numbers[0]:,} bytes, the query needs {numbers[1]:,}:"
    return ConfigurationError(
        f"{where}: the query would be billed more than maximum_bytes_billed allows:{figures} raise it in the "
        "connection's extra, or read less; nothing was billed"
    )


def _transient_reason(error: Exception, reason: str, stage: Stage) -> str:
    """Return the reason why another try may succeed; empty if there is none."""
    from google.api_core import exceptions

    if stage == "read" and (reason == "notFound" or (not reason and type(error).__name__ in _RESULT_GONE)):
        return _EXPIRED
    if reason in _AGAIN:
        return _AGAIN[reason]
    if isinstance(error, exceptions.TooManyRequests):
        return _AGAIN["rateLimitExceeded"]
    is_server = isinstance(error, exceptions.ServerError) and not isinstance(error, exceptions.MethodNotImplemented)
    # The client also raises an internal error for reasons that it does not know.
    if (is_server and not reason) or isinstance(error, exceptions.Aborted | exceptions.Cancelled):
        return "BigQuery does not answer"
    return "BigQuery does not answer" if _is_network(error) else ""


def _is_network(error: Exception) -> bool:
    from google.api_core.exceptions import BadGateway, GatewayTimeout, ServiceUnavailable
    from requests.exceptions import ChunkedEncodingError, Timeout
    from requests.exceptions import ConnectionError as RequestsConnectionError

    kinds = (ConnectionError, TimeoutError, RequestsConnectionError, Timeout, ChunkedEncodingError)
    return isinstance(error, (*kinds, BadGateway, GatewayTimeout, ServiceUnavailable))


def _is_refused(error: Exception) -> bool:
    from google.api_core.exceptions import Forbidden, Unauthorized

    return isinstance(error, Forbidden | Unauthorized)
