"""Confirmation of rows that a destination accepts now and processes later."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import Attempt, BatchKind, EndedBatch

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.run import DeliveryRun


_FIRST_INTERVAL_S = 1.0


def wait_for_confirmation(run: DeliveryRun, kind: BatchKind) -> list[str]:
    """Ask repeatedly until all batches of a kind are processed or the time is up; return what is still in process.

    The settings of the sync give the longest interval and the time; with a time of 0 it asks once. The first question
    is asked again after a second, and each interval is twice the one before: most requests are processed soon.

    Returns, Raises: as `confirm_pending`, and LeaseLostError.
    """
    settings = run.context.settings
    deadline = time.monotonic() + settings.confirm_timeout_s
    interval_s = min(_FIRST_INTERVAL_S, settings.confirm_interval_s)
    while waiting := confirm_pending(run, kind):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        time.sleep(min(interval_s, left_s))
        interval_s = min(2 * interval_s, settings.confirm_interval_s)
        run.context.lease.check()
    return waiting


def confirm_pending(run: DeliveryRun, kind: BatchKind | None = None) -> list[str]:
    """Ask the destination once for the result of pending rows, of a kind or of each, and record the answers.

    A step asks about its own kind only. Otherwise it would settle what the next step sent, and that step would send
    rows without a result again, in the same try, for ever.

    Returns:
        The ids of the requests that it still processes.

    Raises:
        DestinationUnavailableError: it did not answer now.
    """
    waiting: list[str] = []
    ended: list[EndedBatch] = []
    rows_again = PendingRows(run)
    for attempt in run.history().latest:
        if attempt.outcomes is None or kind not in {None, attempt.kind}:
            continue
        answers: dict[str, Iterator[Outcome]] = {}
        for request_id, rows in _pending(attempt.outcomes).items():
            answer = run.destination.confirm_rows(request_id, rows, partial(rows_again.read, attempt, request_id))
            if answer is None:
                waiting.append(request_id)
            else:
                answers[request_id] = iter(run.codes.guarded(fitting(answer, rows), None))
        if answers:
            known = [_confirmed(outcome, answers) for outcome in attempt.outcomes]
            outcomes = Outcomes.of(known)
            # The ids of the requests are in the codes of the pending rows only.
            outcomes = replace(outcomes, requests=tuple(attempt.outcomes.request_ids()))
            ended.append(EndedBatch(kind=attempt.kind, number=attempt.number, outcomes=outcomes, epoch=attempt.epoch))
    if ended:
        run.record(ended=ended)
    return waiting


class PendingRows:
    """The rows of attempts, read again from the changes for destinations whose results name rows by their values.

    Attempts are read in the order of kind and number, so each file is read once.

    Args:
        run: the delivery.
    """

    def __init__(self, run: DeliveryRun) -> None:
        self._run = run
        self._kind: BatchKind | None = None
        self._batches: Iterator[tuple[int, pa.RecordBatch]] = iter(())
        self._last: tuple[int, pa.RecordBatch] | None = None

    def read(self, attempt: Attempt, request_id: str) -> pa.RecordBatch:
        """Return the rows of an attempt that are pending under an id, in the order of its outcomes."""
        if attempt.kind is not self._kind or self._last is None or self._last[0] > attempt.start:
            self._kind, self._batches, self._last = attempt.kind, self._all(attempt.kind), None
        while self._last is None or self._last[0] < attempt.start:
            self._last = next(self._batches)
        pending = [outcome == Outcome(RowStatus.PENDING, request_id) for outcome in attempt.outcomes or ()]
        return self._last[1].filter(pa.array(pending, pa.bool_()))

    def _all(self, kind: BatchKind) -> Iterator[tuple[int, pa.RecordBatch]]:
        changes, delivery = self._run.changes, self._run.delivery
        if kind is BatchKind.SEND:
            return changes.rows_to_send(delivery.send_rows)
        taken_back = changes.removals if kind is BatchKind.REMOVE else changes.clears
        return ((some.start, some.rows) for some in taken_back(delivery.remove_rows))


def fitting(answer: Outcomes, rows: int) -> Outcomes:
    """Return an answer for this number of rows; an answer for another number of rows tells nothing about them."""
    return answer if len(answer) == rows else Outcomes.uncertain(rows, "answer_for_other_rows")


def _pending(outcomes: Outcomes) -> dict[str, int]:
    return {outcome.code: rows for outcome, rows in outcomes.counts().items() if outcome.status is RowStatus.PENDING}


def _confirmed(outcome: Outcome, answers: dict[str, Iterator[Outcome]]) -> Outcome:
    answer = answers.get(outcome.code) if outcome.status is RowStatus.PENDING else None
    return outcome if answer is None else next(answer)
