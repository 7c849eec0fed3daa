"""Tests of records as they lie in warehouses: each has the status of its table, and a small change is never a yes.

The tables are in `cases/records`, one file for each source: see `support.records`.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.records import FILES, documented_words, edits_of, tables, value_of

from airflow_consent_retl import consent
from airflow_consent_retl.consent import (
    AdobeConsent,
    CategorySignal,
    ConsentStatus,
    CookiebotConsent,
    DidomiPurposes,
    JsonList,
    JsonListItem,
    JsonMap,
    JsonPath,
    KetchPurposes,
    OneTrustPurpose,
    OneTrustPurposes,
    OptOut,
    SnowplowConsent,
    TranscendPurpose,
    UsercentricsServices,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.consent.format_document import format_document, parse_signal
from airflow_consent_retl.errors import PolicyError


def status(signal: CategorySignal, raw: str | None) -> ConsentStatus:
    return signal.status(signal.token(raw))


@pytest.mark.parametrize("file", FILES)
def test_each_row_has_the_status_of_its_table(file: str) -> None:
    wrong = [
        (table.reader, raw, expected, str(found))
        for table in tables(file)
        for signal, raw, expected in table.rows
        if (found := status(signal, raw)) is not ConsentStatus(expected)
    ]

    assert wrong == []


@pytest.mark.parametrize("file", FILES)
def test_a_signal_is_the_same_after_it_was_written_as_a_document(file: str) -> None:
    signals = {signal for table in tables(file) for signal, _, _ in table.rows}

    assert {parse_signal(json.loads(json.dumps(format_document(signal)))) for signal in signals} == signals


@pytest.mark.parametrize("file", FILES)
def test_whatever_grants_contains_the_documented_yes(file: str) -> None:
    for table in tables(file):
        granting = [raw for signal, raw, expected in table.rows if expected == "granted"]

        assert bool(granting) == (table.yes is not None)
        assert all(table.says_yes(raw) for raw in granting)


@pytest.mark.parametrize("file", FILES)
def test_a_value_that_differs_by_one_character_never_turns_a_no_into_a_yes(file: str) -> None:
    words = documented_words(file)
    turned = []
    for table in tables(file):
        for signal, raw, expected in table.rows:
            if raw is None or expected != "denied":
                continue
            turned += [
                edited
                for edited, word in edits_of(raw)
                if value_of(word) not in words and status(signal, edited) is ConsentStatus.GRANTED
            ]

    assert turned == []


@pytest.mark.parametrize("file", FILES)
def test_a_yes_whose_values_change_by_one_character_is_none_unless_it_still_says_yes(file: str) -> None:
    for table in tables(file):
        for signal, raw, expected in table.rows:
            if raw is None or expected != "granted":
                continue
            for edited, _ in edits_of(raw):
                assert table.says_yes(edited) or status(signal, edited) is not ConsentStatus.GRANTED


def test_formats_with_literals_of_other_types_are_different_formats() -> None:
    assert JsonPath("x", "a", granted=(1,), denied=(0,)) != JsonPath("x", "a", granted=(True,), denied=(False,))
    assert JsonListItem("x", "a", granted=(1,)) != JsonListItem("x", "a", granted=(True,), denied=())


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (lambda: JsonPath("", "a"), "JsonPath.column"),
        (lambda: JsonPath("x", ""), "JsonPath.path"),
        (lambda: JsonPath("x", "a..b"), "JsonPath.path"),
        (lambda: JsonPath("x", "a", granted=()), "JsonPath.granted"),
        (lambda: JsonPath("x", "a", granted=(" ",)), "JsonPath.granted"),
        (lambda: JsonPath("x", "a", granted=("y", 1)), "JsonPath"),  # type: ignore[arg-type]
        (lambda: JsonPath("x", "a", granted=("y",), denied=("y",)), "JsonPath"),
        (lambda: JsonListItem("x", " "), "JsonListItem.item"),
        (lambda: JsonList("x", id=""), "JsonList.id"),
        (lambda: JsonList("x", state=("id",)), "JsonList.state"),
        (lambda: JsonList("x", id="a.b", state="a"), "JsonList.state"),
        (lambda: JsonList("x", key_by="key"), "JsonList.key_by"),  # type: ignore[arg-type]
        (lambda: JsonMap("x", path=("",)), "JsonMap.path"),
        (lambda: DidomiPurposes("x", kind="vendors"), "DidomiPurposes.kind"),  # type: ignore[arg-type]
        (lambda: DidomiPurposes("x").for_category(" ", ""), "DidomiPurpose.purpose"),
        (lambda: KetchPurposes("x", path="request"), "KetchPurposes.path"),  # type: ignore[arg-type]
        (lambda: AdobeConsent("x", "marketing."), "AdobeConsent.choice"),
        (lambda: AdobeConsent("x", "idSpecific.Email"), "AdobeConsent.choice"),
        (lambda: AdobeConsent("x", "share", namespace=""), "AdobeConsent.namespace"),
        (lambda: TranscendPurpose("x", "Marketing", topic=""), "TranscendPurpose.topic"),
        (lambda: CookiebotConsent("x").for_category("C0004", "Ads"), "CookiebotCategory.category"),
        (lambda: CookiebotConsent("x", key_by="key"), "CookiebotConsent.key_by"),
        (lambda: OneTrustPurposes(""), "OneTrustPurposes.column"),
        (lambda: OneTrustPurpose("x", "p", topic=" "), "OneTrustPurpose.topic"),
        (lambda: SnowplowConsent("x", naming="kebab-case"), "SnowplowConsent.naming"),  # type: ignore[arg-type]
        (lambda: UsercentricsServices("x", path=("",)), "UsercentricsServices.path"),
    ],
)
def test_refuses_a_declaration_that_could_mislead(make: Any, path: str) -> None:
    with pytest.raises(PolicyError) as caught:
        make()

    assert [problem.path for problem in caught.value.problems] == [path]


@pytest.mark.parametrize("name", ["opted_out", "do_not_sell", "unsubscribed"])
def test_a_path_or_an_id_that_says_the_opposite_is_refused_unless_it_is_turned_round(name: str) -> None:
    policy = parse_policy({"categories": [{"id": "C1", "name": "Ads", "destinations": ["webhook"]}]})

    for signal in (JsonPath("x", ("a", name)), JsonListItem("x", name), JsonListItem("x", "ads", state=name)):
        with pytest.raises(PolicyError, match="OptOut"):
            plan_consent(policy, destinations=["webhook"], mapping={"C1": signal}, columns=None)
        plan_consent(policy, destinations=["webhook"], mapping={"C1": OptOut(signal)}, columns=None)


@pytest.mark.parametrize("name", ["DidomiPurpose", "KetchPurpose", "TranscendPurpose", "OneTrustPurpose"])
def test_a_vendor_says_what_a_yes_is_so_that_it_cannot_be_turned_round(name: str) -> None:
    with pytest.raises(PolicyError, match="itself says what a yes is"):
        OptOut(getattr(consent, name)("x", "ads"))


@pytest.mark.parametrize(
    ("signal", "document"),
    [
        (JsonPath("x", "ads.val"), {"Ads": {"val": False}}),
        (JsonPath("x", "ads.val"), {"ads": {"VAL": False}}),
        (JsonListItem("x", "ads"), [{"id": "ADS", "enabled": False}]),
        (JsonListItem("x", "ads"), [{"id": "ads", "Enabled": False}]),
        (DidomiPurposes("x").for_category("ads", ""), {"Consents": {"purposes": [{"id": "ads", "enabled": False}]}}),
        (DidomiPurposes("x").for_category("ads", ""), {"consents": {"purposes": [{"id": "ads ", "enabled": False}]}}),
        (KetchPurposes("x").for_category("ads", ""), {"purposes": {"Ads": "denied"}}),
        (AdobeConsent("x", "marketing.email"), {"consents": {"Marketing": {"email": {"val": "n"}}}}),
        (AdobeConsent("x", "marketing.email"), {"consents": {"idspecific": {"Email": {}}}}),
        (AdobeConsent("x", "share", namespace="Email"), {"consents": {"idSpecific": {"email": {"a": {}}}}}),
        (TranscendPurpose("x", "Ads"), {"purposes": {"ads": False}}),
        (TranscendPurpose("x", "Ads"), {"purposes": [{"purpose": "ads", "enabled": False}]}),
        (UsercentricsServices("x").for_category("H1", ""), {"services": [{"id": "h1", "status": False}]}),
        (OneTrustPurpose("x", "p"), {"Payload": {"profiles": []}}),
        (
            OneTrustPurpose("x", "p", topic="social"),
            {
                "payload": {
                    "profiles": [
                        {
                            "purposeId": "p",
                            "profileFields": {"TransactionStatus": "ACTIVE"},
                            "topics": [{"integrationKey": "Social", "value": False}],
                        }
                    ]
                }
            },
        ),
        (SnowplowConsent("x").for_category("ads", ""), {"eventType": "allow_all", "consentScopes": ["ADS"]}),
        (CookiebotConsent("x").for_category("marketing", ""), "{stamp:'x',Marketing:false,method:'explicit'}"),
    ],
)
def test_where_silence_permits_a_key_in_another_spelling_is_no_silence(
    signal: CategorySignal, document: object
) -> None:
    raw = document if isinstance(document, str) else json.dumps(document)

    assert status(signal, raw) is ConsentStatus.UNKNOWN
    assert status(signal.where_silence_permits(), raw) is ConsentStatus.INVALID
