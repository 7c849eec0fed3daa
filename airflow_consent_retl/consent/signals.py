"""The meaning of raw values: the base classes of every consent format.

A signal has a finite number of tokens. Token 0 is NULL or a missing value; each other token is another meaning of a raw
value. A format with declared values has an alphabet: tokens 1 to n are the alphabet in its order, and n + 1 is any
other value. No value is ever cast, trimmed or case-folded: each such step has turned a no into a yes somewhere.

A signal's attributes describe how an engine can find its tokens (`is_read`, `alphabet`, `document_path`,
`document_part`, `time_bounds`, `number_bounds`, `tc_question`); an engine never looks at its class. A format of your
own is a dataclass that derives from one of these classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_consent_retl.consent.document_parts import BOOLEAN, DocumentPart, part_along
from airflow_consent_retl.errors import PolicyError, Problem

if TYPE_CHECKING:
    from airflow_consent_retl.consent.answers import Answers

NULL_TOKEN = 0

# Of a dataclass field that older documents do not have: this value of it is not written, so that digests stay the same.
OMIT_EMPTY: Mapping[str, object] = {"omit": ()}


class ConsentStatus(StrEnum):
    """The status of one subject's consent to one category. The regime says which statuses let a row through."""

    GRANTED = "granted"
    DENIED = "denied"
    UNKNOWN = "unknown"
    INVALID = "invalid"
    EXPIRED = "expired"
    # Two answers that no rule puts in an order.
    CONFLICT = "conflict"
    # The person did not say no, and one who is linked to them did: see `consent.linked`.
    LINKED_NO = "linked_no"
    # No one who is linked to the person said no, and an answer of one of them is in doubt.
    LINKED_DOUBT = "linked_doubt"


class ColumnKind(StrEnum):
    """The kinds of column that signals distinguish. Arrow strings are `text`; JSON may arrive as text."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    TEXT = "text"
    JSON = "json"
    # A timestamp with a zone.
    MOMENT = "moment"
    # Contains only NULL, so its type is not known: it fits any format, and every row is `unknown`.
    EMPTY = "empty"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class TcQuestion:
    """The question of a format to a TC string: see `TcfString`, whose fields these are."""

    purposes: tuple[int, ...]
    vendor: int
    legitimate_interest: tuple[int, ...]
    disclosed: str
    oldest_policy: int


class Signal(ABC):
    """One input of a decision: a column, and the way in which its values are read.

    Attributes:
        column: the column's name. A dataclass declares it as a field.
        is_read: whether the law reads each distinct value with `token`. Otherwise an engine finds the token by exact
            comparison with `alphabet`.
        holds_consent: whether a token is a status of a category's consent.
    """

    __slots__ = ()

    column: str
    is_read: ClassVar[bool] = True
    holds_consent: ClassVar[bool] = False

    def __init_subclass__(cls, **parameters: Any) -> None:
        super().__init_subclass__(**parameters)
        # INVARIANT: no engine's comparison replaces a `token` that compares in another way.
        if "token" in cls.__dict__ and "is_read" not in cls.__dict__:
            cls.is_read = True

    @property
    @abstractmethod
    def kinds(self) -> frozenset[ColumnKind]:
        """The kinds of column that can contain this format."""

    @property
    @abstractmethod
    def unlisted_token(self) -> int:
        """The highest token: the token of a value that is not valid in this format."""

    @abstractmethod
    def token(self, raw: object) -> int:
        """Return the token of one raw value, by its exact type and value. Never raises for a value."""

    def status(self, token: int) -> ConsentStatus:
        """Return the consent status of a token. It is `unknown` unless the signal contains consent."""
        return ConsentStatus.UNKNOWN

    @property
    def alphabet(self) -> tuple[str | int | bool, ...]:
        """The declared raw values; token i stands for `alphabet[i - 1]`. Empty where every value is read."""
        return ()

    @property
    def document_path(self) -> tuple[str, ...]:
        """The keys that lead to the JSON boolean that is the only part of a document that the format reads.

        Empty (default): the format reads the whole value. Otherwise an engine may omit everything outside of the path.
        It may also put a 0 in place of a value that is neither an object on the path, nor true, false or null at its
        end: all such values must be invalid.
        """
        return ()

    @property
    def document_part(self) -> DocumentPart | None:
        """The part of a JSON document that the format reads; None: it reads the whole value.

        An engine may omit everything else: see `consent.document_parts`. The default is the boolean at `document_path`.
        """
        return part_along(self.document_path, BOOLEAN) if self.document_path else None

    def below(self, keys: int) -> Signal | None:
        """Return the signal that reads a document that starts that many keys of `document_path` further down.

        None (default): the format reads documents only from their top, and no engine starts further down.
        """
        return None

    @property
    def time_bounds(self) -> tuple[datetime, ...]:
        """The ascending bounds that a timestamp is compared with. Empty (default): each value is read.

        Token 1 means before the first bound, and token i + 1 at or after the i-th bound. An engine compares a column of
        timestamps as numbers, because nearly every value is different.
        """
        return ()

    @property
    def number_bounds(self) -> tuple[int, ...]:
        """The same for a column of integers, between a lower and an upper limit. Empty (default): each value is read.

        Token i means at or after the i-th number and before the next one. A number before the first, or at or after the
        last one, has the highest token.
        """
        return ()

    @property
    def tc_question(self) -> TcQuestion | None:
        """The question of the format, if its values are TC strings. None (default): they are something else.

        An engine may answer it for the strings that it surely reads as `token` does, and leaves all others to `token`.
        """
        return None

    def accepts(self, kind: ColumnKind) -> bool:
        """Return whether a column of this kind can contain this format."""
        return kind is ColumnKind.EMPTY or kind in self.kinds


class CategorySignal(Signal):
    """The column and the format of one category's consent.

    Implement `kinds`, `granting`, `denying` and `token`. If `token` compares the exact type and value with `alphabet`,
    declare `is_read = False`: an engine then does this faster.
    """

    __slots__ = ()

    holds_consent: ClassVar[bool] = True
    # Whether a public standard defines what the values mean, so that `OptOut` may not turn them round.
    is_standard: ClassVar[bool] = False

    @property
    def named_after(self) -> tuple[str, ...]:
        """The names of the column and of the keys in it whose yes is taken for consent.

        Empty (default): the format itself says what a value means, whatever the column's name is.
        """
        return ()

    def where_silence_permits(self) -> CategorySignal:
        """Return the signal for a place where silence permits: whatever may hide an answer there is invalid.

        The default is the signal itself, for formats that look nothing up.
        """
        return self

    def why_invalid(self, raw: object) -> str | None:
        """Return why a value is invalid, in words that contain nothing of the value.

        None (default): the value is valid, or the format gives no reasons.
        """
        return None

    @property
    @abstractmethod
    def granting(self) -> tuple[str | int | bool, ...]:
        """The raw values that grant, in token order."""

    @property
    @abstractmethod
    def denying(self) -> tuple[str | int | bool, ...]:
        """The raw values that deny, in token order, after the values that grant."""

    @property
    def undecided(self) -> tuple[str | int | bool, ...]:
        """The raw values that are no answer, in token order, after the values that deny. Empty (default): only NULL."""
        return ()

    @property
    def expiring(self) -> tuple[str | int | bool, ...]:
        """The raw values of a consent that has expired, in token order, after the values that are no answer."""
        return ()

    @property
    def alphabet(self) -> tuple[str | int | bool, ...]:
        """The values that grant, deny, are no answer, and have expired, in this order."""
        return (*self.granting, *self.denying, *self.undecided, *self.expiring)

    @property
    def unlisted_token(self) -> int:
        """The token of a value that is neither NULL nor in the alphabet."""
        return len(self.alphabet) + 1

    def status(self, token: int) -> ConsentStatus:
        """Return the status of a token. Raises `ValueError` for a number that is not a token of this signal."""
        if type(token) is not int or not NULL_TOKEN <= token <= self.unlisted_token:
            raise ValueError(f"not a token of column `{self.column}`, which has 0 to {self.unlisted_token}")
        if token == NULL_TOKEN:
            return ConsentStatus.UNKNOWN
        if token == self.unlisted_token:
            return ConsentStatus.INVALID
        end = 0
        for values, status in (
            (self.granting, ConsentStatus.GRANTED),
            (self.denying, ConsentStatus.DENIED),
            (self.undecided, ConsentStatus.UNKNOWN),
        ):
            end += len(values)
            if token <= end:
                return status
        return ConsentStatus.EXPIRED


class DocumentSignal(CategorySignal):
    """A format whose texts are parsed, not compared: `consent` reads each distinct text once.

    Implement `read`. The alphabet is the possible answers of a text: yes (1) or no (2). A format that can tell that a
    consent has expired declares it with `expiring = HAS_EXPIRED`; in any other format, this answer is invalid.
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
        """Return the token of a value: 1 for yes, 2 for no, 0 for no answer, 3 for a value that cannot be read."""
        if raw is None:
            return NULL_TOKEN
        status = self.read(raw) if type(raw) is str else ConsentStatus.INVALID
        if status is ConsentStatus.EXPIRED and self.expiring:
            return len(self.granting + self.denying) + 1
        return _DOCUMENT_TOKENS.get(status, self.unlisted_token)

    @abstractmethod
    def read(self, text: str) -> ConsentStatus:
        """Return the status that a text contains, strictly: granted, denied, unknown, invalid, or expired if the format
        declares it. Never raises."""


# The value of `expiring` in a format that reads texts.
HAS_EXPIRED = ("expired",)
_DOCUMENT_TOKENS = {
    ConsentStatus.UNKNOWN: NULL_TOKEN,
    ConsentStatus.GRANTED: 1,
    ConsentStatus.DENIED: 2,
}


class WholeConsent(ABC):
    """One column that contains the consent of every category; or several, if `columns` names them."""

    __slots__ = ()

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read for a category."""
        return (self.column,)

    @abstractmethod
    def for_category(self, category_id: str, name: str) -> CategorySignal | Answers:
        """Return the signal of one category, or its records in several columns."""


def boolean_token(raw: object) -> int:
    """Return the token of a value in a format whose alphabet is TRUE, FALSE."""
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
    """Return the problems of a column's name that was passed to `path`."""
    return [] if is_column(column) else [Problem(f"{path}.column", "expected the name of a column")]


def is_column(column: object) -> bool:
    """Return whether a value can be the name of a column."""
    return isinstance(column, str) and column != ""
