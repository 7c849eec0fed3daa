"""Consent in a boolean column: TRUE grants, FALSE denies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.consent.signals import CategorySignal, ColumnKind, boolean_token, column_problems, require


@dataclass(frozen=True, slots=True)
class BooleanColumn(CategorySignal):
    """A boolean column: TRUE grants, FALSE denies, NULL is unknown."""

    is_read: ClassVar[bool] = False

    column: str

    def __post_init__(self) -> None:
        require(column_problems(self.column, "BooleanColumn"))

    @property
    def named_after(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def granting(self) -> tuple[bool, ...]:
        """The raw values that grant."""
        return (True,)

    @property
    def denying(self) -> tuple[bool, ...]:
        """The raw values that deny."""
        return (False,)

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """Boolean only."""
        return frozenset({ColumnKind.BOOLEAN})

    def token(self, raw: object) -> int:
        """Return 1 for TRUE, 2 for FALSE, 0 for NULL, 3 for anything else."""
        return boolean_token(raw)
