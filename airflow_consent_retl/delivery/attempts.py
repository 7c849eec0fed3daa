"""Attempts at a batch, the combined outcome of several attempts for each row, and outcomes as text for the ledger.

An attempt is recorded before its first request and again when it ends. If its worker died or was paused, it never
ends: then its request may have been applied, or may still be applied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from itertools import groupby
from typing import Annotated

import msgspec

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus

NEVER_ENDED = Outcome(RowStatus.UNCERTAIN, "never_ended")
# The vendor received the rows, but a later attempt began before the vendor confirmed the result.
UNCONFIRMED = Outcome(RowStatus.UNCERTAIN, "unconfirmed")

_NOT_APPLIED = frozenset({RowStatus.REJECTED, RowStatus.WITHHELD, RowStatus.UNSENT})
_Run = tuple[Annotated[int, msgspec.Meta(ge=0)], Annotated[int, msgspec.Meta(ge=1)]]


class BatchKind(StrEnum):
    """The kinds of batches: fields to clear, removals, rows to send. Their alphabetical order is that of a delivery."""

    CLEAR = "clear"
    REMOVE = "remove"
    SEND = "send"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntendedBatch:
    """A batch about to be sent or removed.

    Args:
        kind: clearing, removal or sending.
        number: its index among the batches of its kind, from 0.
        start: the position of its first row among those of its kind in the delivery.
        rows: its number of rows, at least 1.
        key: the idempotency key.
    """

    kind: BatchKind
    number: int
    start: int
    rows: int
    key: str

    def __post_init__(self) -> None:
        if self.number < 0 or self.start < 0 or self.rows < 1:
            raise ValueError("a batch has a number and a start of at least 0, and at least 1 row")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedBatch:
    """The result of a batch that was recorded as intended before.

    Args:
        kind: as intended.
        number: as intended.
        outcomes: one for each of its rows.
        epoch: the lease epoch of the attempt. An earlier lease's epoch if its pending rows were confirmed later; None
            means the present lease.
    """

    kind: BatchKind
    number: int
    outcomes: Outcomes
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a batch, as the ledger records it.

    Args:
        kind: removal or sending.
        number: the batch's index among those of its kind.
        start: the position of the batch's first row.
        rows: the batch's number of rows.
        key: the idempotency key.
        epoch: of the lease that made the attempt.
        intended_at: when it was recorded; none of its requests began earlier.
        lost_at: if it had not ended when the next lease began: none of its requests began later than this.
        ended_at: when its outcomes were last recorded, or None.
        outcomes: one for each row, or None if it never ended.
    """

    kind: BatchKind
    number: int
    start: int
    rows: int
    key: str
    epoch: int
    intended_at: datetime
    lost_at: datetime | None
    ended_at: datetime | None
    outcomes: Outcomes | None

    @property
    def unsettled_at(self) -> datetime | None:
        """The last time at which it was in progress, if a request with some of its rows may come late; else None."""
        if self.outcomes is None or self.ended_at is None:
            return self.lost_at or self.intended_at
        return self.ended_at if any(outcome.may_come_late for outcome in self.outcomes.counts()) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedBatch:
    """The combined result of all attempts at one batch.

    Args:
        kind: removal or sending.
        number: the batch's index among those of its kind.
        start: the position of its first row.
        rows: its number of rows.
        key: the idempotency key.
        outcomes: the final outcome of each row, and the vendor's ids of all requests with these rows.
        ended_at: when an outcome was last recorded; None: no attempt ended.
        asked_at: no accepted row was requested before this time; if none was accepted, the time of the latest attempt.
        unsettled_at: the latest time at which an attempt was in progress that was never answered for some of its rows:
            it may still take effect. None means that every attempt was answered, clearly or not.
    """

    kind: BatchKind
    number: int
    start: int
    rows: int
    key: str
    outcomes: Outcomes
    ended_at: datetime | None
    asked_at: datetime
    unsettled_at: datetime | None


class AttemptHistory:
    """All attempts at one delivery that count, and their results. Immutable.

    Args:
        attempts: in the order of kind, number and epoch.
    """

    def __init__(self, attempts: Sequence[Attempt]) -> None:
        self._attempts = attempts

    @cached_property
    def batches(self) -> list[CombinedBatch]:
        """The combined result of each batch, in the order of kind and number."""
        return combined(self._attempts)

    @cached_property
    def latest(self) -> list[Attempt]:
        """The latest attempt at each batch."""
        return list({(attempt.kind, attempt.number): attempt for attempt in self._attempts}.values())

    def latest_outcomes(self, kind: BatchKind) -> dict[int, Outcomes]:
        """Return the outcomes of the latest attempt at each batch, by number; one that never ended is uncertain."""
        return {
            attempt.number: attempt.outcomes or Outcomes(attempt.rows, NEVER_ENDED)
            for attempt in self.latest
            if attempt.kind is kind
        }


def combined(attempts: Iterable[Attempt]) -> list[CombinedBatch]:
    """Return the combined result of each batch, in the order of kind and number. Pure.

    For each row, in the order of epochs: a row that was accepted once stays accepted. An attempt that never ended makes
    the row uncertain, and no later refusal changes that, because the earlier request may still be applied. A pending
    row stays pending only if the pending attempt is the last one.

    Raises:
        ValueError: two attempts at one batch have different rows or different keys.
    """
    in_order = sorted(attempts, key=lambda attempt: (attempt.kind, attempt.number, attempt.epoch))
    return [
        _combined(list(of_batch))
        for _, of_batch in groupby(in_order, key=lambda attempt: (attempt.kind, attempt.number))
    ]


def encoded(outcomes: Outcomes) -> str:
    """Return the outcomes as JSON without any value of a row: the distinct outcomes, then runs of equal ones."""
    numbers: dict[Outcome, int] = {}
    runs: list[_Run] = []
    for outcome, pieces in groupby(outcomes.pieces(), key=lambda piece: piece[1]):
        runs.append((numbers.setdefault(outcome, len(numbers)), sum(rows for _, _, rows in pieces)))
    distinct = [(outcome.status, outcome.code) for outcome in numbers]
    fields = [outcome.field for outcome in numbers]
    return msgspec.json.encode(_Runs(distinct, runs, list(outcomes.requests), fields if any(fields) else [])).decode()


def decoded(text: str) -> Outcomes:
    """Return the outcomes that `encoded` wrote.

    Raises:
        ValueError: the text is not the outcomes of a batch.
    """
    try:
        document = msgspec.json.decode(text, type=_Runs)
        fields = document.fields or [""] * len(document.outcomes)
        kinds = [Outcome(status, code, field) for (status, code), field in zip(document.outcomes, fields, strict=True)]
        runs = [(kinds[number], rows) for number, rows in document.runs]
    except (msgspec.DecodeError, IndexError, ValueError):
        raise ValueError("not the outcomes of a batch") from None
    if not runs:
        return Outcomes(0)
    totals: Counter[Outcome] = Counter()
    for outcome, rows in runs:
        totals[outcome] += rows
    common = totals.most_common(1)[0][0]
    exceptions: dict[int, Outcome] = {}
    start = 0
    for outcome, rows in runs:
        if outcome != common:
            exceptions.update(dict.fromkeys(range(start, start + rows), outcome))
        start += rows
    return Outcomes(start, common, exceptions, tuple(document.requests))


def _combined(attempts: Sequence[Attempt]) -> CombinedBatch:
    first = attempts[0]
    if len({(attempt.start, attempt.rows, attempt.key) for attempt in attempts}) > 1:
        raise ValueError(f"{first.kind} batch {first.number} was attempted with other rows or another key")
    outcomes, accepting = _final_outcomes(attempts)
    unsettled = [attempt.unsettled_at for attempt in attempts if attempt.unsettled_at is not None]
    return CombinedBatch(
        kind=first.kind,
        number=first.number,
        start=first.start,
        rows=first.rows,
        key=first.key,
        outcomes=outcomes,
        ended_at=max((attempt.ended_at for attempt in attempts if attempt.ended_at is not None), default=None),
        asked_at=min(attempts[i].intended_at for i in accepting) if accepting else attempts[-1].intended_at,
        unsettled_at=max(unsettled, default=None),
    )


def _final_outcomes(attempts: Sequence[Attempt]) -> tuple[Outcomes, set[int]]:
    """Return each row's final outcome, and which attempts were the latest to be accepted for some row."""
    rows = attempts[0].rows
    of_attempts = [attempt.outcomes or Outcomes(rows, NEVER_ENDED) for attempt in attempts]
    # Most rows are no exception in any attempt: they are decided together.
    exceptional = set[int]().union(*(outcomes.exceptions for outcomes in of_attempts))
    of_rows = {row: [outcomes[row] for outcomes in of_attempts] for row in exceptional}
    common = [outcomes.common for outcomes in of_attempts]
    distinct = [*of_rows.values(), common] if len(exceptional) < rows else list(of_rows.values())
    accepting = {latest for outcomes in distinct if (latest := _latest_accepted(outcomes)) is not None}
    final = {row: _final_outcome(outcomes) for row, outcomes in of_rows.items()}
    requests = dict.fromkeys(request for outcomes in of_attempts for request in outcomes.request_ids())
    return Outcomes(rows, _final_outcome(common), final, tuple(requests)), accepting


def _final_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the final outcome of one row from the outcomes of its attempts, of which there is at least one."""
    *earlier, last = outcomes
    settled = [*(UNCONFIRMED if outcome.status is RowStatus.PENDING else outcome for outcome in earlier), last]
    final = settled[0]
    for outcome in settled:
        if outcome.status is RowStatus.ACCEPTED:
            return outcome
        maybe_there = final.status is RowStatus.UNCERTAIN or final.is_partly_applied
        if not (outcome.status in _NOT_APPLIED and maybe_there):
            final = outcome
    return final


def _latest_accepted(outcomes: Sequence[Outcome]) -> int | None:
    accepted = [index for index, outcome in enumerate(outcomes) if outcome.status is RowStatus.ACCEPTED]
    return accepted[-1] if accepted else None


class _Runs(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Each distinct outcome once, runs of (index of the outcome, number of rows), and the vendor's requests.

    `fields`: of each outcome; empty: no outcome names one.
    """

    outcomes: list[tuple[RowStatus, str]]
    runs: list[_Run]
    requests: list[tuple[Annotated[int, msgspec.Meta(ge=0)], str]] = []
    fields: list[str] = []
