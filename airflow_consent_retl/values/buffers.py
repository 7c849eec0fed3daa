"""The buffers of Arrow arrays as NumPy arrays, without a copy. They say nothing of NULLs."""

from __future__ import annotations

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


def values_of(array: pa.Array, dtype: type[Number]) -> NDArray[Number]:
    """Return the values of a fixed-width array as they are in its buffer; a NULL can be any value."""
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return np.zeros(len(array), dtype)
    return np.frombuffer(buffer, dtype)[array.offset : array.offset + len(array)]


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
