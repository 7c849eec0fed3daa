"""The payload hash: 16 bytes by which the mapped fields of a row are found to be the same as when they were sent.

It is the MD5 of 8 bytes that stand for the tag and the fields' names (the first ones of their own MD5), and of the
values, by name, in the form of `engine.canonical`. So it is the same for the same values whatever library, version or
inferred type they come through. It tells changes, not secrets: nobody should hold it
against a list of guesses, so it is kept where the rows are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Self

import duckdb
import pyarrow as pa

from airflow_consent_retl.errors import GuardError
from airflow_consent_retl.values.canonical import canonical_rows, name_bytes

# What new states are made with. A change of the canonical form is a new tag, beside the old ones.
HASH_TAG = "p1"
_KNOWN_TAGS = frozenset({HASH_TAG})
HASH_BYTES = 16
_HEADING_BYTES = 8
_PROBE = b"probe"
_SLICE_BYTES = 64 << 20


class Digests:
    """MD5 of many short values at once, from any thread. A context manager: it holds an engine."""

    def __init__(self) -> None:
        # Whoever calls works itself: two threads that ask make two cores work.
        self._connection = duckdb.connect(config={"threads": 1, "memory_limit": "128MiB"})
        # A number needs no decoding, but how the engine hands over numbers of 128 bits is its own business.
        self._comes_as_number = self._numbers(pa.array([_PROBE])) == _digest(_PROBE)

    def of(self, octets: pa.Array) -> pa.Array:
        """Return the digest of each value of a binary array, none of which is NULL."""
        digests = self._numbers(octets) if self._comes_as_number else self._decoded(octets)
        return pa.Array.from_buffers(pa.binary(HASH_BYTES), len(octets), [None, pa.py_buffer(digests)])

    def _numbers(self, octets: pa.Array) -> bytes:
        found = self._asked("md5_number(octets)", octets).chunks
        return b"".join(_fixed_width(chunk, HASH_BYTES, buffer=1) for chunk in found)

    def _decoded(self, octets: pa.Array) -> bytes:
        found = self._asked("md5(octets)", octets).cast(pa.string()).chunks
        return bytes.fromhex(b"".join(_fixed_width(chunk, 2 * HASH_BYTES, buffer=2) for chunk in found).decode("ascii"))

    def _asked(self, function: str, octets: pa.Array) -> pa.ChunkedArray:
        with self._connection.cursor() as cursor:
            cursor.register("octets", pa.table({"octets": octets}))
            found = cursor.sql(f"SELECT {function} AS digest FROM octets").to_arrow_table()["digest"]  # noqa: S608
            cursor.unregister("octets")
        return found

    def close(self) -> None:
        """Release the engine."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _fixed_width(array: pa.Array, width: int, *, buffer: int) -> memoryview:
    """Return the bytes of values of one width, as they lie in the array's buffer."""
    content = array.buffers()[buffer]
    return memoryview(content or b"")[array.offset * width : (array.offset + len(array)) * width]


def _digest(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


class PayloadHash:
    """The hash function of one set of fields.

    Args:
        names: of the fields; their order does not matter.
        digests: does the work, and may be shared by threads.
        tag: of the function.

    Raises:
        GuardError: this version does not know the tag.
    """

    def __init__(self, names: Sequence[str], digests: Digests, *, tag: str = HASH_TAG) -> None:
        if tag not in _KNOWN_TAGS:
            raise GuardError(
                f"the payload hashes of this sync are of kind `{tag}`, this version knows {', '.join(_KNOWN_TAGS)}: "
                "with a version that does not know them, everybody would be sent again"
            )
        self._digests = digests
        self._names = sorted(names)
        # Once for all rows, in place of the names in each: half of the bytes would be names.
        heading = b"".join([tag.encode(), *map(name_bytes, self._names)])
        self._heading = _digest(heading)[:_HEADING_BYTES]

    def of(self, rows: pa.RecordBatch) -> pa.Array:
        """Return the hash of each row, which has these fields, in any order."""
        if rows.nbytes > _SLICE_BYTES and rows.num_rows > 1:
            half = rows.num_rows // 2
            return pa.concat_arrays([self.of(rows.slice(0, half)), self.of(rows.slice(half))])
        columns = [rows.column(name) for name in self._names]
        return self._digests.of(canonical_rows(self._heading, columns))
