"""The categories whose answers a destination may get: those that the policy requires, or that guard the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.json_path import child
from airflow_consent_retl.errors import Problem
from airflow_consent_retl.fields.field_values import answers_in
from airflow_consent_retl.near import nearest

if TYPE_CHECKING:
    from airflow_consent_retl.consent.policy import ConsentPolicy


def answer_problems(policy: ConsentPolicy, destination: str, fields: Mapping[str, str]) -> list[Problem]:
    """Return a problem for each field with an answer that the policy does not share with a destination.

    Args:
        policy: the policy.
        destination: the policy's name of the destination.
        fields: the destination's field names, each with the model's column or another value.
    """
    required = policy.required_for(destination)
    problems = []
    for name, answer in answers_in(fields):
        guarding = {category.id for category, names in policy.guarded_fields(destination) if name in names}
        if answer.category not in {*required, *guarding}:
            problems.append(Problem(child("fields", name), _refusal(policy, destination, answer.category, name)))
    return problems


def marked_problems(policy: ConsentPolicy, answers: Mapping[str, tuple[str, ...]]) -> list[Problem]:
    """Return a problem for each category whose answer a filter cannot mark, by destination."""
    problems = []
    for destination, categories in answers.items():
        known = {
            *policy.required_for(destination),
            *(category.id for category, _ in policy.guarded_fields(destination)),
        }
        problems += [
            Problem(child("answers", destination), _refusal(policy, destination, category, "…"))
            for category in categories
            if category not in known
        ]
    return problems


def _refusal(policy: ConsentPolicy, destination: str, category: str, field: str) -> str:
    required = ", ".join(f"`{name}`" for name in policy.required_for(destination)) or "no category"
    found = policy.category(category)
    if found is None:
        near = nearest(category, [known.id for known in policy.categories])
        return f"category `{category}` is not in the policy" + (f", did you mean `{near}`?" if near else "")
    if not found.enabled:
        return f"category `{category}` is disabled in the policy, so no answer to it is read"
    return (
        f"the answer to category `{category}` is no reason for `{destination}`, which requires {required}: map the "
        f"category to the destination in the policy, or guard the field with it "
        f'("fields": {{"{destination}": ["{field}"]}}), or use the answer to a category that it requires'
    )
