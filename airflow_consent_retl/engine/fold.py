"""Folds what became of a set of changes into the next version of the delivered state.

Whoever may be at the destination has an entry afterwards: it is dropped only where the destination confirmed the
removal, and nothing that was sent before can still bring the person back.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.delivery.outcomes import RowStatus
from airflow_consent_retl.engine.canonical import values_of
from airflow_consent_retl.engine.identity import ORDER_TAG, as_type, buckets, meeting_type
from airflow_consent_retl.engine.matching import Drawers, StateDrawers, match
from airflow_consent_retl.engine.pipeline import lean_memory
from airflow_consent_retl.engine.removal_values import RemovalValues, same_values
from airflow_consent_retl.engine.spill import Spill
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.workspace.delivered import HASH_TYPE, MOMENT_TYPE, DeliveredWriter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.delivery.outcomes import Outcomes
    from airflow_consent_retl.workspace.changes import Changes
    from airflow_consent_retl.workspace.delivered import DeliveredState
    from airflow_consent_retl.workspace.folder import Folder

_READ_ROWS = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# In place of no moment: before all others.
_NEVER = np.iinfo(np.int64).min
_UNCHANGED, _ACCEPTED, _UNCERTAIN = 0, 1, 2
_CODES = {
    RowStatus.ACCEPTED: _ACCEPTED,
    RowStatus.UNCERTAIN: _UNCERTAIN,
    RowStatus.PENDING: _UNCERTAIN,
    RowStatus.REJECTED: _UNCHANGED,
    RowStatus.WITHHELD: _UNCHANGED,
    RowStatus.UNSENT: _UNCHANGED,
}


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one batch.

    Args:
        start: the position of its first row.
        outcomes: of its rows; `pending` counts as uncertain.
        unsettled_until: until when a request with these rows that was never answered may still take effect.
        at: when the last request with these rows was made.
    """

    start: int
    outcomes: Outcomes
    unsettled_until: datetime | None
    at: datetime


def fold(
    state: DeliveredState | None,
    changes: Changes,
    sends: Iterable[Fate],
    removes: Iterable[Fate],
    folder: Folder,
) -> DeliveredState:
    """Write and publish the next version.

    Args:
        state: the version that the changes were computed against.
        sends: what became of the upserts, in ascending order of position; rows that none covers were not sent.
        removes: of the removals, likewise.
        folder: a new one, for this version only; the caller removes it where this raises.

    Raises:
        RefusedError: the changes were computed against another version, or a file was changed.
        ValueError: fates that overlap, are out of order, or belong to no row.
    """
    manifest = changes.manifest
    if manifest.delivered_sha256 != (None if state is None else state.sha256):
        raise RefusedError(f"{changes.folder.uri}: these changes were found against another delivered state")
    decided_at = manifest.decided_at if state is None else max(manifest.decided_at, state.manifest.decided_at)
    with ExitStack() as resources:
        resources.enter_context(lean_memory())
        folding = _Folding(state, changes, folder)
        resources.callback(folding.writer.abort)
        folding.run(sends, removes, resources)
        return folding.writer.publish(
            sync=manifest.sync,
            model=manifest.model,
            destination=manifest.destination,
            primary_key=manifest.primary_key,
            order_tag=ORDER_TAG,
            decided_at=decided_at,
        )


class _Folding:
    def __init__(self, state: DeliveredState | None, changes: Changes, folder: Folder) -> None:
        self._state = state
        self._changes = changes
        before = None if state is None else state.id_type
        self._id_type = meeting_type(before, changes.id_type, primary_key=changes.manifest.primary_key)
        self._has_removal = bool(changes.shape.removal_schema.names)
        self._values = (
            None
            if state is None
            else RemovalValues(state.shape, changes.shape, primary_key=changes.manifest.primary_key)
        )
        self.writer = DeliveredWriter(folder, self._id_type, changes.shape)
        self._drawers = Drawers.for_rows(max(changes.manifest.upsert_rows, 0 if state is None else state.rows))

    def run(self, sends: Iterable[Fate], removes: Iterable[Fate], resources: ExitStack) -> None:
        reading = resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="read"))
        verifying = resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="verify"))
        verdicts = [verifying.submit(self._changes.verify)]
        if self._state is not None:
            verdicts.append(verifying.submit(self._state.verify))
        sent = resources.enter_context(Spill(self._sent_schema(), self._drawers.count))
        removed = resources.enter_context(Spill(_REMOVED, self._drawers.count))
        self._put_sent(sent, _Fates(sends, self._changes.manifest.upsert_rows))
        self._put_removed(removed, _Fates(removes, self._changes.manifest.removal_rows))
        with StateDrawers(self._state, self._id_type, self._drawers, reading) as drawers:
            for drawer, entries in enumerate(drawers):
                self._fold_drawer(entries, sent.take(drawer), removed.take(drawer))
        for verdict in verdicts:
            verdict.result()

    def _sent_schema(self) -> pa.Schema:
        fields = [("bucket", pa.uint16()), ("id", self._id_type), ("hash", HASH_TYPE)]
        fields += [("code", pa.int8()), ("unsettled_until", pa.int64())]
        return pa.schema([*fields, *([("removal", self._changes.shape.removal_type)] if self._has_removal else [])])

    def _put_sent(self, sent: Spill, fates: _Fates) -> None:
        for start, rows in self._changes.kept_of_upserts(_READ_ROWS):
            codes, unsettled, _ = fates.between(start, start + rows.num_rows)
            ids, found = self._typed(rows)
            columns = [pa.array(found), ids, rows["hash"], pa.array(codes), pa.array(unsettled)]
            columns += [rows["removal"]] if self._has_removal else []
            # Everybody else is where they were.
            touched = np.flatnonzero(codes != _UNCHANGED)
            batch = pa.RecordBatch.from_arrays(columns, schema=sent.schema).take(pa.array(touched))
            sent.put(batch, self._drawers.of(found[touched]))
        fates.end()

    def _put_removed(self, removed: Spill, fates: _Fates) -> None:
        for some in self._changes.removals(_READ_ROWS):
            codes, _, at = fates.between(some.start, some.start + len(some.ids))
            found = self._buckets(some.ids, some.buckets)
            batch = pa.RecordBatch.from_arrays(
                [pa.array(some.entries), pa.array(codes == _ACCEPTED), pa.array(at)], schema=_REMOVED
            )
            removed.put(batch, self._drawers.of(found))
        fates.end()

    def _typed(self, rows: pa.RecordBatch) -> tuple[pa.Array, NDArray[np.uint16]]:
        ids = as_type(rows["id"], self._id_type, primary_key=self._changes.manifest.primary_key)
        return ids, self._buckets(rows["id"], rows["bucket"])

    def _buckets(self, ids: pa.Array, kept: pa.Array) -> NDArray[np.uint16]:
        if self._changes.manifest.order_tag == ORDER_TAG and ids.type == self._id_type:
            return values_of(kept, np.uint16).astype(np.uint16)
        return buckets(as_type(ids, self._id_type, primary_key=self._changes.manifest.primary_key))

    def _fold_drawer(self, entries: pa.RecordBatch, sent: pa.RecordBatch, removed: pa.RecordBatch) -> None:
        removal = entries["removal"] if "removal" in entries.schema.names else None
        if self._values is not None:
            removal = self._values.convert(removal, entries["id"])
        elif self._has_removal:
            removal = pa.nulls(0, self._changes.shape.removal_type)
        folded = _fold_entries(entries, removal, sent, removed)
        rows = pa.concat_batches(
            [
                self._written(entries, removal, entries["hash"], folded.unsettled, ~folded.is_confirmed, folded.kept),
                self._written(
                    sent,
                    sent["removal"] if self._has_removal else None,
                    sent["hash"],
                    folded.sent_unsettled,
                    values_of(sent["code"], np.int8) != _ACCEPTED,
                    folded.sent_kept,
                ),
            ]
        )
        order = np.argsort(values_of(rows["bucket"], np.uint16), kind="stable")
        self.writer.write(rows.take(pa.array(order)))

    def _written(
        self,
        rows: pa.RecordBatch,
        removal: pa.Array | None,
        hashes: pa.Array,
        unsettled: NDArray[np.int64],
        is_unconfirmed: NDArray[np.bool_],
        kept: NDArray[np.bool_],
    ) -> pa.RecordBatch:
        moments = pa.array(unsettled, mask=unsettled == _NEVER).cast(MOMENT_TYPE)
        columns = [rows["bucket"], rows["id"], _nulled(hashes, is_unconfirmed), moments]
        columns += [removal] if self._has_removal else []
        written = pa.RecordBatch.from_arrays(columns, schema=self.writer.schema)
        return written if kept.all() else written.take(pa.array(np.flatnonzero(kept)))


@dataclass(frozen=True, slots=True)
class _Folded:
    """Of each entry and of each row that was sent: whether it is an entry now, and with what."""

    kept: NDArray[np.bool_]
    is_confirmed: NDArray[np.bool_]
    unsettled: NDArray[np.int64]
    sent_kept: NDArray[np.bool_]
    sent_unsettled: NDArray[np.int64]


def _fold_entries(
    entries: pa.RecordBatch, removal: pa.Array | None, sent: pa.RecordBatch, removed: pa.RecordBatch
) -> _Folded:
    kept = np.ones(entries.num_rows, dtype=np.bool_)
    is_confirmed = np.asarray(entries["hash"].is_valid()).copy()
    moments = entries["unsettled_until"]
    unsettled = np.where(np.asarray(moments.is_valid()), values_of(moments, np.int64), _NEVER)
    is_free = np.ones(entries.num_rows, dtype=np.bool_)
    if removed.num_rows:
        places = np.searchsorted(_sorted_entries(entries)[0], values_of(removed["entry"], np.int64))
        places = _sorted_entries(entries)[1][places]
        is_final = np.asarray(removed["accepted"]) & (unsettled[places] <= values_of(removed["at"], np.int64))
        kept[places] = ~is_final
        is_confirmed[places] = False
        # Their fate is that of their removal, whatever became of what was sent after it.
        is_free[places] = False
    codes = values_of(sent["code"], np.int8)
    sent_unsettled = values_of(sent["unsettled_until"], np.int64).copy()
    sent_kept = np.ones(sent.num_rows, dtype=np.bool_)
    if sent.num_rows and entries.num_rows:
        owners = match(sent["id"], entries["id"]).owners
        replaced = np.flatnonzero(is_free & (owners >= 0) & (codes[owners] == _ACCEPTED))
        kept[replaced] = False
        # An older request may still bring back what it sent.
        np.maximum.at(sent_unsettled, owners[replaced], unsettled[replaced])
        doubted = np.flatnonzero((owners >= 0) & kept & (codes[owners] == _UNCERTAIN))
        values = sent["removal"] if "removal" in sent.schema.names else None
        chosen, others = pa.array(doubted), pa.array(owners[doubted])
        same = doubted[
            same_values(
                None if removal is None else removal.take(chosen),
                None if values is None else values.take(others),
                len(doubted),
            )
        ]
        # One entry is enough for what is removed by the same values.
        is_confirmed[same] = False
        unsettled[same] = np.maximum(unsettled[same], sent_unsettled[owners[same]])
        sent_kept[owners[same]] = False
    return _Folded(kept, is_confirmed, unsettled, sent_kept, sent_unsettled)


def _sorted_entries(entries: pa.RecordBatch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    numbers = values_of(entries["entry"], np.int64)
    order = np.argsort(numbers, kind="stable")
    return numbers[order], order


class _Fates:
    """Gives what became of each row, a stretch of positions at a time."""

    def __init__(self, fates: Iterable[Fate], rows: int) -> None:
        self._fates = iter(fates)
        self._rows = rows
        self._ended = 0
        self._next = self._following()

    def between(self, start: int, end: int) -> tuple[NDArray[np.int8], NDArray[np.int64], NDArray[np.int64]]:
        """Return a code, an `unsettled_until` and an `at` for each position, in microseconds."""
        codes = np.full(end - start, _UNCHANGED, dtype=np.int8)
        unsettled = np.full(end - start, _NEVER, dtype=np.int64)
        at = np.full(end - start, _NEVER, dtype=np.int64)
        while self._next is not None and self._next.start < end:
            fate, outcomes = self._next, self._next.outcomes
            first, last = max(fate.start, start), min(fate.start + outcomes.rows, end)
            stretch = slice(first - start, last - start)
            codes[stretch] = _CODES[outcomes.common.status]
            unsettled[stretch] = _NEVER if fate.unsettled_until is None else _microseconds(fate.unsettled_until)
            at[stretch] = _microseconds(fate.at)
            for row, outcome in outcomes.exceptions.items():
                if first <= fate.start + row < last:
                    codes[fate.start + row - start] = _CODES[outcome.status]
            if fate.start + outcomes.rows > end:
                break
            self._next = self._following()
        return codes, unsettled, at

    def end(self) -> None:
        """Check that no fate is left over."""
        if self._next is not None:
            raise ValueError("a fate belongs to no row")

    def _following(self) -> Fate | None:
        fate = next(self._fates, None)
        while fate is not None and not fate.outcomes.rows:
            fate = next(self._fates, None)
        if fate is not None:
            if fate.start < self._ended:
                raise ValueError("fates have to be in the order of their positions, without overlap")
            self._ended = fate.start + fate.outcomes.rows
            if self._ended > self._rows:
                raise ValueError("a fate belongs to no row")
        return fate


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _nulled(hashes: pa.Array, where: NDArray[np.bool_]) -> pa.Array:
    if not where.any():
        return hashes
    return pc.if_else(pa.array(where), pa.scalar(None, hashes.type), hashes)


_REMOVED = pa.schema([("entry", pa.int64()), ("accepted", pa.bool_()), ("at", pa.int64())])
