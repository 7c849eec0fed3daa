"""The expected state of a destination, computed without the package: added, updated, unchanged and removed people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from parity.law import cause, decided
from parity.model import Person
from parity.rounds import Mode, Round

REMOVAL_ORDER = (
    "consent_withdrawn",
    "objected",
    "suppressed",
    "id_ambiguous",
    "destination_unmapped",
    "consent_missing",
    "expired",
    "policy_changed",
    "left_model",
    "identifiers_changed",
)


@dataclass(frozen=True)
class Done:
    """The result of a load, expected or real.

    Args:
        counts: added, updated, unchanged, skipped, accepted, removed, and removals by cause.
        sent: the ids that are sent.
        removed: the ids that are removed, by cause.
        people: the ids at the destination afterwards.
    """

    counts: Mapping[str, Any]
    sent: frozenset[Any]
    removed: Mapping[str, frozenset[Any]]
    people: frozenset[Any]


@dataclass
class Account:
    """The people that were delivered to one destination, by plain loops.

    Args:
        destination: the name of the destination.
        mode: the mode of the sync.
        fields: the columns that are sent.
        delivered: the delivered version of each id.
    """

    destination: str
    mode: Mode
    fields: frozenset[str]
    delivered: dict[Any, int] = field(default_factory=dict)
    # The categories that the destination required at the last load, in groups of alternatives.
    required: frozenset[frozenset[str]] | None = None

    def load(self, round_: Round) -> Done:
        """Return the expected result of a load of this round, and update the account."""
        outcome = decided(round_.setup, round_.model.people, asked=())
        rows = {
            person.id: person.version if self.fields & person.edited else 0
            for person in round_.model.people
            if self.destination in outcome.recipients.get(person.id, ())
        }
        added = rows.keys() - self.delivered.keys()
        changed = {id_ for id_ in rows.keys() & self.delivered.keys() if rows[id_] != self.delivered[id_]}
        unchanged = rows.keys() - added - changed
        skipped = changed if self.mode == "insert" else set()
        sent = set(rows) if self.mode == "full" else added | (changed - skipped)
        removed: dict[str, set[Any]] = {}
        for id_ in self.delivered.keys() - rows.keys():
            why = self._cause(id_, round_)
            if why != "left_model" or self.mode in ("mirror", "full"):
                removed.setdefault(why, set()).add(id_)
        removed_ids = set().union(*removed.values())
        for id_ in removed_ids:
            del self.delivered[id_]
        self.delivered |= {id_: rows[id_] for id_ in sent}
        self.required = _required(round_, self.destination)
        return Done(
            counts={
                "added": len(added),
                "updated": len(changed - skipped),
                "unchanged": len(unchanged),
                "skipped": len(skipped),
                "accepted": len(sent),
                "removed": len(removed_ids),
                "removals_by_cause": {why: len(ids) for why, ids in sorted(removed.items())},
            },
            sent=frozenset(sent),
            removed={why: frozenset(ids) for why, ids in removed.items()},
            people=frozenset(self.delivered),
        )

    def _cause(self, id_: Any, round_: Round) -> str:
        times = sum(person.id == id_ for person in round_.model.people)
        causes = {
            self._cause_of(_reasons(round_, person, times, self.destination))
            for person in round_.model.people
            if person.id == id_
        }
        # A no in any of a person's rows outweighs the fact that there are several rows.
        return next((why for why in REMOVAL_ORDER if why in causes), "left_model")

    def _cause_of(self, reasons: list[str]) -> str:
        """Return the cause, to which categories that were not required at the last load contribute no withdrawal."""
        not_granted = {code.partition(":")[0] for code in reasons}
        taken_back = {category for group in self.required or () if group <= not_granted for category in group}
        known = [
            code
            for code in reasons
            if self.required is None or not code.startswith("C0") or code.partition(":")[0] in taken_back
        ]
        return cause(known) if known else "policy_changed"


def _required(round_: Round, destination: str) -> frozenset[frozenset[str]]:
    policy = round_.setup.policy
    required = [
        category["id"]
        for category in policy["categories"]
        if category.get("enabled", True)
        and {destination, destination.partition(":")[0]} & set(category["destinations"])
    ]
    if policy.get("destinations", {}).get(destination, {}).get("match") == "any":
        return frozenset({frozenset(required)})
    return frozenset(frozenset({category}) for category in required)


def _reasons(round_: Round, person: Person, times: int, destination: str) -> list[str]:
    alone = decided(replace(round_.setup, destinations=(destination,)), [person], asked=[person.id])
    [(_, _, _, codes, _)] = alone.decisions[person.id] or [("", (), (), (), 0)]
    found = [code for _, some in codes for code in some]
    return [*found, "duplicate_id"] if times > 1 else found
