"""The buffers of Arrow arrays as NumPy arrays, without a copy. They say nothing of NULLs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
_INTEGERS: dict[str, type[np.integer[Any]]] = {
    "int8": np.int8,
    "int16": np.int16,
    "int32": np.int32,
    "int64": np.int64,
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
}
# For each number of bytes from 0 to 8, the mask that keeps that many bytes of a word.
_MASKS = np.array([(1 << 8 * size) - 1 for size in range(9)], np.uint64)


def values_of(array: pa.Array, dtype: type[Number]) -> NDArray[Number]:
    """Return the values of a fixed-width array as they are in its buffer; a NULL can be any value."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype)[array.offset : array.offset + len(array)]


def bits_of(array: pa.Array) -> NDArray[np.uint8]:
    """Return the values of a boolean array as 0 and 1; a NULL can be either."""
    return _unpacked(array.buffers()[1], array)


def validity_of(array: pa.Array) -> NDArray[np.bool_]:
    """Return whether each value is present; the array must have a NULL."""
    return _unpacked(array.buffers()[0], array).view(np.bool_)


def words_of(array: pa.Array) -> NDArray[np.uint64]:
    """Return the values of an array of 16, 32, … bytes each, as words of 8 bytes, the lowest word first."""
    words = array.type.bit_width // 64
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros((len(array), words), np.uint64)
    return np.frombuffer(buffer, "<u8").reshape(-1, words)[array.offset : array.offset + len(array)]


def integers_of(array: pa.Array) -> NDArray[np.int64]:
    """Return the values of an integer array in 64 bits; the largest values of `uint64` become negative."""
    return values_of(array, _INTEGERS[str(array.type)]).astype(np.int64)


def offsets_of(array: pa.Array) -> NDArray[np.int64]:
    """Return where each value of a binary array begins in its buffer, and where the last value ends."""
    buffer = array.buffers()[1]
    if buffer is None or not buffer.size:
        return np.zeros(len(array) + 1, np.int64)
    return np.frombuffer(buffer, np.int32)[array.offset : array.offset + len(array) + 1].astype(np.int64)


def content_of(array: pa.Array) -> NDArray[np.uint8]:
    """Return all bytes of a binary array's buffer: `offsets_of` says where each value begins."""
    buffer = array.buffers()[2]
    return np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)


@dataclass(frozen=True, slots=True)
class TextWords:
    """The bytes of texts as words of 8 bytes, the lowest byte first.

    Args:
        lengths: of the texts, in bytes.
    """

    lengths: NDArray[np.int64]
    _places: NDArray[np.int64]
    _words: NDArray[np.uint64]

    def at(self, rows: NDArray[np.int64], start: int) -> NDArray[np.uint64]:
        """Return the word at a byte of each of these texts; zeros are in place of bytes after the text's end."""
        left = np.clip(self.lengths[rows] - start, 0, 8)
        word: NDArray[np.uint64] = self._words[np.minimum(self._places[rows] + start, len(self._words) - 1)]
        return word & _MASKS[left]


def words_in_texts(texts: pa.Array) -> TextWords:
    """Return the words of a binary array; a NULL can be any text."""
    ends = offsets_of(texts)
    first, last = int(ends[0]), int(ends[-1])
    padded = np.zeros(last - first + 8, np.uint8)
    padded[:-8] = content_of(texts)[first:last]
    # A word begins at every byte.
    words = np.lib.stride_tricks.as_strided(padded[:8].view("<u8"), (last - first + 1,), (1,))
    return TextWords(np.diff(ends), ends[:-1] - first, words)


def _unpacked(bits: pa.Buffer, array: pa.Array) -> NDArray[np.uint8]:
    first = array.offset >> 3
    begin, end = array.offset & 7, (array.offset & 7) + len(array)
    packed = np.frombuffer(bits, np.uint8)[first : first + (end + 7 >> 3)]
    return np.unpackbits(packed, count=end, bitorder="little")[begin:]
