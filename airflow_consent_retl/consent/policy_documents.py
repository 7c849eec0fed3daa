"""A checked policy as a document that `parse_policy` can read. A run stores the document of the policy that it used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_consent_retl.consent.officer_document import officer_document
from airflow_consent_retl.consent.regime import Regime

if TYPE_CHECKING:
    from airflow_consent_retl.consent.policy import Category, ConsentPolicy, DestinationRule

PolicyDocument = dict[str, Any]


def policy_document(policy: ConsentPolicy) -> PolicyDocument:
    """Return a document with the same meaning: parsed, it has the same digest."""
    document: PolicyDocument = {
        "unmapped_destinations": policy.unmapped_destinations,
        "missing_consent_column": policy.missing_consent_column,
        "categories": [_category(category) for category in policy.categories],
    }
    rules = {str(name): _rule(rule) for name, rule in policy.destination_rules}
    officer = officer_document(policy.officer)
    return document | ({"destinations": rules} if rules else {}) | ({"officer": officer} if officer else {})


def _category(category: Category) -> PolicyDocument:
    document: PolicyDocument = {"id": category.id, "name": category.name, "enabled": category.enabled}
    if category.destinations:
        document["destinations"] = list(category.destinations)
    if category.fields:
        document["fields"] = _fields(category)
    if category.regime is not Regime.OPT_IN:
        document["regime"] = str(category.regime)
    if category.regions:
        by_region = {region: str(regime) for region, regime in category.regions}
        document["regions"] = category.region_preset or by_region
    if category.max_age is not None:
        document["max_age"] = str(category.max_age)
    if category.min_notice_version is not None:
        document["min_notice_version"] = ".".join(map(str, category.min_notice_version)) or 0
    return document | {
        name: text for name, text in (("reason", category.reason), ("owner", category.owner)) if text is not None
    }


def _fields(category: Category) -> dict[str, list[object]]:
    classes = dict(category.field_classes)
    document: dict[str, list[object]] = {}
    for destination, names in category.fields:
        own = classes.get(destination, ())
        in_classes = {name for guard in own for name in (guard.name, *guard.aliases)}
        plain: list[object] = [name for name in names if name not in in_classes]
        document[str(destination)] = plain + [{"class": guard.name, "aliases": list(guard.aliases)} for guard in own]
    return document


def _rule(rule: DestinationRule) -> PolicyDocument:
    if not rule.consent_required:
        return {"consent": "not_required", "reason": rule.reason}
    if rule.any_without_consent:
        return {"match": rule.match, "any_may_permit_without_consent": True, "reason": rule.reason}
    return {"match": rule.match}
