"""The fold: the results of a set of changes, applied to the delivered state, give its next version.

Every person who may be at the destination has an entry afterwards. An entry is dropped only if the destination
confirmed the removal, and no earlier request can bring the person back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.changes.cleared_fields import fold_cleared
from airflow_consent_retl.changes.matching import Partitions, StatePartitions, match, places_of
from airflow_consent_retl.changes.removal_values import RemovalValues, same_values
from airflow_consent_retl.changes.results import ACCEPTED, NEVER, UNCERTAIN, BatchResult, RowResults
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.delivered import HASH_TYPE, MOMENT_TYPE, DeliveredWriter, fields_text
from airflow_consent_retl.values.buffers import values_of
from airflow_consent_retl.values.ids import ORDER_TAG, as_type, buckets, meeting_type
from airflow_consent_retl.values.pipeline import in_order, lean_memory
from airflow_consent_retl.values.spill import Spill

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.delivered import DeliveredState
    from airflow_consent_retl.storage.folder import Folder

T = TypeVar("T")

_READ_ROWS = 65_536
_WORKERS = 2


class _Partition(NamedTuple):
    """Entries, the rows that were sent, and the entries that were removed or cleared, each with its result."""

    entries: pa.RecordBatch
    sent: pa.RecordBatch
    removed: pa.RecordBatch
    cleared: pa.RecordBatch


class Folding:
    """A fold in two steps, so that reading and sorting happen while requests are in progress. A context manager.

    The first step begins with the block, in its own thread. It writes only temporary files, which the block removes.

    Args:
        state: the version that the changes were compared with.
        changes: the changes that are being delivered.

    Raises:
        RefusedError: the changes were compared with another version.
    """

    def __init__(self, state: DeliveredState | None, changes: Changes) -> None:
        if changes.manifest.delivered_sha256 != (None if state is None else state.sha256):
            raise RefusedError(f"{changes.folder.uri}: these changes were found against another delivered state")
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
        self._partitions = Partitions.for_rows(max(changes.manifest.upsert_rows, 0 if state is None else state.rows))
        self._is_over = Event()
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        self._sent = self._resources.enter_context(Spill(self._sent_schema(), self._partitions.count))
        self._removed = self._resources.enter_context(Spill(_TO_REMOVE, self._partitions.count))
        self._cleared = self._resources.enter_context(Spill(_TO_CLEAR, self._partitions.count))
        self._reading = self._resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="read"))
        self._verifying = self._resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="verify"))
        self._verified = self._verifying.submit(self._changes.verify)
        self._read = self._reading.submit(self._partition)
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_over.set()
        self._resources.close()

    def finish(
        self,
        sends: Iterable[BatchResult],
        removes: Iterable[BatchResult],
        folder: Folder,
        *,
        clears: Iterable[BatchResult] = (),
    ) -> DeliveredState:
        """Write and publish the next version, once.

        Args:
            sends: the results of the upserts, in ascending order of position; rows that no batch covers were not sent.
            removes: the results of the removals, likewise.
            clears: the results of the entries with fields to clear, likewise.
            folder: a new folder for this version only; the caller removes it if this raises.

        Raises:
            RefusedError: a file was changed.
            ValueError: results overlap, are out of order, or belong to no row.
        """
        manifest, state = self._changes.manifest, self._state
        decided_at = manifest.decided_at if state is None else max(manifest.decided_at, state.manifest.decided_at)
        with lean_memory(), ExitStack() as resources:
            writer = DeliveredWriter(folder, self._id_type, self._changes.shape)
            resources.callback(writer.abort)
            self._run(
                RowResults(sends, manifest.upsert_rows),
                RowResults(removes, manifest.removal_rows),
                RowResults(clears, manifest.clear_rows),
                writer,
            )
            return writer.publish(
                sync=manifest.sync,
                model=manifest.model,
                destination=manifest.destination,
                primary_key=manifest.primary_key,
                order_tag=ORDER_TAG,
                decided_at=decided_at,
            )

    def _partition(self) -> None:
        """Write the rows of the changes into partitions, each row with its position."""
        for start, rows in self._until_over(self._changes.kept_of_upserts(_READ_ROWS)):
            ids = as_type(rows["id"], self._id_type, primary_key=self._changes.manifest.primary_key)
            found = self._buckets(rows["id"], rows["bucket"])
            cleared = rows["cleared"] if "cleared" in rows.schema.names else pa.nulls(rows.num_rows, pa.string())
            columns = [pa.array(found), ids, rows["hash"], cleared, _positions(start, rows.num_rows)]
            columns += [rows["removal"]] if self._has_removal else []
            self._sent.put(pa.RecordBatch.from_arrays(columns, schema=self._sent.schema), self._partitions.of(found))
        for some in self._until_over(self._changes.removals(_READ_ROWS)):
            found = self._buckets(some.ids, some.buckets)
            columns = [pa.array(some.entries), _positions(some.start, len(some.ids))]
            self._removed.put(pa.RecordBatch.from_arrays(columns, schema=_TO_REMOVE), self._partitions.of(found))
        for one in self._until_over(self._changes.clears(_READ_ROWS)):
            found = self._buckets(one.ids, one.buckets)
            fields = pa.array([fields_text(one.fields)] * len(one.ids), pa.string())
            columns = [pa.array(one.entries), _positions(one.start, len(one.ids)), fields]
            self._cleared.put(pa.RecordBatch.from_arrays(columns, schema=_TO_CLEAR), self._partitions.of(found))
        for spill in (self._sent, self._removed, self._cleared):
            spill.seal()

    def _until_over(self, items: Iterable[T]) -> Iterator[T]:
        for item in items:
            if self._is_over.is_set():
                return
            yield item

    def _run(self, sends: RowResults, removes: RowResults, clears: RowResults, writer: DeliveredWriter) -> None:
        verified = [self._verified]
        if self._state is not None:
            verified.append(self._verifying.submit(self._state.verify))
        self._read.result()
        with (
            ThreadPoolExecutor(_WORKERS, thread_name_prefix="fold") as working,
            StatePartitions(self._state, self._id_type, self._partitions, self._reading) as partitions,
        ):
            some = (
                _Partition(
                    entries,
                    sends.of_sent(self._sent.take(partition)),
                    removes.of_removed(self._removed.take(partition)),
                    clears.of_removed(self._cleared.take(partition)),
                )
                for partition, entries in enumerate(partitions)
            )
            for rows in in_order(partial(self._folded, writer.schema), some, working, under_way=_WORKERS + 1):
                writer.write(rows)
        for verification in verified:
            verification.result()

    def _sent_schema(self) -> pa.Schema:
        fields = [("bucket", pa.uint16()), ("id", self._id_type), ("hash", HASH_TYPE), ("cleared", pa.string())]
        fields += [("position", pa.int64())]
        return pa.schema([*fields, *([("removal", self._changes.shape.removal_type)] if self._has_removal else [])])

    def _buckets(self, ids: pa.Array, kept: pa.Array) -> NDArray[np.uint16]:
        if self._changes.manifest.order_tag == ORDER_TAG and ids.type == self._id_type:
            return values_of(kept, np.uint16).astype(np.uint16)
        return buckets(as_type(ids, self._id_type, primary_key=self._changes.manifest.primary_key))

    def _folded(self, schema: pa.Schema, partition: _Partition) -> pa.RecordBatch:
        """Return the entries of a partition in the next version, in the order of their buckets."""
        entries, sent, removed, cleared = partition
        removal = entries["removal"] if "removal" in entries.schema.names else None
        if self._values is not None:
            removal = self._values.convert(removal, entries["id"])
        elif self._has_removal:
            removal = pa.nulls(0, self._changes.shape.removal_type)
        cleared_fields, hashes, in_doubt, unsettled = fold_cleared(entries, cleared)
        folded = _fold_entries(entries, removal, sent, removed, in_doubt=in_doubt, unsettled=unsettled)
        rows = pa.concat_batches(
            [
                self._written(
                    entries,
                    removal,
                    hashes,
                    _nulled(cleared_fields, folded.is_doubted),
                    folded.unsettled,
                    ~folded.is_confirmed,
                    folded.kept,
                    schema,
                ),
                self._written(
                    sent,
                    sent["removal"] if self._has_removal else None,
                    sent["hash"],
                    _nulled(sent["cleared"], folded.is_sent_in_doubt),
                    folded.sent_unsettled,
                    folded.is_sent_in_doubt,
                    folded.sent_kept,
                    schema,
                ),
            ]
        )
        order = np.argsort(values_of(rows["bucket"], np.uint16), kind="stable")
        return rows.take(pa.array(order))

    def _written(
        self,
        rows: pa.RecordBatch,
        removal: pa.Array | None,
        hashes: pa.Array,
        cleared: pa.Array,
        unsettled: NDArray[np.int64],
        is_unconfirmed: NDArray[np.bool_],
        kept: NDArray[np.bool_],
        schema: pa.Schema,
    ) -> pa.RecordBatch:
        times = pa.array(unsettled, mask=unsettled == NEVER).cast(MOMENT_TYPE)
        columns = [rows["bucket"], rows["id"], _nulled(hashes, is_unconfirmed), times, cleared]
        columns += [removal] if self._has_removal else []
        written = pa.RecordBatch.from_arrays(columns, schema=schema)
        return written if kept.all() else written.take(pa.array(np.flatnonzero(kept)))


@dataclass(frozen=True, slots=True)
class _Folded:
    """For each entry and each row that was sent: whether it is an entry of the next version, and its values."""

    kept: NDArray[np.bool_]
    is_confirmed: NDArray[np.bool_]
    # Whether a payload that the destination may have applied may have values in cleared fields.
    is_doubted: NDArray[np.bool_]
    unsettled: NDArray[np.int64]
    sent_kept: NDArray[np.bool_]
    sent_unsettled: NDArray[np.int64]
    is_sent_in_doubt: NDArray[np.bool_]


def _fold_entries(
    entries: pa.RecordBatch,
    removal: pa.Array | None,
    sent: pa.RecordBatch,
    removed: pa.RecordBatch,
    *,
    in_doubt: NDArray[np.bool_],
    unsettled: NDArray[np.int64],
) -> _Folded:
    kept = np.ones(entries.num_rows, dtype=np.bool_)
    is_confirmed = np.asarray(entries["hash"].is_valid()) & ~in_doubt
    is_doubted = np.zeros(entries.num_rows, dtype=np.bool_)
    is_free = np.ones(entries.num_rows, dtype=np.bool_)
    if removed.num_rows:
        places = places_of(entries, removed)
        is_final = np.asarray(removed["accepted"]) & (unsettled[places] <= values_of(removed["at"], np.int64))
        kept[places] = ~is_final
        is_confirmed[places] = False
        # A removal that was not answered may still take effect, also after the person was sent again.
        unsettled[places] = np.maximum(unsettled[places], values_of(removed["unsettled_until"], np.int64))
        # The result of the removal decides about these entries, whatever happened to rows that were sent after it.
        is_free[places] = False
    codes = values_of(sent["code"], np.int8)
    sent_unsettled = values_of(sent["unsettled_until"], np.int64).copy()
    sent_kept = np.ones(sent.num_rows, dtype=np.bool_)
    sent_in_doubt = codes != ACCEPTED
    if sent.num_rows and entries.num_rows:
        owners = match(sent["id"], entries["id"]).owners
        replaced = np.flatnonzero(is_free & (owners >= 0) & (codes[owners] == ACCEPTED))
        kept[replaced] = False
        # An older request may still undo what was accepted since: the row is sent again until that is impossible.
        undone = replaced[unsettled[replaced] > values_of(sent["at"], np.int64)[owners[replaced]]]
        np.maximum.at(sent_unsettled, owners[undone], unsettled[undone])
        sent_in_doubt[owners[undone]] = True
        doubted = np.flatnonzero((owners >= 0) & kept & (codes[owners] == UNCERTAIN))
        values = sent["removal"] if "removal" in sent.schema.names else None
        chosen, others = pa.array(doubted), pa.array(owners[doubted])
        same = doubted[
            same_values(
                None if removal is None else removal.take(chosen),
                None if values is None else values.take(others),
                len(doubted),
            )
        ]
        # One entry is enough if a removal uses the same values.
        is_confirmed[same] = False
        is_doubted[same] = True
        unsettled[same] = np.maximum(unsettled[same], sent_unsettled[owners[same]])
        sent_kept[owners[same]] = False
    return _Folded(kept, is_confirmed, is_doubted, unsettled, sent_kept, sent_unsettled, sent_in_doubt)


def _nulled(hashes: pa.Array, where: NDArray[np.bool_]) -> pa.Array:
    if not where.any():
        return hashes
    return pc.if_else(pa.array(where), pa.scalar(None, hashes.type), hashes)


def _positions(start: int, rows: int) -> pa.Array:
    return pa.array(np.arange(start, start + rows, dtype=np.int64))


_TO_REMOVE = pa.schema([("entry", pa.int64()), ("position", pa.int64())])
_TO_CLEAR = _TO_REMOVE.append(pa.field("fields", pa.string()))
