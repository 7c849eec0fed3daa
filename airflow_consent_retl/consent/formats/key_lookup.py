"""Formats that look an answer up by a key, and what a key that is spelled otherwise means.

A missing key is silence. Where silence permits, a key that differs from the wanted one only in form (case, white space,
Unicode form, letters that look the same) may hide a no, so it is invalid.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from airflow_consent_retl.consent.document_parts import DocumentPart, with_names
from airflow_consent_retl.consent.signals import CategorySignal, ColumnKind, ConsentStatus, DocumentSignal


class KeyLookup(DocumentSignal):
    """A format that finds the answer of a category by a key, a path or an id. Implement `read` and `has_near_key`."""

    __slots__ = ()

    # True where another key can take a yes away. Then a yes too needs that this key is not there in another spelling.
    may_overrule_yes: ClassVar[bool] = False

    @abstractmethod
    def has_near_key(self, text: str) -> bool:
        """Return whether a text lacks the wanted key and has one that differs from it only in form. Never raises."""

    def where_silence_permits(self) -> CategorySignal:
        """Return the same lookup, in which such a key is invalid."""
        return StrictLookup(self)


@dataclass(frozen=True, slots=True, init=False)
class StrictLookup(CategorySignal):
    """A lookup in which a key that differs only in form is invalid. It sees every key of the objects that it walks."""

    lookup: KeyLookup
    column: str = field(init=False)

    def __init__(self, lookup: KeyLookup) -> None:
        object.__setattr__(self, "lookup", lookup)
        object.__setattr__(self, "column", lookup.column)

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """The kinds of the lookup."""
        return self.lookup.kinds

    @property
    def granting(self) -> tuple[bool, ...]:
        """The answer that grants."""
        return self.lookup.granting

    @property
    def denying(self) -> tuple[bool, ...]:
        """The answer that denies."""
        return self.lookup.denying

    @property
    def undecided(self) -> tuple[str | int | bool, ...]:
        """The values that are no answer."""
        return self.lookup.undecided

    @property
    def expiring(self) -> tuple[str | int | bool, ...]:
        """The values of a consent that has expired."""
        return self.lookup.expiring

    @property
    def document_part(self) -> DocumentPart | None:
        """The part of the lookup, with the names of the keys beside it."""
        part = self.lookup.document_part
        return part and with_names(part)

    def token(self, raw: object) -> int:
        """Return the token of the lookup, unless the wanted key may be there under another spelling."""
        token = self.lookup.token(raw)
        is_final = not self.lookup.may_overrule_yes and self.lookup.status(token) is ConsentStatus.GRANTED
        if is_final or type(raw) is not str or not self.lookup.has_near_key(raw):
            return token
        return self.unlisted_token
