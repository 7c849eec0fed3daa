"""One delivery in progress: its attempts as the ledger records them, its destination, and the end of it.

It knows how to open the destination once, and how to write the next version of the delivered state. The order of the
steps is in `protocol`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from airflow_consent_retl.changes.results import BatchResult
from airflow_consent_retl.contract.destination import Load
from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import AttemptHistory, BatchKind
from airflow_consent_retl.delivery.recording import record_of
from airflow_consent_retl.delivery.report import Tally
from airflow_consent_retl.delivery.row_codes import RowCodes
from airflow_consent_retl.delivery.sharing import remove_unless_kept
from airflow_consent_retl.delivery.steps import Step, reached
from airflow_consent_retl.errors import DestinationUnavailableError

if TYPE_CHECKING:
    from airflow_consent_retl.contract.destination import Batch
    from airflow_consent_retl.delivery.attempts import EndedBatch, IntendedBatch
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.ledger.records import Delivery
    from airflow_consent_retl.storage.change_set import Changes

LOAD, WITHDRAWALS = "load", "withdrawals"


@dataclass(frozen=True, slots=True)
class DeliveryResults:
    """The results of the batches of each kind, in ascending order of position."""

    sends: Sequence[BatchResult] = ()
    removes: Sequence[BatchResult] = ()
    clears: Sequence[BatchResult] = ()


# Takes the results of all batches; writes the next version, and the ledger refers to it.
Advance = Callable[[DeliveryResults], None]


class DeliveryRun:
    """One delivery that this task carries out or resolves.

    Args:
        context: of the sync.
        delivery: as the ledger records it.
        changes: what is to be sent and removed.
    """

    def __init__(self, context: SyncContext, delivery: Delivery, changes: Changes) -> None:
        self.context = context
        self.delivery = delivery
        self.changes = changes
        self.destination = context.build()
        self.codes = RowCodes(self.destination.is_own_code, fields=changes.shape.fields)
        # As the ledger records them, until this run records more: no other task can do so while the lease is valid.
        self._history: AttemptHistory | None = None
        self._is_committed = False

    @property
    def destination_name(self) -> str:
        """The policy's name for the destination."""
        return self.changes.manifest.destination

    @property
    def replaces(self) -> bool:
        """Whether this delivery replaces everything that the destination has."""
        return self.destination.replaces and self.delivery.kind == LOAD

    @property
    def can_remove(self) -> bool:
        """Whether single people can be removed, in a load or without one."""
        return self.destination.can_remove

    @cached_property
    def progress(self) -> Callable[[int], None]:
        """Called with the number of rows of each batch that ended."""
        return self.context.progress("sent and removed", sum(map(self.planned_rows, BatchKind)))

    @cached_property
    def _kept(self) -> Collection[tuple[str | None, ...]]:
        shared = self.context.shared
        return () if shared is None else shared.kept_of(self.changes)

    def remove(self, batch: Batch) -> Outcomes:
        """Remove people, except those that another sync has at the same target."""
        return remove_unless_kept(self.destination, batch, self._kept)

    def planned_rows(self, kind: BatchKind) -> int:
        """Return how many rows the changes have to send or to remove."""
        manifest = self.changes.manifest
        match kind:
            case BatchKind.CLEAR:
                return manifest.clear_rows
            case BatchKind.REMOVE:
                return manifest.removal_rows
            case BatchKind.SEND:
                return manifest.upsert_rows

    def record(self, *, ended: Sequence[EndedBatch] = (), intended: Sequence[IntendedBatch] = ()) -> None:
        """Record in the ledger which batches ended and which come next: see `Lease.record`."""
        self._history = None
        self.context.lease.record(self.delivery, ended=ended, intended=intended)

    def history(self) -> AttemptHistory:
        """Return the attempts that count.

        If the destination publishes everything at the end, earlier tries that did not reach the end do not count.
        """
        if self._history is None:
            lease = self.context.lease
            attempts = lease.attempts(self.delivery)
            if self.destination.replaces:
                attempts = [attempt for attempt in attempts if attempt.epoch == lease.epoch]
            self._history = AttemptHistory(attempts)
        return self._history

    def tally(self, kind: BatchKind, *, part: range | None = None) -> Tally:
        """Count the results of all rows of a kind, over all tries; or of the batches with some numbers.

        If an earlier try sent a row without an answer, and the last try may not or could not send it, the row counts
        as in the last try; in the delivered state it stays uncertain.
        """
        history = self.history()
        tally = Tally(planned=self.planned_rows(kind))
        latest = history.latest_outcomes(kind)
        for batch in history.batches:
            if batch.kind is not kind or not (part is None or batch.number in part):
                continue
            outcomes = _reported(batch.outcomes, latest[batch.number])
            tally.add(outcomes)
            tally.unconfirmed += _uncertain_rows(batch.outcomes) - _uncertain_rows(outcomes)
        return tally

    def check_answered(self, tally: Tally, *, verb: str) -> None:
        """Raise `DestinationUnavailableError` if the result of some rows is unknown, or if some were not applied."""
        if unapplied := tally.by_status[RowStatus.UNSENT]:
            raise DestinationUnavailableError(
                f"`{self.destination_name}` took {unapplied:,} of {tally.planned:,} rows {verb} and did not process "
                "them: the next try sends them again"
            )
        if tally.uncertain:
            raise DestinationUnavailableError(
                f"`{self.destination_name}`: the result of {tally.uncertain:,} of {tally.planned:,} rows {verb} is "
                f"unknown ({tally.worst()}): the next try sends them again, with the same keys"
                f"{self._remedy(tally)}"
            )

    def _remedy(self, tally: Tally) -> str:
        found = dict.fromkeys(self.destination.remedy(code.partition(":")[2]) for code in tally.codes)
        return "".join(f". {remedy}" for remedy in found if remedy)

    def load(self, *, key: str, rows: int) -> Load:
        """Return what the destination is opened with; arguments as for `opened`."""
        manifest, shape = self.changes.manifest, self.changes.shape
        described = Load(
            key=key,
            destination=manifest.destination,
            model=manifest.model,
            schema=shape.load_schema,
            key_field=next((name for name, column in shape.fields.items() if column == manifest.primary_key), None),
            rows=rows,
            decided_at=manifest.decided_at,
            cleared=frozenset(manifest.cleared),
            before_request=self.context.lease.check,
            reserve=self.context.lease.reserve,
        )
        return self.context.settings.applied_to(described)

    @contextmanager
    def opened(self, *, key: str, rows: int) -> Iterator[None]:
        """Open the destination, once; abort what the block did not commit: it raised, or requests are still processed.

        Args:
            key: the idempotency key of the load.
            rows: how many rows will be sent.
        """
        try:
            self.destination.open(self.load(key=key, rows=rows))
            reached(Step.OPENED)
            yield
        finally:
            if not self._is_committed:
                self.destination.abort()

    def commit(self) -> None:
        """Commit what was sent and removed."""
        self.context.lease.check()
        self.destination.commit()
        self._is_committed = True
        reached(Step.COMMITTED)

    @contextmanager
    def advancing(self) -> Iterator[Advance]:
        """Begin to compute the next version of the delivered state; the block gets the function that publishes it."""
        context, changes = self.context, self.changes
        state = context.state()
        with context.store.folding(state, changes) as folding:

            def advance(results: DeliveryResults) -> None:
                # Two cores: neither needs what the other one writes.
                with ThreadPoolExecutor(1, thread_name_prefix="record") as recording:
                    recorded = recording.submit(record_of(self, results))
                    after = context.store.finish(
                        folding, state, changes, results.sends, results.removes, results.clears
                    )
                    reached(Step.FOLDED)
                    # INVARIANT: before the ledger closes the delivery: a worker that dies in between records it again.
                    recorded.result()
                reached(Step.RECORDED)
                context.lease.advance(
                    self.delivery,
                    uri=after.folder.uri,
                    sha256=after.sha256,
                    rows=after.rows,
                    decided_at=after.manifest.decided_at,
                )
                reached(Step.ADVANCED)

            yield advance

    def results(self) -> DeliveryResults:
        """Return the results of all batches."""
        removal_rows = self.planned_rows(BatchKind.REMOVE)
        sends, removes = self._results(BatchKind.SEND), self._results(BatchKind.REMOVE)
        if self.replaces and removal_rows:
            # The version that contained these people was replaced.
            removes = [result_of_all(Outcomes.accepted(removal_rows))]
        return DeliveryResults(sends, removes, self._results(BatchKind.CLEAR))

    def _results(self, kind: BatchKind) -> list[BatchResult]:
        settle = timedelta(seconds=self.context.settings.settle_s)
        return [
            BatchResult(
                start=batch.start,
                outcomes=batch.outcomes,
                unsettled_until=None if batch.unsettled_at is None else batch.unsettled_at + settle,
                at=batch.asked_at,
            )
            for batch in self.history().batches
            if batch.kind is kind
        ]


def result_of_all(outcomes: Outcomes) -> BatchResult:
    """Return the result of all rows at once, as of now."""
    return BatchResult(start=0, outcomes=outcomes, unsettled_until=None, at=datetime.now(UTC))


def _reported(combined: Outcomes, latest: Outcomes) -> Outcomes:
    if not _uncertain_rows(combined):
        return combined
    rows = [last if one.status is RowStatus.UNCERTAIN else one for one, last in zip(combined, latest, strict=True)]
    return Outcomes.of(rows)


def _uncertain_rows(outcomes: Outcomes) -> int:
    return sum(rows for outcome, rows in outcomes.counts().items() if outcome.status is RowStatus.UNCERTAIN)
