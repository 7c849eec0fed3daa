"""Rules about a policy that is sound and may still not say what its officer means, each with its reason. Pure.

They look at names and declarations. A finding is a question to a person: nothing is refused for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.json_path import child
from airflow_consent_retl.consent.mapping import records_of
from airflow_consent_retl.consent.opposite import says_opposite
from airflow_consent_retl.consent.region_presets import preset_named

if TYPE_CHECKING:
    from datetime import datetime

    from airflow_consent_retl.consent.mapping import ConsentMapping
    from airflow_consent_retl.consent.policy import Category, ConsentPolicy
    from airflow_consent_retl.consent.region_presets import RegionPreset

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ADVERTISING = re.compile(r"ads?|adverts?|advertising|audiences?|retargeting|remarketing|lookalikes?|pixel|dsp")
_EMAIL = re.compile(r"e?mails?|mailings?|newsletters?")
_HEALTH = re.compile(
    r"health(care)?|medic(al|ine|ation)|patients?|clinic(s|al)?|hospitals?|doctors?|pharma(cy)?|diagnos[ei]s|therapy"
    r"|diseases?|fertility|pregnancy"
)
_FINANCE = re.compile(
    r"financ(e|ial)|bank(s|ing)?|credits?|loans?|debts?|mortgages?|insur(ance|ers?)|income|salary|payday|investments?"
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One finding: the rule's name, the place in the document, what was found, and why it matters."""

    rule: str
    place: str
    sentence: str
    reason: str


def lint_policy(policy: ConsentPolicy, *, at: datetime) -> list[Finding]:
    """Return what the rules find in a policy at a time, which has a zone, in the order of rules and places."""
    found = [*_advertising_by_email(policy), *_sensitive_names(policy), *_unassessed(policy), *_unplaced(policy)]
    found += _old_presets(policy, at)
    for model, terms in policy.officer.models:
        path = child("$.officer.models", model)
        if terms.consent is not None:
            found += _opposite_names(policy, terms.consent, f"{path}.consent")
            found += _unread_signal(policy, terms.consent, f"{path}.consent")
            found += _written_by_the_dag(terms.consent, terms.sql, brought_by(terms.sources), f"{path}.consent")
    for connection, terms in policy.officer.connections:
        path = child("$.officer.connections", connection)
        if terms.consent is not None:
            found += _opposite_names(policy, terms.consent, f"{path}.consent")
            found += _unread_signal(policy, terms.consent, f"{path}.consent")
            found += _written_by_the_dag(terms.consent, None, brought_by(terms.sources), f"{path}.consent")
    return sorted(found)


def lint_mapping(policy: ConsentPolicy, mapping: ConsentMapping) -> list[Finding]:
    """Return what the rules find in a DAG's mapping."""
    return sorted([*_opposite_names(policy, mapping, "consent"), *_unread_signal(policy, mapping, "consent")])


def always_yes(category: str, rows: int, place: str) -> Finding:
    """Return the finding about a category that every row of a snapshot grants."""
    return Finding(
        "always_yes",
        place,
        f"category `{category}`: all {rows:,} rows say yes",
        "A column that holds nothing but yes was filled with a constant, or the model's SQL keeps only people who "
        "consent: then a withdrawal shows only as an absence.",
    )


def brought_by(sources: Iterable[object]) -> frozenset[str]:
    """Return the columns that consent sources bring."""
    return frozenset(name for source in sources for name in getattr(source, "brought", ()))


def _names(name: str, words: re.Pattern[str]) -> bool:
    """Return whether one of a name's words is one of these."""
    return any(words.fullmatch(word.lower()) for word in _WORD.findall(name))


def _advertising_by_email(policy: ConsentPolicy) -> Iterator[Finding]:
    for destination in policy.destinations:
        mapped = [category for category in policy.mapped_to(destination) if category.enabled]
        by_email = [category for category in mapped if _names(f"{category.name} {category.id}", _EMAIL)]
        if mapped and by_email == mapped and _names(destination, _ADVERTISING):
            named = ", ".join(f"`{category.id}` ({category.name})" for category in mapped)
            yield Finding(
                "advertising_by_email_consent",
                child("$.destinations", destination),
                f"`{destination}` is named after advertising, and only {named} guards it",
                "Who agreed to e-mail did not agree to be in an audience for advertising: these are two purposes.",
            )


def _sensitive_names(policy: ConsentPolicy) -> Iterator[Finding]:
    for destination in policy.destinations:
        for subject, words, reason in (
            (
                "health",
                _HEALTH,
                "To be in a list about health can be data about health (Art. 9 GDPR), which needs explicit consent.",
            ),
            (
                "finance",
                _FINANCE,
                "To be in a list about money can show a person's situation: name its purpose and its assessment.",
            ),
        ):
            if _names(destination, words):
                yield Finding(
                    f"named_after_{subject}",
                    child("$.destinations", destination),
                    f"`{destination}` is named after {subject}",
                    reason,
                )


def _unassessed(policy: ConsentPolicy) -> Iterator[Finding]:
    exempt = policy.officer.no_assessment_in
    for destination in policy.destinations:
        terms = policy.officer.destination(destination)
        if exempt is not None and terms.assessment is None and terms.country not in exempt:
            yield Finding(
                "no_assessment",
                child("$.officer.destinations", destination),
                f"`{destination}` is in {terms.country or 'an unnamed country'} and has no assessment",
                "The policy requires one there: filters and loads for this destination are refused.",
            )


def _unplaced(policy: ConsentPolicy) -> Iterator[Finding]:
    # A policy that places no destination leaves this to its DAGs on purpose.
    if not any(terms.is_placed for _, terms in policy.officer.destinations):
        return
    for destination in policy.destinations:
        if not policy.officer.destination(destination).is_placed:
            yield Finding(
                "no_place",
                child("$.officer.destinations", destination),
                f"the policy does not say where `{destination}` is",
                "A DAG chooses the connection and the target: another vendor may be called by this name.",
            )


def _presets(policy: ConsentPolicy) -> Iterator[tuple[int, Category, RegionPreset]]:
    """Yield the place and the preset of each enabled category that has one."""
    for place, category in enumerate(policy.categories):
        preset = None if category.region_preset is None else preset_named(category.region_preset)
        if preset is not None and category.enabled:
            yield place, category, preset


def _old_presets(policy: ConsentPolicy, at: datetime) -> Iterator[Finding]:
    for place, category, preset in _presets(policy):
        if preset.is_old(at):
            yield Finding(
                "old_preset",
                f"$.categories[{place}].regions",
                f"category `{category.id}` follows `{category.region_preset}`, whose sources were read on "
                f"{preset.read_on:%F}, more than a year ago",
                "Laws change: read the sources again, take a later preset, or list the regions yourself.",
            )


def _unread_signal(policy: ConsentPolicy, mapping: ConsentMapping, path: str) -> Iterator[Finding]:
    for _, category, preset in _presets(policy):
        if mapping.gpc is None and preset.with_gpc:
            yield Finding(
                "unread_signal",
                path,
                f"category `{category.id}` follows `{category.region_preset}`, and no column is named as `gpc`",
                f"The laws of {', '.join(preset.with_gpc)} oblige to honour an opt-out signal of the browser, such as "
                "Global Privacy Control: name the column with it.",
            )


def _opposite_names(policy: ConsentPolicy, mapping: ConsentMapping, path: str) -> Iterator[Finding]:
    for category_id, entry in mapping.entries:
        category = policy.category(category_id)
        names = [] if category is None else [category.name, category.id]
        is_objection = any(map(says_opposite, names))
        for record in records_of(entry):
            if says_opposite(record.signal.column) != is_objection and category is not None:
                yield Finding(
                    "opposite_names",
                    child(path, category_id),
                    f"category `{category_id}` is called `{category.name}`, and its column `{record.signal.column}`",
                    "One of the two names sounds like an objection and the other like consent: a yes may mean a no. "
                    "Check what TRUE means, and use OptOut for a column of objections.",
                )


def _written_by_the_dag(
    mapping: ConsentMapping, sql: str | None, brought: frozenset[str], path: str
) -> Iterator[Finding]:
    columns = {record.signal.column for _, entry in mapping.entries for record in records_of(entry)}
    if mapping.whole is not None:
        columns = {*mapping.whole.columns}
    own = sorted(columns - brought)
    if sql is None and own:
        named = ", ".join(f"`{column}`" for column in own)
        yield Finding(
            "written_by_the_dag",
            path,
            f"consent is in {named} of the model's own rows, and the policy does not have the model's `sql`",
            "A DAG writes that SQL and could say `TRUE AS …`: declare a consent source, or the `sql`.",
        )
