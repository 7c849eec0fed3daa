"""The check that a model's ids are present and unique, in bounded memory for any number of rows.

Each id gives a fingerprint of eight bytes. Equal ids have equal fingerprints, so a fingerprint that occurs once proves
that its id occurs once. If some occur twice, a second pass compares those ids themselves, exactly: text byte by byte,
numbers as numbers. The first pass never writes ids to disk. The second pass spills to a private folder, which is
removed at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from numpy.typing import NDArray

from airflow_consent_retl.values.shared_engine import shared_engine
from airflow_consent_retl.values.sorted_numbers import SortedNumbers

if TYPE_CHECKING:
    import duckdb

Fingerprints = NDArray[np.uint64]

DEFAULT_MEMORY_LIMIT_BYTES = 128 << 20
# Odd, so that multiplication by it is a bijection of 64-bit numbers; its irregular bits spread neighbours.
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)
_FINGERPRINTS_BYTES = 24 << 20
_NONE = np.empty(0, np.uint64)


class KeyFingerprints:
    """The fingerprints of ids, and those that occur more than once.

    Use it as a context manager: it has a temporary file without a name, with fingerprints only.

    Args:
        memory_limit_bytes: roughly how much memory it may use.
    """

    def __init__(self, *, memory_limit_bytes: int = _FINGERPRINTS_BYTES) -> None:
        self._numbers = SortedNumbers(memory_limit_bytes=memory_limit_bytes)
        self._hasher = Hasher()
        self.null_count = 0
        self.is_exact = True

    def add(self, ids: pa.Array) -> None:
        """Add the next ids; all calls pass the same type."""
        self.null_count += ids.null_count
        self.is_exact = is_exact(ids.type)
        if ids.null_count == len(ids):
            return
        self._numbers.add(self._hasher.fingerprints(ids.drop_null() if ids.null_count else ids))

    def repeated(self) -> Fingerprints:
        """Return the fingerprints that occur more than once, each once.

        For integers (`is_exact`) each belongs to one id. For other types a few may belong to different ids.
        """
        return np.concatenate([_repeated(some) for some in self._numbers.slices()])

    def close(self) -> None:
        """Release the engine and the temporary file."""
        self._hasher.close()
        self._numbers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Hasher:
    """The function that computes fingerprints of ids."""

    def __init__(self) -> None:
        self._connection: duckdb.DuckDBPyConnection | None = None

    def fingerprints(self, ids: pa.Array) -> Fingerprints:
        """Return eight bytes for each id; no id is NULL."""
        if is_exact(ids.type):
            wide: NDArray[np.int64] = np.from_dlpack(ids).astype(np.int64, copy=False)
            return wide.view(np.uint64) * _SPREAD
        if self._connection is None:
            self._connection = shared_engine()
        batch = pa.table({"id": ids})
        self._connection.register("batch", batch)
        try:
            hashes = self._connection.sql("SELECT hash(id) AS h FROM batch").to_arrow_table()
        finally:
            self._connection.unregister("batch")
        # Not `to_numpy`: it loads pandas, and with it 40 MiB.
        return np.concatenate([np.from_dlpack(chunk) for chunk in hashes["h"].chunks if len(chunk)] or [_NONE])

    def close(self) -> None:
        """Release the engine."""
        if self._connection is not None:
            self._connection.close()


def is_exact(type_: pa.DataType) -> bool:
    """Return whether different ids of this type always have different fingerprints."""
    return bool(pt.is_integer(type_))


def find_duplicate_ids(
    read: Callable[[], Iterable[pa.RecordBatch]], *, memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES
) -> tuple[pa.Array, int]:
    """Return the ids that occur more than once, each once, and the number of rows without an id.

    Args:
        read: starts reading from the first row; every batch has one column, the ids, always of one type. It is called
            again only if ids seem to repeat.
        memory_limit_bytes: roughly how much memory the search may use, without the ids that are returned.
    """
    type_: pa.DataType = pa.null()
    with KeyFingerprints() as fingerprints:
        for batch in read():
            type_ = batch.schema.field(0).type
            fingerprints.add(batch.column(0))
        repeated = fingerprints.repeated()
    if not len(repeated):
        return pa.array([], type_), fingerprints.null_count
    return repeated_ids(read, repeated, memory_limit_bytes=memory_limit_bytes), fingerprints.null_count


def repeated_ids(
    read: Callable[[], Iterable[pa.RecordBatch]],
    suspects: Fingerprints,
    *,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
) -> pa.Array:
    """Return the ids that occur more than once, each once. Only ids with a suspect fingerprint are compared."""
    # Late: it is needed only where ids seem to repeat.
    from airflow_consent_retl.values.bounded_engine import bounded_engine

    hasher = Hasher()
    suspects = np.sort(suspects)
    schema: pa.Schema | None = None

    def suspicious(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids = batch.column(0).drop_null()
            places = np.searchsorted(suspects, found := hasher.fingerprints(ids))
            hits = suspects[np.minimum(places, len(suspects) - 1)] == found
            yield pa.record_batch({"id": ids.filter(pa.array(hits))})

    batches = iter(read())
    first = next(batches)
    schema = pa.schema({"id": first.schema.field(0).type})
    with bounded_engine(_mebibytes(memory_limit_bytes)) as connection:
        connection.register("ids", pa.RecordBatchReader.from_batches(schema, suspicious(_chain(first, batches))))
        rows = connection.sql("SELECT id FROM ids GROUP BY id HAVING count(*) > 1").to_arrow_table()
    hasher.close()
    return rows["id"].combine_chunks().cast(schema.field(0).type)


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _repeated(fingerprints: Fingerprints) -> Fingerprints:
    return np.unique(fingerprints[1:][fingerprints[1:] == fingerprints[:-1]])


def _mebibytes(size_bytes: int) -> str:
    return f"{max(16, size_bytes >> 20)}MiB"
