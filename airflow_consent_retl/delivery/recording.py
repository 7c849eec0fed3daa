"""Records of a delivery: what was sent to each person and what was removed, with the outcome, by keyed digest.

They are written before the ledger closes the delivery. If the worker dies in between, the next try writes them again,
and readers keep the latest ones. A person who was sent nothing has no record, nor has one who was sent the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent.removal import CauseCode, RemovalCause
from airflow_consent_retl.contract.outcomes import Outcome, RowStatus
from airflow_consent_retl.storage.records.documents import DeliveryRecords, RecordedBatch, RecordedOutcome
from airflow_consent_retl.storage.records.sorted_rows import SubjectRows
from airflow_consent_retl.storage.records.stream import RecordStream
from airflow_consent_retl.storage.records.subjects import RecordKey
from airflow_consent_retl.values.buffers import bits_of, values_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.changes.results import BatchResult
    from airflow_consent_retl.delivery.attempts import CombinedBatch
    from airflow_consent_retl.delivery.run import DeliveryResults, DeliveryRun

_READ_ROWS = 65_536
_SCHEMA = pa.schema(
    [
        pa.field("subject", pa.uint64(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("outcome", pa.int16(), nullable=False),
    ]
)
_NOTHING = -1


def record_of(run: DeliveryRun, results: DeliveryResults) -> Callable[[], None]:
    """Return a function that writes the records of a delivery, if it reached anyone.

    The ledger and the key are read here. The function only reads and writes files, so another thread may call it.

    Args:
        run: the delivery, whose outcomes are all known.
        results: of its batches, as for the delivered state.
    """
    key = RecordKey(run.context.key())
    batches = [recorded_batch(batch) for batch in run.history().batches]
    return partial(_record, run, results, key, batches)


def _record(run: DeliveryRun, results: DeliveryResults, key: RecordKey, batches: Sequence[RecordedBatch]) -> None:
    """Write the records.

    Raises:
        RefusedError: a file of the changes is gone.
    """
    context, manifest = run.context, run.changes.manifest
    at = datetime.now(UTC)
    stream = RecordStream(context.store.folder.records, DeliveryRecords)
    name = stream.new_name(at)
    table = _OutcomeTable()
    with SubjectRows(_SCHEMA, dictionary_columns=["outcome"]) as rows:
        of_kinds = (
            _sent(run, results.sends, table),
            _removed(run, results.removes, table),
            _cleared(run, results.clears, table),
        )
        for ids, positions, outcomes in chain.from_iterable(of_kinds):
            rows.add(key.subjects(ids), positions, outcomes)
        if not rows.rows:
            return
        stream.publish(
            name,
            DeliveryRecords(
                key_id=key.key_id,
                recorded_at=at,
                sync=manifest.sync,
                model=manifest.model,
                destination=manifest.destination,
                target=run.destination.target,
                dag=context.dag or "",
                delivery=run.delivery.id,
                epoch=context.lease.epoch,
                purpose=run.delivery.kind,
                began_at=run.delivery.began_at,
                decided_at=manifest.decided_at,
                policy_digest=manifest.policy_digest,
                changes_sha256=run.changes.sha256,
                batches=stream.write_details(name, batches) if batches else None,
                parts=rows.write(stream.folder, name),
                rows=rows.rows,
                outcomes=table.outcomes(),
            ),
        )


class _OutcomeTable:
    """The distinct outcomes of a delivery, numbered in the order in which they were first seen."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, str, Outcome], int] = {}

    def numbers(self, event: str, cause: str, kinds: Sequence[Outcome]) -> NDArray[np.int16]:
        """Return the number of each of some kinds of outcomes, for one event and cause."""
        return np.array([self._number(event, cause, kind) for kind in kinds], dtype=np.int16)

    def outcomes(self) -> tuple[RecordedOutcome, ...]:
        """Return all outcomes by their numbers."""
        return tuple(
            RecordedOutcome.model_validate(
                # The code of a pending row is the id of its request, which its batch has.
                {
                    "event": event,
                    "cause": cause,
                    "status": str(outcome.status),
                    "code": "" if outcome.status is RowStatus.PENDING else outcome.code,
                    "field": outcome.field,
                }
            )
            for event, cause, outcome in self._numbers
        )

    def _number(self, event: str, cause: str, outcome: Outcome) -> int:
        if outcome.status is RowStatus.UNSENT:
            return _NOTHING
        return self._numbers.setdefault((event, cause, outcome), len(self._numbers))


_Rows = tuple[pa.Array, "NDArray[np.int32]", "NDArray[np.int16]"]


def _sent(run: DeliveryRun, results: Sequence[BatchResult], table: _OutcomeTable) -> Iterator[_Rows]:
    kinds, of_rows = _by_position(results, run.changes.manifest.upsert_rows)
    is_accepted = np.array([kind.status is RowStatus.ACCEPTED for kind in kinds], dtype=np.bool_)
    updated, sent = table.numbers("updated", "", kinds), table.numbers("sent", "", kinds)
    for start, rows in run.changes.people_to_send(_READ_ROWS):
        found = of_rows[start : start + rows.num_rows]
        numbers = sent[found]
        was_delivered = bits_of(rows["was_delivered"]).view(np.bool_)
        if was_delivered.any():
            numbers[was_delivered] = updated[found[was_delivered]]
        if "unchanged" in rows.schema.names:
            unchanged = bits_of(rows["unchanged"]).view(np.bool_)
            if unchanged.any():
                numbers[unchanged & is_accepted[found]] = _NOTHING
        yield from _recorded_rows(rows["id"], start, numbers)


def _removed(run: DeliveryRun, results: Sequence[BatchResult], table: _OutcomeTable) -> Iterator[_Rows]:
    kinds, of_rows = _by_position(results, run.changes.manifest.removal_rows)
    for start, rows in run.changes.people_to_remove(_READ_ROWS):
        found, causes = of_rows[start : start + rows.num_rows], values_of(rows["cause"], np.int8)
        numbers = np.full(rows.num_rows, _NOTHING, dtype=np.int16)
        for code in np.unique(causes).tolist():
            chosen = causes == code
            numbers[chosen] = table.numbers("removed", str(CauseCode(code).cause), kinds)[found[chosen]]
        yield from _recorded_rows(rows["id"], start, numbers)


def _cleared(run: DeliveryRun, results: Sequence[BatchResult], table: _OutcomeTable) -> Iterator[_Rows]:
    kinds, of_rows = _by_position(results, run.changes.manifest.clear_rows)
    numbers = table.numbers("cleared", str(RemovalCause.FIELD_WITHDRAWN), kinds)
    for some in run.changes.clears(_READ_ROWS):
        yield from _recorded_rows(some.ids, some.start, numbers[of_rows[some.start : some.start + len(some.ids)]])


def _by_position(results: Sequence[BatchResult], rows: int) -> tuple[list[Outcome], NDArray[np.int16]]:
    """Return the distinct outcomes, and the index of each row's outcome among them; rows of no batch were not sent."""
    unsent = Outcome(RowStatus.UNSENT)
    indexes = {unsent: 0}
    of_rows = np.zeros(rows, dtype=np.int16)
    for result in results:
        for start, outcome, count in result.outcomes.pieces():
            first = result.start + start
            of_rows[first : first + count] = indexes.setdefault(outcome, len(indexes))
    return list(indexes), of_rows


def _recorded_rows(ids: pa.Array, start: int, numbers: NDArray[np.int16]) -> Iterator[_Rows]:
    is_recorded = numbers != _NOTHING
    if is_recorded.all():
        yield ids, np.arange(start, start + len(ids), dtype=np.int32), numbers
        return
    recorded = np.flatnonzero(is_recorded)
    if len(recorded):
        yield ids.take(pa.array(recorded)), (recorded + start).astype(np.int32), numbers[recorded]


def recorded_batch(batch: CombinedBatch) -> RecordedBatch:
    """Return a batch as records describe it."""
    return RecordedBatch(
        kind=batch.kind.value,
        number=batch.number,
        start=batch.start,
        rows=batch.rows,
        key=batch.key,
        asked_at=batch.asked_at,
        ended_at=batch.ended_at,
        requests=batch.outcomes.requests,
    )
