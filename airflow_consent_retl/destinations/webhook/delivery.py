"""A webhook's requests: sent, tried again, cut in halves, and their answers read. Knows no settings of Airflow.

Imports the HTTP client and the encoder, so it is imported where a load begins, never by a DAG file.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING

import tenacity

from airflow_consent_retl import __version__
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.http.client import Answer, AttemptError, GuardedClient
from airflow_consent_retl.destinations.webhook.answers import (
    MAX_ANSWER_BYTES,
    outcomes_of_refusal,
    outcomes_of_success,
    removed_or_not_there,
)
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError
from airflow_consent_retl.values.json_rows import JsonRows, Record, RowEncoder, SentObjects

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Batch, Load
    from airflow_consent_retl.destinations.http.address import WebhookAddress
    from airflow_consent_retl.destinations.webhook.options import WebhookOptions

ROW_TOO_LARGE = "row_too_large"
NOT_SENT = "not_sent"

_ASK_AGAIN = frozenset({408, 425, 429})
_FATAL = frozenset({401, 403, 404, 405, 407, 410})
_MISSING = frozenset({404, 410})
_LONGEST_BACKOFF_S = 60.0


class WebhookDelivery:
    """The requests of one load; `send` and `remove` are called from any number of threads.

    Args:
        address: where rows go.
        options: see `WebhookOptions`.
        load: its fields must have an exact form in JSON.
        removal_address: where people are removed, on the same host.
        removal_schema: what a removal says of a person; None where the load cannot remove.

    Raises:
        ConfigurationError: a field has none.
        DestinationError: the host resolves to an address that may not be contacted.
        DestinationUnavailableError: it does not resolve.
    """

    def __init__(
        self,
        address: WebhookAddress,
        options: WebhookOptions,
        load: Load,
        *,
        removal_address: WebhookAddress,
        removal_schema: pa.Schema | None,
    ) -> None:
        def encoder(schema: pa.Schema, beside: Mapping[str, str] | None = None) -> RowEncoder:
            return RowEncoder(
                schema, nulls=options.nulls, integers=options.integers, envelope=options.envelope, beside=beside
            )

        self._sending = _Purpose("POST", address, encoder(load.schema))
        self._removing = (
            None
            if removal_schema is None
            else _Purpose(
                options.removal_method, removal_address, encoder(removal_schema, options.removal_event), removes=True
            )
        )
        self._options = options
        self._key_field = load.key_field
        self._before_request = load.before_request
        self._pause = _Pause()
        self._given_up = threading.Event()
        self._client = GuardedClient(
            address,
            connections=options.concurrency,
            timeout_s=options.timeout_s,
            max_answer_bytes=MAX_ANSWER_BYTES,
        )
        try:
            self._client.check_address()
        except AttemptError:
            raise DestinationUnavailableError(
                f"the host of connection `{address.conn_id}` cannot be resolved"
            ) from None

    def send(self, batch: Batch) -> Outcomes:
        """POST a batch, again where that may help, in pieces where it is too large."""
        rows = self._sending.encoder.rows(batch.rows)
        return _with_refused(self._deliver_all(batch, rows, self._sending), rows, RowStatus.REJECTED)

    def remove(self, batch: Batch) -> Outcomes:
        """Ask for people to be removed; those that no request could ever name are not there."""
        if self._removing is None:
            raise ConfigurationError("the primary key is not mapped: the webhook removes people by it")
        rows = self._removing.encoder.rows(batch.rows)
        return _with_refused(self._deliver_all(batch, rows, self._removing), rows, RowStatus.ACCEPTED)

    def close(self, *, give_up: bool) -> None:
        """Close the connections; with `give_up`, waits and requests under way end as well."""
        if give_up:
            self._given_up.set()
        self._client.close()

    def _deliver_all(self, batch: Batch, rows: JsonRows, purpose: _Purpose) -> Outcomes:
        if not rows.records:
            return Outcomes(0)
        return self._deliver(
            _Piece(key=batch.key, purpose=purpose, records=rows.records, start=0, stop=len(rows.records))
        )

    def _deliver(self, piece: _Piece) -> Outcomes:
        records = piece.records[piece.start : piece.stop]
        body = piece.purpose.encoder.body(records)
        if len(body) > self._options.max_body_bytes:
            return self._deliver_halves(piece)
        doubt = _Doubt()
        try:
            answer = self._retrying()(self._attempt, piece, body, doubt=doubt)
        except AttemptError as failure:
            if doubt.code:
                return Outcomes.uncertain(len(records), doubt.code)
            raise DestinationUnavailableError(
                f"the webhook at {piece.purpose.place} took no request: {failure.code}",
                retry_after_s=failure.retry_after_s,
            ) from None
        except DestinationError:
            if doubt.code:
                return Outcomes.uncertain(len(records), doubt.code)
            raise
        if answer.status == 413 and not doubt.code:
            return self._deliver_halves(piece)
        return self._outcomes(answer, records, piece.purpose, doubt)

    def _deliver_halves(self, piece: _Piece) -> Outcomes:
        if piece.stop - piece.start == 1:
            return Outcomes.rejected(1, ROW_TOO_LARGE)
        first, second = piece.halves()
        outcomes = self._deliver(first)
        try:
            return Outcomes.concatenated([outcomes, self._deliver(second)])
        except (DestinationError, DestinationUnavailableError):
            # INVARIANT: `send` raises only for a batch of which surely nothing was applied.
            if all(outcome.status is RowStatus.REJECTED for outcome in outcomes.counts()):
                raise
            return Outcomes.concatenated([outcomes, Outcomes.uncertain(second.stop - second.start, NOT_SENT)])

    def _retrying(self) -> tenacity.Retrying:
        backoff = tenacity.wait_random_exponential(multiplier=self._options.backoff_s, max=_LONGEST_BACKOFF_S)

        def wait_s(state: tenacity.RetryCallState) -> float:
            failure = state.outcome.exception() if state.outcome is not None else None
            asked_s = failure.retry_after_s if isinstance(failure, AttemptError) else None
            # Never before the time that was named; a little after it, so that threads do not come all at once.
            return backoff(state) if asked_s is None else asked_s + min(backoff(state), 1.0)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(AttemptError),
            stop=tenacity.stop_any(
                tenacity.stop_after_attempt(self._options.max_attempts),
                tenacity.stop_before_delay(self._options.max_retry_s),
                tenacity.stop_when_event_set(self._given_up),
            ),
            wait=wait_s,
            sleep=tenacity.sleep_using_event(self._given_up),
            reraise=True,
        )

    def _attempt(self, piece: _Piece, body: bytes, *, doubt: _Doubt) -> Answer:
        paused_s = self._pause.left_s()
        if 0 < paused_s <= self._options.max_retry_s:
            self._given_up.wait(paused_s)
        elif paused_s:
            raise AttemptError("paused", maybe_applied=False, retry_after_s=paused_s)
        if self._given_up.is_set():
            raise AttemptError("given_up", maybe_applied=False)
        # INVARIANT: every wait of our own is over by now, so that the lease is as fresh as it can be.
        self._before_request()
        try:
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
        except AttemptError as failure:
            if failure.maybe_applied:
                doubt.code = failure.code
            raise
        if answer.status not in _ASK_AGAIN and answer.status < 500:
            return answer
        code = f"http_{answer.status}"
        if answer.status != 429:
            doubt.code = code
        if answer.retry_after_s is not None and answer.status in {429, 503}:
            self._pause.extend(answer.retry_after_s)
        raise AttemptError(code, maybe_applied=answer.status != 429, retry_after_s=answer.retry_after_s)

    def _outcomes(self, answer: Answer, records: list[Record], purpose: _Purpose, doubt: _Doubt) -> Outcomes:
        status, rows = answer.status, len(records)
        code = f"http_{status}"
        if 200 <= status < 300:
            if self._options.answer == "status" or status == 204:
                return Outcomes.accepted(rows)
            outcomes = outcomes_of_success(answer.body, SentObjects(records), key_field=self._key_field)
            return removed_or_not_there(outcomes) if purpose.removes else outcomes
        named = None
        if status >= 400 and self._options.answer == "rows":
            named = outcomes_of_refusal(answer.body, SentObjects(records), key_field=self._key_field, code=code)
        if named is not None and purpose.removes:
            named = removed_or_not_there(named)
        if doubt.code:
            # A refusal may mean that an earlier try, whose answer got lost, was applied: a conflict with itself. Only
            # that somebody is not there stays true, since that is what the earlier try was to bring about.
            return (
                _accepted_else_uncertain(named, code) if named and purpose.removes else Outcomes.uncertain(rows, code)
            )
        if status < 400:
            raise DestinationError(
                f"the webhook at {purpose.place} answers {status}: redirects are not followed, the connection has to "
                "hold the final address"
            )
        if status in _FATAL and not (status in _MISSING and named is not None and purpose.removes):
            raise DestinationError(f"the webhook at {purpose.place} refuses every request with {status}")
        return Outcomes.rejected(rows, code) if named is None else named


@dataclass(frozen=True, slots=True)
class _Purpose:
    """What requests are for: rows to be stored, or people to be removed; how they look, and where they go."""

    method: str
    address: WebhookAddress
    encoder: RowEncoder
    removes: bool = False

    @property
    def place(self) -> str:
        return f"`{self.address.path}` of connection `{self.address.conn_id}`"


@dataclass(slots=True)
class _Doubt:
    """Why an earlier try of a request may have been applied, or an empty string."""

    code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """The rows `start` to `stop` of a batch's records."""

    key: str
    purpose: _Purpose
    records: list[Record]
    start: int
    stop: int

    @property
    def request_key(self) -> str:
        """The batch's key, or one derived from it and the piece's place, so that a later try derives the same."""
        if (self.start, self.stop) == (0, len(self.records)):
            return self.key
        return sha256(f"{self.key}:{self.start}:{self.stop}".encode()).hexdigest()

    def halves(self) -> tuple[_Piece, _Piece]:
        middle = (self.start + self.stop) // 2
        return replace(self, stop=middle), replace(self, start=middle)


class _Pause:
    """The time before which nobody asks again, as the other side wished; shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until = 0.0

    def extend(self, seconds: float) -> None:
        with self._lock:
            self._until = max(self._until, time.monotonic() + seconds)

    def left_s(self) -> float:
        with self._lock:
            return max(0.0, self._until - time.monotonic())


def _accepted_else_uncertain(outcomes: Outcomes, code: str) -> Outcomes:
    accepted = {row: o for row, o in enumerate(outcomes) if o.status is RowStatus.ACCEPTED}
    return Outcomes(outcomes.rows, Outcome(RowStatus.UNCERTAIN, code), accepted)


def _with_refused(sent: Outcomes, rows: JsonRows, status: RowStatus) -> Outcomes:
    if not rows.refused:
        return sent
    exceptions = {rows.positions[row]: outcome for row, outcome in sent.exceptions.items()}
    exceptions |= {
        row: Outcome(status, "" if status is RowStatus.ACCEPTED else code) for row, code in rows.refused.items()
    }
    return Outcomes(len(rows.records) + len(rows.refused), sent.common, exceptions)
