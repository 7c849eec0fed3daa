"""The deliveries of one person: from the records, and from the ledger while a delivery is in progress."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from airflow_consent_retl.consent.removal import CauseCode, RemovalCause
from airflow_consent_retl.contract.outcomes import RowStatus
from airflow_consent_retl.delivery.attempts import AttemptHistory, BatchKind
from airflow_consent_retl.delivery.recording import recorded_batch
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.location import sync_folder
from airflow_consent_retl.storage.records.all_streams import delivery_streams
from airflow_consent_retl.storage.records.documents import DeliveryRecords, RecordedBatch, RecordedOutcome

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import Delivery, SyncOverview
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.records.stream import FoundRows
    from airflow_consent_retl.storage.records.subjects import RecordedPerson, RecordKey

_Event = Literal["sent", "updated", "removed", "cleared"]
_Kind = Literal["clear", "remove", "send"]
# The kind of the batches in which an event is; all others are sent.
_KINDS: dict[str, _Kind] = {"removed": "remove", "cleared": "clear"}
_READ_ROWS = 131_072
# The delivery is open, and has not come to the person.
PLANNED = "planned"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryEvent:
    """Something that was sent to a destination about the person, or a removal.

    Args:
        at: when its last answer was recorded; without an answer, when it was asked for.
        sync: the sync's name.
        model: the model.
        destination: the policy's name for the destination.
        target: where the rows end up, as the destination describes it.
        dag: the id of the DAG; empty: unknown.
        event: `sent`, `updated`, `removed`, or `cleared`: fields of the person were set to NULL.
        status: `accepted`, `rejected`, `uncertain`, `pending`, `withheld`; `planned`: the delivery has not come to it.
        cause: of a removal, or of clearing.
        code: the destination's, or ours, for a status that is not clear.
        field: the field that the destination objected to; empty: it named none of the load's.
        policy_digest: of the policy under which it was decided; empty: unknown.
        decided_at: when consent was decided.
        delivery: the ledger's number of the delivery.
        batch: the number of its batch; None: it was in none.
        batch_key: the idempotency key of the batch.
        asked_at: no accepted request with it was made before.
        request_ids: the vendor's ids of the requests with it.
        recorded_at: when the record was written; None: the delivery is in progress.
    """

    at: datetime
    sync: str
    model: str
    destination: str
    target: str
    dag: str
    event: str
    status: str
    cause: str
    code: str
    field: str
    policy_digest: str
    decided_at: datetime
    delivery: int
    batch: int | None
    batch_key: str
    asked_at: datetime | None
    request_ids: tuple[str, ...]
    recorded_at: datetime | None


def recorded_deliveries(root: Folder, person: RecordedPerson, *, verify: bool) -> Iterator[DeliveryEvent]:
    """Yield everything that the records of a workspace have of a person.

    Args:
        root: of the workspace.
        person: to look up.
        verify: as for `RecordStream.find`.

    Raises:
        RefusedError, ConfigurationError: as `RecordStream.find`.
    """
    for stream in delivery_streams(root):
        latest: dict[str, FoundRows[DeliveryRecords]] = {}
        for found in stream.find(person, verify=verify):
            # A worker that died may have written the records of its delivery before.
            latest[found.document.changes_sha256] = found
        for found in latest.values():
            batches = stream.details(found.document.batches, RecordedBatch)
            yield from _events(found.document, batches, found.rows, is_open=False)


def in_progress(
    ledger: Ledger, workspace: str | None, key: RecordKey, person: RecordedPerson
) -> Iterator[DeliveryEvent]:
    """Yield what deliveries without records have to do with a person: they are open, or their worker died.

    Args:
        ledger: of the workspace.
        workspace: as for the loads.
        key: the present key.
        person: to look up.

    Raises:
        RefusedError: a file of the changes is gone or was changed.
    """
    subjects = person.under(key.key_id, place="the key of this workspace")
    for overview in ledger.syncs():
        delivery = overview.open_delivery
        if delivery is not None:
            folder = sync_folder(workspace, overview.sync).open(delivery.changes_uri)
            changes = Changes(folder, sha256=delivery.changes_sha256)
            history = AttemptHistory(ledger.attempts(delivery))
            found = _OpenDelivery(changes, history, key, np.array(sorted(subjects), np.uint64))
            records, rows = found.as_records(overview, delivery)
            yield from _events(records, found.batches, rows, is_open=True)


class _OpenDelivery:
    """An open delivery, in the form of the records that it does not have yet."""

    def __init__(self, changes: Changes, history: AttemptHistory, key: RecordKey, subjects: NDArray[np.uint64]) -> None:
        self._changes = changes
        self._key = key
        self._subjects = subjects
        self._outcomes = {(batch.kind, batch.number): batch.outcomes for batch in history.batches}
        self.batches = [recorded_batch(batch) for batch in history.batches]

    def as_records(self, overview: SyncOverview, delivery: Delivery) -> tuple[DeliveryRecords, list[dict[str, int]]]:
        """Return a document of records and the person's rows in it."""
        manifest = self._changes.manifest
        found = [*self._sent(), *self._removed(), *self._cleared()]
        records = DeliveryRecords(
            key_id=self._key.key_id,
            recorded_at=delivery.began_at,
            sync=delivery.sync,
            model=manifest.model,
            destination=manifest.destination,
            target=overview.target,
            dag=overview.dag or "",
            delivery=delivery.id,
            epoch=overview.epoch,
            purpose=delivery.kind,
            began_at=delivery.began_at,
            decided_at=delivery.decided_at,
            policy_digest=manifest.policy_digest,
            changes_sha256=delivery.changes_sha256,
            batches=None,
            outcomes=tuple(outcome for _, outcome in found),
            parts=(),
            rows=len(found),
        )
        return records, [{"position": position, "outcome": number} for number, (position, _) in enumerate(found)]

    def _sent(self) -> Iterator[tuple[int, RecordedOutcome]]:
        for start, rows in self._changes.people_to_send(_READ_ROWS):
            for place in self._places(rows["id"]):
                event: _Event = "updated" if rows["was_delivered"][place].as_py() else "sent"
                yield start + place, self._outcome("send", start + place, event, "")

    def _removed(self) -> Iterator[tuple[int, RecordedOutcome]]:
        for start, rows in self._changes.people_to_remove(_READ_ROWS):
            for place in self._places(rows["id"]):
                cause = str(CauseCode(rows["cause"][place].as_py()).cause)
                yield start + place, self._outcome("remove", start + place, "removed", cause)

    def _cleared(self) -> Iterator[tuple[int, RecordedOutcome]]:
        cause = str(RemovalCause.FIELD_WITHDRAWN)
        for some in self._changes.clears(_READ_ROWS):
            for place in self._places(some.ids):
                yield some.start + place, self._outcome("clear", some.start + place, "cleared", cause)

    def _places(self, ids: pa.Array) -> list[int]:
        found: list[int] = np.flatnonzero(np.isin(self._key.subjects(ids), self._subjects)).tolist()
        return found

    def _outcome(self, kind: _Kind, position: int, event: _Event, cause: str) -> RecordedOutcome:
        batch = _batch_at(self.batches, kind, position)
        if batch is None:
            return RecordedOutcome(event=event, cause=cause, status=PLANNED, code="")
        outcome = self._outcomes[BatchKind(kind), batch.number][position - batch.start]
        # The code of a pending row is the id of its request, which its batch has.
        code = "" if outcome.status is RowStatus.PENDING else outcome.code
        return RecordedOutcome(event=event, cause=cause, status=str(outcome.status), code=code, field=outcome.field)


def _events(
    records: DeliveryRecords, batches: Sequence[RecordedBatch], rows: list[dict[str, Any]], *, is_open: bool
) -> Iterator[DeliveryEvent]:
    for row in rows:
        position, outcome = row["position"], records.outcomes[row["outcome"]]
        batch = _batch_at(batches, _KINDS.get(outcome.event, "send"), position)
        yield DeliveryEvent(
            at=records.recorded_at if batch is None else batch.ended_at or batch.asked_at,
            sync=records.sync,
            model=records.model,
            destination=records.destination,
            target=records.target,
            dag=records.dag,
            event=outcome.event,
            status=outcome.status,
            cause=outcome.cause,
            code=outcome.code,
            field=outcome.field,
            policy_digest=records.policy_digest,
            decided_at=records.decided_at,
            delivery=records.delivery,
            batch=None if batch is None else batch.number,
            batch_key="" if batch is None else batch.key,
            asked_at=None if batch is None else batch.asked_at,
            request_ids=() if batch is None else requests_of(batch.requests, position - batch.start),
            recorded_at=None if is_open else records.recorded_at,
        )


def _batch_at(batches: Sequence[RecordedBatch], kind: _Kind, position: int) -> RecordedBatch | None:
    of_kind = [batch for batch in batches if batch.kind == kind]
    place = bisect_right(of_kind, position, key=attrgetter("start")) - 1
    if place < 0 or position >= of_kind[place].start + of_kind[place].rows:
        return None
    return of_kind[place]


def requests_of(requests: Sequence[tuple[int, str]], row: int) -> tuple[str, ...]:
    """Return the ids of the requests with one row of a batch.

    Args:
        requests: of all attempts, one after the other, each with its first row.
        row: the row's index in the batch.
    """
    attempts: list[list[tuple[int, str]]] = []
    for first, request_id in requests:
        if not attempts or first <= attempts[-1][-1][0]:
            attempts.append([])
        attempts[-1].append((first, request_id))
    found = [[request_id for first, request_id in attempt if first <= row] for attempt in attempts]
    return tuple(dict.fromkeys(ids[-1] for ids in found if ids))
