"""Tests of the lint rules: what each finds in a policy, and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.consent.policy_lint import lint_policy

AT = datetime(2026, 11, 29, tzinfo=UTC)


def found(categories: list[dict[str, Any]], officer: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    more = {} if officer is None else {"officer": officer}
    return [(one.rule, one.place) for one in lint_policy(parse_policy({"categories": categories, **more}), at=AT)]


def category(name: str, *destinations: str, id: str = "C1", **more: Any) -> dict[str, Any]:  # noqa: A002
    return {"id": id, "name": name, "destinations": list(destinations), **more}


@pytest.mark.parametrize("destination", ["google_ads", "ads", "facebookAudiences", "retargeting-pixel", "adverts:emea"])
@pytest.mark.parametrize("name", ["E-mail", "Newsletter", "email marketing", "EmailConsent"])
def test_an_advertising_destination_that_only_an_email_category_guards(destination: str, name: str) -> None:
    rules = [rule for rule, _ in found([category(name, destination)])]

    assert rules == ["advertising_by_email_consent"]


@pytest.mark.parametrize(
    "categories",
    [
        [category("Advertising", "google_ads")],
        [category("E-mail", "google_ads"), category("Advertising", "google_ads", id="C2")],
        [category("E-mail", "mailer")],
        # Words are compared, not letters: `leads` and `download` are not about advertising.
        [category("E-mail", "leads", "downloads", "roadmap")],
        [category("E-mail", "google_ads", enabled=False), category("Ads", "google_ads", id="C2")],
    ],
)
def test_other_destinations_of_an_email_category_are_left_alone(categories: list[dict[str, Any]]) -> None:
    assert found(categories) == []


@pytest.mark.parametrize(
    ("destination", "rule"),
    [
        ("patient_portal", "named_after_health"),
        ("crm:clinicEurope", "named_after_health"),
        ("Pharma-list", "named_after_health"),
        ("loan_offers", "named_after_finance"),
        ("bank", "named_after_finance"),
        ("creditCheck", "named_after_finance"),
    ],
)
def test_a_destination_named_after_health_or_finance(destination: str, rule: str) -> None:
    assert [one for one, _ in found([category("Agreed", destination)])] == [rule]


@pytest.mark.parametrize("destination", ["bankrupt", "healthy", "riverbanks", "webhook"])
def test_names_that_only_contain_such_a_word_are_left_alone(destination: str) -> None:
    assert found([category("Agreed", destination)]) == []


SQL = "SELECT * FROM people"


@pytest.mark.parametrize(
    ("name", "column", "is_found"),
    [
        ("Advertising", "ads_ok", False),
        ("Advertising", "ads_opted_out", True),
        ("Do not sell", "sell_ok", True),
        ("Do not sell", "do_not_sell", False),
        ("Opt-out of ads", "ads", True),
        ("Advertising", "not_opted_out", False),
    ],
)
def test_a_category_whose_name_says_the_opposite_of_its_column(name: str, column: str, is_found: bool) -> None:
    officer = {"models": {"people": {"sql": SQL, "consent": {"C1": column}}}}

    rules = found([category(name, "webhook")], officer)

    assert rules == ([("opposite_names", "$.officer.models.people.consent.C1")] if is_found else [])


def test_a_column_that_the_dags_sql_writes() -> None:
    source = {"format": "ConsentSource", "sql": "SELECT 1", "subject": "id", "columns": ["ads_ok"]}
    categories = [category("Advertising", "webhook")]

    assert found(categories, {"models": {"people": {"consent": {"C1": "ads_ok"}}}}) == [
        ("written_by_the_dag", "$.officer.models.people.consent")
    ]
    assert found(categories, {"connections": {"crm": {"consent": {"C1": "ads_ok"}}}}) == [
        ("written_by_the_dag", "$.officer.connections.crm.consent")
    ]
    assert found(categories, {"models": {"people": {"sql": SQL, "consent": {"C1": "ads_ok"}}}}) == []
    brought = {"connection": "w", "consent": {"C1": "ads_ok"}, "consent_sources": [source]}
    assert found(categories, {"models": {"people": brought}}) == []


def test_a_destination_without_a_place_or_an_assessment() -> None:
    officer = {"no_assessment_in": ["DE"], "destinations": {"webhook": {"connection": "crm", "country": "US"}}}

    assert found([category("Agreed", "lake", "webhook")], officer) == [
        ("no_assessment", "$.officer.destinations.lake"),
        ("no_assessment", "$.officer.destinations.webhook"),
        ("no_place", "$.officer.destinations.lake"),
    ]


def test_each_finding_has_a_sentence_and_a_reason() -> None:
    (finding,) = lint_policy(parse_policy({"categories": [category("Newsletter", "google_ads")]}), at=AT)

    assert finding.sentence == "`google_ads` is named after advertising, and only `C1` (Newsletter) guards it"
    assert finding.reason.startswith("Who agreed to e-mail did not agree to be in an audience for advertising")


def test_every_finding_is_at_its_place_and_says_what_was_found_and_why_it_matters() -> None:
    source = {"format": "ConsentSource", "sql": "SELECT 1", "subject": "id", "columns": ["doc"]}
    whole = {"format": "ConsentObject", "column": "doc"}
    policy = parse_policy(
        {
            "categories": [
                category("Newsletter", "clinic-ads", "bank:eu"),
                category("E-mail", "clinic-ads", id="C2", regions="preset:2026-11"),
            ],
            "officer": {
                "models": {
                    "people": {"consent": {"C2": "b", "C1": "a"}},
                    "documents": {"consent": whole},
                    "elsewhere": {"connection": "w", "consent": whole, "consent_sources": [source]},
                },
                "destinations": {"clinic-ads": {"connection": "c", "country": "US"}},
                "no_assessment_in": ["DE"],
            },
        }
    )

    found = [
        (one.rule, one.place, one.sentence, one.reason)
        for one in lint_policy(policy, at=datetime(2028, 1, 1, tzinfo=UTC))
        if one.rule != "unread_signal"
    ]

    assessed = "The policy requires one there: filters and loads for this destination are refused."
    dag = "A DAG writes that SQL and could say `TRUE AS …`: declare a consent source, or the `sql`."
    own_rows = "of the model's own rows, and the policy does not have the model's `sql`"
    assert found == [
        (
            "advertising_by_email_consent",
            '$.destinations["clinic-ads"]',
            "`clinic-ads` is named after advertising, and only `C1` (Newsletter), `C2` (E-mail) guards it",
            "Who agreed to e-mail did not agree to be in an audience for advertising: these are two purposes.",
        ),
        (
            "named_after_finance",
            '$.destinations["bank:eu"]',
            "`bank:eu` is named after finance",
            "To be in a list about money can show a person's situation: name its purpose and its assessment.",
        ),
        (
            "named_after_health",
            '$.destinations["clinic-ads"]',
            "`clinic-ads` is named after health",
            "To be in a list about health can be data about health (Art. 9 GDPR), which needs explicit consent.",
        ),
        (
            "no_assessment",
            '$.officer.destinations["bank:eu"]',
            "`bank:eu` is in an unnamed country and has no assessment",
            assessed,
        ),
        (
            "no_assessment",
            '$.officer.destinations["clinic-ads"]',
            "`clinic-ads` is in US and has no assessment",
            assessed,
        ),
        (
            "no_place",
            '$.officer.destinations["bank:eu"]',
            "the policy does not say where `bank:eu` is",
            "A DAG chooses the connection and the target: another vendor may be called by this name.",
        ),
        (
            "old_preset",
            "$.categories[1].regions",
            "category `C2` follows `preset:2026-11`, whose sources were read on 2026-11-29, more than a year ago",
            "Laws change: read the sources again, take a later preset, or list the regions yourself.",
        ),
        ("written_by_the_dag", "$.officer.models.documents.consent", f"consent is in `doc` {own_rows}", dag),
        ("written_by_the_dag", "$.officer.models.people.consent", f"consent is in `a`, `b` {own_rows}", dag),
    ]
