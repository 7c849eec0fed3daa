"""What a raw value says about one category's consent: one small class per format.

A signal has a finite number of tokens: 0 is NULL or missing, the others are what else a raw value can say. Where it
has an alphabet of raw values, 1 to n are the alphabet in its order and n + 1 is any other value: an engine finds that
token by exact comparison alone; only the law says what a token means. Nothing is ever cast, trimmed or folded: every
such step has turned a no into a yes somewhere.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from airflow_consent_retl.errors import PolicyError, Problem

Literals64 = tuple[str, ...] | tuple[int, ...]

NULL_TOKEN = 0
_INT64_END = 2**63


class ConsentStatus(StrEnum):
    """What is known of one subject's consent to one category. Only `granted` lets a row through."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"
    INVALID = "invalid"
    EXPIRED = "expired"
    # Two answers that no rule puts in an order.
    CONFLICT = "conflict"


class ColumnKind(StrEnum):
    """The kinds of column that a signal tells apart. Arrow strings are `text`; JSON may arrive as text."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    TEXT = "text"
    JSON = "json"
    # A point in time, with a zone.
    MOMENT = "moment"
    # Holds only NULL, so that its type is not known: it fits any format, and every row is `unknown`.
    EMPTY = "empty"
    OTHER = "other"


class Signal(ABC):
    """One thing that a row says and that a decision may rest on: a column, and how its values are read.

    `is_read` tells that the law reads each distinct value; otherwise an engine compares them with the alphabet.
    """

    __slots__ = ()

    column: str
    is_read: ClassVar[bool] = True

    @property
    @abstractmethod
    def kinds(self) -> frozenset[ColumnKind]:
        """The kinds of column that can hold this format."""

    @property
    @abstractmethod
    def unlisted_token(self) -> int:
        """The highest token: that of a value which the format does not have."""

    @abstractmethod
    def token(self, raw: object) -> int:
        """Return the token of one raw value, by type and value, exactly. Never raises for a value."""

    def accepts(self, kind: ColumnKind) -> bool:
        """Tell whether a column of this kind can hold this format."""
        return kind is ColumnKind.EMPTY or kind in self.kinds


class CategorySignal(Signal):
    """Where one category's consent is in a row, and in which format."""

    __slots__ = ()

    is_read: ClassVar[bool] = False

    @property
    @abstractmethod
    def granting(self) -> tuple[str | int | bool, ...]:
        """The raw values that grant, in token order."""

    @property
    @abstractmethod
    def denying(self) -> tuple[str | int | bool, ...]:
        """The raw values that deny, in token order after those that grant."""

    @property
    def alphabet(self) -> tuple[str | int | bool, ...]:
        """The declared raw values; token i stands for `alphabet[i - 1]`."""
        return self.granting + self.denying

    @property
    def unlisted_token(self) -> int:
        """The token of a value that is neither NULL nor in the alphabet."""
        return len(self.alphabet) + 1

    def status(self, token: int) -> ConsentStatus:
        """Return what a token means. Raises `ValueError` for a number that is no token of this signal."""
        if type(token) is not int or not NULL_TOKEN <= token <= self.unlisted_token:
            raise ValueError(f"no token of column `{self.column}`, which has 0 to {self.unlisted_token}")
        if token == NULL_TOKEN:
            return ConsentStatus.UNKNOWN
        if token == self.unlisted_token:
            return ConsentStatus.INVALID
        return ConsentStatus.GRANTED if token <= len(self.granting) else ConsentStatus.DENIED


class DocumentSignal(CategorySignal):
    """A format whose values are read, not compared: the law reads each distinct value once.

    Its alphabet is what a value can say: yes (1) or no (2).
    """

    __slots__ = ()

    is_read: ClassVar[bool] = True

    @property
    def granting(self) -> tuple[bool, ...]:
        """The answer that grants."""
        return (True,)

    @property
    def denying(self) -> tuple[bool, ...]:
        """The answer that denies."""
        return (False,)

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """Text."""
        return frozenset({ColumnKind.TEXT})

    def token(self, raw: object) -> int:
        """Return what the value says: 1 yes, 2 no, 0 nothing, 3 what cannot be read."""
        if raw is None:
            return NULL_TOKEN
        return _DOCUMENT_TOKENS[self.read(raw) if type(raw) is str else ConsentStatus.INVALID]

    @abstractmethod
    def read(self, text: str) -> ConsentStatus:
        """Return what a text says, strictly. Never raises for a text."""


_DOCUMENT_TOKENS = {
    ConsentStatus.UNKNOWN: NULL_TOKEN,
    ConsentStatus.GRANTED: 1,
    ConsentStatus.DENIED: 2,
    ConsentStatus.INVALID: 3,
}


class WholeConsent(ABC):
    """One column that holds the consent of every category."""

    __slots__ = ()

    column: str

    @abstractmethod
    def for_category(self, category_id: str, name: str) -> CategorySignal:
        """Return the signal of one category."""


@dataclass(frozen=True, slots=True)
class BooleanColumn(CategorySignal):
    """A boolean column: TRUE grants, FALSE denies, NULL is unknown."""

    column: str

    def __post_init__(self) -> None:
        require(column_problems(self.column, "BooleanColumn"))

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


@dataclass(frozen=True, slots=True, init=False)
class Literals(CategorySignal):
    """A text or integer column with declared literals: `Literals("ads", granted=("yes",), denied=("no",))`.

    NULL is unknown and every value not declared is invalid, which denies. The literals are all text or all 64-bit
    integers, and are compared exactly: case, spaces and Unicode forms all matter. Raises `PolicyError`.
    """

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


def boolean_token(raw: object) -> int:
    """Return the token of a value whose alphabet is TRUE, FALSE."""
    if raw is None:
        return NULL_TOKEN
    if raw is True:
        return 1
    return 2 if raw is False else 3


def require(problems: list[Problem]) -> None:
    """Raise `PolicyError` if there are any problems."""
    if problems:
        raise PolicyError(problems)


def column_problems(column: object, path: str) -> list[Problem]:
    """Return what is wrong with the name of a column, given to `path`."""
    if isinstance(column, str) and column:
        return []
    return [Problem(f"{path}.column", "expected the name of a column")]


def _literal_problems(granted: object, denied: object) -> list[Problem]:
    problems = []
    for name, literals in (("granted", granted), ("denied", denied)):
        path = f"Literals.{name}"
        if not isinstance(literals, tuple | list):
            problems.append(Problem(path, "expected a tuple of literals"))
        elif not all(_is_literal(literal) for literal in literals):
            problems.append(Problem(path, "a literal is neither text nor a 64-bit integer"))
        elif name == "granted" and not literals:
            problems.append(Problem(path, "at least one literal has to grant"))
        elif name == "granted" and not all(literal.strip() for literal in literals if isinstance(literal, str)):
            problems.append(Problem(path, "blank text cannot grant: it is how missing values are written"))
    if problems:
        return problems
    alphabet = [*granted, *denied]  # type: ignore[misc]  # both are sequences, checked above
    if len({type(literal) for literal in alphabet}) > 1:
        problems.append(Problem("Literals", "literals are either all text or all integers"))
    if len(set(alphabet)) < len(alphabet):
        problems.append(Problem("Literals", "a literal is declared twice"))
    return problems


def _is_literal(literal: object) -> bool:
    # The exact type: `True` is an integer to isinstance.
    if type(literal) is str:
        # A lone surrogate is no text that any engine could hold.
        return not any("\ud800" <= character <= "\udfff" for character in literal)
    return type(literal) is int and -_INT64_END <= literal < _INT64_END
