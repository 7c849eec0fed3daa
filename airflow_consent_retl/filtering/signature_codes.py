"""The codes of rows' signatures: how many rows have each, and the code of each row, kept for a second pass.

The codes of rows are in a private file without a name, in the order of the rows. They contain no id.
"""

from __future__ import annotations

import hashlib
from typing import IO, TYPE_CHECKING, Self

import numpy as np

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.values.temporary import temporary_file

if TYPE_CHECKING:
    from numpy.typing import NDArray


# A table of all possible codes is counted faster than codes are sorted.
_TABLE_CODES = 1 << 19


class CodeCounts:
    """The number of rows of each code.

    Args:
        highest: the highest possible code.
    """

    def __init__(self, highest: int) -> None:
        self._table = np.zeros(highest + 1 if highest < _TABLE_CODES else 0, dtype=np.int64)
        self._counts: dict[int, int] = {}

    def add(self, codes: NDArray[np.int64]) -> None:
        """Add the codes of some rows."""
        if len(self._table):
            found = np.bincount(codes)
            self._table[: len(found)] += found
            return
        distinct, counts = np.unique(codes, return_counts=True)
        for code, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            self._counts[code] = self._counts.get(code, 0) + count

    def histogram(self) -> dict[int, int]:
        """Return the number of rows by code, without codes of no row."""
        present = np.flatnonzero(self._table)
        return self._counts | dict(zip(present.tolist(), self._table[present].tolist(), strict=True))


class SignatureCodes:
    """The codes of rows. A context manager.

    Args:
        highest: the highest possible code.
    """

    def __init__(self, highest: int) -> None:
        self._type = np.min_scalar_type(highest)
        self._file: IO[bytes] | None = None
        self._sha256 = hashlib.sha256(self._type.str.encode())

    def add(self, codes: NDArray[np.int64]) -> None:
        """Add the codes of the next rows."""
        if self._file is None:
            self._file = temporary_file()
        written = codes.astype(self._type).data
        self._file.write(written)
        self._sha256.update(written)

    @property
    def sha256(self) -> str:
        """A hex digest of the codes of all rows, in their order."""
        return self._sha256.hexdigest()

    def rewind(self) -> None:
        """Begin again with the first row. No codes can be added from now on."""
        if self._file is not None:
            self._file.seek(0)

    def take(self, rows: int) -> NDArray[np.int64]:
        """Return the codes of the next rows.

        Raises:
            RefusedError: there are fewer.
        """
        content = b"" if self._file is None else self._file.read(rows * self._type.itemsize)
        if len(content) != rows * self._type.itemsize:
            raise RefusedError("the snapshot changed while it was filtered: it has more rows than were counted")
        return np.frombuffer(content, self._type).astype(np.int64)

    def close(self) -> None:
        """Close the file, which deletes it."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
