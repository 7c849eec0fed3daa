"""Attempts at a batch, and what several of them come to for each of its rows.

An attempt is noted before its first request and again when it ended. One that was noted and never ended, since its
worker died or was paused, may have been applied, and may still be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus

NEVER_ENDED = Outcome(RowStatus.UNCERTAIN, "never_ended")
# The vendor took the rows, and a later attempt was made before it said what became of them.
UNCONFIRMED = Outcome(RowStatus.UNCERTAIN, "unconfirmed")

_NOT_APPLIED = frozenset({RowStatus.REJECTED, RowStatus.WITHHELD, RowStatus.UNSENT})
_NOT_ANSWERED = frozenset({RowStatus.UNCERTAIN, RowStatus.PENDING})


class BatchKind(StrEnum):
    """Whether a batch takes people back or sends rows. Their alphabetical order is the order of a delivery."""

    REMOVE = "remove"
    SEND = "send"


@dataclass(frozen=True, slots=True, kw_only=True)
class IntendedBatch:
    """A batch about to be sent or removed.

    Args:
        kind: what is done with it.
        number: its place among the batches of its kind, from 0.
        start: the position of its first row among the upserts or removals of the delivery.
        rows: how many rows it has, at least 1.
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
    """What became of a batch that was intended before.

    Args:
        kind: as intended.
        number: as intended.
        outcomes: one for each of its rows.
        epoch: of the attempt: that of an earlier lease where its pending rows were confirmed later. None: this lease's.
    """

    kind: BatchKind
    number: int
    outcomes: Outcomes
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt at a batch, as the ledger has it.

    Args:
        kind: what was done.
        number: the batch's.
        start: the position of its first row.
        rows: how many rows it has.
        key: the idempotency key.
        epoch: of the lease under which it was made.
        intended_at: when it was noted; no request of it was made before.
        lost_at: for one that had not ended when the next lease began: no request of it was begun after.
        ended_at: when its outcomes were last noted, or None.
        outcomes: one for each row, or None where it never ended.
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
        """When it was last under way, if some of its rows were never answered; else None."""
        if self.outcomes is None or self.ended_at is None:
            return self.lost_at or self.intended_at
        unanswered = any(outcome.status in _NOT_ANSWERED for outcome in self.outcomes.counts())
        return self.ended_at if unanswered else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedBatch:
    """What all attempts at one batch come to.

    Args:
        kind: what was done.
        number: the batch's.
        start: the position of its first row.
        rows: how many rows it has.
        key: the idempotency key.
        outcomes: the last word on each row.
        asked_at: no accepted row was asked for before this moment; where none was accepted, the latest attempt's.
        unsettled_at: the latest moment at which an attempt was under way that was never answered for some of its rows:
            it may take effect yet. None: every attempt was answered.
    """

    kind: BatchKind
    number: int
    start: int
    rows: int
    key: str
    outcomes: Outcomes
    asked_at: datetime
    unsettled_at: datetime | None


def combined(attempts: Iterable[Attempt]) -> list[CombinedBatch]:
    """Return what the attempts come to, per batch, in the order of kind and number. Pure.

    For each row, in the order of epochs: what was accepted once stays accepted. An attempt that never ended makes the
    row uncertain, and no later refusal undoes that, since the earlier request may still be applied. A pending row
    stays pending under its last attempt only.

    Raises:
        ValueError: two attempts at one batch have other rows or another key.
    """
    in_order = sorted(attempts, key=lambda attempt: (attempt.kind, attempt.number, attempt.epoch))
    return [
        _combined(list(of_batch))
        for _, of_batch in groupby(in_order, key=lambda attempt: (attempt.kind, attempt.number))
    ]


def _combined(attempts: Sequence[Attempt]) -> CombinedBatch:
    first = attempts[0]
    if len({(attempt.start, attempt.rows, attempt.key) for attempt in attempts}) > 1:
        raise ValueError(f"{first.kind} batch {first.number} was attempted with other rows or another key")
    outcomes, accepting = _last_words(attempts)
    unsettled = [attempt.unsettled_at for attempt in attempts if attempt.unsettled_at is not None]
    return CombinedBatch(
        kind=first.kind,
        number=first.number,
        start=first.start,
        rows=first.rows,
        key=first.key,
        outcomes=outcomes,
        asked_at=min(attempts[i].intended_at for i in accepting) if accepting else attempts[-1].intended_at,
        unsettled_at=max(unsettled, default=None),
    )


def _last_words(attempts: Sequence[Attempt]) -> tuple[Outcomes, set[int]]:
    """Return each row's outcome, and which attempts were the latest to be accepted for some row."""
    rows = attempts[0].rows
    said = [attempt.outcomes or Outcomes(rows, NEVER_ENDED) for attempt in attempts]
    # Most rows are no exception in any attempt: they are decided together.
    exceptional = set[int]().union(*(outcomes.exceptions for outcomes in said))
    words = {row: [outcomes[row] for outcomes in said] for row in exceptional}
    common = [outcomes.common for outcomes in said]
    distinct = [*words.values(), common] if len(exceptional) < rows else list(words.values())
    accepting = {latest for word in distinct if (latest := _latest_accepted(word)) is not None}
    return Outcomes(rows, _last_word(common), {row: _last_word(word) for row, word in words.items()}), accepting


def _last_word(words: Sequence[Outcome]) -> Outcome:
    final: Outcome | None = None
    for index, said in enumerate(words):
        is_last = index == len(words) - 1
        word = UNCONFIRMED if said.status is RowStatus.PENDING and not is_last else said
        if word.status is RowStatus.ACCEPTED:
            return word
        if final is None or not (word.status in _NOT_APPLIED and final.status is RowStatus.UNCERTAIN):
            final = word
    assert final is not None  # noqa: S101 - a batch has an attempt
    return final


def _latest_accepted(words: Sequence[Outcome]) -> int | None:
    accepted = [index for index, word in enumerate(words) if word.status is RowStatus.ACCEPTED]
    return accepted[-1] if accepted else None
