"""The consent policy: the categories that each destination requires, and the policy's digest.

Contains values that `parse_policy` has checked. Never reads a document and never decides about a row.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, NewType

from airflow_consent_retl.consent.officer import NOTHING, OfficerPart
from airflow_consent_retl.consent.regime import Regime, strictest
from airflow_consent_retl.near import nearest_destination

if TYPE_CHECKING:
    from airflow_consent_retl.consent.freshness import MaxAge, NoticeNumber
    from airflow_consent_retl.consent.retention import Retention

CategoryId = NewType("CategoryId", str)
DestinationName = NewType("DestinationName", str)

Match = Literal["all", "any"]
UnmappedDestinations = Literal["permit", "deny", "error"]
MissingConsentColumn = Literal["error", "deny"]

_DIGEST_VERSION = "consent-policy/1"


class FieldClass(NamedTuple):
    """A guarded data class: one kind of value that fields and columns hold under several names."""

    name: str
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Category:
    """One consent category and the destinations mapped to it. A disabled one is not enforced.

    `regions` name the regions whose regime differs from `regime`; `region_preset` names the preset that they are from.
    `fields` are the fields that the category guards, by destination, all aliases included; `field_classes` are those of
    them that are one data class under several names. `max_age` and `min_notice_version` are conditions of a grant. An
    exempt category has `reason` and `owner`.
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
    field_classes: tuple[tuple[DestinationName, tuple[FieldClass, ...]], ...] = ()
    reason: str | None = None
    owner: str | None = None
    region_preset: str | None = None

    @property
    def regimes(self) -> frozenset[Regime]:
        """Every regime that may apply."""
        return frozenset({self.regime, *dict(self.regions).values()})

    def regime_in(self, region: str | None) -> Regime:
        """Return the regime of a region: the strictest one if the policy does not name the region, or it is None."""
        if not self.regions:
            return self.regime
        named = dict(self.regions)
        return named[region] if region in named else strictest(set(self.regimes))

    def any_no_denies(self, region: str | None) -> bool:
        """Return whether a no in any record denies, which is so wherever `opt_out` may apply.

        A region that the policy does not name may be under any of the category's regimes. It must not permit more than
        any of them.
        """
        named = dict(self.regions)
        return Regime.OPT_OUT in ({named[region]} if region in named else self.regimes)


@dataclass(frozen=True, slots=True)
class DestinationRule:
    """The rule of one destination: how its categories combine, or the reason why it requires no consent.

    `any_without_consent`: one of the alternatives may permit a person who never said yes; `reason` is why.
    """

    match: Match = "all"
    consent_required: bool = True
    reason: str | None = None
    any_without_consent: bool = False


@dataclass(frozen=True, slots=True)
class ConsentPolicy:
    """A checked policy. `parse_policy` is its only maker, so holding one is the proof that it was checked.

    Two policies with the same meaning have the same `digest` and are equal.

    A mapping to a destination covers its instances (`google_ads` covers `google_ads:emea`); a mapping to an instance
    adds to it. INVARIANT: what its base requires is always required of an instance. With match `all`, each added
    mapping is one more requirement and can only shrink the recipients. With match `any`, the mapped categories are
    alternatives, and a further one can enlarge the recipients. The policy's author asks for this by writing `any`. It
    is the reason why an instance never inherits `any` for its own mappings: the document must state the instance's
    match, which chooses among the instance's own categories.
    """

    categories: tuple[Category, ...] = field(compare=False)
    destination_rules: tuple[tuple[DestinationName, DestinationRule], ...] = field(compare=False, default=())
    unmapped_destinations: UnmappedDestinations = field(compare=False, default="permit")
    missing_consent_column: MissingConsentColumn = field(compare=False, default="error")
    officer: OfficerPart = field(compare=False, default=NOTHING)
    # The only compared field: it covers the others, and makes a policy a cheap dictionary key.
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", _digest(self))

    @property
    def retention(self) -> Retention:
        """How long stored rows and records are kept, as far as the policy says it."""
        return self.officer.retention

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
        """Return every category mapped to the destination or, for an instance, to its base destination."""
        covering = {destination, base_of(destination)}
        return tuple(category for category in self.categories if covering.intersection(category.destinations))

    def required_for(self, destination: str) -> tuple[CategoryId, ...]:
        """Return the ids of the enabled categories that the destination is mapped to, sorted."""
        return tuple(category.id for category in self.mapped_to(destination) if category.enabled)

    def groups_for(self, destination: str) -> tuple[tuple[Match, tuple[Category, ...]], ...]:
        """Return the groups of enabled categories that all have to permit, each with the match within it.

        They are the categories of the base destination and, for an instance, its own. An instance whose own match is
        `all` needs all of both.
        """
        rules = dict(self.destination_rules)
        base, name = base_of(destination), DestinationName(destination)
        own: Match = rules.get(name, DestinationRule()).match
        shared: Match = "all" if name in rules and own == "all" else rules.get(base, DestinationRule()).match
        found: list[tuple[Match, tuple[Category, ...]]] = []
        for place, match in {base: shared, name: own}.items():
            mapped = (category for category in self.categories if place in category.destinations)
            enabled = tuple(category for category in mapped if category.enabled)
            if enabled:
                found.append((match, enabled))
        return tuple(found)

    def needs_of(self, destination: str) -> str:
        """Return the requirement in words: `C0004 and (C0002 or C0003)`; empty if there is none."""
        words = {"all": " and ", "any": " or "}
        groups = [words[match].join(category.id for category in group) for match, group in self.groups_for(destination)]
        several = len(groups) > 1
        return " and ".join(f"({group})" if several and " or " in group else group for group in groups)

    def guarded_fields(self, destination: str) -> tuple[tuple[Category, tuple[str, ...]], ...]:
        """Return the enabled categories that guard fields of the destination or of its base destination."""
        covering = {destination, base_of(destination)}
        found = []
        for category in self.categories:
            names = {name for place, fields in category.fields if place in covering for name in fields}
            if category.enabled and names:
                found.append((category, tuple(sorted(names))))
        return tuple(found)

    def guards(self, destination: str) -> dict[str, tuple[str, ...]]:
        """Return what the enabled categories guard at the destination or its base: each guard with all its names."""
        covering = {destination, base_of(destination)}
        found: dict[str, set[str]] = {}
        for category, names in self.guarded_fields(destination):
            plain = set(names)
            for place, classes in category.field_classes:
                for guard in classes if place in covering else ():
                    found.setdefault(guard.name, set()).update((guard.name, *guard.aliases))
                    plain.difference_update((guard.name, *guard.aliases))
            for name in plain:
                found.setdefault(name, set()).add(name)
        return {name: tuple(sorted(names)) for name, names in sorted(found.items())}

    def rule_for(self, destination: str) -> DestinationRule:
        """Return the destination's own rule; otherwise, for an instance, the rule of its base; otherwise the default.

        INVARIANT: an instance inherits `not_required` only if no category is mapped to it, so that a mapping to an
        instance always has an effect.
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
        """Return the destination of the policy that this one may be a misspelling of, or None.

        None as well if the policy names the destination itself. If the policy names only instances of the destination,
        it counts as misspelt: the instance is missing.
        """
        named = self.destinations
        if destination in named:
            return None
        near = nearest_destination(destination, named)
        if near is not None:
            return near
        return next((name for name in named if base_of(name) == destination), None)

    def guarded_sibling(self, destination: str) -> DestinationName | None:
        """Return an instance of the same base that a category names, if none covers this one; otherwise None.

        None as well if the `destinations` section names this destination or its base.
        """
        base = base_of(destination)
        if self.mapped_to(destination) or {destination, base}.intersection(dict(self.destination_rules)):
            return None
        named = {name for category in self.categories for name in category.destinations}
        named |= {name for category in self.categories for name, _ in category.fields}
        return next((name for name in sorted(named) if base_of(name) == base and name not in {base, destination}), None)


@dataclass(frozen=True, slots=True)
class Requirement:
    """Everything that the policy contains about one destination. `required` are the categories of `categories`.

    `groups` are as in `ConsentPolicy.groups_for`.
    """

    categories: tuple[CategoryId, ...]
    required: tuple[Category, ...]
    groups: tuple[tuple[Match, tuple[Category, ...]], ...]
    rule: DestinationRule
    misspelt: DestinationName | None
    guarded_fields: tuple[tuple[Category, tuple[str, ...]], ...]


@lru_cache(maxsize=4096)
def requirement_of(policy: ConsentPolicy, destination: str) -> Requirement:
    """Return everything that the policy contains about a destination. Cached, because every signature asks for it."""
    required = tuple(category for category in policy.mapped_to(destination) if category.enabled)
    return Requirement(
        categories=policy.required_for(destination),
        required=required,
        groups=policy.groups_for(destination),
        rule=policy.rule_for(destination),
        misspelt=policy.misspelt(destination),
        guarded_fields=policy.guarded_fields(destination),
    )


def base_of(destination: str) -> DestinationName:
    """Return `google_ads` for `google_ads:emea`, and for `google_ads`."""
    return DestinationName(destination.partition(":")[0])


def _digest(policy: ConsentPolicy) -> str:
    """Return a SHA-256 over the meaning: defaults are filled in; `parse_policy` has sorted parts without an order."""
    meaning = {
        "version": _DIGEST_VERSION,
        "unmapped_destinations": policy.unmapped_destinations,
        "missing_consent_column": policy.missing_consent_column,
        "categories": [_meaning(category) for category in policy.categories],
        "destinations": {
            # A rule without this term keeps the digest that it had before the term existed.
            name: [rule.match, rule.consent_required, rule.reason, *([True] if rule.any_without_consent else [])]
            for name, rule in policy.destination_rules
        },
    }
    if policy.officer != NOTHING:
        # Late: formats and sources are built on this module.
        from airflow_consent_retl.consent.officer_document import officer_document

        meaning["officer"] = officer_document(policy.officer)
    canonical = json.dumps(meaning, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def _meaning(category: Category) -> list[object]:
    plain: list[object] = [category.id, category.name, category.destinations, category.enabled]
    more = {
        "regime": category.regime,
        "regions": category.regions,
        "max_age": str(category.max_age),
        "min_notice_version": category.min_notice_version,
        "fields": category.fields,
        "field_classes": category.field_classes,
        "reason": category.reason,
        "owner": category.owner,
    }
    default = Category(category.id, category.name, category.destinations)  # pragma: no mutate: its terms alone are read
    declared = {name: value for name, value in more.items() if getattr(category, name) != getattr(default, name)}
    # A category without these terms keeps the digest that it had before they existed.
    return [*plain, declared] if declared else plain
