"""Consent in a text, integer or boolean column with declared values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from airflow_consent_retl.consent.literal_values import (
    MEANINGS,
    LiteralList,
    LiteralListLike,
    LiteralValues,
    as_literal_list,
    literal_problems,
)
from airflow_consent_retl.consent.signals import (
    OMIT_EMPTY,
    CategorySignal,
    ColumnKind,
    column_problems,
    require,
)


@dataclass(frozen=True, slots=True, init=False)
class Literals(CategorySignal):
    """A column with declared literals: `Literals("ads", granted=("yes",), denied=("no",), unknown=("unset",))`.

    NULL is unknown, and every value that is not declared is invalid, which denies. The literals are all text, all
    64-bit integers or all booleans, and are compared exactly: case, spaces and Unicode forms all matter.

    Args:
        column: the column's name.
        granted: the values that grant, at least one; blank text cannot grant.
        denied: the values that deny.
        unknown: the values that are no answer, such as the value of people who were never asked. They deny under
            `opt_in` and permit under `opt_out`.
        expired: the values of a consent that ended without a no. They deny under `opt_in` and permit under `opt_out`.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    is_read: ClassVar[bool] = False

    column: str
    granted: LiteralList
    denied: LiteralList
    unknown: LiteralList = field(metadata=OMIT_EMPTY)
    expired: LiteralList = field(metadata=OMIT_EMPTY)
    # Python takes True for 1: without it, formats with other literals would be equal.
    kind: ColumnKind = field(init=False, repr=False)

    def __init__(
        self,
        column: str,
        *,
        granted: LiteralListLike,
        denied: LiteralListLike = (),
        unknown: LiteralListLike = (),
        expired: LiteralListLike = (),
    ) -> None:
        values = LiteralValues(*map(as_literal_list, (granted, denied, unknown, expired)))
        require([*column_problems(column, "Literals"), *literal_problems(values, "Literals")])
        object.__setattr__(self, "column", column)
        for meaning in MEANINGS:
            object.__setattr__(self, meaning, getattr(values, meaning))
        object.__setattr__(self, "kind", values.kind)

    @property
    def values(self) -> LiteralValues:
        """The lists of values."""
        return LiteralValues(self.granted, self.denied, self.unknown, self.expired)

    @property
    def named_after(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def granting(self) -> LiteralList:
        """The raw values that grant."""
        return self.granted

    @property
    def denying(self) -> LiteralList:
        """The raw values that deny."""
        return self.denied

    @property
    def undecided(self) -> LiteralList:
        """The raw values that are no answer."""
        return self.unknown

    @property
    def expiring(self) -> LiteralList:
        """The raw values of a consent that has expired."""
        return self.expired

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """The kind of the declared literals."""
        return frozenset({self.kind})

    def token(self, raw: object) -> int:
        """Return the position of the value among the literals, in the order of the lists."""
        return self.values.token(raw)
