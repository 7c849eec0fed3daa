"""The declared values of a consent record, each in the list of what it means.

Contains `LiteralValues`, which every format with declared values shares. Compares exactly, and never reads a column.
"""

from __future__ import annotations

from dataclasses import dataclass

from airflow_consent_retl.consent.json_path import type_name
from airflow_consent_retl.consent.signals import NULL_TOKEN, ColumnKind
from airflow_consent_retl.errors import Problem

Literal = str | int | bool
LiteralList = tuple[str, ...] | tuple[int, ...] | tuple[bool, ...]
LiteralListLike = LiteralList | list[str] | list[int] | list[bool]

MEANINGS = ("granted", "denied", "unknown", "expired")

_INT64_END = 2**63
_KINDS = {str: ColumnKind.TEXT, int: ColumnKind.INTEGER, bool: ColumnKind.BOOLEAN}


@dataclass(frozen=True, slots=True)
class LiteralValues:
    """Lists of declared values: what grants, denies, says nothing, or was a consent that has expired.

    All values are text, all are 64-bit integers or all are booleans. They are compared exactly: case, spaces and
    Unicode forms all matter. A value that is in no list is invalid. Holding an object is no proof that its lists are
    sound: see `literal_problems`.
    """

    granted: LiteralList
    denied: LiteralList = ()
    unknown: LiteralList = ()
    expired: LiteralList = ()

    @property
    def alphabet(self) -> tuple[Literal, ...]:
        """Every declared value, in token order: token i stands for `alphabet[i - 1]`."""
        return (*self.granted, *self.denied, *self.unknown, *self.expired)

    @property
    def kind(self) -> ColumnKind:
        """The kind of the values."""
        return _KINDS[type(self.granted[0])]

    def token(self, raw: object) -> int:
        """Return the position of a value in the alphabet, counted from 1; 0 for None; one more for any other value."""
        if raw is None:
            return NULL_TOKEN
        alphabet = self.alphabet
        # INVARIANT: the type is compared before the value, since True == 1 == 1.0.
        if type(raw) is type(alphabet[0]) and raw in alphabet:
            return alphabet.index(raw) + 1
        return len(alphabet) + 1


def literal_problems(values: LiteralValues, path: str) -> list[Problem]:
    """Return the problems of lists that were passed to the parameters of `path`, such as `Literals`."""
    problems = []
    for name in MEANINGS:
        problems += _list_problems(getattr(values, name), name, f"{path}.{name}")
    if problems:
        return problems
    alphabet = values.alphabet
    if len({type(literal) for literal in alphabet}) > 1:
        problems.append(Problem(path, "literals are either all text, all integers or all booleans"))
    if len(set(alphabet)) < len(alphabet):
        problems.append(Problem(path, "a literal is declared twice"))
    return problems


def _list_problems(literals: object, name: str, path: str) -> list[Problem]:
    if not isinstance(literals, tuple):
        return [Problem(path, f"expected a tuple of literals, found {type_name(literals)}")]
    if not all(map(_is_literal, literals)):
        return [Problem(path, "a literal is neither text nor a 64-bit integer nor a boolean")]
    if name == "granted" and not literals:
        return [Problem(path, "expected at least one literal that grants")]
    if name == "granted" and not all(literal.strip() for literal in literals if isinstance(literal, str)):
        return [Problem(path, "blank text cannot grant: missing values are often written as blank text")]
    return []


def _is_literal(literal: object) -> bool:
    # The exact type: `isinstance` takes `True` for an integer.
    if type(literal) is str:
        # No engine can store a lone surrogate.
        return not any("\ud800" <= character <= "\udfff" for character in literal)
    return type(literal) is bool or (type(literal) is int and -_INT64_END <= literal < _INT64_END)


def as_literal_list(literals: object) -> LiteralList:
    """Return a list of literals as a tuple; anything else as it is, for `literal_problems`."""
    return tuple(literals) if isinstance(literals, list) else literals  # type: ignore[return-value]  # checked there
