"""Rows in the order of their keys: added in any order, read in ascending order, with bounded memory.

Keys from a sample divide all rows into ranges. The rows of a range are kept together in a temporary file, and sorted
when they are read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl.values.spill import Spill

_RANGE_ROWS = 65_536
_MOST_RANGES = 256
_SAMPLES_OF_RANGE = 64
# Pieces of a range in the file: the larger the buffer, the fewer.
_BUFFER_BYTES = 16 << 20


class InKeyOrder:
    """Rows that are added in batches, and read in the order of one column.

    Args:
        schema: of every batch.
        key: the name of the column; no key is NULL.
        cuts: the result of `cuts_of`.
    """

    def __init__(self, schema: pa.Schema, key: str, cuts: pa.Array) -> None:
        self._key = key
        self._cuts = cuts.to_pylist()
        self._spill = Spill(schema, len(self._cuts) + 1, buffer_bytes=_BUFFER_BYTES)

    def put(self, rows: pa.RecordBatch) -> None:
        """Add rows."""
        keys = rows.column(self._key)
        order = pc.sort_indices(keys)
        ascending = keys.take(order)
        places = range(rows.num_rows)
        ends = [bisect_left(places, cut, key=lambda place: ascending[place].as_py()) for cut in self._cuts]
        numbers = np.empty(rows.num_rows, dtype=np.uint16)
        sizes = np.diff([0, *ends, rows.num_rows])
        numbers[np.asarray(order)] = np.repeat(np.arange(len(sizes), dtype=np.uint16), sizes)
        self._spill.put(rows, numbers)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield all rows in ascending order. No rows can be added afterwards."""
        for number in range(self._spill.partitions):
            rows = self._spill.take(number)
            if rows.num_rows:
                yield rows.take(pc.sort_indices(rows.column(self._key)))

    def close(self) -> None:
        """Delete the temporary file."""
        self._spill.close()


def has_order(type_: pa.DataType) -> bool:
    """Return whether keys of a type are ordered here as databases order them: integers, and text by its bytes."""
    return bool(pa.types.is_integer(type_) or pa.types.is_string(type_))


def cuts_of(keys: Iterable[pa.Array], rows: int) -> pa.Array | None:
    """Return the keys that divide all keys into ranges of similar size; None: the keys ascend as they are.

    Args:
        keys: all keys, of a type that `has_order`, in the order in which their rows will be added.
        rows: their number.
    """
    ranges = min(_MOST_RANGES, -(-rows // _RANGE_ROWS))
    step = max(1, rows // (ranges * _SAMPLES_OF_RANGE))
    sampled: list[pa.Array] = []
    ascends, last, start = True, None, 0
    for some in keys:
        if not len(some):
            continue
        ascends = ascends and (last is None or last < some[0].as_py()) and _ascends(some)
        last = some[-1].as_py()
        sampled.append(some.take(pa.array(np.arange(-start % step, len(some), step))))
        start += len(some)
    if ascends:
        return None
    sample = pa.concat_arrays(sampled)
    sample = sample.take(pc.sort_indices(sample))
    places = np.unique(np.arange(1, ranges) * len(sample) // ranges)
    return sample.take(pa.array(places))


def _ascends(keys: pa.Array) -> bool:
    return bool(pc.all(pc.less(keys.slice(0, len(keys) - 1), keys.slice(1)), min_count=0).as_py())
