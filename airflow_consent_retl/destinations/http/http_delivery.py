"""The requests of one load over HTTP: their encoding, sending, retries and halving, and the reading of answers.

A request whose answer was lost is uncertain, and stays so when a later try is refused. This module knows no settings
of Airflow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.outcomes import UNREADABLE_ANSWER, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.attempt import AttemptError, RequestDoubt
from airflow_consent_retl.destinations.http.exchange import Exchange
from airflow_consent_retl.destinations.http.pieces import Piece
from airflow_consent_retl.destinations.http.responses import (
    LATER,
    MAX_ANSWER_BYTES,
    TOO_LONG,
    accepted_else_uncertain,
    may_come_late,
    removed_or_not_there,
)
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError
from airflow_consent_retl.values.json_rows import JsonRows, SentObjects

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.destinations.http.address import HttpAddress
    from airflow_consent_retl.destinations.http.client import Answer
    from airflow_consent_retl.destinations.http.options import HttpOptions
    from airflow_consent_retl.destinations.http.pace import Pace
    from airflow_consent_retl.destinations.http.purpose import Purpose

ROW_TOO_LARGE = "row_too_large"
NOT_SENT = "not_sent"
# A row whose values make no endpoint, such as an id that is `..`.
NO_ENDPOINT = "no_endpoint"

_FATAL = frozenset({401, 403, 404, 405, 407, 410})
_MISSING = frozenset({404, 410})


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
        self._exchange = Exchange(address, options, pace=pace, max_answer_bytes=MAX_ANSWER_BYTES)
        try:
            self._exchange.check_address()
        except AttemptError as failure:
            raise DestinationUnavailableError(
                f"the host of connection `{address.conn_id}` cannot be reached: {failure.words}"
            ) from None

    def deliver(self, batch: Batch, purpose: Purpose) -> Outcomes:
        """Send a batch, retry where that may help, and cut it into pieces where it is too large.

        A row that has no form in the body is rejected; a person whose key has none was never sent, and counts as
        removed.
        """
        rows = purpose.encoder.rows(batch.rows)
        sent = Outcomes(0)
        if rows.records:
            piece = Piece(key=batch.key, purpose=purpose, records=rows.records, start=0, stop=len(rows.records))
            sent = self._deliver(piece)
        return _with_refused(sent, rows, RowStatus.ACCEPTED if purpose.removes else RowStatus.REJECTED)

    def close(self, *, give_up: bool) -> None:
        """Close the connections; with `give_up`, end waits and running requests as well."""
        self._exchange.close(give_up=give_up)

    def _deliver(self, piece: Piece) -> Outcomes:
        purpose, records = piece.purpose, piece.sent
        if purpose.max_rows is not None and len(records) > purpose.max_rows:
            return self._deliver_in_turn(piece.pieces(purpose.max_rows))
        body = purpose.encoder.body(records)
        if purpose.max_row_bytes is not None and len(body) > purpose.max_row_bytes:
            too_large = piece.larger_than(purpose.max_row_bytes)
            if too_large:
                return self._deliver_without(piece, too_large)
        if len(body) > min(self._max_body_bytes, purpose.max_body_bytes or self._max_body_bytes):
            return self._deliver_halves(piece)
        return self._request(piece, body)

    def _request(self, piece: Piece, body: bytes) -> Outcomes:
        purpose, records = piece.purpose, piece.sent
        try:
            target = piece.target
        except ConfigurationError:
            return Outcomes.rejected(len(records), NO_ENDPOINT)
        doubt = RequestDoubt()
        try:
            answer = self._exchange.retries.run(
                lambda: self._attempt(piece, target, body),
                doubt=doubt,
                before_request=self._before_request,
                rates=purpose.rates,
            )
        except AttemptError as failure:
            if doubt.code:
                return Outcomes.uncertain(len(records), doubt.code)
            raise DestinationUnavailableError(
                f"the {self._name} at {purpose.place} accepted no request: {failure.words}",
                retry_after_s=failure.retry_after_s,
            ) from None
        except DestinationError:
            if doubt.code:
                return Outcomes.uncertain(len(records), doubt.code)
            raise
        if answer.status == 413 and not doubt.code:
            return self._deliver_halves(piece)
        outcomes = self._outcomes(answer, records, purpose, doubt)
        return outcomes if answer.request_id is None else replace(outcomes, requests=((0, answer.request_id),))

    def _deliver_halves(self, piece: Piece) -> Outcomes:
        if len(piece.sent) == 1:
            return Outcomes.rejected(1, ROW_TOO_LARGE)
        return self._deliver_in_turn(piece.halves())

    def _deliver_in_turn(self, pieces: list[Piece]) -> Outcomes:
        outcomes: list[Outcomes] = []
        for number, piece in enumerate(pieces):
            try:
                outcomes.append(self._deliver(piece))
            except (DestinationError, DestinationUnavailableError):
                # INVARIANT: `send` raises only for a batch of which certainly nothing was applied.
                applied = {outcome.status for one in outcomes for outcome in one.counts()} - {RowStatus.REJECTED}
                if not applied:
                    raise
                left = sum(len(one.sent) for one in pieces[number:])
                return Outcomes.concatenated([*outcomes, Outcomes.uncertain(left, NOT_SENT)])
        return Outcomes.concatenated(outcomes)

    def _deliver_without(self, piece: Piece, too_large: set[int]) -> Outcomes:
        left = [row for row in range(len(piece.sent)) if row not in too_large]
        rejected = Outcome(RowStatus.REJECTED, ROW_TOO_LARGE)
        sent = Outcomes(0)
        if left:
            records = [piece.sent[row] for row in left]
            # Which rows are too large does not change between tries.
            sent = self._deliver(replace(piece, key=piece.request_key, records=records, start=0, stop=len(records)))
        return sent.at_rows(left, len(piece.sent), others=dict.fromkeys(too_large, rejected))

    def _attempt(self, piece: Piece, target: str, body: bytes) -> Answer:
        purpose = piece.purpose
        headers = dict(purpose.headers)
        if body:
            headers["Content-Type"] = purpose.content_type
        if purpose.key_header is not None:
            headers[purpose.key_header] = piece.request_key
        answer = self._exchange.request(purpose.method, target, body, headers=headers)
        pace = self._exchange.retries.pace
        if purpose.pause is not None and (pause_s := purpose.pause(answer)):
            pace.hold(pause_s)
        if purpose.refuse is not None:
            try:
                purpose.refuse(answer)
            except AttemptError as failure:
                if failure.retry_after_s is not None:
                    pace.hold(failure.retry_after_s)
                raise
        self._exchange.check_final(answer, changes=True)
        return answer

    def _outcomes(self, answer: Answer, records: Sequence[Any], purpose: Purpose, doubt: RequestDoubt) -> Outcomes:
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
        about_rows = status in purpose.row_statuses or (status in _MISSING and named is not None and purpose.removes)
        if status in _FATAL and not about_rows:
            raise DestinationError(f"the {self._name} at {purpose.place} refuses every request with {status}")
        return Outcomes.rejected(rows, code) if named is None else named


def _with_refused(sent: Outcomes, rows: JsonRows, status: RowStatus) -> Outcomes:
    if not rows.refused:
        return sent
    refused = {row: Outcome(status, "" if status is RowStatus.ACCEPTED else code) for row, code in rows.refused.items()}
    return sent.at_rows(rows.positions, len(rows.records) + len(rows.refused), others=refused)
