"""Consent of all categories in one JSON column.

Reads one category's answer out of the JSON text, strictly. Never guesses between two answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from airflow_consent_retl.consent.signals import (
    ColumnKind,
    ConsentStatus,
    DocumentSignal,
    WholeConsent,
    boolean_token,
    column_problems,
    require,
)
from airflow_consent_retl.consent.strict_json import JsonObject, MalformedJsonError, read_json
from airflow_consent_retl.errors import PolicyError, Problem


@dataclass(frozen=True, slots=True)
class ConsentObjectKey(DocumentSignal):
    """One category's key in a JSON column: only JSON `true` grants, only JSON `false` denies.

    `path` leads from the top level to the key. SQL NULL, JSON null anywhere on the way and a missing key are unknown.
    Everything else is invalid: another value, text that is not JSON, a non-object on the way, or a key of the path
    that occurs twice in its object.
    """

    column: str
    path: tuple[str, ...]

    def __post_init__(self) -> None:
        require(column_problems(self.column, "ConsentObjectKey"))
        if not _is_path(self.path) or not self.path:
            raise PolicyError([Problem("ConsentObjectKey.path", "expected a tuple of keys, none of them empty")])

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """JSON, or text that holds it."""
        return frozenset({ColumnKind.TEXT, ColumnKind.JSON})

    def read(self, text: str) -> ConsentStatus:
        """Return what the JSON text has at the path."""
        try:
            found = read_json(text)
        except MalformedJsonError:
            return ConsentStatus.INVALID
        for key in self.path:
            if found is None:
                return ConsentStatus.UNKNOWN
            if not isinstance(found, JsonObject) or key in found.repeated:
                return ConsentStatus.INVALID
            found = found.get(key)
        return self.status(boolean_token(found))


@dataclass(frozen=True, slots=True, init=False)
class ConsentObject(WholeConsent):
    """One JSON column that holds every category's consent, as Segment's `categoryPreferences` does.

    `path` leads to the object with the preferences: dotted (`"context.consent.categoryPreferences"`) or a tuple of
    keys; empty when the whole value is that object. `key_by` says which of a category's fields is its key there.
    Raises `PolicyError`.
    """

    column: str
    path: tuple[str, ...]
    key_by: Literal["id", "name"]

    def __init__(
        self,
        column: str,
        *,
        path: str | tuple[str, ...] | list[str] = "categoryPreferences",
        key_by: Literal["id", "name"] = "id",
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
        require(problems)
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "path", keys)
        object.__setattr__(self, "key_by", key_by)

    def for_category(self, category_id: str, name: str) -> ConsentObjectKey:
        """Return the signal of one category."""
        return ConsentObjectKey(self.column, (*self.path, category_id if self.key_by == "id" else name))


def _is_path(keys: object) -> bool:
    return isinstance(keys, tuple) and all(isinstance(key, str) and key for key in keys)
