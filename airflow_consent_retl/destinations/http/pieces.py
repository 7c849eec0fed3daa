"""The pieces of a batch: the rows that go in one request, its key and its target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.values.json_rows import SentObjects

if TYPE_CHECKING:
    from airflow_consent_retl.destinations.http.purpose import Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """The records `start` to `stop` of a batch."""

    key: str
    purpose: Purpose
    records: Sequence[Any]
    start: int
    stop: int

    @property
    def sent(self) -> Sequence[Any]:
        """The records of the request."""
        return self.records[self.start : self.stop]

    @property
    def request_key(self) -> str:
        """The batch's key, or a key derived from it and the piece's place, so that a later try derives the same."""
        if (self.start, self.stop) == (0, len(self.records)):
            return self.key
        return sha256(f"{self.key}:{self.start}:{self.stop}".encode()).hexdigest()

    @property
    def target(self) -> str:
        """The target of the request line.

        Raises:
            ConfigurationError: the rows make no endpoint.
        """
        purpose = self.purpose
        if purpose.endpoint is None:
            return purpose.address.target
        return purpose.address.at(purpose.endpoint(SentObjects(self.sent))).target

    def pieces(self, rows: int) -> list[Piece]:
        """Return pieces of at most so many records."""
        starts = range(self.start, self.stop, rows)
        return [replace(self, start=start, stop=min(start + rows, self.stop)) for start in starts]

    def halves(self) -> list[Piece]:
        """Return two pieces."""
        middle = (self.start + self.stop) // 2
        return [replace(self, stop=middle), replace(self, start=middle)]

    def larger_than(self, max_row_bytes: int) -> set[int]:
        """Return the positions of records that alone make a larger body than an empty one, by so many bytes."""
        around = len(self.purpose.encoder.body(self.records[:0]))
        sizes = (len(self.purpose.encoder.body([record])) - around for record in self.sent)
        return {row for row, size in enumerate(sizes) if size > max_row_bytes}
