"""Dispatch of batches to a destination: intent before each request, outcome after it, several requests at a time.

It continues where an earlier try ended. An unclear answer never counts as success. Who may be sent is not decided
here: `recheck` names the rows to leave out.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from itertools import tee
from queue import SimpleQueue
from typing import TYPE_CHECKING

from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import BatchKind, EndedBatch
from airflow_consent_retl.delivery.batches import PlannedBatch, grouped, planned
from airflow_consent_retl.delivery.confirmation import fitting
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
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.delivery.run import DeliveryRun

# Intents of this many batches at least are recorded at once, so that the ledger costs a fraction of each request.
_MIN_GROUP = 4
_NOT_HANDED_OVER = Outcome(RowStatus.UNSENT, "not_handed_over")
_NOT_APPLIED = Outcome(RowStatus.UNSENT, "not_applied")
_AGAIN = frozenset({RowStatus.UNCERTAIN, RowStatus.UNSENT})
_REFUSED = frozenset({RowStatus.REJECTED, RowStatus.WITHHELD, RowStatus.UNSENT})


def remove_all(run: DeliveryRun) -> None:
    """Remove every person that the changes name, except those whose removal an earlier try had answered.

    Raises:
        DestinationError, DestinationUnavailableError: the destination refused, or the result of some rows is unknown.
        LeaseLostError, LedgerUnavailableError: nothing more may be sent.
    """
    batch_rows = run.delivery.remove_rows
    rows = ((some.start, some.rows) for some in run.changes.removals(batch_rows))
    batches = planned(rows, kind=BatchKind.REMOVE, changes_sha256=run.delivery.changes_sha256)
    _Dispatch(run, BatchKind.REMOVE, recheck=None).run(batches)


def clear_all(run: DeliveryRun) -> None:
    """Clear fields of every person that the changes name, except those that an earlier try had an answer for.

    Raises: as `remove_all`.
    """
    some, again = tee(run.changes.clears(run.delivery.remove_rows))
    rows = ((one.start, one.rows) for one in some)
    batches = planned(rows, kind=BatchKind.CLEAR, changes_sha256=run.delivery.changes_sha256)
    of_fields = (replace(batch, fields=one.fields) for batch, one in zip(batches, again, strict=True))
    _Dispatch(run, BatchKind.CLEAR, recheck=None).run(of_fields)


def send_all(run: DeliveryRun, *, recheck: Recheck | None) -> None:
    """Send every row that the changes name and whose person is still permitted.

    Args:
        run: the delivery, whose destination is open.
        recheck: asked before the first batch, and again when an answer is due; None: consent cannot be asked again.

    Raises:
        DestinationError, DestinationUnavailableError: the destination refused, or the result of some rows is unknown.
        GuardError: it rejected more rows than allowed.
        LeaseLostError, LedgerUnavailableError: nothing more may be sent.
        and what `Recheck.ask_again` raises.
    """
    batch_rows = run.delivery.send_rows
    batches = planned(
        run.changes.rows_to_send(batch_rows),
        kind=BatchKind.SEND,
        changes_sha256=run.delivery.changes_sha256,
        first=run.changes.sent_from // batch_rows,
    )
    _Dispatch(run, BatchKind.SEND, recheck=recheck).run(batches)


def has_rows_to_send(run: DeliveryRun) -> bool:
    """Return whether there is a batch to send for which no earlier try got an answer."""
    known = run.history().latest_outcomes(BatchKind.SEND).values()
    answered = sum(not _is_sent_again(outcomes) for outcomes in known)
    return answered < -(-run.planned_rows(BatchKind.SEND) // run.delivery.send_rows)


class _Dispatch:
    """The batches of one kind on their way to the destination, and what the ledger has to know of them."""

    def __init__(self, run: DeliveryRun, kind: BatchKind, *, recheck: Recheck | None) -> None:
        concurrency = run.destination.limits.concurrency
        self._run = run
        self._kind = kind
        self._recheck = recheck
        self._most_under_way = 2 * concurrency
        self._tally = Tally(planned=run.planned_rows(kind))
        self._under_way: dict[Future[Outcomes], PlannedBatch] = {}
        # Those that are done: waiting for any of many futures would cost as much as a small request.
        self._done: SimpleQueue[Future[Outcomes]] = SimpleQueue()
        # Intended, and not yet handed over.
        self._waiting: list[PlannedBatch] = []
        self._ended: list[EndedBatch] = []
        self._pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix=kind)

    def run(self, batches: Iterator[PlannedBatch]) -> None:
        """Hand over every batch for which no earlier try got an answer."""
        answered = set()
        for number, outcomes in self._run.history().latest_outcomes(self._kind).items():
            if not _is_sent_again(outcomes):
                answered.add(number)
                self._tally.add(outcomes)
                self._run.progress(_taken(outcomes))
        left = (batch for batch in batches if batch.intended.number not in answered)
        try:
            for group in grouped(left, max(_MIN_GROUP, 2 * self._most_under_way)):
                self._start(group)
            self._collect(until=0)
            self._record()
        except Exception:
            # Requests in progress may be applied: wait for their answers and record them. What cannot be recorded
            # stays intended, which counts as uncertain; so do all requests in progress if the task is stopped.
            self._give_up()
            raise
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, group: list[PlannedBatch]) -> None:
        if self._recheck is not None and self._recheck.is_due:
            # INVARIANT: no batch is sent on an older answer than the latest one.
            self._collect(until=0)
            self._record()
            self._recheck.ask_again()
            reached(Step.ASKED_AGAIN)
        if self._recheck is not None:
            group = [batch.without(self._recheck) for batch in group]
        # INVARIANT: no request without a durable intent.
        self._record(intended=group)
        reached(Step.INTENDED)
        self._waiting = group
        while self._waiting:
            self._collect(until=self._most_under_way - 1)
            batch = self._waiting.pop(0)
            if not batch.sent_rows:
                self._end(batch, Outcomes(0))
                continue
            future = self._pool.submit(self._request, batch)
            self._under_way[future] = batch
            future.add_done_callback(self._done.put)

    def _request(self, planned_batch: PlannedBatch) -> Outcomes:
        # INVARIANT: a worker that was paused sends nothing more than the request in flight.
        self._run.context.lease.check()
        batch = planned_batch.to_send()
        match self._kind:
            case BatchKind.CLEAR:
                outcomes = self._run.destination.clear(batch, planned_batch.fields)
            case BatchKind.REMOVE:
                outcomes = self._run.remove(batch)
            case BatchKind.SEND:
                outcomes = self._run.destination.send(batch)
        reached(Step.ANSWERED)
        return fitting(outcomes, batch.rows.num_rows)

    def _collect(self, *, until: int) -> None:
        while len(self._under_way) > until:
            done = [self._done.get()]
            while not self._done.empty():
                done.append(self._done.get())
            failures = [failure for future in done if (failure := self._take(future)) is not None]
            if failures:
                raise failures[0]
            # A load that has failed stops here: every further batch would only make it longer.
            self._check()

    def _take(self, future: Future[Outcomes]) -> BaseException | None:
        batch = self._under_way.pop(future)
        failure = future.exception()
        if failure is None:
            # INVARIANT: a code that might quote a row is neither recorded nor shown.
            self._end(batch, self._run.codes.guarded(future.result(), batch.to_send().rows))
        elif isinstance(failure, DestinationError | DestinationUnavailableError):
            # A destination raises these only if nothing was applied for certain.
            self._end(batch, Outcomes(batch.sent_rows, _NOT_APPLIED))
        return failure

    def _end(self, batch: PlannedBatch, sent: Outcomes) -> None:
        outcomes = batch.outcomes(sent)
        self._ended.append(EndedBatch(kind=self._kind, number=batch.intended.number, outcomes=outcomes))
        self._tally.add(outcomes)
        self._run.progress(_taken(outcomes))

    def _record(self, *, intended: list[PlannedBatch] | None = None) -> None:
        ended, self._ended = self._ended, []
        if ended or intended:
            self._run.record(ended=ended, intended=[batch.intended for batch in intended or []])
        if ended:
            reached(Step.NOTED)

    def _check(self) -> None:
        tally = self._tally
        self._run.check_answered(tally, verb="so far")
        if self._kind is BatchKind.SEND:
            max_rejected_ratio = self._run.context.settings.max_rejected_ratio
            allowed = int(max_rejected_ratio * self._run.changes.counts.permitted)
            if tally.rejected > allowed:
                raise GuardError(
                    f"`{self._run.destination_name}` rejected {tally.rejected:,} of {tally.planned:,} rows so far "
                    f"({tally.worst()}), at most {allowed:,} are allowed by max_rejected_ratio"
                )

    def _give_up(self) -> None:
        started = [future for future in self._under_way if not future.cancel()]
        wait(started)
        for future in started:
            self._take(future)
        # The rest was cancelled.
        for batch in [*self._under_way.values(), *self._waiting]:
            self._end(batch, Outcomes(batch.sent_rows, _NOT_HANDED_OVER))
        with suppress(LeaseLostError, LedgerUnavailableError):
            self._record()


def _is_sent_again(outcomes: Outcomes) -> bool:
    return any(outcome.status in _AGAIN for outcome in outcomes.counts())


def _taken(outcomes: Outcomes) -> int:
    """Return the number of rows that the destination may have applied: a refused row was neither sent nor removed."""
    return sum(rows for one, rows in outcomes.counts().items() if one.status not in _REFUSED or one.is_partly_applied)
