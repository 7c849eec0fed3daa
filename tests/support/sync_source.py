"""A real source and a real policy that change, for a small world, with an independent account of their meaning.

The laws are written here a second time, by hand, and never use the package.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support.sync_places import SourceDatabase

DESTINATION = "crm"
CONSENT = {"C0002": "analytics_ok", "C0004": "ads_ok"}
TYPES = {"id": "int64", "email": "string", "name": "string", "analytics_ok": "bool", "ads_ok": "bool"}
COLUMNS = "id, email, {name} AS name, analytics_ok, ads_ok"
NOW, THEN = (f"SELECT {COLUMNS.format(name=name)} FROM people" for name in ("name", "first_name"))
# The first three people, and the others.
FIRST, LAST = f"{NOW} WHERE id <= 3", f"{NOW} WHERE id > 3"
_NAME_OF_THEN = "a name of then"


@dataclass(frozen=True)
class Person:
    """The source's values of one person."""

    email: str
    name: str
    analytics: bool | None
    ads: bool | None


@dataclass(frozen=True)
class Law:
    """A policy, and its meaning for the destination.

    Args:
        document: the policy.
        needs: the consents that count: `analytics`, `ads` or both.
        permits: returns whether these consents, in that order, permit.
        of_name: the consent without which a person's name is not sent; None: it always is.
    """

    document: dict[str, Any]
    needs: tuple[str, ...]
    permits: Callable[[list[bool | None]], bool]
    of_name: str | None = None

    def name_of(self, person: Person) -> str | None:
        """Return the name of a person as the destination may have it."""
        return person.name if self.of_name is None or getattr(person, self.of_name) is True else None

    def allows(self, person: Person) -> bool:
        return self.permits([getattr(person, name) for name in self.needs])

    @property
    def asks(self) -> frozenset[frozenset[str]]:
        """The consents that a person has to give, in groups of which one is enough."""
        alone = frozenset(frozenset({name}) for name in self.needs)
        return frozenset({frozenset(self.needs)}) if self.permits is _one_granted else alone

    def was_withdrawn(self, person: Person, *, asked: Collection[frozenset[str]]) -> bool:
        """Return whether a person without permission has answered no to something that was `asked` for before."""
        not_granted = {name for name in self.needs if getattr(person, name) is not True}
        taken_back = {name for group in asked if group <= not_granted for name in group}
        return not self.allows(person) and any(getattr(person, name) is False for name in taken_back)


def _granted(consents: list[bool | None]) -> bool:
    return all(consent is True for consent in consents)


def _one_granted(consents: list[bool | None]) -> bool:
    return any(consent is True for consent in consents)


def _policy(analytics: bool, ads: bool, *, disabled: bool = False, **more: Any) -> dict[str, Any]:
    mapped = [("C0002", "Analytics", analytics, True), ("C0004", "Advertising", ads, not disabled)]
    categories = [
        {"id": key, "name": name, "destinations": [DESTINATION] if here else ["elsewhere"], "enabled": enabled}
        for key, name, here, enabled in mapped
    ]
    return {"categories": categories, **more}


LAWS = {
    "ads": Law(_policy(False, True), ("ads",), _granted),
    "name guarded": Law(
        {
            "categories": [
                {"id": "C0002", "name": "Analytics", "fields": {DESTINATION: ["name"]}},
                {"id": "C0004", "name": "Advertising", "destinations": [DESTINATION]},
            ]
        },
        ("ads",),
        _granted,
        of_name="analytics",
    ),
    "both": Law(_policy(True, True), ("analytics", "ads"), _granted),
    "either": Law(
        _policy(True, True, destinations={DESTINATION: {"match": "any"}}),
        ("analytics", "ads"),
        _one_granted,
    ),
    "ads disabled": Law(_policy(True, True, disabled=True), ("analytics",), _granted),
    "not required": Law(
        _policy(False, False, destinations={DESTINATION: {"consent": "not_required", "reason": "own store"}}),
        (),
        lambda consents: True,
    ),
    "unmapped denied": Law(_policy(False, False, unmapped_destinations="deny"), (), lambda consents: False),
}


@dataclass(frozen=True)
class Put:
    """A person is added, or changes."""

    number: int
    email: int
    name: int
    analytics: bool | None
    ads: bool | None


@dataclass(frozen=True)
class Say:
    """A person who is there changes their answers."""

    number: int
    analytics: bool | None
    ads: bool | None


@dataclass(frozen=True)
class Withdraw:
    """A person answers no to everything."""

    number: int


@dataclass(frozen=True)
class Delete:
    """A person leaves the model."""

    number: int


@dataclass(frozen=True)
class EditPolicy:
    """The policy becomes another of `LAWS`."""

    law: str


Change = Put | Say | Withdraw | Delete | EditPolicy


class Source:
    """A database of people, and a policy in a file.

    Args:
        database: with an empty table of people.
        path: a folder for the policy.
    """

    def __init__(self, database: SourceDatabase, path: Path) -> None:
        self.people: dict[int, Person] = {}
        self.law = LAWS["ads"]
        self.policy = f"file:{path}/policy.json"
        self.database = database
        self._policy_file = path / "policy.json"

    def close(self) -> None:
        self.database.close()

    def rows(self, sql: str) -> dict[int, Person]:
        """Return the result of one of the queries `NOW`, `THEN`, `FIRST` and `LAST`."""
        if sql != THEN:
            return {number: one for number, one in self.people.items() if sql == NOW or (number <= 3) == (sql == FIRST)}
        return {number: replace(person, name=_NAME_OF_THEN) for number, person in self.people.items()}

    def happen(self, changes: Iterable[Change]) -> None:
        """Change source and policy."""
        for change in changes:
            match change:
                case Put():
                    email = f"{change.number}-{change.email}@example.com"
                    self._write(change.number, Person(email, f"name {change.name}", change.analytics, change.ads))
                case Say():
                    self._consent(change.number, analytics=change.analytics, ads=change.ads)
                case Withdraw():
                    self._consent(change.number, analytics=False, ads=False)
                case Delete():
                    self.people.pop(change.number, None)
                    self.database.run("DELETE FROM people WHERE id = ?", [change.number])
                case EditPolicy():
                    self.law = LAWS[change.law]
                    self._policy_file.write_text(json.dumps(self.law.document))

    def allowed(self) -> frozenset[int]:
        """Return the people who are permitted now."""
        return frozenset(number for number, person in self.people.items() if self.law.allows(person))

    def named(self) -> frozenset[int]:
        """Return the people whose name the destination may have now, if it may have them."""
        return frozenset(number for number, person in self.people.items() if self.law.name_of(person) is not None)

    def guarded(self) -> frozenset[int]:
        """Return the permitted people whose name may not be sent."""
        return self.allowed() - self.named()

    def _consent(self, number: int, *, analytics: bool | None, ads: bool | None) -> None:
        if number in self.people:
            self._write(number, replace(self.people[number], analytics=analytics, ads=ads))

    def _write(self, number: int, person: Person) -> None:
        self.people[number] = person
        self.database.run(
            "INSERT INTO people VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET email = excluded.email, "
            "name = excluded.name, analytics_ok = excluded.analytics_ok, ads_ok = excluded.ads_ok",
            [number, person.email, person.name, _NAME_OF_THEN, person.analytics, person.ads],
        )
