"""A comparison of permitted rows with a delivered state, in three passes.

The first pass reads the permitted rows. It keeps the id and the payload hash of each row, in partitions by bucket, and
the payloads that seem new. The second pass compares the partitions with the state. The third pass writes the payloads
of the rows to send. Memory is bounded for any number of rows; what does not fit goes to private temporary files.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from airflow_consent_retl.changes.all_rows import AllRows
from airflow_consent_retl.changes.classes import Classes, PeopleCounts, classify
from airflow_consent_retl.changes.cleared_fields import null_fields
from airflow_consent_retl.changes.gone_entries import GoneEntries
from airflow_consent_retl.changes.known import KnownHashes
from airflow_consent_retl.changes.matching import Match, Partitions, StatePartitions, match
from airflow_consent_retl.changes.removal_values import RemovalValues
from airflow_consent_retl.changes.sending import CHOSEN, READ_ROWS, ReadRows, Sending, ToSend
from airflow_consent_retl.consent.removal import RemovalCause
from airflow_consent_retl.filtering.field_mapping import is_taken_back
from airflow_consent_retl.storage.delivered import HASH_TYPE
from airflow_consent_retl.storage.sync_mode import SyncMode
from airflow_consent_retl.values.buffers import values_of, words_of
from airflow_consent_retl.values.ids import as_type, buckets
from airflow_consent_retl.values.pipeline import in_order, read_ahead
from airflow_consent_retl.values.spill import Spill

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.changes.causes import Causes
    from airflow_consent_retl.contract.destination import Destination, Load
    from airflow_consent_retl.filtering.files import Progress
    from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
    from airflow_consent_retl.storage.changes_writer import ChangesWriter
    from airflow_consent_retl.storage.delivered import DeliveredState
    from airflow_consent_retl.storage.records.rejections import RejectedPeople
    from airflow_consent_retl.storage.shape import Shape
    from airflow_consent_retl.values.payload_hash import PayloadHash

_HASHES = 131_072
_WORKERS = 2


class Hashed(NamedTuple):
    """Permitted rows with what the comparison needs of each."""

    read: ReadRows
    buckets: NDArray[np.uint16]
    hashes: pa.Array
    # Whether the row has a NULL that the destination has to get.
    clears: NDArray[np.bool_]


class Compared(NamedTuple):
    """A partition of the permitted people and of the entries, matched and classified."""

    people: pa.RecordBatch
    entries: pa.RecordBatch
    matched: Match
    found: Classes


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The inputs of a comparison, and its first pass.

    Args:
        permitted: the verified rows.
        state: the delivered state; None before the first load.
        id_type: the type in which ids are compared.
        shape: the shape of the changes that are written.
        mode: the sync's mode.
        adds: whether new people are sent.
        only: the people who may be sent; None: everyone.
        load: the load, for the destination.
        destination: asked for what a removal needs.
        causes: finds why people are not permitted any more.
        payload_hash: of the mapped fields.
        writer: writes the changes.
        leaves_rows: whether all rows are sent, and left in the permitted set.
        progress: called with numbers of permitted rows when they are read for the first time.
    """

    permitted: FilePermittedRows
    state: DeliveredState | None
    id_type: pa.DataType
    shape: Shape
    mode: SyncMode
    adds: bool
    only: RejectedPeople | None
    load: Load
    destination: Destination
    causes: Causes
    payload_hash: PayloadHash
    writer: ChangesWriter
    leaves_rows: bool
    progress: Progress

    def run(self) -> PeopleCounts:
        """Write all changes, and count them."""
        with ExitStack() as resources:
            reading = resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="read"))
            working = resources.enter_context(ThreadPoolExecutor(_WORKERS, thread_name_prefix="hash"))
            hashed = in_order(self._hash, read_ahead(self._read(), reading), working, under_way=_WORKERS + 1)
            if self.state is None or not self.state.rows:
                return self._send_all(hashed)
            verifying = resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="verify"))
            verified = verifying.submit(self.state.verify)
            try:
                passes = AllRows if self.leaves_rows else _Passes
                return passes(self, self.state, resources).run(hashed, reading, working)
            finally:
                # Also if a file could not be read at all: the verification knows why.
                verified.result()

    def _read(self) -> Iterator[ReadRows]:
        return (ReadRows(*some) for some in self.permitted.with_ids(READ_ROWS))

    def _hash(self, some: ReadRows) -> Hashed:
        ids = as_type(some.ids, self.id_type, primary_key=self.permitted.manifest.primary_key)
        clears = np.zeros(some.rows.num_rows, dtype=np.bool_)
        for name in self.load.cleared:
            clears |= is_taken_back(some.rows.column(name), self.permitted.fields[name])
        return Hashed(some._replace(ids=ids), buckets(ids), self.payload_hash.of(some.rows), clears)

    def _send_all(self, hashed: Iterator[Hashed]) -> PeopleCounts:
        tally = PeopleCounts()
        for some in hashed:
            rows = some.read.rows.num_rows
            self.progress(rows)
            if not self.adds:
                tally += PeopleCounts(permitted=rows, skipped=rows)
                continue
            columns = [
                pa.array(np.arange(rows)),
                pa.array(some.buckets),
                some.hashes,
                *[pa.array(np.zeros(rows, dtype=np.bool_))] * 2,
            ]
            sending = Sending(some.read.ids, some.read.rows, pa.RecordBatch.from_arrays(columns, schema=CHOSEN))
            if self.only is not None:
                sending = sending.only(self.only.among(sending.ids))
            self.send(sending)
            added = len(sending.ids)
            tally += PeopleCounts(permitted=rows, added=added, skipped=rows - added)
        return tally

    def send(self, sending: Sending) -> pa.Array | None:
        """Write rows to send, and return what a later removal of them needs."""
        removal = self.removal_of(sending.rows)
        self.writer.upsert(
            ids=sending.ids,
            buckets=sending.chosen["bucket"],
            hashes=sending.chosen["hash"],
            was_delivered=sending.chosen["was_delivered"],
            unchanged=sending.chosen["unchanged"],
            cleared=null_fields(sending.rows, self.load.cleared, self.permitted.fields),
            removal=removal,
            rows=None if self.leaves_rows else sending.rows,
        )
        return removal

    def removal_of(self, rows: pa.RecordBatch) -> pa.Array | None:
        """Return what a removal of these people needs, as a struct; None if the destination cannot remove."""
        schema = self.shape.removal_schema
        if not schema.names:
            return None
        known = self.destination.removal_rows(rows, self.load)
        return pa.StructArray.from_arrays(known.columns, fields=list(schema))

    def compared(self, pair: tuple[pa.RecordBatch, pa.RecordBatch]) -> Compared:
        """Compare a partition of the permitted people with the one of the entries."""
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
            np.asarray(people["clears"]),
            rows=people.num_rows,
            mode=self.mode,
            adds=self.adds,
            only=None if self.only is None else self.only.among(people["id"]),
        )
        return Compared(people, entries, matched, found)

    def gone_entries(self) -> GoneEntries:
        """Return an empty collection of entries whose people are gone."""
        return GoneEntries(
            writer=self.writer,
            causes=self.causes,
            mode=self.mode,
            has_removal=bool(self.shape.removal_schema.names),
        )


class _Passes:
    """The three passes over a state that has entries."""

    def __init__(self, comparison: Comparison, state: DeliveredState, resources: ExitStack) -> None:
        self._c = comparison
        self._state = state
        self._values = RemovalValues(
            state.shape, comparison.shape, primary_key=comparison.permitted.manifest.primary_key
        )
        self._partitions = Partitions.for_rows(max(comparison.permitted.rows, state.rows))
        self._people = resources.enter_context(Spill(_people_schema(comparison.id_type), self._partitions.count))
        self._to_send = resources.enter_context(ToSend(comparison.permitted, comparison.id_type, comparison.shape))
        self._gone = comparison.gone_entries()
        self.tally = PeopleCounts()

    def run(self, hashed: Iterator[Hashed], reading: Executor, working: Executor) -> PeopleCounts:
        self._partition(hashed, reading)
        self._compare(reading, working)
        asked = working.submit(self._gone.remove_all)
        self._to_send.run(self._c.send, partial(self._gone.remove, RemovalCause.IDENTIFIERS_CHANGED), reading)
        asked.result()
        self.tally.kept_left_model += self._gone.kept_left_model
        return self.tally

    def _partition(self, hashed: Iterator[Hashed], reading: Executor) -> None:
        known = None if self._c.mode is SyncMode.FULL else self._known(reading)
        for some in hashed:
            start, ids, _ = some.read
            positions = np.arange(start, start + len(ids), dtype=np.int64)
            columns = [ids, pa.array(some.buckets), some.hashes, pa.array(positions), pa.array(some.clears)]
            self._people.put(
                pa.RecordBatch.from_arrays(columns, schema=self._people.schema), self._partitions.of(some.buckets)
            )
            if known is not None:
                self._to_send.keep(some.read, known.are_new(some.hashes))
            self._c.progress(len(ids))

    def _known(self, reading: Executor) -> KnownHashes:
        known = KnownHashes(self._state.rows)
        parts = self._state.manifest.parts
        for rows in read_ahead(self._state.folder.read_rows(parts, columns=["hash"], batch_rows=_HASHES), reading):
            known.add(rows["hash"])
        return known

    def _compare(self, reading: Executor, working: Executor) -> None:
        comparison = self._c
        with StatePartitions(self._state, comparison.id_type, self._partitions, reading) as partitions:
            pairs = ((self._people.take(partition), entries) for partition, entries in enumerate(partitions))
            for compared in in_order(comparison.compared, pairs, working, under_way=_WORKERS + 1):
                self._keep(compared)

    def _keep(self, compared: Compared) -> None:
        people, entries, matched, found = compared
        owners = np.maximum(matched.owners, 0)
        self.tally += found.tally
        self.tally.delivered += matched.people
        positions = values_of(people["position"], np.int64)
        chosen = np.flatnonzero(found.send)
        self._to_send.choose(people, positions, chosen, found)
        removal = entries["removal"] if self._state.shape.removal_schema.names else None
        if not self._values.is_same:
            # For all entries: it must be known before the first row is sent whether the kept values can be used.
            removal = self._values.convert(removal, entries["id"])
        if removal is not None:
            changed = np.flatnonzero(found.may_lose)
            taken = pa.array(changed)
            self._to_send.remember(positions[owners[changed]], entries["entry"].take(taken), removal.take(taken))
        self._gone.add(entries, removal, found.gone)


def _people_schema(id_type: pa.DataType) -> pa.Schema:
    columns = [("id", id_type), ("bucket", pa.uint16()), ("hash", HASH_TYPE), ("position", pa.int64())]
    return pa.schema([*columns, ("clears", pa.bool_())])
