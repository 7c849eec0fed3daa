"""The ways in which an entry of an answer names its row. Data; the maps of the kit read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.destinations.http.answer_maps import (
    Entry,
    EntryOutcome,
    by_index,
    by_pointer,
    by_value,
    in_order,
)

if TYPE_CHECKING:
    from airflow_consent_retl.contract.outcomes import Outcome, Outcomes
    from airflow_consent_retl.destinations.http.responses import SentRows

ROW = "row"
"""The entry of a sent record with the values of the row, by the names of its fields."""


class RowReference(ABC):
    """A way to find the row of an entry. Places are dotted: `source.pointer` is a field of a nested object."""

    __slots__ = ()

    @property
    def sent_field(self) -> str:
        """The field by which rows are found; empty: none is needed."""
        return ""

    @abstractmethod
    def outcomes(
        self, answered: Sequence[Entry], sent: SentRows, outcome: EntryOutcome, *, others: Outcome
    ) -> Outcomes:
        """Return the outcome of each row; an entry that names no row makes all uncertain."""


@dataclass(frozen=True, slots=True)
class InOrder(RowReference):
    """The vendor promises one entry for each row, in their order."""

    def outcomes(
        self, answered: Sequence[Entry], sent: SentRows, outcome: EntryOutcome, *, others: Outcome
    ) -> Outcomes:
        """Return the outcomes by position."""
        return in_order(answered, sent, outcome)


@dataclass(frozen=True, slots=True)
class ByIndex(RowReference):
    """An entry has the row's position in the request.

    Args:
        at: its place in the entry, such as `batch_index`.
        first: the number of the first row.
    """

    at: str = "index"
    first: int = 0

    def outcomes(
        self, answered: Sequence[Entry], sent: SentRows, outcome: EntryOutcome, *, others: Outcome
    ) -> Outcomes:
        """Return the outcomes by index."""
        return by_index(answered, sent, outcome, field=self.at, others=others, first=self.first)


@dataclass(frozen=True, slots=True)
class ByPointer(RowReference):
    """An entry has a JSON pointer into the request.

    Args:
        prefix: the pointer to the list of rows, without the number: `/data/profiles`.
        at: its place in the entry.
    """

    prefix: str
    at: str = "source.pointer"

    def outcomes(
        self, answered: Sequence[Entry], sent: SentRows, outcome: EntryOutcome, *, others: Outcome
    ) -> Outcomes:
        """Return the outcomes by pointer."""
        return by_pointer(answered, sent, outcome, prefix=self.prefix, field=self.at, others=others)


@dataclass(frozen=True, slots=True)
class ById(RowReference):
    """An entry repeats the value of one field of its row.

    Args:
        at: the value's place in the entry, such as `email_address`; `value` where the vendor lists values alone.
        field: the load's field that was sent with this value.
        ignores_case: for vendors that answer with an e-mail in small letters.
    """

    at: str
    field: str
    ignores_case: bool = False

    @property
    def sent_field(self) -> str:
        """The field."""
        return self.field

    def outcomes(
        self, answered: Sequence[Entry], sent: SentRows, outcome: EntryOutcome, *, others: Outcome
    ) -> Outcomes:
        """Return the outcomes by value."""
        return by_value(
            answered,
            sent,
            outcome,
            sent_as=lambda record: self._folded(at(record, f"{ROW}.{self.field}")),
            named_as=lambda entry: self._folded(at(entry, self.at)),
            others=others,
        )

    def _folded(self, value: object) -> object:
        return value.casefold() if self.ignores_case and isinstance(value, str) else value


def at(document: object, place: str) -> Any:
    """Return the value at a dotted place, or None."""
    found: Any = document
    for name in place.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
