"""The meaning of the Data Manager API's answers: request states, refusals of members or events, and faults that pass.

Events are members here too. Pure: it reads answers and sends nothing. From an answer it keeps codes, counts and
positions, and never a message or a description, since those quote values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import grpc
from google.ads.datamanager_v1 import types
from google.rpc import error_details_pb2

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, Outcomes, vendor_code
from airflow_consent_retl.destinations.data_manager.faults import (
    RefusedMembersError,
    RefusedRequestError,
)
from airflow_consent_retl.destinations.http.attempt import AttemptError

if TYPE_CHECKING:
    from google.api_core import exceptions

CREDENTIALS = "credentials_unavailable"
NO_CONNECTION = "no_connection"
PARTIAL_SUCCESS = "partial_success"
UNKNOWN_STATE = "unknown_request_state"

_PROCESSING = "PROCESSING_ERROR_REASON_"
_NEWER = re.compile(r"reason_[0-9]{1,6}")
_REASON = re.compile(r"[A-Z][A-Z0-9_]*")
_MEMBER = re.compile(r"\b(?:audience_?members|events)(?:\[(\d+)\]|\.(\d+)(?=\.|$))", re.IGNORECASE)
_OF_MEMBERS = re.compile(r"\b(?:audience_?members?|events?)\b", re.IGNORECASE)
_PATH = re.compile(r"[A-Za-z][A-Za-z_.\[\]0-9]{0,119}")
# The last part of a field's path, without underscores.
_KINDS = {"emailaddress": "email", "phonenumber": "phone"} | {
    name.replace("_", ""): name for name in ("given_name", "family_name", "region_code", "postal_code")
}
# Reasons for which one member can cause the refusal of a whole request, and reasons without a meaning.
_ABOUT_MEMBERS = frozenset(
    {
        "BOTH_CLIENT_ID_AND_APP_INSTANCE_ID_NOT_ALLOWED",
        "CUSTOM_VARIABLE_VALUE_CONTAINS_PII",
        "ERROR_REASON_UNSPECIFIED",
        "EVENT_TIME_INVALID",
        "FIELD_VALUE_TOO_LONG",
        "FIELD_VALUE_TOO_SHORT",
        "INVALID_ARGUMENT",
        "INVALID_AUDIENCE_MEMBER",
        "INVALID_BASE64_ENCODING",
        "INVALID_COUNTRY_CODE",
        "INVALID_CURRENCY_CODE",
        "INVALID_CUSTOM_VARIABLE_VALUE",
        "INVALID_ENUM_VALUE",
        "INVALID_EVENT",
        "INVALID_EVENT_NAME",
        "INVALID_FORMAT",
        "INVALID_HEX_ENCODING",
        "INVALID_MOBILE_ID_FORMAT",
        "INVALID_NUMBER_FORMAT",
        "INVALID_POSTAL_CODE",
        "INVALID_REGION_CODE",
        "INVALID_SHA256_FORMAT",
        "NO_IDENTIFIERS_PROVIDED",
        "REQUIRED_FIELD_MISSING",
        "RESERVED_NAME_USED",
        "TOO_FEW_ELEMENTS",
        "TOO_MANY_ELEMENTS",
        "TOO_MANY_USER_IDENTIFIERS",
    }
)
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


def failure_of(error: exceptions.GoogleAPICallError) -> Exception:
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
    return _refusal(error, name)


def _refusal(error: exceptions.GoogleAPICallError, name: str) -> Exception:
    violations = [
        violation
        for detail in error.details
        if isinstance(detail, error_details_pb2.BadRequest)
        for violation in detail.field_violations
    ]
    members: dict[int, tuple[str, str]] = {}
    for violation in violations:
        reason = getattr(violation, "reason", "")
        if place := _MEMBER.search(violation.field):
            members.setdefault(int(place[1] or place[2]), (_code(reason, otherwise=name), _kind_of(violation.field)))
        elif violation.field and not _OF_MEMBERS.search(violation.field):
            where = violation.field if _PATH.fullmatch(violation.field) else ""
            return RefusedRequestError(_code(reason or error.reason, otherwise=name), where)
    reasons = {error.reason, *(getattr(violation, "reason", "") for violation in violations)} - {None, ""}
    known = {reason for reason in reasons if reason in types.ErrorReason.__members__}
    if not members and known - _ABOUT_MEMBERS:
        return RefusedRequestError(_code(min(known - _ABOUT_MEMBERS), otherwise=name))
    return RefusedMembersError(_code(min(reasons, default=""), otherwise=name), members)


def _kind_of(path: str) -> str:
    return _KINDS.get(path.rpartition(".")[2].replace("_", "").lower(), "")


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


class RequestState(StrEnum):
    """The progress of a request that the API accepted."""

    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    PARTIAL = "partial_success"
    UNKNOWN = "unknown"


_STATES = {
    int(types.RequestStatusPerDestination.RequestStatus.PROCESSING): RequestState.PROCESSING,
    int(types.RequestStatusPerDestination.RequestStatus.SUCCESS): RequestState.SUCCEEDED,
    int(types.RequestStatusPerDestination.RequestStatus.FAILED): RequestState.FAILED,
    int(types.RequestStatusPerDestination.RequestStatus.PARTIAL_SUCCESS): RequestState.PARTIAL,
}


@dataclass(frozen=True, slots=True)
class RequestStatus:
    """The state of a request, with the vendor's counts.

    Args:
        state: see there.
        members: the number of members in the request; 0 if the vendor does not report it.
        errors: code to number of members that failed with it.
        warnings: code to number of members that were processed with it.
        code: the reason of the state, where no count shows it.
    """

    state: RequestState
    members: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    code: str = ""

    def outcomes(self, rows: int) -> Outcomes | None:
        """Return the outcomes of the request's members; None while it is processed.

        A partial success reports only counts, so each of its members is uncertain.
        """
        match self.state:
            case RequestState.PROCESSING:
                return None
            case RequestState.SUCCEEDED:
                return Outcomes.accepted(rows)
            case RequestState.FAILED:
                codes = self.errors.most_common(1)
                return Outcomes.rejected(rows, codes[0][0] if codes else "processing_failed")
            case RequestState.PARTIAL:
                return Outcomes.uncertain(rows, PARTIAL_SUCCESS)
            case _:
                return Outcomes.uncertain(rows, self.code or UNKNOWN_STATE)


def status_of(response: types.RetrieveRequestStatusResponse) -> RequestStatus:
    """Read the answer to a question for a request's status; requests here have one destination."""
    # Raw, since the client's own classes warn of each number that is newer than their version.
    entries = types.RetrieveRequestStatusResponse.pb(response).request_status_per_destination
    if not entries:
        return RequestStatus(RequestState.PROCESSING)
    if len(entries) > 1:
        return RequestStatus(RequestState.UNKNOWN, code="several_destinations")
    entry = entries[0]
    ingested = entry.audience_members_ingestion_status.user_data_ingestion_status.record_count
    removed = entry.audience_members_removal_status.user_data_removal_status.record_count
    events = entry.events_ingestion_status.record_count
    return RequestStatus(
        state=_STATES.get(entry.request_status, RequestState.UNKNOWN),
        members=ingested or removed or events,
        errors=_counts(entry.error_info.error_counts, types.ProcessingErrorReason, prefix=_PROCESSING),
        warnings=_counts(
            entry.warning_info.warning_counts, types.ProcessingWarningReason, prefix="PROCESSING_WARNING_REASON_"
        ),
    )


def status_of_failure(failure: RefusedMembersError | RefusedRequestError) -> RequestStatus | None:
    """Return the status that follows from a refused question, or None where the refusal is not about the request."""
    if failure.code == "not_found":
        # Not recorded yet; a request that stays unknown ends when the waiting time is over.
        return RequestStatus(RequestState.PROCESSING)
    if isinstance(failure, RefusedMembersError) or failure.code in {"invalid_request_id", "request_too_old"}:
        return RequestStatus(RequestState.UNKNOWN, code=failure.code)
    return None


def warnings_of(answer: Any) -> Counter[str]:
    """Count the warnings of an accepted request by their reason."""
    raw = type(answer).pb(answer)
    reasons = [warning.reason for warning in getattr(raw, "field_warnings", ())]
    return Counter(_enum_code(reason, types.WarningReason, prefix="WARNING_REASON_") for reason in reasons)


def _counts(counts: Iterable[Any], names: type[Any], *, prefix: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for count in counts:
        total[_enum_code(count.reason, names, prefix=prefix)] += count.record_count
    return total


def is_google_code(code: str) -> bool:
    """Return whether a code is a name, or a newer number, of the API's enumerations, or of gRPC's status codes."""
    name = code.upper()
    return (
        _NEWER.fullmatch(code) is not None
        or name in grpc.StatusCode.__members__
        or name in types.ErrorReason.__members__
        or f"{_PROCESSING}{name}" in types.ProcessingErrorReason.__members__
    )


def _enum_code(value: int, names: type[Any], *, prefix: str) -> str:
    try:
        return str(names(value).name).removeprefix(prefix).lower()
    except ValueError:
        # Newer than this client.
        return f"reason_{value}"
