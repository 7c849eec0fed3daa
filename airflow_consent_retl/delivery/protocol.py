"""The protocol of a delivery: intent before a request, outcome after it, withdrawals before additions.

It carries out one published set of changes under one lease, and can go on where an earlier try ended. It takes no
answer for a success that is none, and never asks whether somebody may be sent: `recheck` says whom to leave out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import (
    NEVER_ENDED,
    Attempt,
    BatchKind,
    CombinedBatch,
    EndedBatch,
    IntendedBatch,
    combined,
)
from airflow_consent_retl.delivery.batches import PlannedBatch, grouped, planned
from airflow_consent_retl.delivery.report import Tally
from airflow_consent_retl.delivery.steps import Step, reached
from airflow_consent_retl.errors import (
    DestinationError,
    DestinationUnavailableError,
    GuardError,
    LeaseLostError,
    LedgerUnavailableError,
)

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch, Destination
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import Delivery
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.storage.change_set import Changes

# Intents of so many batches are noted at once, so that the ledger costs a fraction of each request.
_MIN_GROUP = 4
_NOT_HANDED_OVER = Outcome(RowStatus.UNSENT, "not_handed_over")
_NOT_APPLIED = Outcome(RowStatus.UNSENT, "not_applied")
_AGAIN = frozenset({RowStatus.UNCERTAIN, RowStatus.UNSENT})


@dataclass(slots=True, kw_only=True)
class Running:
    """A delivery under way.

    Args:
        lease: of its sync; lost, it ends the delivery.
        delivery: as the ledger has it.
        changes: what has to be done.
        destination: opened.
        progress: called with the number of rows of each batch that ended.
    """

    lease: Lease
    delivery: Delivery
    changes: Changes
    destination: Destination
    progress: Callable[[int], None] = lambda rows: None

    # What the ledger has, until more is noted: nobody else can note anything without this lease being lost.
    _attempts: list[Attempt] | None = field(default=None, init=False, repr=False)
    _combined: list[CombinedBatch] | None = field(default=None, init=False, repr=False)

    def record(self, *, ended: Sequence[EndedBatch], intended: Sequence[IntendedBatch]) -> None:
        """Have the ledger note what became of batches and which ones come next: see `Lease.record`."""
        self._attempts = self._combined = None
        self.lease.record(self.delivery, ended=ended, intended=intended)

    def attempts(self) -> list[Attempt]:
        """Return the attempts that count, in the order of kind, number and epoch.

        What was handed to a destination that publishes at the end only, and did not get to the end, does not count.
        """
        if self._attempts is None:
            noted = self.lease.attempts(self.delivery)
            is_replaced = self.destination.replaces
            self._attempts = [a for a in noted if a.epoch == self.lease.epoch] if is_replaced else noted
        return self._attempts

    def combined(self, kind: BatchKind) -> list[CombinedBatch]:
        """Return what all attempts at the batches of a kind came to."""
        if self._combined is None:
            self._combined = combined(self.attempts())
        return [batch for batch in self._combined if batch.kind is kind]

    def last_said(self, kind: BatchKind) -> dict[int, Outcomes]:
        """Return what the latest attempt at each batch came to, by number; one that never ended is uncertain."""
        return {
            attempt.number: attempt.outcomes or Outcomes(attempt.rows, NEVER_ENDED)
            for attempt in _latest(self.attempts())
            if attempt.kind is kind
        }

    def tally(self, kind: BatchKind) -> Tally:
        """Count what became of the rows of a kind, over all tries.

        A row that an earlier try sent without an answer, and that the last one may not or could not send, counts as
        what the last one said; in the delivered state it stays uncertain.
        """
        manifest = self.changes.manifest
        tally = Tally(planned=manifest.removal_rows if kind is BatchKind.REMOVE else manifest.upsert_rows)
        last_said = self.last_said(kind)
        for batch in self.combined(kind):
            outcomes = _reported(batch.outcomes, last_said[batch.number])
            tally.add(outcomes)
            uncertain = [_rows_of(some, RowStatus.UNCERTAIN) for some in (batch.outcomes, outcomes)]
            tally.unconfirmed += uncertain[0] - uncertain[1]
        return tally


def remove_all(running: Running) -> None:
    """Remove everybody that the changes name, those of earlier tries excepted whose removal was answered.

    Raises:
        DestinationError, DestinationUnavailableError: the destination refused, or did not say what became of some.
        LeaseLostError, LedgerUnavailableError: nothing more may be sent.
    """
    limits = running.destination.limits
    rows = ((some.start, some.rows) for some in running.changes.removals(running.delivery.remove_rows))
    _Batches(running, BatchKind.REMOVE, running.destination.remove, limits.concurrency).run(
        planned(
            rows,
            kind=BatchKind.REMOVE,
            batch_rows=running.delivery.remove_rows,
            changes_sha256=running.delivery.changes_sha256,
        )
    )


def send_all(running: Running, *, recheck: Recheck | None, max_rejected_ratio: float) -> None:
    """Send every row that the changes name and whose person is still permitted.

    Args:
        running: the delivery.
        recheck: who is asked before the first batch, and again when an answer is due; None: nobody can be.
        max_rejected_ratio: rows that the destination may reject, as a share of the permitted ones, 0 to 1.

    Raises:
        DestinationError, DestinationUnavailableError: the destination refused, or did not say what became of some.
        GuardError: it rejected more rows than allowed.
        LeaseLostError, LedgerUnavailableError: nothing more may be sent.
        and what `Recheck.ask_again` raises.
    """
    limits = running.destination.limits
    batches = planned(
        running.changes.rows_to_send(running.delivery.send_rows),
        kind=BatchKind.SEND,
        batch_rows=running.delivery.send_rows,
        changes_sha256=running.delivery.changes_sha256,
    )
    allowed = int(max_rejected_ratio * running.changes.counts.permitted)
    _Batches(
        running, BatchKind.SEND, running.destination.send, limits.concurrency, recheck=recheck, max_rejected=allowed
    ).run(batches)


def confirm_pending(running: Running) -> list[str]:
    """Ask once what became of the rows that the destination took for later, and return what it still processes.

    Returns:
        The request ids that are not answered yet.

    Raises:
        DestinationUnavailableError: it did not answer now.
    """
    waiting: list[str] = []
    ended: list[EndedBatch] = []
    for attempt in _latest(running.attempts()):
        if attempt.outcomes is None:
            continue
        answers: dict[str, Iterator[Outcome] | None] = {}
        for request_id, rows in _pending(attempt.outcomes).items():
            answer = running.destination.confirm(request_id, rows)
            # An answer for other rows than were asked for is no answer for those that were.
            fitting = Outcomes.uncertain(rows, "answer_for_other_rows") if answer and len(answer) != rows else answer
            answers[request_id] = None if fitting is None else iter(fitting)
            if fitting is None:
                waiting.append(request_id)
        if any(answer is not None for answer in answers.values()):
            known = [_confirmed(outcome, answers) for outcome in attempt.outcomes]
            outcomes = Outcomes.concatenated([Outcomes(1, outcome) for outcome in known])
            ended.append(EndedBatch(kind=attempt.kind, number=attempt.number, outcomes=outcomes, epoch=attempt.epoch))
    if ended:
        running.record(ended=ended, intended=[])
    return waiting


def check_answered(tally: Tally, *, destination: str, verb: str) -> None:
    """Raise `DestinationUnavailableError` where nobody knows what became of some rows."""
    if tally.uncertain:
        raise DestinationUnavailableError(
            f"`{destination}` did not say what became of {tally.uncertain:,} of {tally.planned:,} rows {verb} "
            f"({tally.worst()}): the next try asks again, under the same keys"
        )


def _reported(combined_: Outcomes, last: Outcomes) -> Outcomes:
    if not _rows_of(combined_, RowStatus.UNCERTAIN):
        return combined_
    pairs = zip(combined_, last, strict=True)
    words = [said if came_to.status is RowStatus.UNCERTAIN else came_to for came_to, said in pairs]
    return Outcomes.concatenated([Outcomes(1, word) for word in words])


def _rows_of(outcomes: Outcomes, status: RowStatus) -> int:
    return sum(rows for outcome, rows in outcomes.counts().items() if outcome.status is status)


def _latest(attempts: list[Attempt]) -> list[Attempt]:
    return list({(attempt.kind, attempt.number): attempt for attempt in attempts}.values())


def _pending(outcomes: Outcomes) -> dict[str, int]:
    return {outcome.code: rows for outcome, rows in outcomes.counts().items() if outcome.status is RowStatus.PENDING}


def _confirmed(outcome: Outcome, answers: dict[str, Iterator[Outcome] | None]) -> Outcome:
    answer = answers.get(outcome.code) if outcome.status is RowStatus.PENDING else None
    return outcome if answer is None else next(answer)


class _Batches:
    """Hands batches to the destination, several at a time, and tells the ledger before and after."""

    def __init__(
        self,
        running: Running,
        kind: BatchKind,
        hand_over: Callable[[Batch], Outcomes],
        concurrency: int,
        *,
        recheck: Recheck | None = None,
        max_rejected: int | None = None,
    ) -> None:
        self._running = running
        self._kind = kind
        self._hand_over = hand_over
        self._recheck = recheck
        self._max_rejected = max_rejected
        self._window = 2 * concurrency
        self._tally = Tally()
        self._under_way: dict[Future[Outcomes], PlannedBatch] = {}
        # Those of them that are done: to wait for any of many futures costs as much as a small request.
        self._done: SimpleQueue[Future[Outcomes]] = SimpleQueue()
        # Intended, and not yet handed over.
        self._waiting: list[PlannedBatch] = []
        self._ended: list[EndedBatch] = []
        self._pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix=kind)

    def run(self, batches: Iterator[PlannedBatch]) -> None:
        """Hand over every batch that no earlier try was answered for."""
        answered = set()
        for number, outcomes in self._running.last_said(self._kind).items():
            if not any(outcome.status in _AGAIN for outcome in outcomes.counts()):
                answered.add(number)
                self._tally.add(outcomes)
                self._running.progress(outcomes.rows)
        left = (batch for batch in batches if batch.intended.number not in answered)
        try:
            for group in grouped(left, max(_MIN_GROUP, 2 * self._window)):
                self._start(group)
            self._collect(until=0)
            self._note()
        except Exception:
            # What is under way may be applied: its answers are waited for and noted. What cannot be noted stays
            # intended, which counts as uncertain; so does all that is under way when the task is stopped.
            self._give_up()
            raise
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, group: list[PlannedBatch]) -> None:
        if self._recheck is not None and self._recheck.is_due:
            # INVARIANT: no batch is sent on an older answer than the latest one.
            self._collect(until=0)
            self._note()
            self._recheck.ask_again()
            reached(Step.ASKED_AGAIN)
        if self._recheck is not None:
            group = [batch.without(self._recheck) for batch in group]
        # INVARIANT: no request without a durable intent.
        self._note(intended=group)
        reached(Step.INTENDED)
        self._waiting = group
        while self._waiting:
            self._collect(until=self._window - 1)
            batch = self._waiting.pop(0)
            if not batch.sent_rows:
                self._end(batch, Outcomes(0))
                continue
            future = self._pool.submit(self._request, batch.to_send())
            self._under_way[future] = batch
            future.add_done_callback(self._done.put)

    def _request(self, batch: Batch) -> Outcomes:
        # INVARIANT: a worker that was paused sends nothing more than the request in flight.
        self._running.lease.check()
        outcomes = self._hand_over(batch)
        reached(Step.ANSWERED)
        rows = batch.rows.num_rows
        # An answer for other rows than were sent is no answer for those that were.
        return outcomes if len(outcomes) == rows else Outcomes.uncertain(rows, "answer_for_other_rows")

    def _collect(self, *, until: int) -> None:
        while len(self._under_way) > until:
            done = [self._done.get()]
            while not self._done.empty():
                done.append(self._done.get())
            failures = [failure for future in done if (failure := self._take(future)) is not None]
            if failures:
                raise failures[0]
            # Stopped at once: every further batch would only make a failed load longer.
            self._check()

    def _take(self, future: Future[Outcomes]) -> BaseException | None:
        batch = self._under_way.pop(future)
        failure = future.exception()
        if failure is None:
            self._end(batch, future.result())
        elif isinstance(failure, DestinationError | DestinationUnavailableError):
            # A destination raises these only where surely nothing was applied.
            self._end(batch, Outcomes(batch.sent_rows, _NOT_APPLIED))
        return failure

    def _end(self, batch: PlannedBatch, sent: Outcomes) -> None:
        outcomes = batch.outcomes(sent)
        self._ended.append(EndedBatch(kind=self._kind, number=batch.intended.number, outcomes=outcomes))
        self._tally.add(outcomes)
        self._running.progress(int(len(outcomes) - outcomes.counts()[_NOT_HANDED_OVER]))

    def _note(self, *, intended: list[PlannedBatch] | None = None) -> None:
        ended, self._ended = self._ended, []
        if ended or intended:
            self._running.record(ended=ended, intended=[batch.intended for batch in intended or []])
        if ended:
            reached(Step.NOTED)

    def _check(self) -> None:
        destination = self._running.changes.manifest.destination
        self._tally.planned = self._running.changes.manifest.upsert_rows
        if self._kind is BatchKind.REMOVE:
            self._tally.planned = self._running.changes.manifest.removal_rows
        check_answered(self._tally, destination=destination, verb="so far")
        if self._max_rejected is not None and self._tally.rejected > self._max_rejected:
            raise GuardError(
                f"`{destination}` rejected {self._tally.rejected:,} of {self._tally.planned:,} rows so far "
                f"({self._tally.worst()}), at most {self._max_rejected:,} are allowed by max_rejected_ratio"
            )

    def _give_up(self) -> None:
        started = [future for future in self._under_way if not future.cancel()]
        wait(started)
        for future in started:
            self._take(future)
        # What is left was cancelled.
        for batch in [*self._under_way.values(), *self._waiting]:
            self._end(batch, Outcomes(batch.sent_rows, _NOT_HANDED_OVER))
        with suppress(LeaseLostError, LedgerUnavailableError):
            self._note()


def wait_for_confirmation(running: Running, *, interval_s: float, timeout_s: float) -> list[str]:
    """Ask again and again until everything is processed, or the time is up; return what is still not.

    Args:
        running: the delivery.
        interval_s: seconds between two questions.
        timeout_s: seconds after which to stop; 0 asks once.
    """
    deadline = time.monotonic() + timeout_s
    while waiting := confirm_pending(running):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        time.sleep(min(interval_s, left_s))
        running.lease.check()
    return waiting
