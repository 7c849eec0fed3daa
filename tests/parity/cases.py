"""What the case files hold: raw values with what each of them means, written down by hand.

Says nothing of engines. What an engine cannot hold, or holds as something else, is told by the engine, in the words
of `Case.features`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from math import isnan
from pathlib import Path
from typing import Any

_CASES = Path(__file__).resolve().parent.parent / "cases"
PATH, KEY = ("categoryPreferences",), "C0004"
# By name, a category has another key; and a document may be part of a larger one.
NAME_KEY, NESTED_PATH = "Pub0004", ("context", "consent", *PATH)


@dataclass(frozen=True, slots=True)
class Case:
    """One raw value.

    Args:
        value: as it is handed to an engine.
        status: what it means, where the engine holds it as it is.
        features: what an engine has to be capable of, to hold it: see `features_of`, and for documents also
            `not_json`, `escaped_nul`, `surrogate`, `wide_number`, `depth`, `repeated_key`.
        first: what a document means where the engine keeps the first of repeated keys.
        last: the same, for the last.
    """

    value: Any
    status: str
    features: frozenset[str] = frozenset()
    first: str | None = None
    last: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """The values of a column, and the literals that a mapping declares for it."""

    cases: tuple[Case, ...]
    granted: tuple[Any, ...] = ()
    denied: tuple[Any, ...] = ()
    status: dict[Any, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Edit:
    """What happens to somebody's fields between two runs, and whether a destination has to be told."""

    why: str
    before: dict[str, Any]
    after: dict[str, Any]
    changed: bool


def features_of(value: object) -> frozenset[str]:
    """Return what an engine has to be capable of, to hold a plain value."""
    found = {
        "nul": isinstance(value, str) and "\0" in value,
        "noncharacter": isinstance(value, str) and "\uffff" in value,
        "30_whole_digits": isinstance(value, Decimal) and abs(value) >= 10**29,
        "4_places": isinstance(value, Decimal) and len(f"{value:f}".partition(".")[2].rstrip("0")) > 3,
        "38_digits": isinstance(value, Decimal) and len(value.as_tuple().digits) > 37,
        "nan": isinstance(value, float) and isnan(value),
    }
    return frozenset(feature for feature, has in found.items() if has)


@cache
def listed(column: str) -> Listed:
    """Return what `parity_consent.json` says of a column."""
    said = _read("parity_consent.json")[column]
    pairs = [tuple(pair) for pair in said["values"]]
    return Listed(
        cases=tuple(Case(value, status, features_of(value)) for value, status in pairs),
        granted=tuple(said.get("granted", ())),
        denied=tuple(said.get("denied", ())),
        status=dict(pairs),
    )


@cache
def documents() -> tuple[Case, ...]:
    """Return the documents of `parity_documents.json`, with consent by a category's id."""
    return tuple(_documents())


def by_name(case: Case) -> Case:
    """Return a document whose category is there by its name."""
    if case.value is None:
        return case
    text = case.value.replace("C\\u0030004", "Pub\\u0030004").replace("C0004", NAME_KEY).replace("c0004", "pub0004")
    return Case(text, case.status, case.features, case.first, case.last)


def nested(case: Case) -> Case:
    """Return a document inside of another one."""
    if case.value is None:
        return case
    return Case(f'{{"context": {{"consent": {case.value}}}}}', case.status, case.features, case.first, case.last)


@cache
def ids(kind: str) -> tuple[Any, ...]:
    """Return the ids of a kind; some are None, some occur more than once."""
    return tuple(value_of(value) for value in _read("parity_ids.json")[kind])


@cache
def field_values(name: str) -> tuple[Any, ...]:
    """Return values of a field that is sent."""
    return tuple(value_of(value) for value in _read("parity_fields.json")["fields"][name])


@cache
def edits() -> tuple[Edit, ...]:
    """Return what may happen to fields."""
    return tuple(
        Edit(
            edit["why"],
            {name: value_of(value) for name, value in edit["before"].items()},
            {name: value_of(value) for name, value in edit["after"].items()},
            edit["changed"],
        )
        for edit in _read("parity_fields.json")["changes"]
    )


def value_of(written: Any) -> Any:
    """Return the value that a case file writes as `{"decimal": "1.50"}` and the like."""
    if not isinstance(written, dict):
        return written
    [(kind, content)] = written.items()
    return _WRITTEN[kind](content)


_WRITTEN: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "decimal": Decimal,
    "moment": datetime.fromisoformat,
    "date": date.fromisoformat,
    "hex": bytes.fromhex,
    # Text before, text that is repeated, how often, text after.
    "repeat": lambda parts: f"{parts[0]}{parts[1] * parts[2]}{parts[3]}",
    # Text before, how many lists inside of each other, text after.
    "nest": lambda parts: f"{parts[0]}{'[' * parts[1]}{']' * parts[1]}{parts[2]}",
}


def _documents() -> Iterator[Case]:
    for said in _read("parity_documents.json")["documents"]:
        text = value_of(said["text"])
        features = set(features_of(text))
        if not said.get("is_json", True):
            features.add("not_json")
        if "without" in said:
            features.add(said["without"])
        if "last" in said:
            features.add("repeated_key")
        yield Case(text, said["status"], frozenset(features), said.get("first"), said.get("last"))


@cache
def _read(name: str) -> Any:
    return json.loads((_CASES / name).read_text())
