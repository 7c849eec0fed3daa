"""The difference between two policies in words, and whether the newer one may permit more than the older one.

Pure: it compares two checked policies and never sees a row. That a policy permits no more is claimed only where it can
be proved from the documents alone, for every row that there may ever be.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.policy_documents import policy_document
from airflow_consent_retl.consent.regime import Regime

if TYPE_CHECKING:
    from airflow_consent_retl.consent.policy import Category, ConsentPolicy, Match

# The parts of a document whose effect on the recipients is compared by meaning. Every other part counts as opening.
_KNOWN_PARTS = frozenset({"unmapped_destinations", "missing_consent_column", "categories", "destinations"})
_KNOWN_TERMS = frozenset(
    {
        *("id", "name", "enabled", "destinations", "fields", "regime", "regions"),
        *("max_age", "min_notice_version", "reason", "owner"),
    }
)
_KNOWN_CLAUSES = frozenset({"consent", "reason", "match", "any_may_permit_without_consent"})
_OPEN, _CLOSED = "receives every row", "receives no row"


def policy_differences(before: ConsentPolicy, after: ConsentPolicy) -> list[str]:
    """Return one sentence for each part that differs, in the order of the document; none for equal policies."""
    old, new = policy_document(before), policy_document(after)
    found = [
        sentence
        for key in _keys(old, new)
        if key not in {"categories", "destinations"}
        for sentence in _changes(key, old.get(key), new.get(key))
    ]
    olds, news = ({one["id"]: one for one in document["categories"]} for document in (old, new))
    for key in _keys(olds, news):
        found += _part_differences(f"category `{key}`", olds.get(key), news.get(key))
    olds, news = old.get("destinations", {}), new.get("destinations", {})
    for key in _keys(olds, news):
        found += _part_differences(f"destination `{key}`", olds.get(key), news.get(key))
    return found


def opened(before: ConsentPolicy, after: ConsentPolicy) -> list[str]:
    """Return one sentence for each way in which `after` may permit more than `before`; none if it cannot.

    A destination that needs fewer categories, or categories on easier terms, may permit more, and so may a field that
    is guarded no longer. What is not compared by meaning counts as opening wherever it differs.
    """
    found = _unknown_parts(before, after)
    if after.unmapped_destinations == "permit":
        if before.unmapped_destinations != "permit":
            found.append("destinations that the policy does not name receive every row")
        lost = sorted({*before.destinations} - {*after.destinations})
        # A name that resembles one of the policy is denied: names that resembled a lost one are free now.
        found += [f"`{name}` is not named any more, and unmapped destinations receive every row" for name in lost]
    for name in sorted({*before.destinations, *after.destinations}):
        if not _permits_no_more(before, after, name):
            found.append(f"`{name}` {_needs(before, name)} before, {_needs(after, name)} now")
        found += _opened_fields(before, after, name)
    return found


def _opened_fields(before: ConsentPolicy, after: ConsentPolicy, destination: str) -> list[str]:
    old, new = _guards(before, destination), _guards(after, destination)
    eased = {category.id for category in after.categories if not _is_as_strict(before, category)}
    return [
        f"`{destination}`: category `{category}` does not guard field `{field}` any more"
        if (field, category) not in new
        else f"`{destination}`: category `{category}` guards field `{field}` on other terms"
        for field, category in sorted(old)
        if (field, category) not in new or category in eased
    ]


def _part_differences(name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> list[str]:
    if old is None or new is None:
        return [f"{name} is {'new' if old is None else 'gone'}"]
    return [f"{name}: {sentence}" for key in _keys(old, new) for sentence in _changes(key, old.get(key), new.get(key))]


def _changes(path: str, old: object, new: object) -> list[str]:
    """Return one sentence for each value below a path that differs."""
    if isinstance(old, Mapping | None) and isinstance(new, Mapping | None) and (old or new):
        before, after = old or {}, new or {}
        return [
            sentence
            for key in _keys(before, after)
            for sentence in _changes(f"{path}.{key}", before.get(key), after.get(key))
        ]
    return [] if old == new else [f"`{path}` {_change(old, new)}"]


def _change(old: object, new: object) -> str:
    if isinstance(old, list | None) and isinstance(new, list | None):
        lost = [one for one in old or [] if one not in (new or [])]
        gained = [one for one in new or [] if one not in (old or [])]
        words = [("without", lost), ("with", gained)]
        return " and ".join(f"now {word} {_listed(values)}" for word, values in words if values)
    return f"was {_text(old)}, is {_text(new)}"


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "not set" if value is None else f"`{value}`"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(_text(value) for value in values)


def _keys(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [*old, *(key for key in new if key not in old)]


def _unknown_parts(before: ConsentPolicy, after: ConsentPolicy) -> list[str]:
    old, new = (unknown_parts(policy_document(policy)) for policy in (before, after))
    return [sentence for key in _keys(old, new) for sentence in _changes(key, old.get(key), new.get(key))]


def unknown_parts(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts that are not compared by meaning, by their names."""
    found = {key: value for key, value in document.items() if key not in _KNOWN_PARTS}
    for category in document["categories"]:
        found |= {
            f"categories.{category['id']}.{key}": value for key, value in category.items() if key not in _KNOWN_TERMS
        }
    for name, rule in document.get("destinations", {}).items():
        found |= {f"destinations.{name}.{key}": value for key, value in rule.items() if key not in _KNOWN_CLAUSES}
    return found


def _access(policy: ConsentPolicy, destination: str) -> str | tuple[tuple[Match, tuple[Category, ...]], ...]:
    """Return the groups that have to permit, or that every row or no row is permitted."""
    if policy.misspelt(destination) is not None:
        return _CLOSED
    if not policy.rule_for(destination).consent_required:
        return _OPEN
    return policy.groups_for(destination) or (_OPEN if policy.unmapped_destinations == "permit" else _CLOSED)


def _needs(policy: ConsentPolicy, destination: str) -> str:
    access = _access(policy, destination)
    return access if isinstance(access, str) else f"needs {policy.needs_of(destination)}{_terms(access)}"


def _terms(groups: Iterable[tuple[Match, tuple[Category, ...]]]) -> str:
    named = {category.id: category for _, group in groups for category in group}
    terms = []
    for key, category in named.items():
        words = [f"{category.regime}"] if category.regime is not Regime.OPT_IN else []
        by_region = [f"{regime} in {region}" for region, regime in category.regions]
        words += by_region if category.region_preset is None else [f"by region as in {category.region_preset}"]
        words += [] if category.max_age is None else [f"at most {category.max_age} old"]
        version = category.min_notice_version
        words += [] if version is None else [f"notice {'.'.join(map(str, version)) or 0} or later"]
        terms += [f"{key}: {', '.join(words)}"] if words else []
    return f" ({'; '.join(terms)})" if terms else ""


def _permits_no_more(before: ConsentPolicy, after: ConsentPolicy, destination: str) -> bool:
    old, new = _access(before, destination), _access(after, destination)
    if old == _OPEN or new == _CLOSED:
        return True
    if isinstance(old, str) or isinstance(new, str):
        return False
    return _hears_objections(old, new) and all(
        any(_implies(before, group, single) for group in new) for group in old for single in _single(group)
    )


def _hears_objections(
    old: Iterable[tuple[Match, tuple[Category, ...]]], new: Iterable[tuple[Match, tuple[Category, ...]]]
) -> bool:
    """Return whether Global Privacy Control denies wherever it did before: at each category that is not exempt."""
    heard = any(category.regimes != {Regime.EXEMPT} for _, group in old for category in group)
    return not heard or any(Regime.EXEMPT not in category.regimes for _, group in new for category in group)


def _single(group: tuple[Match, tuple[Category, ...]]) -> list[tuple[Category, ...]]:
    """Return the requirements of a group one by one, each met by any of its categories: `all` is one of each."""
    match, categories = group
    return [(category,) for category in categories] if match == "all" else [categories]


def _implies(before: ConsentPolicy, new: tuple[Match, tuple[Category, ...]], old: tuple[Category, ...]) -> bool:
    """Return whether a row that the new group permits satisfies the old requirement."""
    match, categories = new
    wanted = {category.id for category in old}
    holds = [category.id in wanted and _is_as_strict(before, category) for category in categories]
    return any(holds) if match == "all" else all(holds)


def _is_as_strict(before: ConsentPolicy, category: Category) -> bool:
    """Return whether a row that the category permits was permitted by the same category on its terms of before."""
    old = before.category(category.id)
    if old is None or old.regimes == {Regime.EXEMPT}:
        return True
    # Under `opt_out`, a no in any record denies; under `opt_in`, the latest record counts. Neither includes the other.
    if (old.regime, old.regions) != (category.regime, category.regions):
        return False
    terms = [(old.max_age, category.max_age), (old.min_notice_version, category.min_notice_version)]
    # Where silence permits, a yes that does not meet the terms counts as silence: terms take nothing away there.
    may_begin = category.regimes == {Regime.OPT_IN}
    return all(was == now or (may_begin and was is None) for was, now in terms)


def _guards(policy: ConsentPolicy, destination: str) -> set[tuple[str, str]]:
    return {(name, str(category.id)) for category, names in policy.guarded_fields(destination) for name in names}
