"""One comparison of permitted rows with a delivered state, in three passes.

The first reads the permitted rows and keeps of each its id and the hash of its payload, in drawers by bucket. The
second goes through drawers and state together. The third reads the payloads of those who are to be sent. Memory is
bounded whatever the number of rows; what does not fit lies in private temporary files meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent.removal import RemovalCause
from airflow_consent_retl.engine.canonical import values_of, words_of
from airflow_consent_retl.engine.causes import CAUSES, Causes
from airflow_consent_retl.engine.classes import Classes, Tally, classify
from airflow_consent_retl.engine.filter import Progress, read_ahead
from airflow_consent_retl.engine.identity import as_type, buckets
from airflow_consent_retl.engine.matching import Drawers, Match, StateDrawers, match
from airflow_consent_retl.engine.pipeline import in_order
from airflow_consent_retl.engine.removal_values import RemovalValues, lost_values
from airflow_consent_retl.engine.spill import Spill, drawers_for
from airflow_consent_retl.workspace.delivered import HASH_TYPE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.delivery.permitted import PermittedRows
    from airflow_consent_retl.delivery.sync_mode import SyncMode
    from airflow_consent_retl.destinations.base import Destination, Load
    from airflow_consent_retl.engine.payload_hash import PayloadHash
    from airflow_consent_retl.workspace.changes import ChangesWriter
    from airflow_consent_retl.workspace.delivered import DeliveredState
    from airflow_consent_retl.workspace.shape import Shape

_READ_ROWS = 32_768
# Rows of one drawer of positions, at least.
_POSITIONS = 131_072
# The decision log is read once for so many bytes of those who are gone.
_GONE_BYTES = 48 << 20
_WORKERS = 2
_MARK_ROWS = 4_096
_CHOSEN = pa.schema(
    [("position", pa.int64()), ("bucket", pa.uint16()), ("hash", HASH_TYPE), ("was_delivered", pa.bool_())]
)


class _Read(NamedTuple):
    start: int
    ids: pa.Array
    rows: pa.RecordBatch


class _Hashed(NamedTuple):
    start: int
    ids: pa.Array
    rows: pa.RecordBatch
    buckets: NDArray[np.uint16]
    hashes: pa.Array


class _Pair(NamedTuple):
    people: pa.RecordBatch
    entries: pa.RecordBatch


class _Compared(NamedTuple):
    people: pa.RecordBatch
    entries: pa.RecordBatch
    matched: Match
    found: Classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is compared, and how.

    Args:
        permitted: the verified rows.
        state: who was delivered; None: nobody.
        id_type: in which ids are compared.
        shape: of what is written.
        mode: of the sync.
        load: for the destination.
        destination: is asked for what a removal needs.
        causes: why somebody is not permitted any more.
        payload_hash: of the mapped fields.
        writer: gets what is found.
        progress: called with numbers of permitted rows as they are read for the first time.
    """

    permitted: PermittedRows
    state: DeliveredState | None
    id_type: pa.DataType
    shape: Shape
    mode: SyncMode
    load: Load
    destination: Destination
    causes: Causes
    payload_hash: PayloadHash
    writer: ChangesWriter
    progress: Progress

    def run(self) -> Tally:
        """Write all changes, and count."""
        with ExitStack() as resources:
            reading = resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="read"))
            working = resources.enter_context(ThreadPoolExecutor(_WORKERS, thread_name_prefix="hash"))
            hashed = in_order(self._hash, read_ahead(self._read(), reading), working, under_way=_WORKERS + 1)
            if self.state is None or not self.state.rows:
                return self._send_everybody(hashed)
            verifying = resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="verify"))
            verdict = verifying.submit(self.state.verify)
            tally = _Passes(self, self.state, resources).run(hashed, reading, working)
            verdict.result()
            return tally

    def _read(self) -> Iterator[_Read]:
        return (_Read(*some) for some in self.permitted.with_ids(_READ_ROWS))

    def _hash(self, some: _Read) -> _Hashed:
        ids = as_type(some.ids, self.id_type, primary_key=self.permitted.manifest.primary_key)
        return _Hashed(some.start, ids, some.rows, buckets(ids), self.payload_hash.of(some.rows))

    def _send_everybody(self, hashed: Iterator[_Hashed]) -> Tally:
        tally = Tally()
        for some in hashed:
            rows = some.rows.num_rows
            self.send(some.ids, pa.array(some.buckets), some.hashes, np.zeros(rows, dtype=np.bool_), some.rows)
            tally += Tally(permitted=rows, added=rows)
            self.progress(rows)
        return tally

    def send(
        self,
        ids: pa.Array,
        id_buckets: pa.Array,
        hashes: pa.Array,
        was_delivered: NDArray[np.bool_],
        rows: pa.RecordBatch,
    ) -> pa.Array | None:
        """Write people to send, and return what a later removal of them needs."""
        removal = self.removal_of(rows)
        self.writer.upsert(
            ids=ids,
            buckets=id_buckets,
            hashes=hashes,
            was_delivered=pa.array(was_delivered),
            removal=removal,
            rows=rows,
        )
        return removal

    def removal_of(self, rows: pa.RecordBatch) -> pa.Array | None:
        """Return what a removal of these people needs, a struct; None where the destination cannot remove."""
        schema = self.shape.removal_schema
        if not schema.names:
            return None
        known = self.destination.removal_rows(rows, self.load)
        return pa.StructArray.from_arrays(known.columns, fields=list(schema))


class _Passes:
    """The three passes over a state that has entries."""

    def __init__(self, comparison: Comparison, state: DeliveredState, resources: ExitStack) -> None:
        self._c = comparison
        self._state = state
        self._values = RemovalValues(
            state.shape, comparison.shape, primary_key=comparison.permitted.manifest.primary_key
        )
        rows = comparison.permitted.rows
        self._drawers = Drawers.for_rows(max(rows, state.rows))
        self._people = resources.enter_context(Spill(_people_schema(comparison.id_type), self._drawers.count))
        self._positions = drawers_for(rows, drawer_rows=_POSITIONS, at_most=4096)
        # Positions in a drawer.
        self._stretch = max(1, -(-rows // self._positions))
        self._chosen = resources.enter_context(Spill(_CHOSEN, self._positions))
        removal = pa.field("removal", comparison.shape.removal_type)
        self._has_removal = bool(comparison.shape.removal_schema.names)
        before = pa.schema([("position", pa.int64()), ("entry", pa.int64()), *([removal] if self._has_removal else [])])
        self._before = resources.enter_context(Spill(before, self._positions))
        # Which stretches of the permitted rows hold somebody who is sent: the others are not read again.
        self._marks = np.zeros(-(-rows // _MARK_ROWS), dtype=np.bool_)
        self._gone: list[pa.RecordBatch] = []
        self._gone_bytes = 0
        self.tally = Tally()

    def run(self, hashed: Iterator[_Hashed], reading: Executor, working: Executor) -> Tally:
        self._keep_apart(hashed)
        self._compare(reading, working)
        self._remove_gone()
        self._send_chosen(reading)
        return self.tally

    def _keep_apart(self, hashed: Iterator[_Hashed]) -> None:
        for some in hashed:
            positions = np.arange(some.start, some.start + len(some.ids), dtype=np.int64)
            columns = [some.ids, pa.array(some.buckets), some.hashes, pa.array(positions)]
            self._people.put(
                pa.RecordBatch.from_arrays(columns, schema=self._people.schema), self._drawers.of(some.buckets)
            )
            self._c.progress(len(some.ids))

    def _compare(self, reading: Executor, working: Executor) -> None:
        comparison = self._c
        with StateDrawers(self._state, comparison.id_type, self._drawers, reading) as drawers:
            pairs = (_Pair(self._people.take(drawer), entries) for drawer, entries in enumerate(drawers))
            for compared in in_order(self._compared, pairs, working, under_way=_WORKERS + 1):
                self._keep(compared)

    def _compared(self, pair: _Pair) -> _Compared:
        people, entries = pair
        matched = match(people["id"], entries["id"])
        owners = np.maximum(matched.owners, 0)
        hashes = words_of(entries["hash"])
        is_same = (
            (hashes == words_of(people["hash"])[owners]).all(axis=1)
            if people.num_rows
            else np.zeros(entries.num_rows, dtype=np.bool_)
        )
        found = classify(
            matched.owners,
            np.asarray(entries["hash"].is_valid()),
            is_same,
            rows=people.num_rows,
            mode=self._c.mode,
        )
        return _Compared(people, entries, matched, found)

    def _keep(self, compared: _Compared) -> None:
        people, entries, matched, found = compared
        owners = np.maximum(matched.owners, 0)
        self.tally += found.tally
        self.tally.delivered += matched.people
        positions = values_of(people["position"], np.int64)
        self._choose(people, positions, found.send, found.was_delivered)
        removal = entries["removal"] if self._state.shape.removal_schema.names else None
        if not self._values.is_same:
            # Of everybody: whether what was kept can be used at all has to be known before anybody is sent.
            removal = self._values.convert(removal, entries["id"])
        if self._has_removal:
            self._keep_before(entries, removal, positions[owners] if people.num_rows else owners, found.may_lose)
        self._keep_gone(entries, removal, found.gone)

    def _choose(
        self,
        people: pa.RecordBatch,
        positions: NDArray[np.int64],
        send: NDArray[np.bool_],
        was_delivered: NDArray[np.bool_],
    ) -> None:
        chosen = np.flatnonzero(send)
        rows = people.select(["position", "bucket", "hash"]).take(pa.array(chosen))
        self._chosen.put(
            pa.RecordBatch.from_arrays([*rows.columns, pa.array(was_delivered[chosen])], schema=_CHOSEN),
            positions[chosen] // self._stretch,
        )
        self._marks[positions[chosen] // _MARK_ROWS] = True

    def _keep_before(
        self,
        entries: pa.RecordBatch,
        removal: pa.Array | None,
        positions: NDArray[np.int64],
        may_lose: NDArray[np.bool_],
    ) -> None:
        chosen = np.flatnonzero(may_lose)
        columns = [pa.array(positions), entries["entry"], removal]
        rows = pa.RecordBatch.from_arrays(columns, schema=self._before.schema).take(pa.array(chosen))
        self._before.put(rows, positions[chosen] // self._stretch)

    def _keep_gone(self, entries: pa.RecordBatch, removal: pa.Array | None, gone: NDArray[np.bool_]) -> None:
        values = {"removal": removal} if self._has_removal else {}
        columns = {name: entries[name] for name in ("id", "bucket", "entry")} | values
        rows = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        rows = rows.take(pa.array(np.flatnonzero(gone)))
        if rows.num_rows:
            self._gone.append(rows)
            self._gone_bytes += rows.nbytes
        if self._gone_bytes > _GONE_BYTES:
            self._remove_gone()

    def _remove_gone(self) -> None:
        """Ask the decision log why, and write those who are gone by cause."""
        if not self._gone:
            return
        rows = pa.concat_batches(self._gone)
        self._gone, self._gone_bytes = [], 0
        found = self._c.causes.of(rows["id"])
        for number in np.unique(found).tolist():
            chosen = np.flatnonzero(found == number)
            if CAUSES[number] is RemovalCause.LEFT_MODEL and not self._c.mode.removes_left_model:
                self.tally.kept_left_model += len(chosen)
                continue
            self._remove(CAUSES[number], rows.take(pa.array(chosen)))

    def _remove(self, cause: RemovalCause, rows: pa.RecordBatch) -> None:
        self._c.writer.remove(
            cause,
            ids=rows["id"],
            buckets=rows["bucket"],
            entries=rows["entry"],
            removal=rows["removal"] if self._has_removal else None,
        )

    def _is_unwanted(self, start: int, end: int) -> bool:
        return not self._marks[start // _MARK_ROWS : -(-end // _MARK_ROWS)].any()

    def _send_chosen(self, reading: Executor) -> None:
        chosen = _ByPosition(self._chosen, self._stretch)
        before = _ByPosition(self._before, self._stretch)
        read = (
            _Read(*some) for some in self._c.permitted.with_ids(_READ_ROWS, skip=self._is_unwanted, use_threads=True)
        )
        for some in read_ahead(read, reading):
            end = some.start + some.rows.num_rows
            sent, old = chosen.between(some.start, end), before.between(some.start, end)
            if sent.num_rows:
                self._send(some, sent, old)

    def _send(self, some: _Read, sent: pa.RecordBatch, old: pa.RecordBatch) -> None:
        positions = values_of(sent["position"], np.int64)
        places = pa.array(positions - some.start)
        ids = as_type(some.ids.take(places), self._c.id_type, primary_key=self._c.permitted.manifest.primary_key)
        was_delivered = np.asarray(sent["was_delivered"])
        removal = self._c.send(ids, sent["bucket"], sent["hash"], was_delivered, some.rows.take(places))
        if not old.num_rows or removal is None:
            return
        owners = pa.array(np.searchsorted(positions, values_of(old["position"], np.int64)))
        lost = pa.array(np.flatnonzero(lost_values(old["removal"], removal.take(owners), old.num_rows)))
        columns = [ids.take(owners), sent["bucket"].take(owners), old["entry"], old["removal"]]
        rows = pa.RecordBatch.from_arrays(columns, names=["id", "bucket", "entry", "removal"])
        self._remove(RemovalCause.IDENTIFIERS_CHANGED, rows.take(lost))


class _ByPosition:
    """Gives back what a spill holds in ascending order of `position`, a stretch of positions at a time."""

    def __init__(self, spill: Spill, stretch: int) -> None:
        self._spill = spill
        self._stretch = stretch
        self._next = 0
        self._held = spill.take(0).slice(0, 0)

    def between(self, start: int, end: int) -> pa.RecordBatch:
        """Return the rows of these positions; each call begins where the one before ended, or later."""
        while self._next < self._spill.drawers and self._next * self._stretch < end:
            rows = self._spill.take(self._next)
            self._next += 1
            order = np.argsort(values_of(rows["position"], np.int64), kind="stable")
            self._held = pa.concat_batches([self._held, rows.take(pa.array(order))])
        cuts = np.searchsorted(values_of(self._held["position"], np.int64), [start, end])
        found = self._held.slice(cuts[0], cuts[1] - cuts[0])
        self._held = self._held.slice(cuts[1])
        return found


def _people_schema(id_type: pa.DataType) -> pa.Schema:
    return pa.schema([("id", id_type), ("bucket", pa.uint16()), ("hash", HASH_TYPE), ("position", pa.int64())])
