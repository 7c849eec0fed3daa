"""The reader of the case files: raw values, each with its meaning, written by hand.

It knows no engine. Each engine declares in terms of `Case.features` which values it cannot store or stores differently.
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
# The key of the category by name, and the path of a document inside a larger one.
NAME_KEY, NESTED_PATH = "Pub0004", ("context", "consent", *PATH)


@dataclass(frozen=True, slots=True)
class Case:
    """One raw value.

    Args:
        value: the value that is given to an engine.
        status: its meaning if the engine stores it unchanged.
        features: the features that an engine needs to store it: see `features_of`, and for documents also
            `not_json`, `escaped_nul`, `surrogate`, `wide_number`, `depth`, `repeated_key`.
        first: the meaning of a document if the engine keeps the first of repeated keys.
        last: the meaning of a document if the engine keeps the last of repeated keys.
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
    """A change of a person's fields between two runs, and whether a destination must receive it."""

    why: str
    before: dict[str, Any]
    after: dict[str, Any]
    changed: bool


def features_of(value: object) -> frozenset[str]:
    """Return the features that an engine needs to store a plain value."""
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
    """Return the entry of a column in `parity_consent.json`."""
    column_cases = _read("parity_consent.json")[column]
    pairs = [tuple(pair) for pair in column_cases["values"]]
    return Listed(
        cases=tuple(Case(value, status, features_of(value)) for value, status in pairs),
        granted=tuple(column_cases.get("granted", ())),
        denied=tuple(column_cases.get("denied", ())),
        status=dict(pairs),
    )


@cache
def documents() -> tuple[Case, ...]:
    """Return the documents of `parity_documents.json`, with consent by a category's id."""
    return tuple(_documents())


def by_name(case: Case) -> Case:
    """Return the document with its category under its name instead of its id."""
    if case.value is None:
        return case
    text = case.value.replace("C\\u0030004", "Pub\\u0030004").replace("C0004", NAME_KEY).replace("c0004", "pub0004")
    return Case(text, case.status, case.features, case.first, case.last)


def nested(case: Case) -> Case:
    """Return the document inside another document."""
    if case.value is None:
        return case
    return Case(f'{{"context": {{"consent": {case.value}}}}}', case.status, case.features, case.first, case.last)


@cache
def ids(kind: str) -> tuple[Any, ...]:
    """Return the ids of a kind; some are None, some occur more than once."""
    return tuple(value_of(value) for value in _read("parity_ids.json")[kind])


@cache
def field_values(name: str) -> tuple[Any, ...]:
    """Return the values of a field that is sent."""
    return tuple(value_of(value) for value in _read("parity_fields.json")["fields"][name])


@cache
def edits() -> tuple[Edit, ...]:
    """Return the possible changes of fields."""
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
    """Return the value that a case file writes in a form such as `{"decimal": "1.50"}`."""
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
    # The text before, the repeated text, the number of repetitions, the text after.
    "repeat": lambda parts: f"{parts[0]}{parts[1] * parts[2]}{parts[3]}",
    # The text before, the number of nested lists, the text after.
    "nest": lambda parts: f"{parts[0]}{'[' * parts[1]}{']' * parts[1]}{parts[2]}",
}


def _documents() -> Iterator[Case]:
    for written in _read("parity_documents.json")["documents"]:
        text = value_of(written["text"])
        features = set(features_of(text))
        if not written.get("is_json", True):
            features.add("not_json")
        if "without" in written:
            features.add(written["without"])
        if "last" in written:
            features.add("repeated_key")
        yield Case(text, written["status"], frozenset(features), written.get("first"), written.get("last"))


@cache
def _read(name: str) -> Any:
    return json.loads((_CASES / name).read_text())
