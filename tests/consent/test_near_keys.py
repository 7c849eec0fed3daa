"""Tests of keys that differ from the wanted one only in form: where silence permits, they are never silence."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.consent import (
    AdobeConsent,
    CategorySignal,
    ConsentMappingLike,
    ConsentObject,
    ConsentObjectKey,
    ConsentStatus,
    DidomiPurpose,
    FirstOf,
    GrantedId,
    GrantedIds,
    JsonPath,
    OneTrustPurpose,
    OptanonConsent,
    OptanonConsentGroup,
    OptOut,
    RowConsent,
    SnowplowScope,
    parse_policy,
    plan_consent,
)
from airflow_consent_retl.near import differs_in_form_only

# `C0004` with another case, spaces, characters that no one sees, separators, look-alikes and Unicode forms.
SPELLINGS = (
    "c0004", "C0004 ", " C0004", "C 0004", "C0004\t", "C0004\n", "C0004\u00a0", "\ufeffC0004", "C\u200b0004", "C-0004",
    "C_0004", "\u04210004", "\u04410004", "CO004", "Co0o4", "\uff23\uff10\uff10\uff10\uff14",
)  # fmt: skip
NAME = "Publicit\u00e9"
PLAIN = {"id": "C0004", "name": NAME, "destinations": ["webhook"]}


def signal_of(consent: ConsentMappingLike, **terms: Any) -> CategorySignal:
    """Return the signal that a plan reads the category with."""
    policy = parse_policy({"categories": [{**PLAIN, "regime": "opt_out", **terms}]})
    signal = plan_consent(policy, destinations=["webhook"], mapping=consent, columns=None).signals[0]
    assert isinstance(signal, CategorySignal)
    return signal


def status(signal: CategorySignal, raw: object) -> ConsentStatus:
    return signal.status(signal.token(raw))


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_key_differs_from_its_other_spellings_in_form_only(spelling: str) -> None:
    assert differs_in_form_only("C0004", spelling)
    assert not any(differs_in_form_only(other, spelling) for other in ("C0003", "C0014", "C00044", "D0004"))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("answer", [False, True, None, 1, "no"])
def test_under_opt_out_a_key_in_another_spelling_is_invalid_in_a_consent_object(spelling: str, answer: object) -> None:
    document = json.dumps({"categoryPreferences": {"C0002": True, spelling: answer}})

    assert status(signal_of(ConsentObject("consent")), document) is ConsentStatus.INVALID
    assert status(signal_of({"C0004": ConsentObjectKey("consent", ("categoryPreferences", "C0004"))}), document) is (
        ConsentStatus.INVALID
    )


@pytest.mark.parametrize(
    "path",
    [
        "CategoryPreferences", "category_preferences", "categorypreferences", "categoryPreferences ",
        "category-preferences", "category Preferences", "categ\u043eryPreferences",
    ],
)  # fmt: skip
def test_under_opt_out_a_path_in_another_spelling_is_invalid(path: str) -> None:
    signal = signal_of(ConsentObject("consent", path=("context", "categoryPreferences")))

    assert status(signal, json.dumps({"context": {path: {"C0004": False}}})) is ConsentStatus.INVALID
    assert status(signal, json.dumps({"context": {path: None}})) is ConsentStatus.INVALID
    assert status(signal, json.dumps({"Context": {"categoryPreferences": {"C0004": False}}})) is ConsentStatus.INVALID


def test_under_opt_out_a_name_in_another_unicode_form_is_invalid() -> None:
    signal = signal_of(ConsentObject("consent", key_by="name"))
    other_form = unicodedata.normalize("NFD", NAME)

    assert status(signal, json.dumps({"categoryPreferences": {other_form: False}})) is ConsentStatus.INVALID
    assert status(signal, json.dumps({"categoryPreferences": {NAME: False}})) is ConsentStatus.DENIED


@pytest.mark.parametrize("spelling", [s for s in SPELLINGS if "\t" not in s and "\n" not in s])
def test_under_opt_out_a_group_in_another_spelling_is_invalid_in_the_cookie_of_onetrust(spelling: str) -> None:
    signal = signal_of(OptanonConsent("cookie"))

    assert status(signal, f"groups=C0001:1,{spelling}:0") is ConsentStatus.INVALID
    assert status(signal, f"groups=C0001:1,{spelling}:1") is ConsentStatus.INVALID
    assert status(signal, "groups=C0001:1,C0003:0") is ConsentStatus.UNKNOWN
    assert status(signal, "groups=C0001:1,C0004:1") is ConsentStatus.GRANTED


@pytest.mark.parametrize(
    "field", ["isgpcenabled", "IsGpcEnabled", "is_gpc_enabled", "browsergpcflag", "BrowserGpcFlag"]
)
def test_under_opt_out_a_signal_of_the_browser_in_another_spelling_is_invalid(field: str) -> None:
    cookie = f"{field}=1&groups=C0001:1,C0003:1"

    assert status(signal_of(OptanonConsent("cookie")), cookie) is ConsentStatus.INVALID
    assert status(signal_of(OptanonConsent("cookie", gpc="ignored")), cookie) is ConsentStatus.UNKNOWN


@pytest.mark.parametrize("gpc", ["denies", "ignored"])
@pytest.mark.parametrize("field", ["Groups", "GROUPS", "groups "])
def test_under_opt_out_the_groups_of_a_cookie_in_another_spelling_are_invalid(field: str, gpc: str) -> None:
    signal = signal_of(OptanonConsent("cookie", gpc=gpc))

    assert status(signal, f"isGpcEnabled=0&browserGpcFlag=0&{field}=C0001:1,C0004:0") is ConsentStatus.INVALID


@pytest.mark.parametrize(
    "cookie", ["groups=C0004:1&isGpcEnabled", "groups=C0004:1&isGpcEnabled=", "groups=C0004:1&browserGpcFlag=&x=1"]
)
def test_a_cookie_that_is_cut_off_or_has_an_empty_signal_is_invalid(cookie: str) -> None:
    assert status(signal_of(OptanonConsent("cookie")), cookie) is ConsentStatus.INVALID


@pytest.mark.parametrize("spelling", [s for s in SPELLINGS if s == s.strip()])
def test_under_opt_out_an_id_in_another_spelling_is_invalid_in_a_list_of_ids(spelling: str) -> None:
    for consent in (GrantedIds("ids"), {"C0004": GrantedId("ids", "C0004")}):
        assert status(signal_of(consent), json.dumps(["C0002", spelling])) is ConsentStatus.INVALID
        assert status(signal_of(consent), '["C0002", "C0003"]') is ConsentStatus.DENIED
    assert status(signal_of(GrantedIds("ids", separator=",")), f"C0002,{spelling}") is ConsentStatus.INVALID


@pytest.mark.parametrize("regime", ["opt_in", "opt_out"])
@pytest.mark.parametrize("spelling", [s for s in SPELLINGS if s == s.strip()])
def test_an_opt_out_list_is_read_strictly_under_every_regime(regime: str, spelling: str) -> None:
    for false_is_yes in (False, True):
        signal = signal_of({"C0004": OptOut(GrantedId("ids", "C0004"), false_is_yes=false_is_yes)}, regime=regime)

        assert status(signal, json.dumps([spelling])) is ConsentStatus.INVALID
        assert status(signal, '["C0004"]') is ConsentStatus.DENIED


OVERRULED: dict[str, tuple[CategorySignal, object, object]] = {
    "a cookie's signal of the browser": (
        OptanonConsentGroup("c", "C0004"),
        "IsGpcEnabled=1&groups=C0004:1",
        "isGpcEnabled=0&groups=C0004:1",
    ),
    "the other signal of the browser": (
        OptanonConsentGroup("c", "C0004"),
        "isGpcEnabled=0&browser_gpc_flag=1&groups=C0004:1",
        "isGpcEnabled=0&groups=C0004:1",
    ),
    "the choice of a channel": (
        AdobeConsent("c", "marketing.email"),
        {"consents": {"marketing": {"any": {"val": "y"}, "Email": {"val": "n"}}}},
        {"consents": {"marketing": {"any": {"val": "y"}, "sms": {"val": "n"}}}},
    ),
    "the choice of all channels": (
        AdobeConsent("c", "marketing.email"),
        {"consents": {"marketing": {"Any": {"val": "n"}, "email": {"val": "y"}}}},
        {"consents": {"marketing": {"email": {"val": "y"}}}},
    ),
    "the choices of identities": (
        AdobeConsent("c", "share"),
        {"consents": {"share": {"val": "y"}, "id_specific": {"Email": {"p@x.example": {"share": {"val": "n"}}}}}},
        {"consents": {"share": {"val": "y"}, "idSpecific": {"Email": {"p@x.example": {"share": {"val": "y"}}}}}},
    ),
    "the status of an event": (
        DidomiPurpose("c", "ads"),
        {"Status": "pending_approval", "consents": {"purposes": [{"id": "ads", "enabled": True}]}},
        {"consents": {"purposes": [{"id": "Ads", "enabled": False}, {"id": "ads", "enabled": True}]}},
    ),
    "another basis of an event": (
        SnowplowScope("c", "ads"),
        {"eventType": "allow_all", "consentScopes": ["ads"], "basis_for_processing": "contract"},
        {"eventType": "allow_all", "consentScopes": ["ads"]},
    ),
}


@pytest.mark.parametrize(("signal", "overruled", "plain"), OVERRULED.values(), ids=OVERRULED)
def test_under_opt_out_a_yes_does_not_count_where_what_overrules_it_may_be_there_in_another_spelling(
    signal: CategorySignal, overruled: object, plain: object
) -> None:
    strict = signal_of({"C0004": signal})

    found = [status(strict, raw if isinstance(raw, str) else json.dumps(raw)) for raw in (overruled, plain)]

    assert found == [ConsentStatus.INVALID, ConsentStatus.GRANTED]


@pytest.mark.parametrize("answer", [True, False])
def test_the_wanted_key_counts_whatever_other_keys_there_are(answer: bool) -> None:
    signal = signal_of(ConsentObject("consent"))
    document = {"categoryPreferences": {"C0004": answer, "c0004": not answer}, "category_preferences": {"C0004": True}}

    assert status(signal, json.dumps(document)) is (ConsentStatus.GRANTED if answer else ConsentStatus.DENIED)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"regime": "opt_in"}, ConsentStatus.UNKNOWN),
        ({"regime": "opt_in", "regions": {"US-CA": "opt_out"}}, ConsentStatus.INVALID),
        ({"regime": "opt_out", "regions": {"DE": "opt_in"}}, ConsentStatus.INVALID),
    ],
)
def test_keys_are_strict_wherever_silence_may_permit(terms: dict[str, Any], expected: ConsentStatus) -> None:
    signal = signal_of(RowConsent(ConsentObject("consent"), region="country"), **terms)

    assert status(signal, '{"categoryPreferences": {"c0004": false}}') is expected


def test_every_record_of_a_category_is_read_strictly() -> None:
    consent = {"C0004": FirstOf("ads", ConsentObjectKey("web", ("C0004",)), ConsentObjectKey("app", ("C0004",)))}
    policy = parse_policy({"categories": [{**PLAIN, "regime": "opt_out"}]})
    plan = plan_consent(policy, destinations=["webhook"], mapping=consent, columns=None)
    row = {"ads": None, "web": "{}", "app": '{"c0004": false}'}

    tokens = tuple(signal.token(row[signal.column]) for signal in plan.signals if signal is not None)

    assert plan.statuses(tokens) == (ConsentStatus.INVALID,)


keys = st.sampled_from(["C0004", *SPELLINGS, "C0002", "C0003"])
answers = st.sampled_from([True, False, None, "no"])


@given(st.dictionaries(keys, answers, max_size=4))
def test_under_opt_out_only_an_object_without_any_spelling_of_the_key_is_silent(preferences: dict[str, object]) -> None:
    strict = signal_of(ConsentObject("consent", path=()))
    plain = signal_of(ConsentObject("consent", path=()), regime="opt_in")
    document = json.dumps(preferences)

    found = status(strict, document)

    if found is ConsentStatus.UNKNOWN:
        assert preferences.get("C0004") is None
        assert "C0004" in preferences or not set(preferences).intersection(SPELLINGS)
    if found is ConsentStatus.GRANTED:
        assert preferences["C0004"] is True
    # Strictness takes nothing but silence away.
    assert found is status(plain, document) or (found, status(plain, document)) == (
        ConsentStatus.INVALID,
        ConsentStatus.UNKNOWN,
    )


def test_a_yes_stays_a_yes_whatever_resembles_its_key() -> None:
    signal = signal_of({"C0004": OneTrustPurpose("doc", "P1", topic="social", path=())})
    topics = [{"integrationKey": "social", "value": True}, {"integrationKey": "Social", "value": False}]
    purpose = {"purposeId": "P1", "profileFields": {"TransactionStatus": "ACTIVE"}, "topics": topics}

    assert status(signal, json.dumps([purpose])) is ConsentStatus.GRANTED
    assert status(signal, json.dumps([{**purpose, "topics": topics[1:]}])) is ConsentStatus.INVALID


@pytest.mark.parametrize("key", [ConsentObjectKey("doc", ("ads",)), JsonPath("doc", "ads")])
def test_nothing_resembles_a_key_where_nothing_can_be_read(key: ConsentObjectKey | JsonPath) -> None:
    assert [key.has_near_key(text) for text in ("{", "[]", '{"ads": true}', '{"Ads": true}')] == [
        False, False, False, True,
    ]  # fmt: skip
