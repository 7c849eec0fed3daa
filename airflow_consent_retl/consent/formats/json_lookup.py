"""The walk through a JSON document to the answer of one category, strictly, and the base of the formats that walk.

A document that two readers could read differently is unreadable: a wanted key that occurs twice, a value of another
kind than its place asks for. Decides nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.formats.key_lookup import KeyLookup
from airflow_consent_retl.consent.signals import HAS_EXPIRED, ColumnKind, ConsentStatus, column_problems
from airflow_consent_retl.consent.strict_json import MalformedJsonError, as_number, read_document, repeated_keys
from airflow_consent_retl.errors import Problem
from airflow_consent_retl.near import differs_in_form_only

if TYPE_CHECKING:
    from airflow_consent_retl.consent.literal_values import LiteralValues

Path = tuple[str, ...]


class UnreadableDocumentError(ValueError):
    """The document is not of the format's shape. The message contains no value."""


class JsonWalk:
    """The way through one document. `is_near` tells whether a missing key was there in another form.

    Args:
        looks_for_near: whether missing keys are compared with the others, which takes time.
    """

    __slots__ = ("_looks_for_near", "is_near")

    def __init__(self, *, looks_for_near: bool = False) -> None:  # pragma: no mutate: looking only takes time
        self._looks_for_near = looks_for_near
        self.is_near = False

    def at(self, value: object, path: Sequence[str]) -> object:
        """Return the value at the end of a path; None where it, or anything on the path, is null or missing."""
        for key in path:
            value = self.member(value, key)
        return value

    def member(self, value: object, key: str) -> object:
        """Return the value of an object's key; None for null, for a missing key and below null.

        Raises:
            UnreadableDocumentError: the value is no object, or has the key twice.
        """
        if value is None:
            return None
        if not isinstance(value, dict) or key in repeated_keys(value):
            raise UnreadableDocumentError
        if key not in value:
            self.missed(key, value)
        return value.get(key)

    def entries(self, value: object, path: Sequence[str], wanted: str) -> list[dict[str, object]]:
        """Return the entries of an array of objects whose id is the wanted one; none below null.

        Args:
            value: the array.
            path: the path to the id in each entry.
            wanted: the id.

        Raises:
            UnreadableDocumentError: the value is no array of objects, or an entry has no id that is text.
        """
        found, others = [], []
        for entry in objects_of(value):
            id_ = self.at(entry, path)
            if not isinstance(id_, str) or not id_.strip():
                raise UnreadableDocumentError
            if id_ == wanted:
                found.append(entry)
            else:
                others.append(id_)
        if not found:
            self.missed(wanted, others)
        return found

    def missed(self, key: str, others: Sequence[str] | dict[str, object]) -> None:
        """Note whether a key that is missing among others is there in another form."""
        if self._looks_for_near and any(differs_in_form_only(key, other) for other in others):
            self.is_near = True


class JsonLookup(KeyLookup):
    """A format that walks through a JSON document. Implement `answer`, and declare `document_part`."""

    __slots__ = ()

    @abstractmethod
    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status in a document. May raise `UnreadableDocumentError`, which means `invalid`."""

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """JSON, or text that contains it."""
        return frozenset({ColumnKind.TEXT, ColumnKind.JSON})

    def read(self, text: str) -> ConsentStatus:
        """Return the status in the JSON text."""
        return self._walked(text, JsonWalk())

    def has_near_key(self, text: str) -> bool:
        """Return whether a key or an id that the walk asks for is missing, and is there in another form."""
        walk = JsonWalk(looks_for_near=True)
        self._walked(text, walk)
        return walk.is_near

    def _walked(self, text: str, walk: JsonWalk) -> ConsentStatus:
        try:
            return self.answer(read_document(text), walk)
        except (MalformedJsonError, UnreadableDocumentError):
            return ConsentStatus.INVALID


def objects_of(value: object) -> list[dict[str, object]]:
    """Return the entries of an array of objects; none for None. Raises `UnreadableDocumentError`."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise UnreadableDocumentError
    return value


def truth(value: object) -> bool | None:
    """Return a boolean, or None for None. Raises `UnreadableDocumentError` for anything else."""
    if value is None or value is True or value is False:
        return value
    raise UnreadableDocumentError


def choice_status(choice: bool | None) -> ConsentStatus:
    """Return the status of a choice: true grants, false denies, None is unknown."""
    if choice is None:
        return ConsentStatus.UNKNOWN
    return ConsentStatus.GRANTED if choice else ConsentStatus.DENIED


def status_in(values: LiteralValues, raw: object) -> ConsentStatus:
    """Return the status of a JSON value among declared values. Numbers are compared by value: 1.0 is 1."""
    if raw is None:
        return ConsentStatus.UNKNOWN
    number = as_number(raw)
    if number is not None:
        raw = number.whole
    for literals, status in (
        (values.granted, ConsentStatus.GRANTED),
        (values.denied, ConsentStatus.DENIED),
        (values.unknown, ConsentStatus.UNKNOWN),
        (values.expired, ConsentStatus.EXPIRED),
    ):
        # INVARIANT: the type is compared before the value, since True == 1.
        if any(type(raw) is type(literal) and raw == literal for literal in literals):
            return status
    return ConsentStatus.INVALID


def expiry_of(values: LiteralValues) -> tuple[str, ...]:
    """Return `expiring` of a format with declared values."""
    return HAS_EXPIRED if values.expired else ()


def agreed(statuses: Sequence[ConsentStatus]) -> ConsentStatus:
    """Return the status of all entries of one id: `unknown` for none, and `invalid` where they differ."""
    found = set(statuses)
    if len(found) > 1:
        return ConsentStatus.INVALID
    return found.pop() if found else ConsentStatus.UNKNOWN


def as_path(path: object) -> object:
    """Return a path as a tuple of keys, from dotted text or a list; anything else as it is, for `path_problems`."""
    if isinstance(path, str):
        return tuple(path.split(".")) if path else ()
    return tuple(path) if isinstance(path, list) else path


def path_problems(path: object, name: str, *, may_be_empty: bool = False) -> list[Problem]:
    """Return the problems of a path that was passed to the parameter `name`."""
    is_path = isinstance(path, tuple) and all(isinstance(key, str) and key for key in path)
    if is_path and (path or may_be_empty):
        return []
    return [Problem(name, "expected a tuple of keys, none of them empty")]


def document_problems(column: object, path: object, name: str) -> list[Problem]:
    """Return the problems of the column and the path, which may be empty, that were passed to `name`."""
    return [*column_problems(column, name), *path_problems(path, f"{name}.path", may_be_empty=True)]


def id_problems(id_: object, name: str) -> list[Problem]:
    """Return the problems of an id that was passed to the parameter `name`."""
    return [] if isinstance(id_, str) and id_.strip() else [Problem(name, "expected an id that is not blank")]
