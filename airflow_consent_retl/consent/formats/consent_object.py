"""Consent of all categories in one JSON column.

Reads one category's answer from the JSON text, strictly. Never chooses between two answers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from airflow_consent_retl.consent.formats.key_lookup import KeyLookup
from airflow_consent_retl.consent.signals import (
    ColumnKind,
    ConsentStatus,
    WholeConsent,
    boolean_token,
    column_problems,
    require,
)
from airflow_consent_retl.consent.strict_json import JsonObject, MalformedJsonError, read_json
from airflow_consent_retl.errors import PolicyError, Problem
from airflow_consent_retl.near import differs_in_form_only

Missing = Literal["unknown", "denied"]


@dataclass(frozen=True, slots=True)
class ConsentObjectKey(KeyLookup):
    """One category's key in a JSON column: only JSON `true` grants, only JSON `false` denies.

    `path` leads from the top level to the key. SQL NULL, JSON null anywhere on the path and a missing key are unknown.
    With `missing="denied"`, a key that is missing in an existing object is a no, as in Segment. Everything else is
    invalid: another value, text that is not JSON, a value on the path that is not an object, or a key of the path that
    occurs twice in its object. Under `opt_out`, a key that differs from a missing one only in form is invalid too.
    """

    column: str
    path: tuple[str, ...]
    missing: Missing = "unknown"

    def __post_init__(self) -> None:
        require([*column_problems(self.column, "ConsentObjectKey"), *_missing_problems(self.missing)])
        if not _is_path(self.path) or not self.path:
            raise PolicyError([Problem("ConsentObjectKey.path", "expected a tuple of keys, none of them empty")])

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """JSON, or text that contains it."""
        return frozenset({ColumnKind.TEXT, ColumnKind.JSON})

    @property
    def document_path(self) -> tuple[str, ...]:
        """The path: no other part of the document is about the category."""
        return self.path

    def below(self, keys: int) -> ConsentObjectKey:
        """Return the same key in a document that starts that many keys further down."""
        return replace(self, path=self.path[keys:])

    def read(self, text: str) -> ConsentStatus:
        """Return the status at the path of the JSON text."""
        try:
            found = read_json(text)
        except MalformedJsonError:
            return ConsentStatus.INVALID
        for depth, key in enumerate(self.path, start=1):
            if found is None:
                return ConsentStatus.UNKNOWN
            if not isinstance(found, JsonObject) or key in found.repeated:
                return ConsentStatus.INVALID
            if key not in found and depth == len(self.path) and self.missing == "denied":
                return ConsentStatus.DENIED
            found = found.get(key)
        return self.status(boolean_token(found))

    @property
    def named_after(self) -> tuple[str, ...]:
        """The column and the keys of the path."""
        return (self.column, *self.path)

    def has_near_key(self, text: str) -> bool:
        """Return whether a key of the path is missing in its object, which has one that differs only in form."""
        try:
            found = read_json(text)
        except MalformedJsonError:
            return False
        for key in self.path:
            if not isinstance(found, JsonObject):
                return False
            if key not in found:
                return any(differs_in_form_only(key, other) for other in found)
            found = found[key]
        return False


@dataclass(frozen=True, slots=True, init=False)
class ConsentObject(WholeConsent):
    """One JSON column that contains every category's consent, such as Segment's `categoryPreferences`.

    `path` leads to the object with the preferences: dotted (`"context.consent.categoryPreferences"`) or a tuple of
    keys; empty if the whole value is that object. `key_by` names the field of a category that is its key in the object.
    `missing` is the status of a category that is missing in the object: `unknown`, or `denied` as in Segment. Raises
    `PolicyError`.
    """

    column: str
    path: tuple[str, ...]
    key_by: Literal["id", "name"]
    missing: Missing

    def __init__(
        self,
        column: str,
        *,
        path: str | tuple[str, ...] | list[str] = "categoryPreferences",
        key_by: Literal["id", "name"] = "id",
        missing: Missing = "unknown",
    ) -> None:
        if isinstance(path, str):
            keys: object = tuple(path.split(".")) if path else ()
        else:
            keys = tuple(path) if isinstance(path, list) else path
        problems = column_problems(column, "ConsentObject")
        if not _is_path(keys):
            problems.append(
                Problem("ConsentObject.path", "expected dotted text or a tuple of keys, none of them empty")
            )
        if key_by not in ("id", "name"):
            problems.append(Problem("ConsentObject.key_by", "expected `id` or `name`"))
        problems += _missing_problems(missing)
        require(problems)
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "path", keys)
        object.__setattr__(self, "key_by", key_by)
        object.__setattr__(self, "missing", missing)

    def for_category(self, category_id: str, name: str) -> ConsentObjectKey:
        """Return the signal of one category."""
        key = category_id if self.key_by == "id" else name
        return ConsentObjectKey(self.column, (*self.path, key), self.missing)


def _missing_problems(missing: object) -> list[Problem]:
    if missing in ("unknown", "denied"):
        return []
    return [Problem("ConsentObject.missing", "expected `unknown` or `denied`")]


def _is_path(keys: object) -> bool:
    return isinstance(keys, tuple) and all(isinstance(key, str) and key for key in keys)
