"""Loads for the checks: they use a destination as the delivery protocol does, and check the form of each answer."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

import pyarrow as pa

from airflow_consent_retl.contract.destination import Batch, Destination, Load
from airflow_consent_retl.contract.outcomes import Outcome, Outcomes, RowStatus
from airflow_consent_retl.errors import LeaseLostError
from airflow_consent_retl.testing.people import Person
from airflow_consent_retl.testing.stand_in import StandIn

_BEGUN_AT = datetime(2026, 11, 23, 17, 51, 7, 250_000, tzinfo=UTC)
_CONFIRM_TIMEOUT_S = 30.0
_OF_DESTINATIONS = {RowStatus.ACCEPTED, RowStatus.REJECTED, RowStatus.UNCERTAIN}


class CountingLease:
    """Counts its checks, and is lost after some of them.

    Args:
        lost_after: requests that may still be sent; None: any number.
    """

    def __init__(self, *, lost_after: int | None = None) -> None:
        self.asked = 0
        self._lost_after = lost_after

    def check(self) -> None:
        """Count, or raise as the lease of a load does.

        Raises:
            LeaseLostError: the lease is lost.
        """
        if self._lost_after is not None and self.asked >= self._lost_after:
            raise LeaseLostError("another task has taken over")
        self.asked += 1


class OpenLoad:
    """A running load; made by `opened`.

    Attributes:
        destination: opened.
        load: with which it was.
    """

    def __init__(self, stand_in: StandIn, destination: Destination, load: Load) -> None:
        self.destination = destination
        self.load = load
        self._stand_in = stand_in

    def send(self, rows: pa.Table, *, batch_rows: int | None = None) -> Outcomes:
        """Send rows in batches, one after the other, and return the final outcome of each."""
        at_once = batch_rows or self.destination.limits.batch_rows
        return Outcomes.concatenated([self.send_batch(batch) for batch in self.batches("send", rows, at_once)])

    def remove(self, people: Sequence[Person], *, batch_rows: int | None = None) -> Outcomes:
        """Remove people by the values stored for removal, and return the final outcome of each."""
        limits = self.destination.limits
        at_once = batch_rows or limits.removal_rows or limits.batch_rows
        return Outcomes.concatenated(
            [self.remove_batch(batch) for batch in self.batches("remove", self.kept(people), at_once)]
        )

    def send_batch(self, batch: Batch) -> Outcomes:
        """Send one batch."""
        return self._settled(self._checked(self.destination.send(batch), batch), batch)

    def remove_batch(self, batch: Batch) -> Outcomes:
        """Remove the people of one batch."""
        return self._settled(self._checked(self.destination.remove(batch), batch), batch)

    def clear_batch(self, batch: Batch, fields: Sequence[str]) -> Outcomes:
        """Clear fields of the people of one batch."""
        return self._settled(self._checked(self.destination.clear(batch, fields), batch), batch)

    def kept(self, people: Sequence[Person]) -> pa.Table:
        """Return the values that have to be stored to remove people later."""
        schema = self.destination.removal_schema(self.load)
        rows = self._stand_in.rows(people).combine_chunks()
        return pa.Table.from_batches(
            [self.destination.removal_rows(batch, self.load) for batch in rows.to_batches()], schema
        )

    def batches(self, kind: str, rows: pa.Table, batch_rows: int) -> Iterator[Batch]:
        """Cut rows into batches; a batch has the same key at every try."""
        for number, batch in enumerate(rows.combine_chunks().to_batches(max_chunksize=batch_rows)):
            key = hashlib.sha256(f"{self.load.key}:{kind}:{number}".encode()).hexdigest()
            yield Batch(key=key, rows=batch)

    def _checked(self, outcomes: Outcomes, batch: Batch) -> Outcomes:
        assert len(outcomes) == batch.rows.num_rows, "a batch has exactly one outcome for each of its rows"
        statuses = {outcome.status for outcome in outcomes.counts()}
        assert statuses <= _OF_DESTINATIONS | {RowStatus.PENDING}, "only `confirm` may use unsent, and none withheld"
        return outcomes

    def _settled(self, outcomes: Outcomes, batch: Batch) -> Outcomes:
        pending = {o.code: rows for o, rows in outcomes.counts().items() if o.status is RowStatus.PENDING}
        if not pending:
            return outcomes
        answers = {}
        for code in pending:
            places = [row for row, o in enumerate(outcomes) if o.status is RowStatus.PENDING and o.code == code]
            # Arrow cannot filter every type.
            rows = batch.rows if len(places) == len(outcomes) else batch.rows.filter(pa.array(_mask(places, outcomes)))
            answers[code] = iter(self._confirmed(code, rows))
        known = [next(answers[o.code]) if o.status is RowStatus.PENDING else o for o in outcomes]
        return Outcomes.of(known)

    def _confirmed(self, request_id: str, pending: pa.RecordBatch) -> Outcomes:
        assert request_id, "pending rows need the id of their request"
        deadline = time.monotonic() + _CONFIRM_TIMEOUT_S
        rows = pending.num_rows
        while (answer := self.destination.confirm_rows(request_id, rows, lambda: pending)) is None:
            assert time.monotonic() < deadline, f"rows were still pending after {_CONFIRM_TIMEOUT_S:g} s"
            self._stand_in.process()
            time.sleep(0.01)
        assert len(answer) == rows, "a confirmed request has exactly one outcome for each of its rows"
        assert {outcome.status for outcome in answer.counts()} <= _OF_DESTINATIONS | {RowStatus.UNSENT}
        return answer


def _mask(places: Sequence[int], outcomes: Outcomes) -> list[bool]:
    chosen = set(places)
    return [row in chosen for row in range(len(outcomes))]


def load_of(
    stand_in: StandIn,
    rows: pa.Table,
    *,
    decided: int = 0,
    lease: CountingLease | None = None,
    rows_sent: int | None = None,
) -> Load:
    """Describe a load of these rows: the same rows and the same decision have the same key.

    Args:
        stand_in: the other side.
        rows: the rows to send; for people who are only removed, the rows that were sent for them.
        decided: the number of the decision; a later one is higher.
        lease: checked before each request.
        rows_sent: the number of rows to send; 0 for a load that only removes.
    """
    content = f"{decided} {rows_sent} {rows.schema}".encode() + b"".join(
        buffer.to_pybytes()
        for column in rows.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer
    )
    return Load(
        key=hashlib.sha256(content).hexdigest(),
        destination="contract",
        model="customers",
        schema=rows.schema,
        key_field=stand_in.key_field,
        rows=rows.num_rows if rows_sent is None else rows_sent,
        decided_at=_BEGUN_AT + timedelta(hours=decided),
        before_request=(lease or CountingLease()).check,
    )


def begun(stand_in: StandIn, load: Load) -> OpenLoad:
    """Open a new destination; the caller ends the load."""
    destination = stand_in.destination()
    destination.open(load)
    return OpenLoad(stand_in, destination, load)


@contextmanager
def opened(stand_in: StandIn, load: Load) -> Iterator[OpenLoad]:
    """Open a new destination, commit when the block ends, and abort when it raises."""
    destination = stand_in.destination()
    try:
        destination.open(load)
        yield OpenLoad(stand_in, destination, load)
        destination.commit()
    except BaseException:
        destination.abort()
        raise


def deliver(
    stand_in: StandIn,
    people: Sequence[Person],
    *,
    decided: int = 0,
    lease: CountingLease | None = None,
    rows: pa.Table | None = None,
) -> Outcomes:
    """Load people as one decision, and return the outcome of each.

    Args:
        stand_in: the other side.
        people: the people to send.
        decided: the number of the decision.
        lease: checked before each request.
        rows: the people's rows; None: those of `StandIn.rows`.
    """
    sent = stand_in.rows(people) if rows is None else rows
    with opened(stand_in, load_of(stand_in, sent, decided=decided, lease=lease)) as load:
        return load.send(sent)


def take_back(
    stand_in: StandIn,
    people: Sequence[Person],
    *,
    decided: int,
    lease: CountingLease | None = None,
    batch_rows: int | None = None,
) -> Outcomes:
    """Remove people in a load that does nothing else, and return the outcome of each."""
    load = load_of(stand_in, stand_in.rows(people), decided=decided, lease=lease, rows_sent=0)
    with opened(stand_in, load) as removal:
        return removal.remove(people, batch_rows=batch_rows)


Action = Callable[..., Outcomes]


def action_of(stand_in: StandIn, name: str, people: Sequence[Person]) -> Action:
    """Return the action that loads people (`send`) or removes them (`remove`); people to remove are delivered first."""
    if name == "send":
        return partial(deliver, stand_in, people)
    assert_accepted(deliver(stand_in, people))
    return partial(take_back, stand_in, people)


def assert_accepted(outcomes: Outcomes) -> None:
    """Assert that every row was accepted."""
    assert outcomes.counts().keys() <= {Outcome(RowStatus.ACCEPTED)}


def accepted(people: Sequence[Person], outcomes: Outcomes) -> list[Person]:
    """Return the people who were accepted."""
    return [who for who, outcome in zip(people, outcomes, strict=True) if outcome.status is RowStatus.ACCEPTED]


def assert_stored(stand_in: StandIn, people: Sequence[Person]) -> None:
    """Assert that exactly these people are stored, once each and with these values."""
    assert Counter(stand_in.stored()) == Counter(people)
