"""A vendor in memory that outlives its clients, honours idempotency keys, and fails on request.

It knows people by their e-mail. It records every request on arrival; its client decides who may be sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch, Destination, Limits, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import BatchKind
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError, PeopleMissingError


class Fault(StrEnum):
    """The failure of one request."""

    NONE = "none"
    # Applied, and the answer is lost.
    ANSWER_LOST = "answer_lost"
    # Lost on the way, which the client cannot know.
    REQUEST_LOST = "request_lost"
    # Not answered, and applied later.
    LATE = "late"
    # Applied, and answered for fewer rows than were sent.
    SHORT_ANSWER = "short_answer"
    # Accepted, and processed later.
    PENDING = "pending"
    # Its first row is rejected, the others are applied.
    ONE_REJECTED = "one_rejected"
    # Certainly not applied; another try may help.
    UNAVAILABLE = "unavailable"
    # Certainly not applied; no other try helps.
    REFUSED = "refused"


class Payload(NamedTuple):
    """The vendor's values for one e-mail."""

    id: int
    name: str | None


@dataclass(frozen=True)
class Request:
    """Rows that arrived together under one key."""

    key: str
    kind: BatchKind
    rows: tuple[tuple[str, Payload | None], ...]


@dataclass
class Vendor:
    """The vendor's side.

    Args:
        people: the stored people, by e-mail.
        faults: the faults of the next requests; later requests succeed.
        requests: all requests that ever arrived, in their order.
        unanswered: requests that arrived, got no answer, and will be applied later.
        pending: accepted requests that are not processed yet, by request id.
        broken_keys: keys that were used again with other rows.
        place: where it is.
    """

    people: dict[str, Payload] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)
    requests: list[Request] = field(default_factory=list)
    unanswered: list[Request] = field(default_factory=list)
    pending: dict[str, Request] = field(default_factory=dict)
    broken_keys: list[str] = field(default_factory=list)
    place: str = "the vendor"
    _applied: dict[str, Request] = field(default_factory=dict)
    _seen: dict[str, Request] = field(default_factory=dict)

    def take(self, request: Request) -> Outcomes:
        """Receive a request and answer it."""
        rows = len(request.rows)
        if self._seen.setdefault(request.key, request) != request:
            self.broken_keys.append(request.key)
        self.requests.append(request)
        fault = self.faults.popleft() if self.faults else Fault.NONE
        if fault is Fault.UNAVAILABLE:
            raise DestinationUnavailableError("the vendor does not answer")
        if fault is Fault.REFUSED:
            raise DestinationError("the vendor refuses the load")
        if fault is Fault.REQUEST_LOST:
            return Outcomes.uncertain(rows, "timeout")
        if fault is Fault.LATE:
            self.unanswered.append(request)
            return Outcomes.uncertain(rows, "timeout")
        if fault is Fault.PENDING and request.key not in self._applied:
            self.pending[request.key] = request
            return Outcomes.pending(rows, request.key)
        if fault is Fault.ONE_REJECTED and request.key not in self._applied:
            self._apply(Request(request.key, request.kind, request.rows[1:]))
            return Outcomes(rows, exceptions={0: Outcome(RowStatus.REJECTED, "invalid")})
        self._apply(request)
        if fault is Fault.ANSWER_LOST:
            return Outcomes.uncertain(rows, "reset")
        return Outcomes.accepted(rows + 1 if fault is Fault.SHORT_ANSWER else rows)

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        """Return the outcomes of a pending request, or None while it is not processed."""
        return Outcomes.accepted(rows) if request_id in self._applied else None

    def process(self) -> None:
        """Apply the pending requests."""
        for request in self.pending.values():
            self._apply(request)
        self.pending.clear()

    def catch_up(self) -> None:
        """Apply the pending and unanswered requests, in the order of their arrival."""
        left = [*self.unanswered, *self.pending.values()]
        self.unanswered.clear()
        self.pending.clear()
        for request in sorted(left, key=self.requests.index):
            self._apply(request)

    def still_coming(self) -> set[str]:
        """Return the e-mails that an unfinished request may still add."""
        left = [*self.unanswered, *self.pending.values()]
        return {email for request in left if request.kind is BatchKind.SEND for email, _ in request.rows}

    def _apply(self, request: Request) -> None:
        if request.key in self._applied:
            return
        self._applied[request.key] = request
        for email, payload in request.rows:
            if request.kind is BatchKind.CLEAR:
                self.people |= {email: self.people[email]._replace(name=None)} if email in self.people else {}
            elif payload is None:
                self.people.pop(email, None)
            else:
                self.people[email] = payload


class VendorClient(Destination):
    """One worker's client of the vendor.

    Args:
        vendor: the other side.
        arriving: called with each request before it arrives; may raise, since workers die there too.
        alive: raises if the worker is dead: a dead worker does nothing more.
    """

    can_remove = True
    can_clear = True

    def __init__(self, vendor: Vendor, *, arriving: Callable[[Request], None], alive: Callable[[], None]) -> None:
        self._vendor = vendor
        self._arriving = arriving
        self._alive = alive

    @property
    def limits(self) -> Limits:
        return Limits(batch_rows=2, removal_rows=2)

    @property
    def target(self) -> str:
        return self._vendor.place

    def look(self, load: Load) -> None:
        if load.delivered and not self._vendor.people:
            raise PeopleMissingError("the vendor has no one, and people were delivered to it")

    def open(self, load: Load) -> None:
        self._load = load

    def removal_schema(self, load: Load) -> pa.Schema:
        return pa.schema([load.schema.field("email")])

    def send(self, batch: Batch) -> Outcomes:
        rows = [(row["email"], Payload(row["id"], row["name"])) for row in batch.rows.to_pylist()]
        return self._hand_over(Request(batch.key, BatchKind.SEND, tuple(rows)))

    def remove(self, batch: Batch) -> Outcomes:
        return self._take_back(batch, BatchKind.REMOVE)

    def clear(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        assert list(fields) == ["name"]
        return self._take_back(batch, BatchKind.CLEAR)

    def confirm(self, request_id: str, rows: int) -> Outcomes | None:
        self._alive()
        return self._vendor.confirm(request_id, rows)

    def _take_back(self, batch: Batch, kind: BatchKind) -> Outcomes:
        emails: list[Any] = batch.rows.column("email").to_pylist()
        return self._hand_over(Request(batch.key, kind, tuple((email, None) for email in emails)))

    def _hand_over(self, request: Request) -> Outcomes:
        self._alive()
        self._load.before_request()
        self._arriving(request)
        return self._vendor.take(request)
