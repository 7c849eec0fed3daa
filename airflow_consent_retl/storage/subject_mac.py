"""The keyed digests of many ids at once: CBC-MAC with AES-256, over each id with its kind and its length in front.

CBC-MAC is a safe keyed digest where no message is the beginning of another one: the kind and the length see to that.
Each step encrypts one block of every id, without a call for each id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.types as pt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from airflow_consent_retl.values.buffers import integers_of, words_in_texts

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext
    from numpy.typing import NDArray

    Blocks = NDArray[np.uint64]

BLOCK_BYTES = 16
# The second word of the first block.
_INTEGER, _TEXT = 1, 2
# Blocks of so many ids stay in the processor's cache.
_BATCH_IDS = 16_384


class SubjectMac:
    """The keyed digest of ids.

    Args:
        key: 32 bytes, used for nothing else.
    """

    def __init__(self, key: bytes) -> None:
        # One block at a time, which is what CBC-MAC is made of.
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305

    def digests(self, ids: pa.Array) -> Blocks:
        """Return two words of 64 bits for each id; that of NULL is any.

        An integer is one block. Every other id is digested as its text in UTF-8, or as its bytes.
        """
        encryptor = self._cipher.encryptor()
        found = np.empty((len(ids), 2), np.dtype("<u8"))
        if pt.is_integer(ids.type) and not pt.is_uint64(ids.type):
            for start in range(0, len(ids), _BATCH_IDS):
                numbers = integers_of(ids.slice(start, _BATCH_IDS)).view(np.uint64)
                found[start : start + len(numbers)] = _encrypted(encryptor, numbers, _INTEGER)
            return found
        texts = ids if pt.is_binary(ids.type) else ids.cast(pa.string()).cast(pa.binary())
        for start in range(0, len(ids), _BATCH_IDS):
            some = texts.slice(start, _BATCH_IDS)
            found[start : start + len(some)] = _of_texts(encryptor, some)
        return found


def _of_texts(encryptor: CipherContext, texts: pa.Array) -> Blocks:
    words = words_in_texts(texts)
    state = _encrypted(encryptor, words.lengths.astype(np.uint64), _TEXT)
    rows = np.flatnonzero(words.lengths)
    for start in range(0, int(words.lengths.max(initial=0)), BLOCK_BYTES):
        block = state[rows]
        block[:, 0] ^= words.at(rows, start)
        block[:, 1] ^= words.at(rows, start + 8)
        state[rows] = _cipher_of(encryptor, block)
        rows = rows[words.lengths[rows] > start + BLOCK_BYTES]
    return state


def _encrypted(encryptor: CipherContext, words: NDArray[np.uint64], kind: int) -> Blocks:
    blocks = np.empty((len(words), 2), np.dtype("<u8"))
    blocks[:, 0], blocks[:, 1] = words, kind
    return _cipher_of(encryptor, blocks)


def _cipher_of(encryptor: CipherContext, blocks: Blocks) -> Blocks:
    # The cipher wants room for a block more than it writes.
    written = np.empty((len(blocks) + 1, 2), np.dtype("<u8"))
    encryptor.update_into(np.ascontiguousarray(blocks).data.cast("B"), written.data.cast("B"))
    return written[:-1]
