"""A list that means yes by having any entry, such as the reasons for which someone is suppressed."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_consent_retl.consent.signals import (
    ColumnKind,
    ConsentStatus,
    DocumentSignal,
    column_problems,
    require,
)
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json


@dataclass(frozen=True, slots=True)
class FilledList(DocumentSignal):
    """A JSON array, or a column of arrays: one with any entry grants, `[]` denies, NULL is unknown.

    It belongs into `OptOut`, where an entry is an objection: `OptOut(FilledList("suppression"))`. Anything that is no
    array is invalid, JSON null and blank text too.
    """

    column: str

    def __post_init__(self) -> None:
        require(column_problems(self.column, "FilledList"))

    @property
    def named_after(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """JSON, or text that contains it."""
        return frozenset({ColumnKind.TEXT, ColumnKind.JSON})

    def read(self, text: str) -> ConsentStatus:
        """Return whether the array has an entry."""
        try:
            found = read_json(text)
        except MalformedJsonError:
            return ConsentStatus.INVALID
        if not isinstance(found, list):
            return ConsentStatus.INVALID
        return ConsentStatus.GRANTED if found else ConsentStatus.DENIED
