"""The checks of a policy's clauses: clauses that apply to nothing, open a destination, or mislead.

Contains problems, which refuse a policy, and warnings, which a run logs. Never sees a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.json_path import child
from airflow_consent_retl.consent.policy import base_of
from airflow_consent_retl.consent.regime import Regime
from airflow_consent_retl.errors import Problem

if TYPE_CHECKING:
    from airflow_consent_retl.consent.policy import Category, ConsentPolicy, DestinationName, DestinationRule

_REMEDY = 'map it to a category, or name it in the `destinations` section with `"consent": "not_required"` and a reason'


def clause_problems(policy: ConsentPolicy, guarded_at: Mapping[DestinationName, str]) -> list[Problem]:
    """Return the problems of a policy whose single parts are sound.

    Args:
        policy: the policy.
        guarded_at: the path where each destination is named first in the `fields` of a category.
    """
    return [
        *(problem for name, rule in policy.destination_rules for problem in _rule_problems(policy, name, rule)),
        *(
            Problem(path, f"guarded fields do not map `{name}`, which would receive every row: {_REMEDY}")
            for name, path in guarded_at.items()
            if policy.rule_for(name).consent_required
            and not policy.mapped_to(name)
            # Otherwise, the problem is noted at its rule.
            and name not in dict(policy.destination_rules)
        ),
    ]


def _rule_problems(policy: ConsentPolicy, name: DestinationName, rule: DestinationRule) -> list[Problem]:
    path = child("$.destinations", name)
    mapped = policy.mapped_to(name)
    if rule.consent_required and not mapped:
        return [Problem(path, f"`{name}` is mapped to no category, so that this clause applies to nothing: {_REMEDY}")]
    if rule.match == "all":
        return []
    own = [category for category in mapped if name in category.destinations]
    if not own:
        base = base_of(name)
        return [
            Problem(
                f"{path}.match",
                f"`{name}` has no category of its own to choose from, and those of `{base}` are always required: "
                f"remove it, or map `{name}` to categories",
            )
        ]
    enabled = [category for category in own if category.enabled]
    loose = [category for category in enabled if category.regimes != {Regime.OPT_IN}]
    if len(enabled) < 2 or not loose or rule.any_without_consent:
        return []
    return [
        Problem(
            f"{path}.match",
            f"any category of `{name}` is enough, and {_listed(loose)} can permit without a yes, so that nearly every "
            'person is permitted: write `"match": "all"`, or `"any_may_permit_without_consent": true` with a reason',
        )
    ]


def destination_warnings(policy: ConsentPolicy, destination: DestinationName) -> list[str]:
    """Return the warnings about clauses that are disabled for a destination that the policy accepts."""
    warnings = []
    disabled = [category for category in policy.mapped_to(destination) if not category.enabled]
    if disabled:
        warnings.append(f"destination `{destination}` is mapped to {_listed(disabled)}, disabled: not enforced")
    covering = {destination, base_of(destination)}
    for category in policy.categories:
        fields = sorted({field for place, names in category.fields if place in covering for field in names})
        if fields and not category.enabled:
            named = ", ".join(f"`{field}`" for field in fields)
            warnings.append(
                f"category `{category.id}` is disabled: it does not guard the fields {named} of `{destination}`"
            )
    return warnings


def category_warnings(categories: Sequence[Category]) -> list[str]:
    """Return the warnings about terms that hardly bind because silence permits."""
    warnings = []
    for category in categories:
        terms = _terms(category)
        if terms and Regime.OPT_OUT in category.regimes:
            where = "" if category.regimes == {Regime.OPT_OUT} else " in some regions"
            warnings.append(
                f"category `{category.id}` is opt_out{where} and has {terms}: a yes that does not meet it counts as "
                "silence, which permits there"
            )
    return warnings


def _terms(category: Category) -> str:
    terms = {"a max_age": category.max_age, "a min_notice_version": category.min_notice_version}
    return " and ".join(name for name, value in terms.items() if value is not None)


def _listed(categories: Sequence[Category]) -> str:
    return ", ".join(f"`{category.id}`" for category in categories)
