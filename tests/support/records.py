"""The tables of `tests/cases/records`: raw values of consent as vendors write them, with their right reading.

A row is a raw value and its status, by category if the reader is for all categories; a value that is no text is written
as JSON. `yes` are texts that every value that grants contains, in JSON without spaces; null: nothing grants.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from airflow_consent_retl import consent
from airflow_consent_retl.consent import CategorySignal, WholeConsent

RECORDS = Path(__file__).resolve().parents[1] / "cases" / "records"
FILES = tuple(sorted(path.name for path in RECORDS.glob("*.json")))
# What is put into a value, or in place of one of its characters.
_CHARACTERS = 'yYnN10 tTe"ä'
_EDITS_OF_A_ROW = 150
_PLACE = "\u0001"


@dataclass(frozen=True)
class Table:
    """The rows of one reader: for each category of each row, the signal, the raw value and the status."""

    reader: str
    rows: tuple[tuple[CategorySignal, str | None, str], ...]
    yes: tuple[str, ...] | None

    def says_yes(self, raw: str | None) -> bool:
        """Return whether a raw value contains what each value that grants contains."""
        if raw is None or self.yes is None:
            return False
        text = compact(raw)
        return all(word in text for word in self.yes)


def tables(file: str) -> Iterator[Table]:
    """Yield the tables of a file."""
    for table in json.loads((RECORDS / file).read_text())["tables"]:
        parameters = {
            name: tuple(value) if isinstance(value, list) else value for name, value in table["parameters"].items()
        }
        reader = getattr(consent, table["reader"])(**parameters)
        rows = []
        for value, expected in table["rows"]:
            for category, status in (expected if isinstance(expected, dict) else {"": expected}).items():
                signal = reader.for_category(category, category) if isinstance(reader, WholeConsent) else reader
                assert isinstance(signal, CategorySignal)
                rows.append((signal, raw_of(value), status))
        yield Table(table["reader"], tuple(rows), None if table["yes"] is None else tuple(table["yes"]))


def raw_of(value: object) -> str | None:
    """Return the raw value of a row."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def compact(raw: str) -> str:
    """Return JSON without spaces and escapes, and other text without percent signs."""
    try:
        found = json.loads(raw, object_pairs_hook=_Pairs, parse_int=str_number, parse_float=str_number)
    except ValueError:
        return unquote(raw)
    return written(found)


def has_repeated_keys(raw: str) -> bool:
    """Return whether an object of a JSON text has a key twice."""
    found: list[bool] = []

    def members(pairs: list[tuple[str, Any]]) -> None:
        found.append(len({key for key, _ in pairs}) < len(pairs))

    json.loads(raw, object_pairs_hook=members, parse_int=str)
    return any(found)


class _Pairs(list[tuple[str, Any]]):
    """The members of an object, repeated keys included."""


def str_number(text: str) -> float:
    """Return a number by value."""
    return float(text)


def written(value: object) -> str:
    """Return a JSON value without spaces, with whole numbers as integers."""
    if isinstance(value, _Pairs):
        return "{" + ",".join(f"{json.dumps(key)}:{written(one)}" for key, one in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def documented_words(file: str) -> frozenset[str]:
    """Return every value of the rows of a file, as JSON: one such word may be a character away from another."""
    return frozenset(
        json.dumps(scalar)
        for table in tables(file)
        for _, raw, _ in table.rows
        if raw is not None
        for scalar in _scalars_of(raw)
    )


def value_of(word: str) -> str:
    """Return a value of JSON without the spaces around it; anything else as it is."""
    try:
        return json.dumps(json.loads(word))
    except ValueError:
        return word


def edits_of(raw: str) -> Iterator[tuple[str, str]]:
    """Yield raw values in which one value differs by one character, each with the value, as JSON."""
    picked = random.Random(raw)  # noqa: S311 - the same edits each time
    edits = list(_edits(raw))
    yield from picked.sample(edits, min(len(edits), _EDITS_OF_A_ROW))


def _edits(raw: str) -> Iterator[tuple[str, str]]:
    try:
        document = json.loads(raw)
    except ValueError:
        document = None
    if not isinstance(document, dict | list):
        yield from ((edited, json.dumps(edited)) for edited in _edited(raw))
        return
    for path, scalar in _places(document, ()):
        marked = json.dumps(_with(document, path, _PLACE))
        for word in _edited(json.dumps(scalar)):
            yield marked.replace(json.dumps(_PLACE), word), word


def _edited(text: str) -> Iterator[str]:
    for place in range(len(text) + 1):
        yield from (text[:place] + character + text[place:] for character in _CHARACTERS)
        if place < len(text):
            yield text[:place] + text[place + 1 :]
            yield from (text[:place] + character + text[place + 1 :] for character in _CHARACTERS)


def _places(value: object, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], object]]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _places(one, (*path, key))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from _places(one, (*path, number))
    else:
        yield path, value


def _with(value: Any, path: tuple[str | int, ...], put: object) -> Any:
    if not path:
        return put
    key, *rest = path
    copied = value.copy()
    copied[key] = _with(value[key], tuple(rest), put)
    return copied


def _scalars_of(raw: str) -> Iterator[object]:
    try:
        document = json.loads(raw)
    except ValueError:
        yield raw
        return
    yield from (scalar for _, scalar in _places(document, ()))
