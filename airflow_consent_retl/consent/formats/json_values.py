"""Declared values in a JSON document: at a path, in an array of objects, in a map of objects.

    JsonPath("consents", ("marketing", "email", "val"), granted=("y",), denied=("n",), unknown=("p", "u"))
    JsonList("consents", path="purposes", id="id", state="enabled")
    JsonMap("consent_state", path="gdpr", state="consented")

A boolean is the default: JSON `true` grants and `false` denies. Never chooses between two answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_consent_retl.consent.document_parts import DocumentPart, part_along, parts_together
from airflow_consent_retl.consent.formats.json_lookup import (
    JsonLookup,
    JsonWalk,
    Path,
    agreed,
    as_path,
    document_problems,
    expiry_of,
    id_problems,
    path_problems,
    status_in,
)
from airflow_consent_retl.consent.literal_values import (
    MEANINGS,
    LiteralList,
    LiteralListLike,
    LiteralValues,
    as_literal_list,
    literal_problems,
)
from airflow_consent_retl.consent.signals import ColumnKind, ConsentStatus, WholeConsent, column_problems, require
from airflow_consent_retl.errors import Problem

PathLike = str | Path | list[str]
KeyBy = Literal["id", "name"]


class _DeclaredValues(JsonLookup):
    """A format with declared JSON values."""

    __slots__ = ()

    granted: LiteralList
    denied: LiteralList
    unknown: LiteralList
    expired: LiteralList

    @property
    def values(self) -> LiteralValues:
        """The lists of values."""
        return LiteralValues(self.granted, self.denied, self.unknown, self.expired)

    @property
    def expiring(self) -> tuple[str, ...]:
        """The answer of a consent that has expired, if such values are declared."""
        return expiry_of(self.values)


@dataclass(frozen=True, slots=True, init=False)
class JsonPath(_DeclaredValues):
    """One value in a JSON column: `JsonPath("consent", "ads.val", granted=("y",), denied=("n",))`.

    SQL NULL, JSON null anywhere on the path and a missing key are unknown. A value that is not declared is invalid, and
    so are text that is not JSON, a value on the path that is not an object, and a key of the path that occurs twice in
    its object. Literals are all text, all integers or all booleans. Text is compared exactly, and numbers by value: in
    JSON, 1 and 1.0 are the same. Under `opt_out`, a key that differs from a missing one only in form is invalid too.

    Args:
        column: the column's name.
        path: the keys that lead to the value: dotted text, or a tuple of keys.
        granted: the values that grant; JSON `true` by default.
        denied: the values that deny; JSON `false` by default, if `granted` is not declared.
        unknown: the values that are no answer.
        expired: the values of a consent that ended without a no.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    column: str
    path: Path
    granted: LiteralList
    denied: LiteralList
    unknown: LiteralList
    expired: LiteralList
    # Python takes True for 1: without it, formats with other literals would be equal.
    kind: ColumnKind = field(init=False)

    def __init__(
        self,
        column: str,
        path: PathLike,
        *,
        granted: LiteralListLike = (True,),
        denied: LiteralListLike | None = None,
        unknown: LiteralListLike = (),
        expired: LiteralListLike = (),
    ) -> None:
        keys = as_path(path)
        values = _values(granted, denied, unknown, expired)
        require(
            [
                *column_problems(column, "JsonPath"),
                *path_problems(keys, "JsonPath.path"),
                *literal_problems(values, "JsonPath"),
            ]
        )
        _set(self, values, column=column, path=keys, kind=values.kind)

    @property
    def named_after(self) -> Path:
        """The column and the keys of the path, unless they are booleans whose `true` does not grant."""
        return () if self.granted == (False,) else (self.column, *self.path)

    @property
    def document_part(self) -> DocumentPart:
        """The value at the path."""
        return part_along(self.path)

    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the value at the path."""
        return status_in(self.values, walk.at(document, self.path))


@dataclass(frozen=True, slots=True, init=False)
class JsonListItem(_DeclaredValues):
    """The entry of one id in an array of objects, such as `[{"id": "ads", "enabled": true}]`.

    An id that is not listed, and a state that is null or missing, are unknown. A state that is not declared is invalid,
    and so are text that is not JSON, a value that is not an array of objects, an entry without an id that is text, an
    id with different answers, and a wanted key that occurs twice in its object. Ids are compared exactly. Under
    `opt_out`, a key or an id that differs from a missing one only in form is invalid too.

    Args:
        column: the column's name.
        item: the id of the entry.
        path: the keys that lead to the array; empty if the whole value is the array.
        id: the key of an entry's id: dotted text, or a tuple of keys.
        state: the key of an entry's state, likewise.
        granted: the states that grant, as in `JsonPath`, and so are `denied`, `unknown` and `expired`.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    column: str
    item: str
    path: Path
    id: Path
    state: Path
    granted: LiteralList
    denied: LiteralList
    unknown: LiteralList
    expired: LiteralList
    # Python takes True for 1: without it, formats with other literals would be equal.
    kind: ColumnKind = field(init=False)

    def __init__(
        self,
        column: str,
        item: str,
        *,
        path: PathLike = (),
        id: PathLike = "id",  # noqa: A002 - the name of the parameter that authors of DAGs write
        state: PathLike = "enabled",
        granted: LiteralListLike = (True,),
        denied: LiteralListLike | None = None,
        unknown: LiteralListLike = (),
        expired: LiteralListLike = (),
    ) -> None:
        values = _values(granted, denied, unknown, expired)
        paths = {"path": as_path(path), "id": as_path(id), "state": as_path(state)}
        require(
            [
                *_list_problems(column, paths, values, "JsonListItem"),
                *id_problems(item, "JsonListItem.item"),
            ]
        )
        _set(self, values, column=column, item=item, kind=values.kind, **paths)

    @property
    def named_after(self) -> Path:
        """The column, the keys and the id, unless they are booleans whose `true` does not grant."""
        return () if self.granted == (False,) else (self.column, *self.path, self.item, *self.state)

    @property
    def document_part(self) -> DocumentPart:
        """The id and the state of every entry."""
        entry = parts_together(part_along(self.id), part_along(self.state))
        return part_along(self.path, DocumentPart(items=entry))

    def answer(self, document: object, walk: JsonWalk) -> ConsentStatus:
        """Return the status of the entries with the id."""
        listed = walk.entries(walk.at(document, self.path), self.id, self.item)
        return agreed([status_in(self.values, walk.at(entry, self.state)) for entry in listed])


@dataclass(frozen=True, slots=True, init=False)
class JsonList(WholeConsent):
    """An array of objects for all categories: `JsonList("consents", path="purposes", id="id", state="enabled")`.

    The parameters are those of `JsonListItem`. `key_by` names the field of a category that is its id in the array.
    """

    column: str
    path: Path
    id: Path
    state: Path
    granted: LiteralList
    denied: LiteralList
    unknown: LiteralList
    expired: LiteralList
    key_by: KeyBy

    def __init__(
        self,
        column: str,
        *,
        path: PathLike = (),
        id: PathLike = "id",  # noqa: A002 - the name of the parameter that authors of DAGs write
        state: PathLike = "enabled",
        granted: LiteralListLike = (True,),
        denied: LiteralListLike | None = None,
        unknown: LiteralListLike = (),
        expired: LiteralListLike = (),
        key_by: KeyBy = "id",
    ) -> None:
        values = _values(granted, denied, unknown, expired)
        paths = {"path": as_path(path), "id": as_path(id), "state": as_path(state)}
        require([*_list_problems(column, paths, values, "JsonList"), *key_by_problems(key_by, "JsonList")])
        _set(self, values, column=column, key_by=key_by, **paths)

    def for_category(self, category_id: str, name: str) -> JsonListItem:
        """Return the signal of one category."""
        return JsonListItem(
            self.column,
            category_id if self.key_by == "id" else name,
            path=self.path,
            id=self.id,
            state=self.state,
            granted=self.granted,
            denied=self.denied,
            unknown=self.unknown,
            expired=self.expired,
        )


@dataclass(frozen=True, slots=True, init=False)
class JsonMap(WholeConsent):
    """A JSON object with an entry for each category: `JsonMap("consent", path="gdpr", state="consented")`.

    Args:
        column: the column's name.
        path: the keys that lead to the object; empty if the whole value is that object.
        state: the keys that lead from a category's entry to its state; empty if the entry is the state.
        granted: the states that grant, as in `JsonPath`, and so are `denied`, `unknown` and `expired`.
        key_by: the field of a category that is its key in the object: `id` or `name`.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    column: str
    path: Path
    state: Path
    granted: LiteralList
    denied: LiteralList
    unknown: LiteralList
    expired: LiteralList
    key_by: KeyBy

    def __init__(
        self,
        column: str,
        *,
        path: PathLike = (),
        state: PathLike = (),
        granted: LiteralListLike = (True,),
        denied: LiteralListLike | None = None,
        unknown: LiteralListLike = (),
        expired: LiteralListLike = (),
        key_by: KeyBy = "id",
    ) -> None:
        values = _values(granted, denied, unknown, expired)
        keys, ends = as_path(path), as_path(state)
        require(
            [
                *document_problems(column, keys, "JsonMap"),
                *path_problems(ends, "JsonMap.state", may_be_empty=True),
                *literal_problems(values, "JsonMap"),
                *key_by_problems(key_by, "JsonMap"),
            ]
        )
        _set(self, values, column=column, path=keys, state=ends, key_by=key_by)

    def for_category(self, category_id: str, name: str) -> JsonPath:
        """Return the signal of one category."""
        return JsonPath(
            self.column,
            (*self.path, category_id if self.key_by == "id" else name, *self.state),
            granted=self.granted,
            denied=self.denied,
            unknown=self.unknown,
            expired=self.expired,
        )


def key_by_problems(key_by: object, path: str) -> list[Problem]:
    """Return the problems of the parameter `key_by`."""
    return [] if key_by in ("id", "name") else [Problem(f"{path}.key_by", "expected `id` or `name`")]


def _values(*lists: LiteralListLike | None) -> LiteralValues:
    granted, denied, unknown, expired = map(as_literal_list, lists)
    if denied is None:
        # Not an equality, since True == 1.
        denied = (False,) if isinstance(granted, tuple) and granted and granted[0] is True else ()
    return LiteralValues(granted, denied, unknown, expired)


def _list_problems(column: object, paths: dict[str, Any], values: LiteralValues, name: str) -> list[Problem]:
    problems = [
        *document_problems(column, paths["path"], name),
        *path_problems(paths["id"], f"{name}.id"),
        *path_problems(paths["state"], f"{name}.state"),
        *literal_problems(values, name),
    ]
    id_, state = paths["id"], paths["state"]
    # One may not lead to a part of the other.
    if not problems and id_[: len(state)] == state[: len(id_)]:
        problems.append(Problem(f"{name}.state", "the id of an entry and its state are two values"))
    return problems


def _set(declared: object, values: LiteralValues, **parameters: object) -> None:
    for name, value in {**parameters, **{meaning: getattr(values, meaning) for meaning in MEANINGS}}.items():
        object.__setattr__(declared, name, value)
