"""The declarations that readers are short for: each parameter and each default arrives where it belongs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from airflow_consent_retl.consent import (
    ConsentSource,
    FilledList,
    FirstOf,
    JsonListItem,
    JsonMap,
    Literals,
    MostRestrictive,
    OptOut,
    Recorded,
    commanders_act_hits,
    consent_record_events,
    klaviyo_consent,
    klaviyo_marketing,
    mailchimp_permission,
    onetrust_consent_updates,
    salesforce_contact_point,
    salesforce_opt_out,
    segment_preference_events,
    segment_profile,
    snowplow_columns,
)
from airflow_consent_retl.errors import PolicyError

SQL = "SELECT 1"
GIVEN: dict[str, Any] = {"key": "person", "bring_time": True, "conn_id": "w"}
SEGMENT = {"context_consent_category_preferences_ads": "ads_ok"}


@pytest.mark.parametrize(
    ("made", "meant"),
    [
        (
            lambda: commanders_act_hits(SQL),
            ConsentSource(SQL, subject="tcpid", columns={"cookie": "cookie"}, time="date_hit"),
        ),
        (
            lambda: commanders_act_hits(SQL, column="said", **GIVEN),
            ConsentSource(SQL, subject="tcpid", columns={"cookie": "said"}, time="date_hit", **GIVEN),
        ),
        (
            lambda: segment_preference_events(SQL, categories={"ads": "ads_ok"}),
            ConsentSource(SQL, subject="user_id", columns=SEGMENT, time="timestamp"),
        ),
        (
            lambda: segment_preference_events(
                SQL, categories={"ads": "ads_ok"}, subject="u", time="t", profile="anonymous_id", **GIVEN
            ),
            ConsentSource(SQL, subject="u", columns=SEGMENT, time="t", profile="anonymous_id", **GIVEN),
        ),
    ],
)
def test_a_source_is_what_its_reader_is_short_for(made: Callable[[], ConsentSource], meant: ConsentSource) -> None:
    assert made() == meant


@pytest.mark.parametrize("reader", ["onetrust", "record"])
def test_a_source_of_updates_has_its_own_names_and_takes_others(reader: str) -> None:
    readers: dict[str, Any] = {
        "onetrust": (onetrust_consent_updates, ("user_id", "purpose_id", "timestamp"), ("status", "status")),
        "record": (consent_record_events, ("pii_principal_id", "purpose", "event_time"), ("state", "event_state")),
    }
    made, own, state = readers[reader]
    parameter, default = state
    subject, purpose, time = own

    assert made(SQL, purposes={"ads": "a"}) == ConsentSource(
        SQL, subject=subject, category=purpose, value=default, columns={"ads": "a"}, time=time
    )
    named = {"subject": "s", "purpose": "p", parameter: "v", "time": "t", **GIVEN}
    assert made(SQL, purposes={"ads": "a"}, **named) == ConsentSource(
        SQL, subject="s", category="p", value="v", columns={"ads": "a"}, time="t", **GIVEN
    )


STATES: dict[str, Any] = {
    "granted": ("unsubscribed", "cleaned", "archived"),
    "denied": ("subscribed",),
    "unknown": ("pending", "transactional"),
}


@pytest.mark.parametrize(
    ("made", "meant"),
    [
        (salesforce_opt_out, OptOut("HasOptedOutOfEmail")),
        (lambda: salesforce_opt_out("HasOptedOutOfFax"), OptOut("HasOptedOutOfFax")),
        (lambda: salesforce_opt_out("A", "B"), MostRestrictive(OptOut("A"), OptOut("B"))),
        (klaviyo_marketing, FirstOf(OptOut(FilledList("suppression")), klaviyo_consent("consent"))),
        (lambda: klaviyo_marketing("c", suppression="s"), FirstOf(OptOut(FilledList("s")), klaviyo_consent("c"))),
        (
            lambda: mailchimp_permission("7"),
            FirstOf(
                OptOut(Literals("status", **STATES)),
                JsonListItem("marketing_permissions", "7", id="marketing_permission_id", state="enabled"),
            ),
        ),
    ],
)
def test_a_format_is_what_its_reader_is_short_for(made: Callable[[], object], meant: object) -> None:
    assert made() == meant


def test_a_contact_point_of_salesforce_has_its_times() -> None:
    found = salesforce_contact_point()

    assert isinstance(found.signal, Literals)
    assert found.signal.column == "PrivacyConsentStatus"
    assert found == Recorded(found.signal, time="CaptureDate", valid_from="EffectiveFrom", valid_until="EffectiveTo")
    assert salesforce_contact_point(captured="c", effective_from=None, effective_to="e") == Recorded(
        found.signal, time="c", valid_until="e"
    )


def test_of_the_bases_of_snowplow_only_consent_grants_and_the_others_are_known() -> None:
    basis: Any = snowplow_columns("type", "scopes", "ads", basis="basis").parts[-1]

    assert basis.signal == Literals(
        "basis",
        granted=("consent",),
        unknown=("contract", "legal_obligation", "vital_interests", "public_task", "legitimate_interests"),
    )


def test_what_klaviyo_may_send_is_no_consent() -> None:
    with pytest.raises(PolicyError) as refused:
        klaviyo_consent("subscriptions.email.can_receive_email_marketing")

    assert [str(problem) for problem in refused.value.problems] == [
        "`can_receive_…` is true for people who never said yes: name the column of `consent` @ klaviyo_consent.consent"
    ]


@pytest.mark.parametrize(("as_text", "states"), [(False, {}), (True, {"granted": ("true",), "denied": ("false",)})])
def test_a_profile_of_segment_is_read_where_and_as_it_is_declared(as_text: bool, states: dict[str, Any]) -> None:
    found = segment_profile("traits", path="a.b", state="c", as_text=as_text, key_by="name")

    assert found == JsonMap("traits", path=("a", "b"), state=("c",), key_by="name", **states)
