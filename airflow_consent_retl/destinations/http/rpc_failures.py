"""The meaning of failed gRPC calls: faults that pass, refusals of rows, and refusals of a request. Pure.

From an error it keeps codes, counts and positions, and never a message or a description, since those quote values. The
details are those of the richer error model (https://grpc.io/docs/guides/error/): `BadRequest` and `RetryInfo`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from google.rpc import error_details_pb2

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, vendor_code
from airflow_consent_retl.destinations.http.attempt import AttemptError
from airflow_consent_retl.destinations.http.piece_delivery import RefusedRequestError, RefusedRowsError

if TYPE_CHECKING:
    from google.api_core import exceptions

CREDENTIALS = "credentials_unavailable"
NO_CONNECTION = "no_connection"

_REASON = re.compile(r"[A-Z][A-Z0-9_]*")
_PATH = re.compile(r"[A-Za-z][A-Za-z_.\[\]0-9]{0,119}")
# After these codes it is unknown whether the request was applied.
_MAYBE_APPLIED = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)
# The texts of gRPC 1.85 for a call that never left this machine.
_NEVER_SENT = {
    "metadata from plugin failed": CREDENTIALS,
    "failed to connect to all addresses": NO_CONNECTION,
    "DNS resolution failed": NO_CONNECTION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RowWords:
    """A vendor's words in a refusal.

    Args:
        place: a pattern of the path of a field of a row, with a group for the row's place in the request.
        of_rows: a pattern of a path that is about rows, perhaps without a place.
        kinds: by the last part of a path, without underscores: the kind of the field.
        known: all reasons.
        about_rows: the reasons for which one row can cause the refusal of a whole request, and those without a meaning.
    """

    place: re.Pattern[str]
    of_rows: re.Pattern[str]
    kinds: Mapping[str, str]
    known: Collection[str]
    about_rows: Collection[str]


def failure_of(error: exceptions.GoogleAPICallError, words: RowWords) -> Exception:
    """Return the meaning of a failed call: an `AttemptError` or a refusal, without the vendor's own text."""
    status = error.grpc_status_code or grpc.StatusCode.UNKNOWN
    name = status.name.lower()
    if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return AttemptError(name, maybe_applied=False, retry_after_s=_retry_after_s(error.details))
    if status in _MAYBE_APPLIED:
        if status is grpc.StatusCode.UNAVAILABLE:
            for marker, code in _NEVER_SENT.items():
                if marker in (error.message or ""):
                    return AttemptError(code, maybe_applied=False)
        return AttemptError(name, maybe_applied=True, retry_after_s=_retry_after_s(error.details))
    if status is not grpc.StatusCode.INVALID_ARGUMENT:
        return RefusedRequestError(_code(error.reason, otherwise=name))
    return _refusal(error, name, words)


def _refusal(error: exceptions.GoogleAPICallError, name: str, words: RowWords) -> Exception:
    violations = [
        violation
        for detail in error.details
        if isinstance(detail, error_details_pb2.BadRequest)
        for violation in detail.field_violations
    ]
    rows: dict[int, tuple[str, str]] = {}
    for violation in violations:
        reason, path = getattr(violation, "reason", ""), violation.field
        if place := words.place.search(path):
            kind = words.kinds.get(path.rpartition(".")[2].replace("_", "").lower(), "")
            number = next(group for group in place.groups() if group)
            rows.setdefault(int(number), (_code(reason, otherwise=name), kind))
        elif path and not words.of_rows.search(path):
            where = path if _PATH.fullmatch(path) else ""
            return RefusedRequestError(_code(reason or error.reason, otherwise=name), where)
    reasons = {error.reason, *(getattr(violation, "reason", "") for violation in violations)} - {None, ""}
    others = {reason for reason in reasons if reason in words.known} - set(words.about_rows)
    if not rows and others:
        return RefusedRequestError(_code(min(others), otherwise=name))
    return RefusedRowsError(_code(min(reasons, default=""), otherwise=name), rows)


def _code(reason: object, *, otherwise: str) -> str:
    if not isinstance(reason, str) or not _REASON.fullmatch(reason):
        return otherwise
    code = vendor_code(reason.lower())
    return otherwise if code == UNNAMED_CODE else code


def _retry_after_s(details: Iterable[object]) -> float | None:
    for detail in details:
        if isinstance(detail, error_details_pb2.RetryInfo) and detail.HasField("retry_delay"):
            seconds: float = detail.retry_delay.ToTimedelta().total_seconds()
            return max(0.0, seconds)
    return None
