"""Tests of policy documents: their meaning, and every possible error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl.consent import ConsentPolicy, DestinationRule, base_of, parse_policy
from airflow_consent_retl.consent.destination_name import parse_destination
from airflow_consent_retl.errors import PolicyError

CASES = Path(__file__).parents[1] / "cases"
PROBLEMS = json.loads((CASES / "policy_problems.json").read_text())
MEANINGS = json.loads((CASES / "policy_meanings.json").read_text())


def problems_of(document: Any) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(document)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: case["name"])
def test_refuses_a_broken_policy_with_every_problem_at_its_path(case: dict[str, Any]) -> None:
    text = case.get("text") or json.dumps(case.get("document", ""))
    text = "" if case["name"] == "nothing" else text

    problems = problems_of(text)

    assert problems == case["problems"]


@pytest.mark.parametrize("case", [case for case in PROBLEMS if "document" in case], ids=lambda case: case["name"])
def test_refuses_a_broken_policy_given_as_a_mapping_alike(case: dict[str, Any]) -> None:
    problems = problems_of(case["document"])

    assert problems == case["problems"]


@pytest.mark.parametrize("case", MEANINGS, ids=lambda case: case["name"])
def test_a_policy_has_the_requirements_of_its_document(case: dict[str, Any]) -> None:
    policy = parse_policy(json.dumps(case["document"]))

    requires = {name: list(policy.required_for(name)) for name in case["requires"]}
    rules = {name: policy.rule_for(name) for name in case["rules"]}

    assert requires == case["requires"]
    assert rules == {name: DestinationRule(*rule) for name, rule in case["rules"].items()}


@pytest.mark.parametrize("case", MEANINGS, ids=lambda case: case["name"])
def test_a_policy_means_the_same_as_text_bytes_and_mapping(case: dict[str, Any]) -> None:
    text = json.dumps(case["document"], ensure_ascii=False)

    policies = {parse_policy(text), parse_policy(text.encode()), parse_policy(case["document"])}

    assert len(policies) == 1


def test_a_policy_contains_the_document_with_defaults_filled_in() -> None:
    policy = parse_policy(
        {
            "unmapped_destinations": "deny",
            "categories": [
                {"id": "C0004", "name": "Ads", "destinations": ("webhook", "lake")},
                {"id": "C0002", "name": "Stats", "destinations": ["lake"], "enabled": False},
            ],
            "destinations": {"webhook": {"match": "any"}, "files": {"consent": "not_required", "reason": "own"}},
        }
    )

    assert [(c.id, c.name, c.destinations, c.enabled) for c in policy.categories] == [
        ("C0002", "Stats", ("lake",), False),
        ("C0004", "Ads", ("lake", "webhook"), True),
    ]
    assert policy.destination_rules == (
        ("files", DestinationRule(match="all", consent_required=False, reason="own")),
        ("webhook", DestinationRule(match="any", consent_required=True, reason=None)),
    )
    assert policy.unmapped_destinations == "deny"
    assert policy.missing_consent_column == "error"
    assert policy.destinations == ("files", "lake", "webhook")


def test_unmapped_destinations_are_permitted_and_missing_columns_an_error_by_default() -> None:
    policy = parse_policy({"categories": [{"id": "C", "name": "N", "destinations": ["lake"]}]})

    assert (policy.unmapped_destinations, policy.missing_consent_column) == ("permit", "error")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        (b"\xff\xfe{}", "the document is not UTF-8 @ $"),
        ("[" * 100_000, "the document is not JSON: nested too deeply @ $"),
        (None, "expected an object, found null @ $"),
        (
            {1: 2, "categories": [{"id": "C", "name": "N", "destinations": ["lake"]}]},
            "expected a key of text, found a number @ $",
        ),
        ({"categories": [{"id": "C", "name": "N", "destinations": {"lake"}}]}, None),
    ],
    ids=["not UTF-8", "nested without end", "nothing", "a key that is a number", "a set"],
)
def test_refuses_an_invalid_document(document: Any, problem: str | None) -> None:
    problems = problems_of(document)

    assert problems == [problem or "expected a list, found a set @ $.categories[0].destinations"]


def test_a_number_of_many_digits_is_a_number_like_any_other() -> None:
    problems = problems_of('{"categories": ' + "9" * 5000 + "}")

    assert problems == ["expected a list, found a number @ $.categories"]


def test_the_error_counts_its_problems() -> None:
    with pytest.raises(PolicyError, match=r"cannot be applied, 3 problems:\nkey `id`"):
        parse_policy({"categories": [{}]})


BASE: dict[str, Any] = {
    "categories": [
        {"id": "C0004", "name": "Ads", "destinations": ["webhook", "google_ads"]},
        {"id": "C0002", "name": "Stats", "destinations": ["webhook", "crm_table"]},
    ],
    "destinations": {"webhook": {"match": "any"}, "lake": {"consent": "not_required", "reason": "own store"}},
}


def changed(**changes: Any) -> ConsentPolicy:
    return parse_policy({**BASE, **changes})


def test_the_digest_is_the_same_for_the_same_meaning_in_another_order_and_spelling() -> None:
    reordered = {
        "missing_consent_column": "error",
        "destinations": {
            "lake": {"reason": "own store", "consent": "not_required"},
            "webhook": {"consent": "required", "match": "any"},
        },
        "categories": [
            {"enabled": True, "destinations": ["crm_table", "webhook"], "name": "Stats", "id": "C0002"},
            {"id": "C0004", "name": "Ads", "destinations": ["google_ads", "webhook"]},
        ],
        "unmapped_destinations": "permit",
    }

    policy = parse_policy(BASE)

    assert parse_policy(reordered).digest == policy.digest
    assert parse_policy(reordered) == policy
    assert policy.digest.startswith("sha256:")
    assert len(policy.digest) == len("sha256:") + 64


def test_the_digest_does_not_change_between_versions_of_the_code() -> None:
    # Rows that were permitted under one digest are refused under another: a change of it needs a new version tag.
    digest = parse_policy(BASE).digest

    assert digest == "sha256:1aae99551eb851d5b628745b4c1dfdd113a2c1f89f7857b6b23b9327f0bb5dd5"


def test_the_digest_of_a_policy_with_every_term_does_not_change_either() -> None:
    law = {"reason": "no law there", "owner": "legal"}
    aged = {"id": "C0004", "name": "Ads", "destinations": ["webhook"], "max_age": "1 year"}
    regional = {"id": "C0002", "name": "Stats", "destinations": ["webhook"], "regions": {"US": "opt_out"}}
    exempt = {"id": "C0009", "name": "Letters", "destinations": ["webhook"], "regions": {"AQ": "exempt"}, **law}
    rule = {"match": "any", "any_may_permit_without_consent": True, "reason": "asked the regulator"}
    document = {
        "categories": [aged, regional, exempt],
        "destinations": {"webhook": rule},
        "officer": {"destinations": {"webhook": {"purpose": "letters"}}},
    }
    older = {**document, "categories": [{**aged, "max_age": "2 years"}, regional, exempt]}

    assert parse_policy(document).digest == "sha256:2a7643df22b736afdbd27755ab17ab114d657e484e844614506724e6cd747f1b"
    assert parse_policy(older).digest != parse_policy(document).digest


def test_the_digest_changes_with_every_meaning() -> None:
    first, second = BASE["categories"]
    variants = [
        changed(),
        changed(unmapped_destinations="deny"),
        changed(unmapped_destinations="error"),
        changed(missing_consent_column="deny"),
        changed(categories=[first]),
        changed(categories=[first, {**second, "enabled": False}]),
        changed(categories=[first, {**second, "id": "c0002"}]),
        changed(categories=[first, {**second, "name": "stats"}]),
        changed(categories=[first, {**second, "destinations": ["webhook"]}]),
        changed(categories=[{**first, "id": "C0002"}, {**second, "id": "C0004"}]),
        changed(destinations={}),
        changed(destinations={"webhook": {"match": "any"}}),
        changed(destinations={"webhook": {"match": "any"}, "crm_table": {}}),
        changed(
            destinations={"webhook": {"match": "any", "any_may_permit_without_consent": True, "reason": "own store"}}
        ),
        changed(destinations={**BASE["destinations"], "webhook": {"match": "all"}}),
        changed(destinations={**BASE["destinations"], "lake": {"consent": "not_required", "reason": "another"}}),
    ]

    digests = {policy.digest for policy in variants}

    assert len(digests) == len(variants)
    assert len(set(variants)) == len(variants)


def test_finds_a_category_by_its_exact_id() -> None:
    policy = parse_policy(BASE)

    found = policy.category("C0004")

    assert found is not None
    assert found.name == "Ads"
    assert policy.category("c0004") is None


@pytest.mark.parametrize(
    ("destination", "meant"),
    [
        ("webhook", None),
        ("lake", None),
        ("google_ads:emea", None),
        ("printer", None),
        ("Webhook", "webhook"),
        ("google-ads:emea", "google_ads"),
        ("lakes", "lake"),
    ],
)
def test_finds_a_destination_that_may_be_misspelt(destination: str, meant: str | None) -> None:
    policy = parse_policy(BASE)

    assert policy.misspelt(destination) == meant


def test_the_base_of_an_instance_is_its_destination_and_that_of_a_destination_is_itself() -> None:
    assert base_of("google_ads:emea") == "google_ads"
    assert base_of("google_ads") == "google_ads"


def test_a_destination_without_its_instance_is_misspelt_if_only_instances_are_named() -> None:
    policy = parse_policy({"categories": [{"id": "C", "name": "N", "destinations": ["google_ads:emea"]}]})

    assert policy.misspelt("google_ads") == "google_ads:emea"
    assert policy.misspelt("google_ads:eema") == "google_ads:emea"
    assert policy.misspelt("google_ads:japan") is None


def test_a_destination_has_up_to_a_hundred_characters() -> None:
    assert parse_destination("a" * 100) == "a" * 100
    with pytest.raises(ValueError, match=r"^a destination has at most 100 characters, found 101$"):
        parse_destination("a" * 101)
