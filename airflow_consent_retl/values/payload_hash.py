"""The payload hash: 16 bytes that show whether the mapped fields of a row are the same as when they were sent.

It is the MD5 of a heading and of the values, ordered by field name, in the form of `values.canonical`. The heading is
the first 8 bytes of the MD5 of the tag and the field names. So equal values have equal hashes, whatever library,
version or inferred type they come from. The hash finds changes; it hides nothing: anyone who has it can test guesses.
Therefore it is stored only where the rows are stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Self

import pyarrow as pa

from airflow_consent_retl.errors import GuardError
from airflow_consent_retl.values.canonical import canonical_rows, name_bytes
from airflow_consent_retl.values.shared_engine import shared_engine

# The tag of new states. A change of the canonical form needs a new tag; the old ones stay known.
HASH_TAG = "p1"
_KNOWN_TAGS = frozenset({HASH_TAG})
HASH_BYTES = 16
_HEADING_BYTES = 8
_PROBE = b"probe"
_SLICE_BYTES = 64 << 20


class Digests:
    """MD5 of many short values at once, in any thread. A context manager: it has a database engine."""

    def __init__(self) -> None:
        self._connection = shared_engine()
        # A number needs no decoding, but the engine does not document the byte order of its 128-bit numbers.
        self._comes_as_number = self._numbers(pa.array([_PROBE])) == _digest(_PROBE)

    def of(self, content: pa.Array) -> pa.Array:
        """Return the digest of each value of a binary array, none of which is NULL."""
        digests = self._numbers(content) if self._comes_as_number else self._decoded(content)
        return pa.Array.from_buffers(pa.binary(HASH_BYTES), len(content), [None, pa.py_buffer(digests)])

    def _numbers(self, content: pa.Array) -> bytes:
        found = self._asked("md5_number(content)", content).chunks
        return b"".join(_fixed_width(chunk, HASH_BYTES, buffer=1) for chunk in found)

    def _decoded(self, content: pa.Array) -> bytes:
        found = self._asked("md5(content)", content).cast(pa.string()).chunks
        return bytes.fromhex(b"".join(_fixed_width(chunk, 2 * HASH_BYTES, buffer=2) for chunk in found).decode("ascii"))

    def _asked(self, function: str, content: pa.Array) -> pa.ChunkedArray:
        with self._connection.cursor() as cursor:
            cursor.register("content", pa.table({"content": content}))
            found = cursor.sql(f"SELECT {function} AS digest FROM content").to_arrow_table()["digest"]  # noqa: S608
            cursor.unregister("content")
        return found

    def close(self) -> None:
        """Release the engine."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _fixed_width(array: pa.Array, width: int, *, buffer: int) -> memoryview:
    """Return the bytes of values of one width, as they are in the array's buffer."""
    content = array.buffers()[buffer]
    return memoryview(content or b"")[array.offset * width : (array.offset + len(array)) * width]


def _digest(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


class PayloadHash:
    """The hash function of one set of fields.

    Args:
        names: of the fields; their order does not matter.
        digests: computes the digests; threads may share it.
        tag: identifies the hash function.

    Raises:
        GuardError: this version does not know the tag.
    """

    def __init__(self, names: Sequence[str], digests: Digests, *, tag: str = HASH_TAG) -> None:
        if tag not in _KNOWN_TAGS:
            raise GuardError(
                f"the payload hashes of this sync have the tag `{tag}`, this version knows {', '.join(_KNOWN_TAGS)}: "
                "with a version that does not know the tag, everyone would be sent again"
            )
        self._digests = digests
        self._names = sorted(names)
        # One heading for all rows, instead of the names in each row: half of the bytes would be names.
        heading = b"".join([tag.encode(), *map(name_bytes, self._names)])
        self._heading = _digest(heading)[:_HEADING_BYTES]

    def of(self, rows: pa.RecordBatch) -> pa.Array:
        """Return the hash of each row, which has these fields, in any order."""
        if rows.nbytes > _SLICE_BYTES and rows.num_rows > 1:
            half = rows.num_rows // 2
            return pa.concat_arrays([self.of(rows.slice(0, half)), self.of(rows.slice(half))])
        columns = [rows.column(name) for name in self._names]
        return self._digests.of(canonical_rows(self._heading, columns))
