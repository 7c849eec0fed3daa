"""Which payloads were surely not delivered before: a guess that may cost time and never changes what is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from airflow_consent_retl.values.canonical import words_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_LEAST_BITS, _MOST_BITS = 10, 24
_ROOM = 64
_PATTERN = np.uint64(0xFFF)
# Four bits of a word for each of twelve bits: looked up, which is sooner than put together.
_PATTERNS = np.bitwise_or.reduce(
    np.uint64(1) << np.random.default_rng(0).integers(0, 64, (int(_PATTERN) + 1, 4), dtype=np.uint64), axis=1
)


class KnownHashes:
    """Remembers hashes in some bits each (a Bloom filter), at most 128 MiB in all.

    Args:
        hashes: how many there will be.
    """

    def __init__(self, hashes: int) -> None:
        # About one word for two hashes: one in some ten thousand others is taken for a known one.
        self._bits = min(max(hashes.bit_length() - 1, _LEAST_BITS), _MOST_BITS)
        self._words = np.zeros(1 << self._bits, np.uint64)

    def add(self, hashes: pa.Array) -> None:
        """Remember all of these, or nearly: one that is forgotten only seems to be new."""
        if hashes.null_count:
            hashes = hashes.drop_null()
        places, bits = self._places(hashes)
        if len(places) * _ROOM > len(self._words):
            np.bitwise_or.at(self._words, places, bits)
        else:
            # Of two in one place one is lost, which is rare here, and several times faster.
            self._words[places] |= bits

    def are_new(self, hashes: pa.Array) -> NDArray[np.bool_]:
        """Tell of each hash whether it seems to be none of those that were added."""
        places, bits = self._places(hashes)
        new: NDArray[np.bool_] = (self._words[places] & bits) != bits
        return new

    def _places(self, hashes: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
        words = words_of(hashes)
        bits = _PATTERNS[(words[:, 1] & _PATTERN).astype(np.int64)]
        return (words[:, 0] >> np.uint64(64 - self._bits)).astype(np.int64), bits
