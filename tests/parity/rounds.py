"""Scripts of consecutive runs of a sync, each with its model and its policy."""

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
# The fields that each destination receives. The fields of `newsletter` never change.
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
    """The input of a run: the model, the policy, and the destinations in the order of their loads."""

    name: str
    model: Model
    setup: Setup
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class Script:
    """A sequence of runs, and the destinations that each run loads.

    Args:
        modes: the mode of each destination.
        sent: by destination, its field names with the model's columns.
        rounds: the runs in their order.
    """

    modes: Mapping[str, Mode]
    sent: Mapping[str, Mapping[str, str]]
    rounds: tuple[Round, ...]

    @property
    def shortened(self) -> Script:
        """The first three runs, for one destination: for stand-ins, whose statements are slow."""
        return replace(self, rounds=tuple(replace(round_, destinations=("crm",)) for round_ in self.rounds[:3]))

    def columns(self, destination: str) -> frozenset[str]:
        """Return the columns of the model that a destination receives."""
        return frozenset(self.sent[destination].values())


def every_change(engine: Engine, *, seed: int = 5) -> Script:
    """Return runs with every possible change of people and policies."""
    seeded = Seeded(engine, seed=seed)
    rng = random.Random(seed)  # noqa: S311 - the same each time
    kinds = kinds_of(engine)
    before, after = seeded.edited()
    others = [*(seeded.granting() for _ in range(30)), *(seeded.random_person() for _ in range(30))]
    first = [*before, *others]

    second = list(others)
    rng.shuffle(second)
    del second[:6]
    second[:5] = [seeded.saying(person, agreed=False) for person in second[:5]]
    second[5:9] = [seeded.saying(person, agreed=None) for person in second[5:9]]
    second[9:17] = [seeded.random_person(given_id=person.id) for person in second[9:17]]
    # One person occurs twice. Another one has two rows, one of which says no. A third one has lost the id.
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
        Round("all people are new", first_model, base, everywhere),
        Round("people change, withdraw, leave and come", model, base, everywhere),
        Round("nothing changed", model, base, ("crm",)),
        Round("a stricter policy", model, stricter, ("crm", "newsletter")),
        Round("another policy", model, other, ("crm", "nightly")),
        Round("a destination is mapped to nothing", model, unmapped, ("nightly",)),
        Round("everything as in the beginning", first_model, base, ("crm", "welcome")),
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
        # Under `upsert`, people who left the model stay and people who withdrew are removed.
        modes={"crm": "upsert"},
        sent={"crm": {"id": "id", "note": "note"}},
        rounds=tuple(
            Round(name, Model(kinds, tuple(some)), setup, setup.destinations)
            for name, some in (("first", first), ("second", second), ("again", second))
        ),
    )


def _with_fields_of(person: Person, others: Sequence[Person]) -> Person:
    """Return the person with new answers and with the fields of the earlier row."""
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
