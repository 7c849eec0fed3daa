"""The payload hash: 16 bytes by which the mapped fields of a row are found to be the same as when they were sent.

It is the MD5 of the fields' names and values in the form of `engine.canonical`, so it is the same for the same values
whatever library, version or inferred type they come through. It tells changes, not secrets: nobody should hold it
against a list of guesses, so it is kept where the rows are kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import duckdb
import numpy as np
import pyarrow as pa

from airflow_consent_retl.engine.canonical import canonical_rows, name_bytes
from airflow_consent_retl.errors import GuardError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What new states are made with. A change of the canonical form is a new tag, beside the old ones.
HASH_TAG = "p1"
_KNOWN_TAGS = frozenset({HASH_TAG})
HASH_BYTES = 16
_HEX_CHARACTERS = 2 * HASH_BYTES
_SLICE_BYTES = 64 << 20


class Digests:
    """MD5 of many short values at once, from any thread. A context manager: it holds an engine."""

    def __init__(self) -> None:
        # Whoever calls works itself: two threads that ask make two cores work.
        self._connection = duckdb.connect(config={"threads": 1, "memory_limit": "128MiB"})

    def of(self, octets: pa.Array) -> pa.Array:
        """Return the digest of each value of a binary array, none of which is NULL."""
        pairs = _nibbles(self._hexadecimal(octets)).view("<u2")
        digests = (((pairs & np.uint16(15)) << np.uint16(4)) | (pairs >> np.uint16(8))).astype(np.uint8)
        return pa.Array.from_buffers(pa.binary(HASH_BYTES), len(octets), [None, pa.py_buffer(digests)])

    def _hexadecimal(self, octets: pa.Array) -> NDArray[np.uint8]:
        with self._connection.cursor() as cursor:
            cursor.register("octets", pa.table({"octets": octets}))
            found = cursor.sql("SELECT md5(octets) AS digest FROM octets").to_arrow_table()["digest"]
            cursor.unregister("octets")
        texts = [
            np.frombuffer(chunk.buffers()[2], np.uint8)[
                chunk.offset * _HEX_CHARACTERS : (chunk.offset + len(chunk)) * _HEX_CHARACTERS
            ]
            for chunk in found.cast(pa.string()).chunks
            if len(chunk)
        ]
        return np.concatenate(texts or [np.empty(0, np.uint8)]).reshape(len(octets), _HEX_CHARACTERS)

    def close(self) -> None:
        """Release the engine."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _nibbles(characters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the numbers that the characters 0 to 9 and a to f stand for."""
    return (characters & np.uint8(15)) + (characters >> np.uint8(6)) * np.uint8(9)


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
        self._heading = hashlib.md5(heading, usedforsecurity=False).digest()

    def of(self, rows: pa.RecordBatch) -> pa.Array:
        """Return the hash of each row, which has these fields, in any order."""
        if rows.nbytes > _SLICE_BYTES and rows.num_rows > 1:
            half = rows.num_rows // 2
            return pa.concat_arrays([self.of(rows.slice(0, half)), self.of(rows.slice(half))])
        columns = [rows.column(name) for name in self._names]
        return self._digests.of(canonical_rows(self._heading, columns))
