"""Consent as one bit of a number."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_consent_retl.consent.signals import (
    NULL_TOKEN,
    ColumnKind,
    ConsentStatus,
    DocumentSignal,
    column_problems,
    require,
)
from airflow_consent_retl.errors import Problem

_HIGHEST_BIT = 62


@dataclass(frozen=True, slots=True)
class BitMask(DocumentSignal):
    """One bit of an integer, counted from 0 (the lowest). A set bit grants, an unset bit denies. Negative: invalid."""

    column: str
    bit: int

    def __post_init__(self) -> None:
        problems = column_problems(self.column, "BitMask")
        # The exact type: `isinstance` takes `True` for an integer.
        if type(self.bit) is not int or not 0 <= self.bit <= _HIGHEST_BIT:
            problems.append(Problem("BitMask.bit", f"expected a number from 0 to {_HIGHEST_BIT}"))
        require(problems)

    @property
    def named_after(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """Integers."""
        return frozenset({ColumnKind.INTEGER})

    def token(self, raw: object) -> int:
        """Return 1 if the bit is set, 2 if it is not, 0 for NULL, 3 for anything else."""
        if raw is None:
            return NULL_TOKEN
        if type(raw) is not int or raw < 0:
            return self.unlisted_token
        return 1 if raw >> self.bit & 1 else 2

    def read(self, text: str) -> ConsentStatus:
        """Return `invalid`: text is not a number."""
        return ConsentStatus.INVALID
