"""A filter for payloads that were certainly not delivered before. A wrong guess costs time, never correctness."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from airflow_consent_retl.values.buffers import words_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_LEAST_BITS, _MOST_BITS = 10, 24
_ROOM = 64
_PATTERN = np.uint64(0xFFF)
# Four bits of a word for each value of twelve bits: a table lookup is faster than a computation.
_PATTERNS = np.bitwise_or.reduce(
    np.uint64(1) << np.random.default_rng(0).integers(0, 64, (int(_PATTERN) + 1, 4), dtype=np.uint64), axis=1
)


class KnownHashes:
    """A Bloom filter of hashes, at most 128 MiB large.

    Args:
        hashes: the expected number of hashes.
    """

    def __init__(self, hashes: int) -> None:
        # About one word for two hashes: of some ten thousand unknown hashes, one seems known.
        self._bits = min(max(hashes.bit_length() - 1, _LEAST_BITS), _MOST_BITS)
        self._words = np.zeros(1 << self._bits, np.uint64)

    def add(self, hashes: pa.Array) -> None:
        """Add these hashes. A few may be lost; a lost hash only seems new."""
        if hashes.null_count:
            hashes = hashes.drop_null()
        places, bits = self._places(hashes)
        if len(places) * _ROOM > len(self._words):
            np.bitwise_or.at(self._words, places, bits)
        else:
            # If two hashes share a place, one is lost. That is rare here, and this is several times faster.
            self._words[places] |= bits

    def are_new(self, hashes: pa.Array) -> NDArray[np.bool_]:
        """Return for each hash whether it seems new."""
        places, bits = self._places(hashes)
        new: NDArray[np.bool_] = (self._words[places] & bits) != bits
        return new

    def _places(self, hashes: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        words = words_of(hashes)
        bits = _PATTERNS[(words[:, 1] & _PATTERN).astype(np.int64)]
        return (words[:, 0] >> np.uint64(64 - self._bits)).astype(np.int64), bits
