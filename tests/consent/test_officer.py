"""Tests of the officer's part of a policy document: what it means, and every problem with its path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    ConsentSource,
    FirstOf,
    Literals,
    Recorded,
    RowConsent,
    SuppressionList,
    parse_consent_mapping,
    parse_policy,
    policy_document,
)
from airflow_consent_retl.consent.freshness import MaxAge
from airflow_consent_retl.consent.officer import DestinationTerms, ModelTerms, OfficerPart
from airflow_consent_retl.consent.retention import Kept
from airflow_consent_retl.errors import PolicyError

PROBLEMS = json.loads((Path(__file__).parents[1] / "cases" / "officer_problems.json").read_text())
POLICY: dict[str, Any] = {
    "categories": [
        {"id": "C0002", "name": "Analytics", "destinations": ["lake"]},
        {"id": "C0004", "name": "Advertising", "destinations": ["google_ads", "webhook"]},
    ]
}
SOURCE = {"format": "ConsentSource", "sql": "SELECT * FROM consents", "subject": "user_id", "columns": ["ads_ok"]}
LIST = {"sql": "SELECT email FROM do_not_contact", "subject": "email", "conn_id": "crm"}
EVERYTHING: dict[str, Any] = {
    "models": {
        "customers": {
            "connection": "warehouse",
            "primary_key": "user_id",
            "sql": "SELECT * FROM customers",
            "current_consent_sql": "SELECT user_id FROM customers",
            "hook_params": {"warehouse": "LARGE", "timeout": 3},
            "consent": {"C0002": "stats_ok", "C0004": "ads_ok"},
            "consent_sources": [SOURCE],
        }
    },
    "connections": {"crm": {"consent": {"C0004": {"format": "Literals", "column": "ads", "granted": [1, 2]}}}},
    "suppression_lists": [LIST],
    "destinations": {
        "google_ads": {
            "operator": "LoadToGoogleCustomerMatchOperator",
            "connection": "google",
            "parameters": {"audience_id": "42"},
            "target": "audience 42",
            "fields": {"email": "email"},
            "purpose": "audiences",
            "assessment": "DPIA-7",
            "country": "US",
        },
        "webhook": {"fields": ["user_id", "email"]},
    },
    "undeclared_models": "error",
    "unmapped_names": "error",
    "no_assessment_in": ["FR", "DE"],
    "retention": {"snapshots": {"max_age": "7 days", "number": 3}, "evidence": {"max_age": "3 years"}},
}


def with_officer(part: Any, **more: Any) -> dict[str, Any]:
    return {**POLICY, **more, "officer": part}


def problems_of(text: str) -> list[str]:
    with pytest.raises(PolicyError) as refusal:
        parse_policy(text)
    return [str(problem) for problem in refusal.value.problems]


def problems(part: Any) -> list[str]:
    return problems_of(json.dumps(with_officer(part)))


def test_a_policy_without_an_officers_part_keeps_its_digest() -> None:
    plain = parse_policy(POLICY).digest

    assert parse_policy(with_officer({})).digest == plain
    assert parse_policy(with_officer({"undeclared_models": "permit"})).digest == plain
    assert "officer" not in policy_document(parse_policy(POLICY))


@pytest.mark.parametrize("key", sorted(EVERYTHING))
def test_each_part_changes_the_digest_and_is_read_back_from_its_document(key: str) -> None:
    part = {name: EVERYTHING[name] for name in {key, "models"}}

    policy = parse_policy(json.dumps(with_officer(part)))
    again = parse_policy(json.loads(json.dumps(policy_document(policy))))

    assert policy.digest != parse_policy(with_officer({"models": EVERYTHING["models"]})).digest or key == "models"
    assert policy.digest != parse_policy(POLICY).digest
    assert (again.digest, again.officer) == (policy.digest, policy.officer)


def test_the_order_of_names_means_nothing() -> None:
    turned = {key: EVERYTHING[key] for key in reversed(EVERYTHING)}
    turned["destinations"] = {key: EVERYTHING["destinations"][key] for key in ("webhook", "google_ads")}
    turned["no_assessment_in"] = ["DE", "FR"]

    assert parse_policy(with_officer(turned)).digest == parse_policy(with_officer(EVERYTHING)).digest


def test_text_and_document_mean_the_same() -> None:
    assert parse_policy(json.dumps(with_officer(EVERYTHING))).officer == parse_policy(with_officer(EVERYTHING)).officer


def test_consent_is_read_as_a_dag_declares_it() -> None:
    part = {
        "models": {
            "rows": {
                "consent": {
                    "format": "RowConsent",
                    "categories": {
                        "C0004": {
                            "format": "FirstOf",
                            "parts": [{"format": "Recorded", "signal": "crm_ok", "time": "crm_at"}, "ads_ok"],
                        },
                        "C0002": {"format": "Literals", "column": "stats", "granted": [1], "denied": [0]},
                    },
                    "region": "country",
                    "gpc": "gpc",
                }
            }
        }
    }

    (terms,) = dict(parse_policy(json.dumps(with_officer(part))).officer.models).values()

    assert terms.consent == parse_consent_mapping(
        RowConsent(
            {
                "C0004": FirstOf(Recorded("crm_ok", time="crm_at"), "ads_ok"),
                "C0002": Literals("stats", granted=(1,), denied=(0,)),
            },
            region="country",
            gpc="gpc",
        )
    )


def test_sources_and_lists_are_those_that_a_dag_declares() -> None:
    officer = parse_policy(json.dumps(with_officer(EVERYTHING))).officer
    terms = officer.model("customers", "warehouse")

    assert terms is not None
    assert terms.sources == (ConsentSource("SELECT * FROM consents", subject="user_id", columns=["ads_ok"]),)
    assert officer.suppression_lists == (
        SuppressionList("SELECT email FROM do_not_contact", subject="email", conn_id="crm"),
    )


def test_each_term_of_a_model_and_of_a_destination_is_exposed() -> None:
    officer = parse_policy(json.dumps(with_officer(EVERYTHING))).officer

    assert officer.model("customers", "warehouse") == ModelTerms(
        connection="warehouse",
        primary_key="user_id",
        sql="SELECT * FROM customers",
        current_consent_sql="SELECT user_id FROM customers",
        hook_params='{"timeout": 3, "warehouse": "LARGE"}',
        consent=parse_consent_mapping({"C0002": "stats_ok", "C0004": "ads_ok"}),
        sources=(ConsentSource("SELECT * FROM consents", subject="user_id", columns=["ads_ok"]),),
    )
    assert officer.destination("google_ads") == DestinationTerms(
        operator="LoadToGoogleCustomerMatchOperator",
        connection="google",
        parameters=(("audience_id", "42"),),
        target="audience 42",
        fields=(("email", "email"),),
        purpose="audiences",
        assessment="DPIA-7",
        country="US",
    )
    assert officer.destination("webhook") == DestinationTerms(fields=((None, "email"), (None, "user_id")))


def test_a_models_own_terms_come_before_those_of_its_connection() -> None:
    officer = parse_policy(with_officer(EVERYTHING)).officer

    assert officer.model("customers", "crm") == dict(officer.models)["customers"]
    assert officer.model("leads", "crm") == dict(officer.connections)["crm"]
    assert officer.model("leads", "elsewhere") is None


def test_an_instance_has_the_terms_of_its_base_except_for_its_own() -> None:
    destinations = {**EVERYTHING["destinations"], "google_ads:emea": {"country": "IE", "assessment": "DPIA-8"}}

    found = parse_policy(with_officer({"destinations": destinations})).officer

    assert found.destination("google_ads:emea").country == "IE"
    assert found.destination("google_ads:emea").connection == "google"
    assert found.destination("google_ads:apac").country == "US"
    assert found.destination("lake") == DestinationTerms()


def test_a_base_is_everything_before_the_first_colon() -> None:
    ours = DestinationTerms(country="IE")

    assert OfficerPart(destinations=(("webhook", ours),)).destination("webhook:a:b") == ours


def test_retention_is_exposed_by_kind() -> None:
    retention = parse_policy(json.dumps(with_officer(EVERYTHING))).retention

    assert retention.of("snapshots") == Kept(MaxAge(7, "days"), 3)
    assert retention.of("evidence") == Kept(MaxAge(3, "years"))
    assert retention.of("staging_tables") == Kept()
    assert parse_policy(POLICY).retention.of("snapshots") == Kept()
    assert parse_policy(with_officer({"retention": {"changes": {"number": 1}}})).retention.of("changes") == Kept(
        number=1
    )


@pytest.mark.parametrize("case", PROBLEMS, ids=lambda case: case["problems"][0])
def test_a_wrong_part_is_refused_with_every_problem_at_its_path(case: dict[str, Any]) -> None:
    assert problems(case["part"]) == case["problems"]


@pytest.mark.parametrize(
    ("once", "twice", "path"),
    [
        ('"models": {', '"models": {"x": {}, ', "models.x"),
        ('"consent": {', '"consent": {"C0002": "ads_ok", ', "models.x.consent.C0002"),
        ('"time": ', '"time": "since", "time": ', "models.x.consent.C0004.parts[1].time"),
        ('"conn_id": ', '"conn_id": "w", "conn_id": ', "suppression_lists[0].conn_id"),
    ],
)
def test_repeated_keys_are_seen_at_any_depth(once: str, twice: str, path: str) -> None:
    crm = {"format": "Recorded", "signal": "crm_ok", "time": "at"}
    consent = {"C0004": {"format": "FirstOf", "parts": ["ads_ok", crm]}, "C0002": "stats_ok"}
    text = json.dumps(with_officer({"models": {"x": {"consent": consent}}, "suppression_lists": [LIST]}))

    key = path.rpartition(".")[2]
    assert problems_of(text.replace(once, twice)) == [f"key `{key}` occurs more than once @ $.officer.{path}"]
