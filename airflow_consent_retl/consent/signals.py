"""The meaning of raw values: the base classes of every consent format.

A signal has a finite number of tokens. Token 0 is NULL or a missing value; the other tokens are what else a raw value
can say. A format with declared values has an alphabet: tokens 1 to n are the alphabet in its order, and n + 1 is any
other value. Nothing is ever cast, trimmed or folded: each such step has turned a no into a yes somewhere.

Engines ask a signal how they can find its tokens (`is_read`, `alphabet`, `document_path`, `time_bounds`); they never
look at its class. A format of your own is a dataclass that derives from one of these classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from airflow_consent_retl.errors import PolicyError, Problem

NULL_TOKEN = 0


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
    # A timestamp with a zone.
    MOMENT = "moment"
    # Holds only NULL, so that its type is not known: it fits any format, and every row is `unknown`.
    EMPTY = "empty"
    OTHER = "other"


class Signal(ABC):
    """One thing that a row says and that a decision may rest on: a column, and how its values are read.

    Attributes:
        column: the column's name. A dataclass declares it as a field.
        is_read: whether the law reads each distinct value with `token`. Otherwise an engine finds the token by exact
            comparison with `alphabet`.
        holds_consent: whether a token says something about a category's consent.
    """

    __slots__ = ()

    column: str
    is_read: ClassVar[bool] = True
    holds_consent: ClassVar[bool] = False

    def __init_subclass__(cls, **parameters: Any) -> None:
        super().__init_subclass__(**parameters)
        # INVARIANT: no engine's comparison stands in for a `token` that compares in another way.
        if "token" in cls.__dict__ and "is_read" not in cls.__dict__:
            cls.is_read = True

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

    def status(self, token: int) -> ConsentStatus:
        """Return what a token says about a category's consent: nothing, unless the signal holds consent."""
        return ConsentStatus.UNKNOWN

    @property
    def alphabet(self) -> tuple[str | int | bool, ...]:
        """The declared raw values; token i stands for `alphabet[i - 1]`. Empty where every value is read."""
        return ()

    @property
    def document_path(self) -> tuple[str, ...]:
        """The keys that lead to the JSON boolean that is all that the format reads of a document.

        Empty (default): the format reads the whole value. Otherwise an engine may leave out what lies outside of the
        path, and may put a 0 in place of a value that is neither an object on the way, nor true, false or null at the
        end: such values all have to be invalid.
        """
        return ()

    def below(self, keys: int) -> Signal | None:
        """Return the signal that reads a document which begins that many keys of `document_path` further down.

        None (default): the format reads documents from their top only, and no engine begins one further down.
        """
        return None

    @property
    def time_bounds(self) -> tuple[datetime, ...]:
        """The ascending timestamps that a timestamp is compared with. Empty (default): each value is read.

        Token 1 is before the first of them, and token i + 1 at or after the i-th. An engine compares a column of
        timestamps as numbers, since nearly every value is different.
        """
        return ()

    def accepts(self, kind: ColumnKind) -> bool:
        """Tell whether a column of this kind can hold this format."""
        return kind is ColumnKind.EMPTY or kind in self.kinds


class CategorySignal(Signal):
    """Where one category's consent is in a row, and in which format.

    Implement `kinds`, `granting`, `denying` and `token`. Where `token` compares a value exactly, by type and value,
    with `alphabet`, declare `is_read = False`: an engine then does it faster.
    """

    __slots__ = ()

    holds_consent: ClassVar[bool] = True

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
        """The values that grant, then the values that deny."""
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
    """A format whose texts are read, not compared: the law reads each distinct text once.

    Implement `read`. The alphabet is what a text can say: yes (1) or no (2).
    """

    __slots__ = ()

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
        status = self.read(raw) if type(raw) is str else ConsentStatus.INVALID
        return _DOCUMENT_TOKENS.get(status, self.unlisted_token)

    @abstractmethod
    def read(self, text: str) -> ConsentStatus:
        """Return what a text says, strictly: granted, denied, unknown, or invalid. Never raises for a text."""


_DOCUMENT_TOKENS = {
    ConsentStatus.UNKNOWN: NULL_TOKEN,
    ConsentStatus.GRANTED: 1,
    ConsentStatus.DENIED: 2,
}


class WholeConsent(ABC):
    """One column that holds the consent of every category."""

    __slots__ = ()

    column: str

    @abstractmethod
    def for_category(self, category_id: str, name: str) -> CategorySignal:
        """Return the signal of one category."""


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
    """Return what is wrong with the name of a column, which was passed to `path`."""
    if isinstance(column, str) and column:
        return []
    return [Problem(f"{path}.column", "expected the name of a column")]
