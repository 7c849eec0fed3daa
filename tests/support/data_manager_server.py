"""A local server of the Data Manager API over gRPC: it refuses requests that Google would refuse, and fails on request.

Requests arrive from the official client. The server checks every request before it accepts it, and keeps errors in
`violations`, so that a test can assert that there were none. It processes an accepted request after some polls, and
changes the audience only then.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
from google.ads.datamanager_v1 import types
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from support.data_manager_events import permitted_events, wrong_events

SERVICE = "google.ads.datamanager.v1.IngestionService"
DOMAIN = "datamanager.googleapis.com"

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_REGION = re.compile(r"[A-Z]{2}")
_GRANTED = int(types.ConsentStatus.CONSENT_GRANTED)
_State = types.RequestStatusPerDestination.RequestStatus

Identifier = tuple[str, ...]
Violation = tuple[str, str]


@dataclass(frozen=True)
class Fault:
    """The server's reaction to a request instead of accepting it.

    Args:
        code: of `google.rpc.Code`.
        reason: of `ErrorInfo`.
        message: of the error; vendors quote values they refuse.
        apply: whether the request is still accepted, and only the answer is lost.
        delay_s: seconds before the answer.
        retry_after_s: in a `RetryInfo`.
        violations: field and reason, in a `BadRequest`.
    """

    code: int
    reason: str = ""
    message: str = "scripted"
    apply: bool = False
    delay_s: float = 0
    retry_after_s: float | None = None
    violations: Sequence[Violation] = ()


@dataclass(frozen=True)
class Ending:
    """The result of processing an accepted request."""

    state: int = int(_State.SUCCESS)
    errors: dict[int, int] = field(default_factory=dict)
    """Numbers of `ProcessingErrorReason` to counts."""
    apply: bool = True


@dataclass
class Received:
    """One call that changes the audience, as it arrived."""

    action: str
    request: Any
    at: float
    taken: bool = False

    @property
    def members(self) -> list[types.AudienceMember]:
        return [] if self.action == "events" else list(self.request.audience_members)

    @property
    def events(self) -> list[types.Event]:
        return list(self.request.events) if self.action == "events" else []


@dataclass
class _Processing:
    received: Received
    request_id: str
    ending: Ending
    polls_left: int


@dataclass
class DataManager:
    """The server's state. Requests use up `script` and `endings` in order; None in `script` accepts a request.

    Args:
        polls: the number of questions for a request's status that are answered with PROCESSING.
        quota: the most calls in any `quota_s` seconds.
        malformed: selects members to refuse for a reason that the client cannot see, such as a list of banned hashes.
        refused_event: as `malformed`, for events.
        names_members: whether a refusal names the refused members.
    """

    port: int = 0
    polls: int = 0
    quota: int = 300
    quota_s: float = 60
    script: list[Fault | None] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    malformed: Callable[[types.AudienceMember], bool] = lambda member: False
    refused_event: Callable[[types.Event], bool] = lambda event: False
    names_members: bool = True
    max_named: int = 10
    received: list[Received] = field(default_factory=list)
    warnings: list[int] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    audience: set[Identifier] = field(default_factory=set)
    events: dict[str, types.Event] = field(default_factory=dict)
    status_faults: list[Fault] = field(default_factory=list)
    polled: list[str] = field(default_factory=list)
    _requests: dict[str, _Processing] = field(default_factory=dict)
    _calls: deque[float] = field(default_factory=deque)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def taken(self) -> list[Received]:
        with self._lock:
            return [received for received in self.received if received.taken]

    def finish(self) -> None:
        """Process every accepted request."""
        with self._lock:
            for processing in self._requests.values():
                self._process(processing)

    def ingest(self, request: Any, context: grpc.ServicerContext) -> Any:
        answer = types.IngestAudienceMembersResponse(request_id=self._change("ingest", request, context))
        for reason in self.warnings:
            # Raw, so that a test can warn with a reason that this client's version does not know.
            types.IngestAudienceMembersResponse.pb(answer).field_warnings.add(reason=reason)
        return answer

    def remove(self, request: Any, context: grpc.ServicerContext) -> Any:
        return types.RemoveAudienceMembersResponse(request_id=self._change("remove", request, context))

    def ingest_events(self, request: Any, context: grpc.ServicerContext) -> Any:
        return types.IngestEventsResponse(request_id=self._change("events", request, context))

    def status(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            self._count_call(context)
            self.polled.append(request.request_id)
            fault = self.status_faults.pop(0) if self.status_faults else None
            processing = self._requests.get(request.request_id)
        if fault is not None:
            time.sleep(fault.delay_s)
            _abort(context, fault)
        if processing is None:
            _abort(context, Fault(code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST_ID"))
        with self._lock:
            if processing.polls_left:
                processing.polls_left -= 1
                return _status_response(processing, Ending(state=int(_State.PROCESSING)))
            self._process(processing)
            return _status_response(processing, processing.ending)

    def _change(self, action: str, request: Any, context: grpc.ServicerContext) -> str:
        with self._lock:
            self._count_call(context)
            received = Received(action, request, time.monotonic())
            self.received.append(received)
            fault = self.script.pop(0) if self.script else None
        if fault is not None and not fault.apply:
            time.sleep(fault.delay_s)
            _abort(context, fault)
        wrong = [*_wrong_requests(action, request), *_wrong_items(action, request)]
        refused = [
            (f"audience_members.audience_members[{place}].user_data", "INVALID_AUDIENCE_MEMBER")
            for place, member in enumerate(received.members)
            if self.malformed(member)
        ]
        refused += [
            (f"events.events[{place}]", "INVALID_EVENT")
            for place, event in enumerate(received.events)
            if self.refused_event(event)
        ]
        with self._lock:
            self.violations += [f"{reason} in {where}" for where, reason in wrong]
        if found := wrong or refused:
            self._refuse(found, context)
        with self._lock:
            received.taken = True
            request_id = f"req-{len(self._requests) + 1:04d}"
            ending = self.endings.pop(0) if self.endings else Ending()
            self._requests[request_id] = _Processing(received, request_id, ending, self.polls)
        if fault is not None:
            time.sleep(fault.delay_s)
            _abort(context, fault)
        return request_id

    def _refuse(self, found: list[Violation], context: grpc.ServicerContext) -> NoReturn:
        named = found[: self.max_named] if self.names_members else []
        _abort(context, Fault(code_pb2.INVALID_ARGUMENT, "INVALID_ARGUMENT", violations=named))

    def _process(self, processing: _Processing) -> None:
        if not processing.ending.apply or processing.received is None:
            return
        if processing.received.action == "events":
            taken, state, errors = permitted_events(processing.received.events)
            self.events |= {event.transaction_id: event for event in taken}
            computed = processing.ending.state == int(_State.SUCCESS)
            ending = Ending(state, errors) if computed else processing.ending
            processing.ending = Ending(ending.state, ending.errors, apply=False)
            return
        identifiers = {identifier for member in processing.received.members for identifier in identifiers_of(member)}
        if processing.received.action == "ingest":
            self.audience |= identifiers
        else:
            self.audience -= identifiers
        processing.ending = Ending(processing.ending.state, processing.ending.errors, apply=False)

    def _count_call(self, context: grpc.ServicerContext) -> None:
        now = time.monotonic()
        while self._calls and self._calls[0] <= now - self.quota_s:
            self._calls.popleft()
        if len(self._calls) >= self.quota:
            self.violations.append("more calls than the quota")
            free_in_s = self._calls[0] + self.quota_s - now
            _abort(context, Fault(code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMIT_EXCEEDED", retry_after_s=free_in_s))
        self._calls.append(now)


def identifiers_of(member: types.AudienceMember) -> Iterator[Identifier]:
    """Yield the identifiers by which Google would recognise a member."""
    for identifier in member.user_data.user_identifiers:
        if identifier.email_address:
            yield ("email", identifier.email_address)
        elif identifier.phone_number:
            yield ("phone", identifier.phone_number)
        else:
            address = identifier.address
            yield ("address", address.given_name, address.family_name, address.region_code, address.postal_code)


@contextmanager
def data_manager(*, port: int = 0, **settings: Any) -> Iterator[DataManager]:
    """Run a server until the block ends."""
    state = DataManager(**settings)
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=16),
        options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
    )
    methods: dict[str, tuple[Any, Any, Any]] = {
        "IngestAudienceMembers": (
            state.ingest,
            types.IngestAudienceMembersRequest,
            types.IngestAudienceMembersResponse,
        ),
        "RemoveAudienceMembers": (
            state.remove,
            types.RemoveAudienceMembersRequest,
            types.RemoveAudienceMembersResponse,
        ),
        "IngestEvents": (state.ingest_events, types.IngestEventsRequest, types.IngestEventsResponse),
        "RetrieveRequestStatus": (
            state.status,
            types.RetrieveRequestStatusRequest,
            types.RetrieveRequestStatusResponse,
        ),
    }
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            method, request_deserializer=request.deserialize, response_serializer=response.serialize
        )
        for name, (method, request, response) in methods.items()
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    state.port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield state
    finally:
        server.stop(grace=None).wait()


def _wrong_requests(action: str, request: Any) -> Iterator[Violation]:
    if request.encoding != types.Encoding.HEX:
        yield "encoding", "REQUIRED_FIELD_MISSING"
    if len(request.destinations) != 1:
        yield "destinations", "TOO_MANY_DESTINATIONS" if request.destinations else "REQUIRED_FIELD_MISSING"
    for place, destination in enumerate(request.destinations):
        where = f"destinations.destinations[{place}]"
        product = destination.product_destination_id
        if not product or (action != "events" and not product.isdigit()):
            yield f"{where}.product_destination_id", "INVALID_USER_LIST_ID"
        if not destination.operating_account.account_id.isdigit() or not destination.operating_account.account_type:
            yield f"{where}.operating_account", "INVALID_DESTINATION"
    if action == "events":
        if not 1 <= len(request.events) <= 2_000:
            yield "events", "TOO_MANY_EVENTS" if request.events else "REQUIRED_FIELD_MISSING"
    else:
        yield from _wrong_change(action, request)


def _wrong_change(action: str, request: Any) -> Iterator[Violation]:
    if not request.audience_members:
        yield "audience_members", "REQUIRED_FIELD_MISSING"
    if len(request.audience_members) > 10_000:
        yield "audience_members", "TOO_MANY_AUDIENCE_MEMBERS"
    terms = types.TermsOfServiceStatus.ACCEPTED
    if action == "ingest" and request.terms_of_service.customer_match_terms_of_service_status != terms:
        yield "terms_of_service", "TERMS_AND_CONDITIONS_NOT_SIGNED"


def _wrong_items(action: str, request: Any) -> Iterator[Violation]:
    if action == "events":
        yield from wrong_events(type(request).pb(request).events, _wrong_identifier)
    else:
        yield from _wrong_members(action, request)


def _wrong_members(action: str, request: Any) -> Iterator[Violation]:
    # Raw messages: the client's own classes take twenty times as long.
    for place, member in enumerate(type(request).pb(request).audience_members):
        where = f"audience_members.audience_members[{place}]"
        identifiers = member.user_data.user_identifiers
        if not 1 <= len(identifiers) <= 10:
            yield where, "TOO_MANY_USER_IDENTIFIERS" if identifiers else "NO_IDENTIFIERS_PROVIDED"
        for number, identifier in enumerate(identifiers):
            for name, reason in _wrong_identifier(identifier):
                yield f"{where}.user_data.user_identifiers[{number}].{name}", reason
        consent = member.consent
        # Whoever denies their data has to be removed; whoever denies personal ads may be told.
        if action == "ingest" and (consent.ad_user_data != _GRANTED or not consent.ad_personalization):
            yield f"{where}.consent", "REQUIRED_FIELD_MISSING"


def _wrong_identifier(identifier: Any) -> Iterator[Violation]:
    kind = identifier.WhichOneof("identifier")
    if kind in {"email_address", "phone_number"}:
        if not _SHA256.fullmatch(getattr(identifier, kind)):
            yield kind, "INVALID_SHA256_FORMAT"
        return
    if kind is None:
        yield "identifier", "REQUIRED_FIELD_MISSING"
        return
    address = identifier.address
    for name in ("given_name", "family_name"):
        if not _SHA256.fullmatch(getattr(address, name)):
            yield f"address.{name}", "INVALID_SHA256_FORMAT"
    if not _REGION.fullmatch(address.region_code):
        yield "address.region_code", "INVALID_REGION_CODE"
    if not address.postal_code.strip():
        yield "address.postal_code", "INVALID_POSTAL_CODE"


def _status_response(processing: _Processing, ending: Ending) -> Any:
    action = processing.received.action
    entry = types.RequestStatusPerDestination(destination=processing.received.request.destinations[0])
    raw = types.RequestStatusPerDestination.pb(entry)
    # Raw, so that a test can answer with a state that this client's version does not know.
    raw.request_status = ending.state
    for reason, count in ending.errors.items():
        raw.error_info.error_counts.add(reason=reason, record_count=count)
    if action == "events":
        raw.events_ingestion_status.record_count = len(processing.received.events)
    elif action == "ingest":
        members = len(processing.received.members)
        raw.audience_members_ingestion_status.user_data_ingestion_status.record_count = members
    else:
        members = len(processing.received.members)
        raw.audience_members_removal_status.user_data_removal_status.record_count = members
    return types.RetrieveRequestStatusResponse(request_status_per_destination=[entry])


def _abort(context: grpc.ServicerContext, fault: Fault) -> NoReturn:
    details: list[Any] = []
    if fault.reason:
        details.append(error_details_pb2.ErrorInfo(reason=fault.reason, domain=DOMAIN))
    if fault.retry_after_s is not None:
        nanos = int(fault.retry_after_s * 1_000_000_000)
        delay = duration_pb2.Duration(seconds=nanos // 1_000_000_000, nanos=nanos % 1_000_000_000)
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if fault.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=where, reason=reason, description=fault.message)
            for where, reason in fault.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    packed = []
    for detail in details:
        packed.append(any_pb2.Any())
        packed[-1].Pack(detail)
    context.abort_with_status(
        rpc_status.to_status(status_pb2.Status(code=fault.code, message=fault.message, details=packed))
    )
    raise AssertionError("abort returned")
