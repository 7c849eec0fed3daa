"""The consent policy: which categories a destination needs, and its digest.

Holds values that `parse_policy` has checked. Never reads a document and never decides about a row.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NewType

from airflow_consent_retl.consent.regime import Regime, strictest
from airflow_consent_retl.near import nearest_destination

if TYPE_CHECKING:
    from airflow_consent_retl.consent.freshness import MaxAge, NoticeNumber

CategoryId = NewType("CategoryId", str)
DestinationName = NewType("DestinationName", str)

Match = Literal["all", "any"]
UnmappedDestinations = Literal["permit", "deny", "error"]
MissingConsentColumn = Literal["error", "deny"]

_DIGEST_VERSION = "consent-policy/1"


@dataclass(frozen=True, slots=True)
class Category:
    """One consent category and the destinations mapped to it. A disabled one is not enforced.

    `regions` name the regime where it is another than `regime`. `fields` are those that it guards, by destination.
    `max_age` and `min_notice_version` are what a grant has to fulfil. Who is exempt, has `reason` and `owner`.
    """

    id: CategoryId
    name: str
    destinations: tuple[DestinationName, ...]
    enabled: bool = True
    regime: Regime = Regime.OPT_IN
    regions: tuple[tuple[str, Regime], ...] = ()
    max_age: MaxAge | None = None
    min_notice_version: NoticeNumber | None = None
    fields: tuple[tuple[DestinationName, tuple[str, ...]], ...] = ()
    reason: str | None = None
    owner: str | None = None

    @property
    def regimes(self) -> frozenset[Regime]:
        """Every regime that may apply."""
        return frozenset({self.regime, *dict(self.regions).values()})

    def regime_in(self, region: str | None) -> Regime:
        """Return the regime of a region; of one that the policy does not name, or of none, the strictest there is."""
        if not self.regions:
            return self.regime
        named = dict(self.regions)
        return named[region] if region in named else strictest(set(self.regimes))

    def any_no_denies(self, region: str | None) -> bool:
        """Tell whether a no in any record denies: wherever `opt_out` may apply.

        A region that the policy does not name may be under any of the category's regimes, and has to permit no more
        than each of them does.
        """
        named = dict(self.regions)
        return Regime.OPT_OUT in ({named[region]} if region in named else self.regimes)


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """What belongs to one destination: how its categories combine, or why it needs no consent at all."""

    match: Match = "all"
    consent_required: bool = True
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentPolicy:
    """A checked policy. `parse_policy` is its only maker, so holding one is the proof that it was checked.

    Two policies that mean the same have one `digest` and are equal.

    A mapping to a destination covers its instances (`google_ads` covers `google_ads:emea`); a mapping to an instance
    adds to it. With match `all`, each added mapping is one more requirement and can only shrink the recipients. With
    match `any`, the mapped categories are alternatives, and a further one can enlarge them: that is what the
    policy's author asks for by writing `any`, and the reason why an instance never inherits `any` for mappings of
    its own (the document has to say it for the instance).
    """

    categories: tuple[Category, ...] = field(compare=False)
    destination_rules: tuple[tuple[DestinationName, DestinationRule], ...] = field(compare=False, default=())
    unmapped_destinations: UnmappedDestinations = field(compare=False, default="permit")
    missing_consent_column: MissingConsentColumn = field(compare=False, default="error")
    # The only field compared: it covers the others, and makes a policy a cheap key.
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", _digest(self))

    @property
    def destinations(self) -> tuple[DestinationName, ...]:
        """Every destination that the policy names, in a category or in its `destinations` section, sorted."""
        mapped = {destination for category in self.categories for destination in category.destinations}
        guarded = {destination for category in self.categories for destination, _ in category.fields}
        return tuple(sorted(mapped | guarded | {name for name, _ in self.destination_rules}))

    def category(self, category_id: str) -> Category | None:
        """Return the category with this id, or None. Ids are case-sensitive."""
        return next((category for category in self.categories if category.id == category_id), None)

    def mapped_to(self, destination: str) -> tuple[Category, ...]:
        """Return every category mapped to the destination or, for an instance, to what it is an instance of."""
        covering = {destination, base_of(destination)}
        return tuple(category for category in self.categories if covering.intersection(category.destinations))

    def required_for(self, destination: str) -> tuple[CategoryId, ...]:
        """Return the ids of the enabled categories that the destination is mapped to, sorted."""
        return tuple(category.id for category in self.mapped_to(destination) if category.enabled)

    def guarded_fields(self, destination: str) -> tuple[tuple[Category, tuple[str, ...]], ...]:
        """Return the enabled categories that guard fields of the destination or of what it is an instance of."""
        covering = {destination, base_of(destination)}
        found = []
        for category in self.categories:
            names = {name for place, fields in category.fields if place in covering for name in fields}
            if category.enabled and names:
                found.append((category, tuple(sorted(names))))
        return tuple(found)

    def rule_for(self, destination: str) -> DestinationRule:
        """Return the destination's own rule, else for an instance its base's, else the default.

        INVARIANT: `not_required` is inherited only by instances that no category is mapped to, so that a mapping to
        an instance is never void.
        """
        rules = dict(self.destination_rules)
        own = rules.get(DestinationName(destination))
        if own is not None:
            return own
        inherited = rules.get(base_of(destination), DestinationRule())
        if not inherited.consent_required and self.mapped_to(destination):
            return DestinationRule()
        return inherited

    def misspelt(self, destination: str) -> DestinationName | None:
        """Return the destination of the policy that this one may be a slip for, or None.

        None as well when the policy names the destination itself. A destination of which the policy names only
        instances counts as a slip: its instance was left out.
        """
        named = self.destinations
        if destination in named:
            return None
        near = nearest_destination(destination, named)
        if near is not None:
            return near
        return next((name for name in named if base_of(name) == destination), None)


@dataclass(frozen=True, slots=True)
class Requirement:
    """All that the policy says of one destination. `required` are the categories that `categories` names."""

    categories: tuple[CategoryId, ...]
    required: tuple[Category, ...]
    rule: DestinationRule
    misspelt: DestinationName | None
    guarded_fields: tuple[tuple[Category, tuple[str, ...]], ...]


@lru_cache(maxsize=4096)
def requirement_of(policy: ConsentPolicy, destination: str) -> Requirement:
    """Return what the policy says of a destination, remembered, since it is asked once per signature."""
    required = tuple(category for category in policy.mapped_to(destination) if category.enabled)
    return Requirement(
        categories=policy.required_for(destination),
        required=required,
        rule=policy.rule_for(destination),
        misspelt=policy.misspelt(destination),
        guarded_fields=policy.guarded_fields(destination),
    )


def base_of(destination: str) -> DestinationName:
    """Return `google_ads` for `google_ads:emea`, and for `google_ads`."""
    return DestinationName(destination.partition(":")[0])


def _digest(policy: ConsentPolicy) -> str:
    """Return a SHA-256 over the meaning: defaults are filled in, and `parse_policy` has sorted what has no order."""
    meaning = {
        "version": _DIGEST_VERSION,
        "unmapped_destinations": policy.unmapped_destinations,
        "missing_consent_column": policy.missing_consent_column,
        "categories": [_meaning(category) for category in policy.categories],
        "destinations": {
            name: [rule.match, rule.consent_required, rule.reason] for name, rule in policy.destination_rules
        },
    }
    canonical = json.dumps(meaning, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _meaning(category: Category) -> list[object]:
    plain: list[object] = [category.id, category.name, category.destinations, category.enabled]
    more = {
        "regime": category.regime,
        "regions": category.regions,
        "max_age": None if category.max_age is None else str(category.max_age),
        "min_notice_version": category.min_notice_version,
        "fields": category.fields,
        "reason": category.reason,
        "owner": category.owner,
    }
    default = Category(category.id, category.name, category.destinations)
    said = {name: value for name, value in more.items() if getattr(category, name) != getattr(default, name)}
    # A category that uses none of this has the digest that it had before there was any of it.
    return [*plain, said] if said else plain
