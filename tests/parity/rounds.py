"""Runs of a sync, one after the other: what each finds in the model, and under which policy."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from parity.cases import KEY as KEY_IN_DOCUMENT
from parity.cases import PATH, listed
from parity.engines import Engine
from parity.law import Setup, by_agreement
from parity.model import FIELDS, Model, Person, Seeded, kinds_of

from airflow_consent_retl.consent import ConsentObjectKey, Literals

Mode = Literal["mirror", "upsert", "insert", "full"]
_MODES: Mapping[str, Mode] = {"crm": "mirror", "newsletter": "upsert", "welcome": "insert", "nightly": "full"}
# What each destination is sent. The fields of `newsletter` never change.
_SENT: Mapping[str, Mapping[str, str]] = {
    "crm": {"id": "id", **{name: name for name in FIELDS if name != "spare"}},
    "newsletter": {"id": "id", "mail": "email"},
    "welcome": {"id": "id", "mail": "email", "note": "note", "tail": "tail"},
    "nightly": {"id": "id", "counted": "counted", "ratio": "ratio"},
}
_CATEGORIES = {"C0001": "agreed", "C0002": "said", "C0003": "coded", "C0007": "document", "C0009": "native"}
_NEEDS = {
    "C0001": ("crm", "newsletter", "welcome", "nightly"),
    "C0002": ("crm",),
    "C0003": ("nightly",),
    "C0007": ("crm",),
    "C0009": ("newsletter",),
}


@dataclass(frozen=True)
class Round:
    """What a run finds: the model, and the policy; and which destinations it loads, in their order."""

    name: str
    model: Model
    setup: Setup
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class Script:
    """Runs, and the destinations that are loaded in each.

    Args:
        modes: by destination.
        sent: by destination, its field names, each with the model's column.
        rounds: in their order.
    """

    modes: Mapping[str, Mode]
    sent: Mapping[str, Mapping[str, str]]
    rounds: tuple[Round, ...]

    @property
    def shortened(self) -> Script:
        """The first runs, for one destination: for stand-ins, where each statement takes its time."""
        return replace(self, rounds=tuple(replace(round_, destinations=("crm",)) for round_ in self.rounds[:3]))

    def columns(self, destination: str) -> frozenset[str]:
        """Return the columns of the model that a destination is sent."""
        return frozenset(self.sent[destination].values())


def every_change(engine: Engine, *, seed: int = 5) -> Script:
    """Return runs in which everything happens that may happen to people and policies."""
    seeded = Seeded(engine, seed=seed)
    rng = random.Random(seed)  # noqa: S311 - the same each time
    kinds = kinds_of(engine)
    before, after = seeded.edited()
    others = [*(seeded.granting() for _ in range(30)), *(seeded.anybody() for _ in range(30))]
    first = [*before, *others]

    second = list(others)
    rng.shuffle(second)
    del second[:6]
    second[:5] = [seeded.saying(person, agreed=False) for person in second[:5]]
    second[5:9] = [seeded.saying(person, agreed=None) for person in second[5:9]]
    second[9:17] = [seeded.anybody(given_id=person.id) for person in second[9:17]]
    # One is there twice, one of another two says no, one lost its id.
    second += [second[17], seeded.saying(second[18], agreed=False)]
    second[19] = replace(second[19], id=None, given={**second[19].given, "id": None})
    second += [seeded.granting() for _ in range(5)]
    second = [_with_fields_of(person, others) for person in second]
    people = [*after, *second]
    rng.shuffle(people)

    base = _setup(_NEEDS)
    stricter = _setup({**_NEEDS, "C0003": ("nightly", "crm", "newsletter")})
    other = _setup(
        {**_NEEDS, "C0001": ("newsletter", "welcome"), "C0003": ("crm",), "C0009": ("welcome",)},
        disabled="C0003",
        destinations={"crm": {"match": "any"}, "nightly": {"consent": "not_required", "reason": "own store"}},
    )
    unmapped = _setup(
        {**_NEEDS, "C0001": ("newsletter", "welcome"), "C0003": ("elsewhere",)}, unmapped_destinations="deny"
    )
    first_model, model, everywhere = Model(kinds, tuple(first)), Model(kinds, tuple(people)), tuple(_MODES)
    rounds = (
        Round("everybody is new", first_model, base, everywhere),
        Round("people change, withdraw, leave and come", model, base, everywhere),
        Round("nothing changed", model, base, ("crm",)),
        Round("a stricter policy", model, stricter, ("crm", "newsletter")),
        Round("another policy", model, other, ("crm", "nightly")),
        Round("a destination is mapped to nothing", model, unmapped, ("nightly",)),
        Round("all as in the beginning", first_model, base, ("crm", "welcome")),
    )
    return Script(_MODES, _SENT, rounds)


def with_ids(engine: Engine, kind: str, *, seed: int = 6) -> Script:
    """Return runs in which people with ids of a kind change, withdraw and leave."""
    people = list({person.id: person for person in Seeded(engine, seed=seed).with_ids(kind).people}.values())
    people = [person for person in people if person.id is not None]
    seeded = Seeded(engine, seed=seed)
    kinds = {"id": kind, "agreed": "boolean", "note": "text"}
    first = [seeded.saying(person, agreed=True).with_fields({"note": "a"}, version=0) for person in people]
    second = []
    for number, person in enumerate(first):
        match number % 5:
            case 0:
                second.append(seeded.saying(person, agreed=False))
            case 1:
                second.append(seeded.saying(person, agreed=None))
            case 2:
                second.append(person.with_fields({"note": "b"}, version=1))
            case 3:
                second.append(person)
    setup = replace(
        by_agreement(),
        policy={"categories": [{"id": "C0001", "name": "Agreed", "destinations": ["crm"]}]},
        destinations=("crm",),
    )
    return Script(
        # Tells somebody who left, and stays, from somebody who withdrew.
        modes={"crm": "upsert"},
        sent={"crm": {"id": "id", "note": "note"}},
        rounds=tuple(
            Round(name, Model(kinds, tuple(some)), setup, setup.destinations)
            for name, some in (("first", first), ("second", second), ("again", second))
        ),
    )


def _with_fields_of(person: Person, others: Sequence[Person]) -> Person:
    """Return somebody who says something else, with the fields that they had."""
    earlier = next((other for other in others if other.id == person.id), person)
    return replace(person, given={**person.given, **{name: earlier.given[name] for name in FIELDS}})


def _setup(needs: Mapping[str, Sequence[str]], *, disabled: str = "", **policy: Any) -> Setup:
    categories = [
        {"id": id_, "name": _CATEGORIES[id_], "destinations": list(names), "enabled": id_ != disabled}
        for id_, names in needs.items()
    ]
    texts, numbers = listed("text"), listed("integer")
    return Setup(
        name="rounds",
        policy={"categories": categories, **policy},
        consent={
            "C0001": "agreed",
            "C0002": Literals("said", granted=texts.granted, denied=texts.denied),
            "C0003": Literals("coded", granted=numbers.granted, denied=numbers.denied),
            "C0007": ConsentObjectKey("document", (*PATH, KEY_IN_DOCUMENT)),
            "C0009": ConsentObjectKey("native", (*PATH, KEY_IN_DOCUMENT)),
        },
        columns=_CATEGORIES,
        destinations=tuple(_MODES),
    )
