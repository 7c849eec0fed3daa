"""Consent in a text or integer column with declared values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.consent.signals import NULL_TOKEN, CategorySignal, ColumnKind, column_problems, require
from airflow_consent_retl.errors import Problem

Literals64 = tuple[str, ...] | tuple[int, ...]

_INT64_END = 2**63


@dataclass(frozen=True, slots=True, init=False)
class Literals(CategorySignal):
    """A text or integer column with declared literals: `Literals("ads", granted=("yes",), denied=("no",))`.

    NULL is unknown, and every value that is not declared is invalid, which denies. The literals are all text or all
    64-bit integers, and are compared exactly: case, spaces and Unicode forms all matter. Raises `PolicyError`.
    """

    is_read: ClassVar[bool] = False

    column: str
    granted: Literals64
    denied: Literals64

    def __init__(
        self,
        column: str,
        *,
        granted: Literals64 | list[str] | list[int],
        denied: Literals64 | list[str] | list[int] = (),
    ) -> None:
        problems = [
            *column_problems(column, "Literals"),
            *_literal_problems(granted, denied),
        ]
        require(problems)
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "granted", tuple(granted))
        object.__setattr__(self, "denied", tuple(denied))

    @property
    def named_after(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    @property
    def granting(self) -> Literals64:
        """The raw values that grant."""
        return self.granted

    @property
    def denying(self) -> Literals64:
        """The raw values that deny."""
        return self.denied

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """The kind of the declared literals."""
        return frozenset({ColumnKind.TEXT if isinstance(self.granted[0], str) else ColumnKind.INTEGER})

    def token(self, raw: object) -> int:
        """Return the position of the value among the literals, granting ones first."""
        if raw is None:
            return NULL_TOKEN
        # INVARIANT: the type is compared before the value, since True == 1 == 1.0.
        if type(raw) is type(self.granted[0]) and raw in self.alphabet:
            return self.alphabet.index(raw) + 1
        return self.unlisted_token


def _literal_problems(granted: object, denied: object) -> list[Problem]:
    problems = []
    for name, literals in (("granted", granted), ("denied", denied)):
        path = f"Literals.{name}"
        if not isinstance(literals, tuple | list):
            problems.append(Problem(path, "expected a tuple of literals"))
        elif not all(_is_literal(literal) for literal in literals):
            problems.append(Problem(path, "a literal is neither text nor a 64-bit integer"))
        elif name == "granted" and not literals:
            problems.append(Problem(path, "expected at least one literal that grants"))
        elif name == "granted" and not all(literal.strip() for literal in literals if isinstance(literal, str)):
            problems.append(Problem(path, "blank text cannot grant: missing values are often written as blank text"))
    if problems:
        return problems
    alphabet = [*granted, *denied]  # type: ignore[misc]  # both are sequences, checked above
    if len({type(literal) for literal in alphabet}) > 1:
        problems.append(Problem("Literals", "literals are either all text or all integers"))
    if len(set(alphabet)) < len(alphabet):
        problems.append(Problem("Literals", "a literal is declared twice"))
    return problems


def _is_literal(literal: object) -> bool:
    # The exact type: `isinstance` takes `True` for an integer.
    if type(literal) is str:
        # No engine can store a lone surrogate.
        return not any("\ud800" <= character <= "\udfff" for character in literal)
    return type(literal) is int and -_INT64_END <= literal < _INT64_END
