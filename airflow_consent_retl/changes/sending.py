"""The payloads of the rows to send, found by the positions of the rows.

While the permitted rows are read for the first time, payloads that seem new are kept. Only rows that are sent and were
not kept are read a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import pyarrow as pa

from airflow_consent_retl.changes.removal_values import lost_values
from airflow_consent_retl.storage.delivered import HASH_TYPE
from airflow_consent_retl.values.buffers import values_of
from airflow_consent_retl.values.ids import as_type
from airflow_consent_retl.values.pipeline import read_ahead
from airflow_consent_retl.values.spill import Spill, partitions_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.changes.classes import Classes
    from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
    from airflow_consent_retl.storage.shape import Shape

READ_ROWS = 32_768
# Rows of one partition of positions, at least.
_PARTITION_ROWS = 65_536
_MARK_ROWS = 4_096
# The most that is kept of payloads in temporary files: the rest is read again.
_KEPT_BYTES = 512 << 20
CHOSEN = pa.schema(
    [
        ("position", pa.int64()),
        ("bucket", pa.uint16()),
        ("hash", HASH_TYPE),
        ("was_delivered", pa.bool_()),
        ("unchanged", pa.bool_()),
    ]
)


class ReadRows(NamedTuple):
    """Some permitted rows: the position of the first row, the ids, and the mapped fields."""

    start: int
    ids: pa.Array
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Sending:
    """Rows to send, ascending by position. All members have the same length."""

    ids: pa.Array
    rows: pa.RecordBatch
    chosen: pa.RecordBatch

    def only(self, wanted: NDArray[np.bool_]) -> Sending:
        """Return some of the rows."""
        if wanted.all():
            return self
        mask = pa.array(wanted)
        return Sending(self.ids.filter(mask), self.rows.filter(mask), self.chosen.filter(mask))


# Writes rows, and returns what a removal of them needs: a struct, or None.
Send = Callable[[Sending], pa.Array | None]


class ToSend:
    """The rows to send: collected first, then sent. A context manager: what does not fit in memory goes to files.

    Args:
        permitted: the permitted rows.
        id_type: the type in which ids are compared.
        shape: the shape of the rows.
    """

    def __init__(self, permitted: FilePermittedRows, id_type: pa.DataType, shape: Shape) -> None:
        self._permitted = permitted
        self._id_type = id_type
        self._shape = shape
        self._has_removal = bool(shape.removal_schema.names)
        self._partitions = partitions_for(permitted.rows, partition_rows=_PARTITION_ROWS, at_most=4096)
        # The number of positions of one partition.
        self._stretch = max(1, -(-permitted.rows // self._partitions))
        # Which stretches of the permitted rows contain a row that must be read again.
        self._marks = np.zeros(-(-permitted.rows // _MARK_ROWS), dtype=np.bool_)
        self._kept_bytes = 0
        self._resources = ExitStack()

    def __enter__(self) -> Self:
        removal = [pa.field("removal", self._shape.removal_type)] if self._has_removal else []
        self._chosen = self._spill(CHOSEN)
        self._left = self._spill(CHOSEN)
        self._before = self._spill(pa.schema([("position", pa.int64()), ("entry", pa.int64()), *removal]))
        self._kept = self._spill(
            pa.schema([("position", pa.int64()), ("id", self._id_type), ("row", self._shape.row_type)])
        )
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()

    def keep(self, read: ReadRows, seems_new: NDArray[np.bool_]) -> None:
        """Keep the payloads that seem new, while there is room for them. The ids have the type of the comparison."""
        if self._kept_bytes > _KEPT_BYTES or not seems_new.any():
            return
        places = np.flatnonzero(seems_new)
        row = pa.StructArray.from_arrays(read.rows.columns, fields=list(self._shape.load_schema))
        positions = np.arange(read.start, read.start + len(read.ids), dtype=np.int64)
        rows = pa.RecordBatch.from_arrays([pa.array(positions), read.ids, row], schema=self._kept.schema)
        kept = rows.take(pa.array(places))
        self._kept_bytes += kept.nbytes
        self._kept.put(kept, positions[places] // self._stretch)

    def choose(
        self, people: pa.RecordBatch, positions: NDArray[np.int64], chosen: NDArray[np.int64], found: Classes
    ) -> None:
        """Choose rows to send: `people` has columns position, bucket and hash."""
        rows = people.select(["position", "bucket", "hash"]).take(pa.array(chosen))
        classes = [pa.array(of_all[chosen]) for of_all in (found.was_delivered, found.unchanged)]
        self._chosen.put(
            pa.RecordBatch.from_arrays([*rows.columns, *classes], schema=CHOSEN), positions[chosen] // self._stretch
        )

    def remember(self, positions: NDArray[np.int64], entries: pa.Array, removal: pa.Array | None) -> None:
        """Keep the values by which the destination knows people whose payload changed; these are chosen, too."""
        columns = [pa.array(positions), entries, *([removal] if self._has_removal else [])]
        self._before.put(pa.RecordBatch.from_arrays(columns, schema=self._before.schema), positions // self._stretch)

    def run(self, send: Send, lose: Callable[[pa.RecordBatch], None], reading: Executor) -> None:
        """Send all rows that were chosen.

        Args:
            send: writes rows.
            lose: gets the entries whose values are not those of the person any more, with columns id, bucket, entry and
                removal.
            reading: one thread that reads ahead.
        """
        for partition in range(self._partitions):
            chosen = _sorted(self._chosen.take(partition))
            if not chosen.num_rows:
                continue
            kept = _sorted(self._kept.take(partition))
            wanted, known = _positions(chosen), _positions(kept)
            places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            is_kept = known[places] == wanted if len(known) else np.zeros(len(wanted), dtype=np.bool_)
            left = chosen.take(pa.array(np.flatnonzero(~is_kept)))
            self._left.put(left, np.full(left.num_rows, partition))
            self._marks[_positions(left) // _MARK_ROWS] = True
            found = kept.take(pa.array(places[is_kept]))
            rows = pa.RecordBatch.from_arrays(found["row"].flatten(), schema=self._shape.load_schema)
            sending = Sending(found["id"], rows, chosen.take(pa.array(np.flatnonzero(is_kept))))
            self._send(sending, _sorted(self._before.take(partition)), send, lose)
        self._read_again(send, lose, reading)

    def _read_again(self, send: Send, lose: Callable[[pa.RecordBatch], None], reading: Executor) -> None:
        left, before = _ByPosition(self._left, self._stretch), _ByPosition(self._before, self._stretch)
        read = (
            ReadRows(*some) for some in self._permitted.with_ids(READ_ROWS, skip=self._is_unwanted, use_threads=True)
        )
        for some in read_ahead(read, reading):
            end = some.start + some.rows.num_rows
            chosen, old = left.between(some.start, end), before.between(some.start, end)
            places = pa.array(_positions(chosen) - some.start)
            ids = as_type(some.ids.take(places), self._id_type, primary_key=self._permitted.manifest.primary_key)
            self._send(Sending(ids, some.rows.take(places), chosen), old, send, lose)

    def _is_unwanted(self, start: int, end: int) -> bool:
        return not self._marks[start // _MARK_ROWS : -(-end // _MARK_ROWS)].any()

    def _send(
        self, sending: Sending, before: pa.RecordBatch, send: Send, lose: Callable[[pa.RecordBatch], None]
    ) -> None:
        if not sending.chosen.num_rows:
            return
        removal = send(sending)
        if removal is None or not before.num_rows:
            return
        positions, old = _positions(sending.chosen), _positions(before)
        owners = np.minimum(np.searchsorted(positions, old), len(positions) - 1)
        # The other ones are sent by another call.
        mine = np.flatnonzero(positions[owners] == old)
        before, taken = before.take(pa.array(mine)), pa.array(owners[mine])
        lost = np.flatnonzero(lost_values(before["removal"], removal.take(taken), before.num_rows))
        columns = [sending.ids.take(taken), sending.chosen["bucket"].take(taken), before["entry"], before["removal"]]
        lose(pa.RecordBatch.from_arrays(columns, names=["id", "bucket", "entry", "removal"]).take(pa.array(lost)))

    def _spill(self, schema: pa.Schema) -> Spill:
        return self._resources.enter_context(Spill(schema, self._partitions))


class _ByPosition:
    """A reader of a spill in ascending order of `position`, one stretch of positions at a time."""

    def __init__(self, spill: Spill, stretch: int) -> None:
        self._spill = spill
        self._stretch = stretch
        self._next = 0
        self._pending = spill.take(0).slice(0, 0)

    def between(self, start: int, end: int) -> pa.RecordBatch:
        """Return the rows at these positions. Each call begins where the previous call ended, or later."""
        while self._next < self._spill.partitions and self._next * self._stretch < end:
            self._pending = pa.concat_batches([self._pending, _sorted(self._spill.take(self._next))])
            self._next += 1
        cuts = np.searchsorted(_positions(self._pending), [start, end])
        found = self._pending.slice(cuts[0], cuts[1] - cuts[0])
        self._pending = self._pending.slice(cuts[1])
        return found


def _positions(rows: pa.RecordBatch) -> NDArray[np.int64]:
    return values_of(rows["position"], np.int64)


def _sorted(rows: pa.RecordBatch) -> pa.RecordBatch:
    return rows.take(pa.array(np.argsort(_positions(rows), kind="stable"))) if rows.num_rows > 1 else rows
