"""Tests of the officer's part of a policy document: what it means, and every problem with its path."""

from __future__ import annotations

import json
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
from airflow_consent_retl.consent.officer import DestinationTerms
from airflow_consent_retl.consent.retention import Kept
from airflow_consent_retl.errors import PolicyError

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


def problems(part: Any) -> list[str]:
    with pytest.raises(PolicyError) as refusal:
        parse_policy(json.dumps(with_officer(part)))
    return [str(problem) for problem in refusal.value.problems]


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


def test_retention_is_exposed_by_kind() -> None:
    retention = parse_policy(json.dumps(with_officer(EVERYTHING))).retention

    assert retention.of("snapshots") == Kept(MaxAge(7, "days"), 3)
    assert retention.of("evidence") == Kept(MaxAge(3, "years"))
    assert retention.of("staging_tables") == Kept()
    assert parse_policy(POLICY).retention.of("snapshots") == Kept()


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ([], "expected an object, found a list @ $.officer"),
        ({"model": {}}, "unknown key `model`, did you mean `models`? @ $.officer.model"),
        ({"models": {}}, "expected at least one entry @ $.officer.models"),
        ({"models": {"x": 1}}, "expected an object, found a number @ $.officer.models.x"),
        ({"models": {"x": {"conection": "w"}}}, "did you mean `connection`? @ $.officer.models.x.conection"),
        ({"models": {"x": {"sql": ""}}}, "expected text that is not empty @ $.officer.models.x.sql"),
        ({"models": {"x": {"hook_params": []}}}, "expected an object, found a list @ $.officer.models.x.hook_params"),
        ({"connections": {"w": {"sql": "SELECT 1"}}}, "unknown key `sql` @ $.officer.connections.w.sql"),
        (
            {"models": {"x": {"current_consent_sql": "SELECT 1"}}},
            "it belongs to a declared `sql` @ $.officer.models.x.current_consent_sql",
        ),
        (
            {"models": {"x": {"consent": {"C004": "ads_ok"}}}},
            "category `C004` is not in the policy, did you mean `C0004`? @ $.officer.models.x.consent.C004",
        ),
        ({"models": {"x": {"consent": {"C0004": 1}}}}, "@ $.officer.models.x.consent"),
        ({"models": {"x": {"consent": {"C0004": ""}}}}, "@ $.officer.models.x.consent"),
        (
            {"models": {"x": {"consent": {"C0004": {"format": "Literal", "column": "a"}}}}},
            "does not know the consent format @ $.officer.models.x.consent",
        ),
        (
            {"models": {"x": {"consent": {"C0004": {"format": "FirstOf"}}}}},
            "expected a category's id with a column or a consent format, or one format for all categories @ "
            "$.officer.models.x.consent",
        ),
        (
            {"models": {"x": {"consent_sources": [SOURCE]}}},
            "`conn_id` is missing: without it the connection is the model's, which a DAG chooses @ "
            "$.officer.models.x.consent_sources[0]",
        ),
        (
            {"suppression_lists": [{"sql": "SELECT 1", "subject": "id"}]},
            "`conn_id` is missing: without it the connection is the model's, which a DAG chooses @ "
            "$.officer.suppression_lists[0]",
        ),
        (
            {"suppression_lists": [{**LIST, "mach": "email"}]},
            "unknown key `mach`, did you mean `match`? @ $.officer.suppression_lists[0].mach",
        ),
        (
            {"suppression_lists": [{**LIST, "match": "emails"}]},
            "@ $.officer.suppression_lists[0].match",
        ),
        ({"suppression_lists": [{**LIST, "format": "ConsentSource"}]}, "@ $.officer.suppression_lists[0].format"),
        ({"suppression_lists": [LIST, LIST]}, "column `suppressed` is already brought by"),
        (
            {"models": {"x": {"connection": "w", "consent_sources": [{**LIST}]}}},
            "key `format` is missing @ $.officer.models.x.consent_sources[0]",
        ),
        (
            {"destinations": {"gogle_ads": {}}},
            "`gogle_ads` is not in the policy, did you mean `google_ads`? @ $.officer.destinations.gogle_ads",
        ),
        (
            {"destinations": {"webhook": {"country": "Germany"}}},
            "expected two capital letters of ISO 3166, such as `DE` @ $.officer.destinations.webhook.country",
        ),
        ({"destinations": {"webhook": {"fields": []}}}, "at least one entry @ $.officer.destinations.webhook.fields"),
        ({"destinations": {"webhook": {"fields": ["a", "a"]}}}, "each once @ $.officer.destinations.webhook.fields"),
        ({"destinations": {"webhook": {"fields": {"id": 1}}}}, "each once @ $.officer.destinations.webhook.fields"),
        (
            {"destinations": {"webhook": {"parameters": {"endpoint": {}}}}},
            "expected text, a number, a boolean or null, found an object @ "
            "$.officer.destinations.webhook.parameters.endpoint",
        ),
        ({"undeclared_models": "error"}, "the policy declares no model, so that none could be used"),
        ({"unmapped_names": "deny"}, "expected one of `permit`, `error`, found `deny` @ $.officer.unmapped_names"),
        ({"no_assessment_in": "DE"}, "expected a list of countries, found text @ $.officer.no_assessment_in"),
        ({"no_assessment_in": ["DE", "de"]}, "@ $.officer.no_assessment_in"),
        (
            {"retention": {"snapshot": {"number": 1}}},
            "unknown key `snapshot`, did you mean `snapshots`? @ $.officer.retention.snapshot",
        ),
        ({"retention": {"logs": {"number": 1}}}, "unknown key `logs` @ $.officer.retention.logs"),
        ({"retention": {"evidence": {}}}, "expected `max_age`, `number` or both @ $.officer.retention.evidence"),
        ({"retention": {"evidence": {"number": 0}}}, "number of at least 1 @ $.officer.retention.evidence.number"),
        ({"retention": {"evidence": {"number": 1.5}}}, "number of at least 1 @ $.officer.retention.evidence"),
        ({"retention": {"evidence": {"max_age": "7 dys"}}}, "as `13 months` @ $.officer.retention.evidence.max_age"),
    ],
)
def test_a_wrong_part_is_refused_with_its_path(part: Any, expected: str) -> None:
    found = problems(part)

    assert len([one for one in found if expected in one]) == 1, found


def test_repeated_keys_are_seen_at_any_depth() -> None:
    text = json.dumps(
        with_officer({"models": {"x": {"consent": {"C0004": {"format": "Literals", "column": "a", "granted": ["y"]}}}}})
    ).replace('"column": "a"', '"column": "a", "column": "b"')

    with pytest.raises(PolicyError, match=r"key `column` occurs more than once @ \$\.officer\.models\.x\.consent"):
        parse_policy(text)
