"""The seeded model: each difficult value once with everything else granted, then random rows, each with its meaning.

The same seed gives the same rows. A row contains the values that were given to the engine, and the values that the
engine stores.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from parity.cases import Case, by_name, documents, edits, features_of, field_values, ids, listed, nested
from parity.engines import Engine

from airflow_consent_retl.consent import CategorySignal

CONSENTS = {
    "agreed": "boolean",
    "said": "text",
    "coded": "integer",
    "padded": "padded",
    "folded": "folded",
    "document": "text",
    "kept": "json_text",
    "native": "json",
    "named": "json",
    "nested": "text",
}
FIELDS = {
    "email": "text",
    "note": "text",
    "tail": "text",
    "counted": "integer",
    "amount": "decimal",
    "huge": "huge",
    "ratio": "float",
    "seen": "moment",
    "seen_at": "instant",
    "born": "date",
    "raw": "bytes",
    "extra": "json",
    "spare": "boolean",
}
KINDS = {"id": "text", **CONSENTS, **FIELDS}
_LISTS = {"agreed": "boolean", "said": "text", "coded": "integer", "padded": "padded", "folded": "folded"}
_RANDOM_ROWS = 80


@dataclass(frozen=True, slots=True)
class Person:
    """One row of the model.

    Args:
        id: the id in the form that the engine stores.
        given: the values that are given to the engine, by column.
        stored: the values that the engine stores in the consent columns.
        status: the meaning of the stored values, by column.
        version: a number that changes if a destination must receive the row again.
        edited: the fields that belong to this version.
    """

    id: Any
    given: Mapping[str, Any]
    stored: Mapping[str, Any]
    status: Mapping[str, str]
    version: int = 0
    edited: frozenset[str] = frozenset()

    def with_fields(self, values: Mapping[str, Any], *, version: int) -> Person:
        """Return the person with other values of fields."""
        return replace(self, given={**self.given, **values}, version=version, edited=frozenset(values))


@dataclass(frozen=True, slots=True)
class Model:
    """Rows, and the number of cases that the engine cannot store, by reason."""

    kinds: Mapping[str, str]
    people: tuple[Person, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The values that are given to the engine."""
        return [{name: person.given[name] for name in self.kinds} for person in self.people]

    @classmethod
    def of_columns(cls, columns: Mapping[str, tuple[CategorySignal, str, Sequence[tuple[Any, str]]]]) -> Model:
        """Return one person for each value of each column; every other column has its first value.

        Args:
            columns: by name, the signal, the kind, and raw values with their meaning.
        """
        first = {column: values[0] for column, (_, _, values) in columns.items()}
        found = []
        for column, (_, _, values) in columns.items():
            for number, value in enumerate(values):
                values_of = {**first, column: value}
                raws = {name: raw for name, (raw, _) in values_of.items()}
                meanings = {name: status for name, (_, status) in values_of.items()}
                id_ = f"{column}-{number}"
                found.append(Person(id_, {"id": id_, **raws}, raws, meanings))
        return cls({"id": "text", **{column: kind for column, (_, kind, _) in columns.items()}}, tuple(found))


class Seeded:
    """A maker of models for one engine.

    Args:
        engine: the engine. Values that it cannot store are left out.
        seed: the seed of all random choices.
    """

    def __init__(self, engine: Engine, *, seed: int = 4) -> None:
        self._engine = engine
        self._random = random.Random(seed)  # noqa: S311 - the same rows each time
        self.left_out: Counter[str] = Counter()
        self._cases = {column: self._holdable(column) for column in CONSENTS}
        self._values = {
            name: [value for value in field_values(name) if self._can_hold(kind, value)]
            for name, kind in FIELDS.items()
            if name != "spare"
        }
        self._numbers = iter(range(10**6))

    def everything(self) -> Model:
        """Return a model with all formats, all values and all text ids."""
        people = [*self._alone(), *(self.random_person() for _ in range(_RANDOM_ROWS))]
        people += [self.granting(given_id=id_) for id_ in ids("text") if self._can_hold("text", id_)]
        self._random.shuffle(people)
        return Model(kinds_of(self._engine), tuple(people), dict(self.left_out))

    def with_ids(self, kind: str) -> Model:
        """Return a model of people with ids of a kind. Most grant everything, the others give random answers."""
        kinds = {"id": kind, "agreed": "boolean", "email": "text"}
        people = []
        for id_ in filter(partial(self._can_hold, kind), ids(kind)):
            person = self.granting(given_id=id_) if self._random.random() < 0.8 else self.random_person(given_id=id_)
            people.append(replace(person, id=self._engine.id_stored(kind, id_)))
        self._random.shuffle(people)
        return Model(kinds, tuple(people))

    def edited(self) -> tuple[list[Person], list[Person]]:
        """Return people who grant everything, before and after the changes of their fields."""
        found = [
            edit
            for edit in edits()
            if all(self._can_hold(FIELDS[name], value) for name, value in [*edit.before.items(), *edit.after.items()])
        ]
        before = [self.granting().with_fields(edit.before, version=0) for edit in found]
        after = [
            person.with_fields(edit.after, version=int(edit.changed))
            for person, edit in zip(before, found, strict=True)
        ]
        return before, after

    def granting(self, *, given_id: Any = ...) -> Person:
        """Return a person who grants everything."""
        return self._person({column: self._granted(column) for column in CONSENTS}, given_id)

    def random_person(self, *, given_id: Any = ...) -> Person:
        """Return a person with random answers, most of which are yes."""
        chosen = {
            column: self._granted(column) if self._random.random() < 0.6 else self._random.choice(self._cases[column])
            for column in CONSENTS
        }
        return self._person(chosen, given_id)

    def silent(self, *, given_id: Any = ...) -> Person:
        """Return a person without any answer and without any field."""
        nothing = Case(None, "unknown")
        person = self._person(dict.fromkeys(CONSENTS, nothing), given_id)
        return person.with_fields(dict.fromkeys(FIELDS), version=0)

    def saying(self, person: Person, *, agreed: bool | None) -> Person:
        """Return the person with another answer in the boolean column."""
        status = {True: "granted", False: "denied", None: "unknown"}[agreed]
        return replace(
            person,
            given={**person.given, "agreed": agreed},
            stored={**person.stored, "agreed": agreed},
            status={**person.status, "agreed": status},
        )

    def _alone(self) -> Iterator[Person]:
        for column in CONSENTS:
            for case in self._cases[column]:
                yield self._person({other: self._granted(other) for other in CONSENTS} | {column: case}, ...)

    def _person(self, chosen: Mapping[str, Case], given_id: Any) -> Person:
        id_ = f"p-{next(self._numbers):05d}" if given_id is ... else given_id
        stored = {
            column: self._engine.stored(CONSENTS[column], case, _statuses(column)) for column, case in chosen.items()
        }
        values = {name: self._random.choice(found) for name, found in self._values.items()}
        return Person(
            id=id_,
            given={"id": id_, **{column: case.value for column, case in chosen.items()}, **values, "spare": None},
            stored={column: found.value for column, found in stored.items()},
            status={column: found.status for column, found in stored.items()},
        )

    def _granted(self, column: str) -> Case:
        granting = [
            case
            for case in self._cases[column]
            if self._engine.stored(CONSENTS[column], case, _statuses(column)).status == "granted"
        ]
        # The plain way to say yes, most of the time.
        return granting[0] if self._random.random() < 0.7 else self._random.choice(granting)

    def _holdable(self, column: str) -> list[Case]:
        found = []
        for case in cases_of(column):
            reason = self._engine.cannot_hold(CONSENTS[column], case)
            if reason is None:
                found.append(case)
            else:
                self.left_out[f"{column}: {reason}"] += 1
        return found

    def _can_hold(self, kind: str, value: Any) -> bool:
        reason = self._engine.cannot_hold(kind, Case(value, "", features_of(value)))
        if reason is not None:
            self.left_out[f"{kind}: {reason}"] += 1
        return reason is None


def kinds_of(engine: Engine) -> dict[str, str]:
    """Return the columns of the seeded model that an engine has types for."""
    return {name: kind for name, kind in KINDS.items() if kind in engine.types}


def cases_of(column: str) -> tuple[Case, ...]:
    """Return the cases of a consent column."""
    if column in _LISTS:
        return listed(_LISTS[column]).cases
    if column == "named":
        return tuple(map(by_name, documents()))
    if column == "nested":
        return tuple(map(nested, documents()))
    return documents()


def _statuses(column: str) -> dict[Any, str]:
    return listed(_LISTS[column]).status if column in _LISTS else {}
