"""The meaning of the Data Manager API's answers: its words for refusals, request states and warnings.

Events are members here too. Pure: it reads answers and sends nothing. From an answer it keeps codes, counts and
positions, and never a message or a description, since those quote values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.ads.datamanager_v1 import types

from airflow_consent_retl.destinations.http.piece_delivery import RefusedRequestError, RefusedRowsError
from airflow_consent_retl.destinations.http.request_counts import RequestState, RequestStatus
from airflow_consent_retl.destinations.http.rpc_failures import RowWords

_PROCESSING = "PROCESSING_ERROR_REASON_"
_NEWER = re.compile(r"reason_[0-9]{1,6}")
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
WORDS: Final = RowWords(
    place=re.compile(r"\b(?:audience_?members|events)(?:\[(\d+)\]|\.(\d+)(?=\.|$))", re.IGNORECASE),
    of_rows=re.compile(r"\b(?:audience_?members?|events?)\b", re.IGNORECASE),
    kinds={"emailaddress": "email", "phonenumber": "phone"}
    | {name.replace("_", ""): name for name in ("given_name", "family_name", "region_code", "postal_code")},
    known=types.ErrorReason.__members__,
    about_rows=_ABOUT_MEMBERS,
)
_STATES = {
    int(types.RequestStatusPerDestination.RequestStatus.PROCESSING): RequestState.PROCESSING,
    int(types.RequestStatusPerDestination.RequestStatus.SUCCESS): RequestState.SUCCEEDED,
    int(types.RequestStatusPerDestination.RequestStatus.FAILED): RequestState.FAILED,
    int(types.RequestStatusPerDestination.RequestStatus.PARTIAL_SUCCESS): RequestState.PARTIAL,
}


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
        rows=ingested or removed or events,
        errors=_counts(entry.error_info.error_counts, types.ProcessingErrorReason, prefix=_PROCESSING),
        warnings=_counts(
            entry.warning_info.warning_counts, types.ProcessingWarningReason, prefix="PROCESSING_WARNING_REASON_"
        ),
    )


def status_of_failure(failure: RefusedRowsError | RefusedRequestError) -> RequestStatus | None:
    """Return the status that follows from a refused question, or None where the refusal is not about the request."""
    if failure.code == "not_found":
        # Not recorded yet; a request that stays unknown ends when the waiting time is over.
        return RequestStatus(RequestState.PROCESSING)
    if isinstance(failure, RefusedRowsError) or failure.code in {"invalid_request_id", "request_too_old"}:
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
