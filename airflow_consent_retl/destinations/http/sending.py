"""The requests of one load over HTTP: their encoding, sending, retries and halving, and the reading of answers.

A request whose answer was lost is uncertain, and stays so when a later try is refused. This module knows no settings
of Airflow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

from airflow_consent_retl import __version__
from airflow_consent_retl.contract.outcomes import UNREADABLE_ANSWER, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.attempt import AttemptError, RequestDoubt
from airflow_consent_retl.destinations.http.client import Answer, GuardedClient
from airflow_consent_retl.destinations.http.responses import (
    LATER,
    MAX_ANSWER_BYTES,
    TOO_LONG,
    SentRows,
    accepted_else_uncertain,
    may_come_late,
    removed_or_not_there,
)
from airflow_consent_retl.destinations.http.retry import Retries
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError
from airflow_consent_retl.values.json_rows import JsonRows, Record, RowEncoder, SentObjects

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.options import HttpOptions
    from airflow_consent_retl.destinations.http.pace import Pace

ROW_TOO_LARGE = "row_too_large"
NOT_SENT = "not_sent"

_ASK_AGAIN = frozenset({408, 425, 429})
_FATAL = frozenset({401, 403, 404, 405, 407, 410})
_MISSING = frozenset({404, 410})

ReadAnswer = Callable[[Answer, SentRows], Outcomes | None]
"""Returns the outcome of each row from an answer (2xx or from 400); None where the answer does not mention rows.

A success that does not mention rows is uncertain. For a refusal that does not mention rows, the status counts.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """The purpose of requests: to store rows, or to remove people.

    Args:
        method: such as `POST`.
        address: the target of the requests.
        encoder: makes their bodies.
        read: reads their answers.
        removes: whether a row rejected with the code `not_found` or `gone` counts as done: removed, or cleared.
    """

    method: str
    address: HttpAddress
    encoder: RowEncoder
    read: ReadAnswer
    removes: bool = False

    @property
    def place(self) -> str:
        """The path and the connection, for messages."""
        return f"`{self.address.path}` of connection `{self.address.conn_id}`"


class HttpDelivery:
    """The requests of one load; any number of threads may call.

    Args:
        name: the other side's name in messages, such as `webhook`.
        address: names the host; every request goes there.
        options: see `HttpOptions`.
        load: its `before_request` is called before each request.
        pace: of all requests.

    Raises:
        DestinationError: the host resolves to an address that may not be contacted.
        DestinationUnavailableError: the host does not resolve.
    """

    def __init__(self, name: str, address: HttpAddress, options: HttpOptions, load: Load, *, pace: Pace) -> None:
        self._name = name
        self._max_body_bytes = options.max_body_bytes
        self._before_request = load.before_request
        self._retries = Retries(
            pace,
            max_attempts=options.max_attempts,
            max_retry_s=options.max_retry_s,
            backoff_s=options.backoff_s,
        )
        self._client = GuardedClient(
            address,
            connections=options.concurrency,
            timeout_s=options.timeout_s,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )
        try:
            self._client.check_address()
        except AttemptError as failure:
            raise DestinationUnavailableError(
                f"the host of connection `{address.conn_id}` cannot be reached: {failure.words}"
            ) from None

    def deliver(self, batch: Batch, purpose: Purpose) -> Outcomes:
        """Send a batch, retry where that may help, and cut it into pieces where it is too large.

        A row that has no form in JSON is rejected; a person whose key has none was never sent, and counts as removed.
        """
        rows = purpose.encoder.rows(batch.rows)
        sent = Outcomes(0)
        if rows.records:
            piece = _Piece(key=batch.key, purpose=purpose, records=rows.records, start=0, stop=len(rows.records))
            sent = self._deliver(piece)
        return _with_refused(sent, rows, RowStatus.ACCEPTED if purpose.removes else RowStatus.REJECTED)

    def close(self, *, give_up: bool) -> None:
        """Close the connections; with `give_up`, end waits and running requests as well."""
        if give_up:
            self._retries.give_up()
        self._client.close()

    def _deliver(self, piece: _Piece) -> Outcomes:
        records = piece.records[piece.start : piece.stop]
        body = piece.purpose.encoder.body(records)
        if len(body) > self._max_body_bytes:
            return self._deliver_halves(piece)
        doubt = RequestDoubt()
        try:
            answer = self._retries.run(
                lambda: self._attempt(piece, body), doubt=doubt, before_request=self._before_request
            )
        except AttemptError as failure:
            if doubt.code:
                return Outcomes.uncertain(len(records), doubt.code)
            raise DestinationUnavailableError(
                f"the {self._name} at {piece.purpose.place} accepted no request: {failure.words}",
                retry_after_s=failure.retry_after_s,
            ) from None
        except DestinationError:
            if doubt.code:
                return Outcomes.uncertain(len(records), doubt.code)
            raise
        if answer.status == 413 and not doubt.code:
            return self._deliver_halves(piece)
        outcomes = self._outcomes(answer, records, piece.purpose, doubt)
        return outcomes if answer.request_id is None else replace(outcomes, requests=((0, answer.request_id),))

    def _deliver_halves(self, piece: _Piece) -> Outcomes:
        if piece.stop - piece.start == 1:
            return Outcomes.rejected(1, ROW_TOO_LARGE)
        first, second = piece.halves()
        outcomes = self._deliver(first)
        try:
            return Outcomes.concatenated([outcomes, self._deliver(second)])
        except (DestinationError, DestinationUnavailableError):
            # INVARIANT: `send` raises only for a batch of which certainly nothing was applied.
            if all(outcome.status is RowStatus.REJECTED for outcome in outcomes.counts()):
                raise
            return Outcomes.concatenated([outcomes, Outcomes.uncertain(second.stop - second.start, NOT_SENT)])

    def _attempt(self, piece: _Piece, body: bytes) -> Answer:
        answer = self._client.request(
            piece.purpose.method,
            piece.purpose.address.target,
            body,
            headers={
                "Content-Type": "application/json",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Idempotency-Key": piece.request_key,
                "User-Agent": f"airflow-consent-retl/{__version__}",
            },
        )
        if answer.status not in _ASK_AGAIN and answer.status < 500:
            return answer
        if answer.retry_after_s is not None and answer.status in {429, 503}:
            self._retries.pace.hold(answer.retry_after_s)
        raise AttemptError(
            f"http_{answer.status}", maybe_applied=answer.status != 429, retry_after_s=answer.retry_after_s
        )

    def _outcomes(self, answer: Answer, records: list[Record], purpose: Purpose, doubt: RequestDoubt) -> Outcomes:
        status, rows = answer.status, len(records)
        code = f"http_{status}"
        success = 200 <= status < 300
        named = purpose.read(answer, SentObjects(records)) if success or status >= 400 else None
        if named is not None and purpose.removes:
            named = removed_or_not_there(named)
        if success:
            outcomes = Outcomes.uncertain(rows, UNREADABLE_ANSWER) if named is None else named
            # INVARIANT: a request may come late unless it is the only one and its whole answer was read.
            unread = TOO_LONG if answer.body is None else LATER if status == 202 else ""
            late = doubt.code or unread
            return may_come_late(outcomes, late) if late else outcomes
        if doubt.code:
            # A refusal may mean that an earlier try, whose answer was lost, was applied: a conflict with itself. Only
            # the answer that a person is not there stays certain: it was the purpose of the earlier try.
            return accepted_else_uncertain(named, code) if named and purpose.removes else Outcomes.uncertain(rows, code)
        if status < 400:
            raise DestinationError(
                f"the {self._name} at {purpose.place} answers {status}: redirects are not followed, the connection "
                "must have the final address"
            )
        if status in _FATAL and not (status in _MISSING and named is not None and purpose.removes):
            raise DestinationError(f"the {self._name} at {purpose.place} refuses every request with {status}")
        return Outcomes.rejected(rows, code) if named is None else named


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """The rows `start` to `stop` of a batch's records."""

    key: str
    purpose: Purpose
    records: list[Record]
    start: int
    stop: int

    @property
    def request_key(self) -> str:
        """The batch's key, or a key derived from it and the piece's place, so that a later try derives the same."""
        if (self.start, self.stop) == (0, len(self.records)):
            return self.key
        return sha256(f"{self.key}:{self.start}:{self.stop}".encode()).hexdigest()

    def halves(self) -> tuple[_Piece, _Piece]:
        middle = (self.start + self.stop) // 2
        return replace(self, stop=middle), replace(self, start=middle)


def _with_refused(sent: Outcomes, rows: JsonRows, status: RowStatus) -> Outcomes:
    if not rows.refused:
        return sent
    refused = {row: Outcome(status, "" if status is RowStatus.ACCEPTED else code) for row, code in rows.refused.items()}
    return sent.at_rows(rows.positions, len(rows.records) + len(rows.refused), others=refused)
