"""Files whose bytes were compared with a digest, and are compared again as they are read.

A file that is verified and then opened again may have been replaced in between. The verification notes how the file's
digest goes on with each block; later reads check the blocks that they use, so only bytes that were verified are ever
decoded. Each byte is hashed once by the verification, and once by each read.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from airflow_consent_retl.errors import RefusedError

if TYPE_CHECKING:
    from airflow_consent_retl.storage.manifest import Part

_BLOCK_BYTES = 256 << 10
_CACHED_BLOCKS = 16


@dataclass(frozen=True, slots=True)
class FileDigests:
    """The digests of a file.

    Args:
        sha256: of all bytes, in hex.
        size_bytes: of the file.
        states: the state of the SHA-256 before each block; all blocks but the last are of one size.
        digests: of all bytes up to the end of each block.
    """

    sha256: str
    size_bytes: int
    states: Sequence[hashlib._Hash]
    digests: Sequence[bytes]

    @classmethod
    def of(cls, file: IO[bytes]) -> FileDigests:
        """Read a file to its end."""
        whole, size_bytes = hashlib.sha256(), 0
        states, digests = [], []
        while block := read_fully(file, _BLOCK_BYTES):
            states.append(whole.copy())
            whole.update(block)
            digests.append(whole.digest())
            size_bytes += len(block)
        return cls(whole.hexdigest(), size_bytes, tuple(states), tuple(digests))

    def has(self, number: int, block: bytes) -> bool:
        """Return whether a block is the one that was verified: another one would lead to another digest."""
        state = self.states[number].copy()
        state.update(block)
        return state.digest() == self.digests[number]


class VerifiedFile(io.RawIOBase):
    """A file for reading that raises for a byte which differs from the verified one.

    Args:
        raw: the file, opened again.
        digests: from the verification.
        place: the file's URI, for the message.

    Raises:
        RefusedError: from a read: the file was changed since it was verified.
    """

    def __init__(self, raw: IO[bytes], digests: FileDigests, place: str) -> None:
        self._raw = raw
        self._digests = digests
        self._place = place
        self._position = 0
        self._cached: OrderedDict[int, bytes] = OrderedDict()
        # Threads of Arrow read columns at the same time.
        self._lock = threading.Lock()

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position, and return it."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._digests.size_bytes}[whence]
        self._position = max(start + offset, 0)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return at most so many bytes, fewer only at the end, and compare their blocks."""
        with self._lock:
            end = self._digests.size_bytes
            if size is not None and size >= 0:
                end = min(self._position + size, end)
            if end <= self._position:
                return b""
            first, last = self._position // _BLOCK_BYTES, (end - 1) // _BLOCK_BYTES
            found = b"".join(self._block(number) for number in range(first, last + 1))
            start = self._position - first * _BLOCK_BYTES
            taken = found[start : start + end - self._position]
            self._position = end
            return taken

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()

    def _block(self, number: int) -> bytes:
        block = self._cached.get(number)
        if block is None:
            self._raw.seek(number * _BLOCK_BYTES)
            block = read_fully(self._raw, _BLOCK_BYTES)
            if not self._digests.has(number, block):
                raise RefusedError(f"{self._place} was changed since it was verified: its bytes differ")
            self._cached[number] = block
            if len(self._cached) > _CACHED_BLOCKS:
                self._cached.popitem(last=False)
        return block


def check_digests(part: Part, sha256: str, size_bytes: int, *, place: str) -> None:
    """Refuse a file that is not the one its manifest describes.

    Args:
        part: from the manifest.
        sha256: of the file's bytes, in hex.
        size_bytes: of the file.
        place: the file's URI, for the message.

    Raises:
        RefusedError: its size or its digest differs.
    """
    if size_bytes != part.size_bytes:
        raise RefusedError(f"{place} has {size_bytes:,} bytes, its manifest says {part.size_bytes:,}")
    if sha256 != part.sha256:
        raise RefusedError(f"{place} was changed since it was written: its SHA-256 differs")


def read_fully(file: IO[bytes], size_bytes: int) -> bytes:
    """Return so many bytes, or all that are left."""
    block = file.read(size_bytes)
    while block and len(block) < size_bytes and (more := file.read(size_bytes - len(block))):
        block += more
    return block
