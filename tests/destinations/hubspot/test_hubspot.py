"""Tests of HubSpot's own ways: subscriptions and opt-outs, each choice of a removal, and answers in part."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from support.hubspot_server import APP, HubSpot, State, batch_answer, daily_limit, failure, limited
from support.loading import deliver, load_of, take_back
from support.vendor_server import Asked, Reply

from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.hubspot.destination import HubSpotDestination
from airflow_consent_retl.destinations.hubspot.hubspot_hook import HubSpotHook
from airflow_consent_retl.destinations.hubspot.options import HubSpotSpec
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError
from airflow_consent_retl.operators import LoadToHubSpotOperator
from airflow_consent_retl.operators.removing_load import from_parameters

BASIS = {"legal_basis": "CONSENT_WITH_NOTICE", "legal_basis_explanation": "Preference centre, C0005"}
NEWS, OFFERS = 11, 12


@pytest.fixture
def hubspot(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubSpot]:
    with HubSpot().serving() as server:
        connection = {
            "conn_type": "consenthubspot",
            "host": server.url,
            "password": server.token,
            "extra": {"allow_private": True},
        }
        monkeypatch.setenv("AIRFLOW_CONN_CONSENTHUBSPOT_DEFAULT", json.dumps(connection))
        yield server


def destination(**options: Any) -> HubSpotDestination:
    given = {"on_withdrawal": "archive", "max_attempts": 2, "backoff_s": 0.01, "requests_per_10_s": 100_000}
    options = {**given, **options}
    return HubSpotSpec(hub_id="7001", **options).build()


def people(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


def news(**states: str | None) -> pa.Table:
    """Return people, by name, with their states of the subscription to the news."""
    return people(*({"email": f"{name}@example.com", f"subscriptions.{NEWS}": state} for name, state in states.items()))


def send(rows: pa.Table, key: str = "email", **options: Any) -> Outcomes:
    return deliver(destination(**options), rows, load_of(rows, key_field=key))


def remove(rows: pa.Table, key: str = "email", **options: Any) -> Outcomes:
    gone = destination(**options)
    load = load_of(rows, key_field=key, rows_sent=0)
    (batch,) = rows.combine_chunks().to_batches()
    return take_back(gone, pa.Table.from_batches([gone.removal_rows(batch, load)]), load)


def statuses(outcomes: Outcomes) -> list[str]:
    return [str(outcome.status) for outcome in outcomes]


def subscribed(hubspot: HubSpot, email: str, number: int = NEWS, state: str = "SUBSCRIBED") -> None:
    hubspot.states[email, number] = State("EMAIL", state, email, number)  # type: ignore[arg-type]


def states(hubspot: HubSpot, number: int = NEWS) -> dict[str, str]:
    return {email.partition("@")[0]: one.status_state for (email, of), one in hubspot.states.items() if of == number}


def test_a_null_empties_the_property_and_every_value_is_text(hubspot: HubSpot) -> None:
    hubspot.contacts["1"] = {"email": "ann@example.com", "city": "Ghent"}
    values = {"city": None, "vip": True, "score": 0.5, "tags": ["a", "b"], "visits": 7}

    send(people({"email": "ann@example.com", **values}))

    assert hubspot.contacts["1"] == {
        "email": "ann@example.com", "city": "", "vip": "true", "score": "0.5", "tags": "a;b", "visits": "7",
    }  # fmt: skip


def test_a_null_keeps_the_property_if_the_load_says_so_but_for_a_withdrawn_field(hubspot: HubSpot) -> None:
    hubspot.contacts["1"] = {"email": "ann@example.com", "city": "Ghent", "phone": "1"}
    schema = pa.schema({"email": pa.string(), "city": pa.string(), "phone": pa.string()})
    rows = pa.Table.from_pylist([{"email": "ann@example.com"}], schema)
    load = replace(load_of(rows, key_field="email"), cleared=frozenset({"phone"}))

    deliver(destination(nulls="keep"), rows, load)

    assert hubspot.contacts["1"] == {"email": "ann@example.com", "city": "Ghent", "phone": ""}


def test_a_load_may_keep_single_properties_whose_field_is_null(hubspot: HubSpot) -> None:
    hubspot.contacts["1"] = {"email": "ann@example.com", "city": "Ghent", "phone": "1"}
    schema = pa.schema({"email": pa.string(), "city": pa.string(), "phone": pa.string()})
    rows = pa.Table.from_pylist([{"email": "ann@example.com"}], schema)

    deliver(destination(), rows, replace(load_of(rows, key_field="email"), nulls={"city": "omit"}))

    assert hubspot.contacts["1"] == {"email": "ann@example.com", "city": "Ghent", "phone": ""}


def test_a_granted_subscription_is_told_with_its_legal_basis(hubspot: HubSpot) -> None:
    outcomes = send(news(ann="SUBSCRIBED", bob="UNSUBSCRIBED", cid=None), **BASIS)

    assert statuses(outcomes) == ["accepted"] * 3
    assert states(hubspot) == {"ann": "SUBSCRIBED", "bob": "UNSUBSCRIBED"}
    assert {(one.legal_basis, one.legal_basis_explanation) for one in hubspot.states.values()} == {
        ("CONSENT_WITH_NOTICE", "Preference centre, C0005")
    }
    assert [one["properties"] for call in hubspot.called("/batch/upsert") for one in call["inputs"]] == [{}] * 3


def test_whoever_unsubscribed_at_hubspot_is_never_subscribed_again(
    hubspot: HubSpot, caplog: pytest.LogCaptureFixture
) -> None:
    subscribed(hubspot, "ann@example.com", state="UNSUBSCRIBED")
    hubspot.opted_out = {"bob@example.com"}
    subscribed(hubspot, "dan@example.com")
    caplog.set_level(logging.WARNING)

    outcomes = send(news(ann="SUBSCRIBED", bob="SUBSCRIBED", cid="SUBSCRIBED", dan="SUBSCRIBED"), **BASIS)

    assert statuses(outcomes) == ["accepted"] * 4
    assert states(hubspot) == {"ann": "UNSUBSCRIBED", "dan": "SUBSCRIBED", "cid": "SUBSCRIBED"}
    (written,) = hubspot.called("/write")
    assert [one["subscriberIdString"] for one in written["inputs"]] == ["cid@example.com"]
    assert "2 subscriptions were left unsubscribed" in caplog.text


def test_a_person_without_consent_to_a_subscription_is_unsubscribed_only_if_hubspot_has_them_subscribed(
    hubspot: HubSpot,
) -> None:
    subscribed(hubspot, "ann@example.com")
    subscribed(hubspot, "bob@example.com", state="UNSUBSCRIBED")
    rows = news(ann=None, bob=None, cid=None, dan="SUBSCRIBED")
    load = replace(load_of(rows, key_field="email"), cleared=frozenset({f"subscriptions.{NEWS}"}))

    outcomes = deliver(destination(**BASIS), rows, load)

    assert statuses(outcomes) == ["accepted"] * 4
    assert states(hubspot) == {"ann": "UNSUBSCRIBED", "bob": "UNSUBSCRIBED", "dan": "SUBSCRIBED"}


def test_the_no_of_one_person_counts_for_all_who_share_the_address(hubspot: HubSpot) -> None:
    shared = [
        {"customer_id": str(number), "email": email, f"subscriptions.{NEWS}": state}
        for number, (email, state) in enumerate(
            [("ann@example.com", "SUBSCRIBED"), ("ANN@example.com", "UNSUBSCRIBED"), ("ann@example.com", "SUBSCRIBED")]
        )
    ]

    outcomes = send(people(*shared), key="customer_id", id_property="customer_id", **BASIS)

    assert statuses(outcomes) == ["accepted"] * 3
    assert states(hubspot) == {"ann": "UNSUBSCRIBED"}


def test_rows_that_share_the_identifying_address_are_one_contact_and_the_others_are_rejected(hubspot: HubSpot) -> None:
    rows = people({"email": "ann@example.com"}, {"email": "Ann@Example.com"}, {"email": None})

    outcomes = send(rows)

    assert [outcome.code for outcome in outcomes] == ["", "repeated_identifier", "no_identifier"]
    assert len(hubspot.contacts) == 1


def test_a_state_that_is_none_of_hubspots_is_rejected(hubspot: HubSpot) -> None:
    outcomes = send(news(ann="yes", bob="SUBSCRIBED"), **BASIS)

    assert [outcome.code for outcome in outcomes] == ["unknown_subscription_state", ""]
    assert states(hubspot) == {"bob": "SUBSCRIBED"}


def test_a_contact_whose_subscription_was_not_settled_is_uncertain_until_the_next_try(
    hubspot: HubSpot,
) -> None:
    hubspot.fault = lambda call, apply: limited(call, apply) if call.path.endswith("/write") else apply()

    first = send(news(ann="SUBSCRIBED", bob=None), **BASIS)
    hubspot.fault = None
    second = send(news(ann="SUBSCRIBED", bob=None), **BASIS)

    assert [(str(one.status), one.code) for one in first] == [("uncertain", "not_sent"), ("accepted", "")]
    assert statuses(second) == ["accepted"] * 2
    assert states(hubspot) == {"ann": "SUBSCRIBED"}


def test_a_contact_whose_subscription_is_refused_is_rejected_and_a_part_of_it_is_there(
    hubspot: HubSpot,
) -> None:
    refusal = Reply(400, failure("VALIDATION_ERROR", "ann@example.com cannot be subscribed"))
    hubspot.fault = lambda call, apply: refusal if call.path.endswith("/write") else apply()

    outcomes = send(news(ann="SUBSCRIBED"), **BASIS)

    assert [(str(one.status), one.code) for one in outcomes] == [("rejected", "state_refused")]
    assert all(one.is_partly_applied for one in outcomes)
    assert "subscription" in destination().remedy("state_refused")
    assert len(hubspot.contacts) == 1


def test_a_row_with_a_subscription_that_the_account_does_not_have_is_rejected(hubspot: HubSpot) -> None:
    outcomes = send(people({"email": "ann@example.com", "subscriptions.99": "SUBSCRIBED"}), **BASIS)

    assert [(str(one.status), one.code) for one in outcomes] == [("rejected", "state_refused")]


def answered(change: Callable[[dict[str, Any]], None]) -> Callable[[Asked, Callable[[], Reply]], Reply]:
    """Return a fault that changes the document of each answer."""

    def fault(_: Asked, apply: Callable[[], Reply]) -> Reply:
        answer = apply()
        document = json.loads(answer.body)
        change(document)
        return Reply(answer.status, document)

    return fault


def without_traces(document: dict[str, Any]) -> None:
    for result in document["results"]:
        del result["objectWriteTraceId"]


def test_results_without_trace_ids_are_matched_by_the_unique_property(hubspot: HubSpot) -> None:
    hubspot.fault = answered(without_traces)

    outcomes = send(people({"email": "ANN@example.com"}, {"email": "bob@example.com"}))

    assert statuses(outcomes) == ["accepted"] * 2


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda document: document["results"].pop(0), ["not_in_answer", ""]),
        (lambda document: document["results"][0].update(objectWriteTraceId="row-7"), ["unreadable_answer"] * 2),
        (lambda document: document.update(results=[{"id": "9"}]), ["unreadable_answer"] * 2),
        (lambda document: document.update(status="PROCESSING"), ["accepted_for_later"] * 2),
        (lambda document: document.update(status="CANCELED"), ["unreadable_answer"] * 2),
        (lambda document: document.update(errors=[failure("CONFLICT", "who?")]), ["", ""]),
    ],
    ids=["a row is missing", "an unknown trace", "no identity", "not complete", "canceled", "an error without a row"],
)
def test_a_row_that_the_answer_does_not_name_is_uncertain(
    hubspot: HubSpot, change: Callable[[dict[str, Any]], None], codes: Sequence[str]
) -> None:
    hubspot.fault = answered(change)

    outcomes = send(people({"email": "ann@example.com"}, {"email": "bob@example.com"}))

    assert [outcome.code for outcome in outcomes] == list(codes)
    assert statuses(outcomes) == ["uncertain" if code else "accepted" for code in codes]


def test_a_refused_row_names_the_property_and_the_category(hubspot: HubSpot) -> None:
    hubspot.refused = {"ann@example.com"}

    outcomes = send(people({"email": "ann@example.com", "city": "x"}, {"email": "bob@example.com", "city": "y"}))

    assert [(outcome.code, outcome.field) for outcome in outcomes] == [("VALIDATION_ERROR", "city"), ("", "")]


def contacts(hubspot: HubSpot, *names: str) -> pa.Table:
    for number, name in enumerate(names):
        hubspot.contacts[str(number)] = {"email": f"{name}@example.com", "city": "Ghent", "phone": "1"}
    return people(*({"email": f"{name}@example.com"} for name in names))


def left(hubspot: HubSpot) -> list[str]:
    return sorted(one["email"].partition("@")[0] for one in hubspot.contacts.values())


def test_archive_puts_the_contact_into_the_recycling_bin(hubspot: HubSpot) -> None:
    rows = contacts(hubspot, "ann", "bob")

    outcomes = remove(pa.concat_tables([rows.slice(0, 1), people({"email": "cid@example.com"})]))

    assert statuses(outcomes) == ["accepted"] * 2
    assert left(hubspot) == ["bob"]
    assert [one["email"] for one in hubspot.archived.values()] == ["ann@example.com"]


def test_privacy_delete_deletes_and_blocks_no_address_that_hubspot_does_not_have(hubspot: HubSpot) -> None:
    rows = contacts(hubspot, "ann", "bob")

    outcomes = remove(
        pa.concat_tables([rows.slice(0, 1), people({"email": "cid@example.com"})]), on_withdrawal="privacy_delete"
    )

    assert statuses(outcomes) == ["accepted"] * 2
    assert left(hubspot) == ["bob"]
    assert hubspot.archived == {}
    assert hubspot.blocked == set()


def test_a_contact_is_found_by_a_further_address(hubspot: HubSpot) -> None:
    contacts(hubspot, "ann")
    hubspot.contacts["0"]["hs_additional_emails"] = "old@example.com;older@example.com"
    hubspot.by = lambda name, text: "0"  # type: ignore[method-assign]

    outcomes = remove(people({"email": "older@example.com"}))

    assert statuses(outcomes) == ["accepted"]
    assert hubspot.contacts == {}


def test_clear_fields_empties_the_named_properties_and_makes_no_contact(hubspot: HubSpot) -> None:
    rows = contacts(hubspot, "ann", "bob")
    gone = pa.concat_tables([rows.slice(0, 1), people({"email": "cid@example.com"})])

    outcomes = remove(gone, on_withdrawal="clear_fields", cleared_properties=["city"])

    assert statuses(outcomes) == ["accepted"] * 2
    assert hubspot.contacts == {
        "0": {"email": "ann@example.com", "city": "", "phone": "1"},
        "1": {"email": "bob@example.com", "city": "Ghent", "phone": "1"},
    }


def test_unsubscribe_is_from_the_named_subscriptions_only(hubspot: HubSpot) -> None:
    rows = contacts(hubspot, "ann", "bob")
    for number in (NEWS, OFFERS):
        subscribed(hubspot, "ann@example.com", number)

    outcomes = remove(rows.slice(0, 1), on_withdrawal="unsubscribe", unsubscribes=[NEWS], **BASIS)

    assert statuses(outcomes) == ["accepted"]
    assert (states(hubspot), states(hubspot, OFFERS)) == ({"ann": "UNSUBSCRIBED"}, {"ann": "SUBSCRIBED"})
    assert left(hubspot) == ["ann", "bob"]


def test_a_person_who_is_granted_again_after_unsubscribe_stays_unsubscribed(hubspot: HubSpot) -> None:
    options: dict[str, Any] = {"on_withdrawal": "unsubscribe", "unsubscribes": [NEWS], **BASIS}
    send(news(ann="SUBSCRIBED"), **options)
    remove(news(ann="SUBSCRIBED"), **options)

    outcomes = send(news(ann="SUBSCRIBED"), **options)

    assert statuses(outcomes) == ["accepted"]
    assert states(hubspot) == {"ann": "UNSUBSCRIBED"}


def test_unsubscribe_all_opts_the_address_out_of_everything(hubspot: HubSpot) -> None:
    rows = contacts(hubspot, "ann", "bob")

    outcomes = remove(rows.slice(0, 1), on_withdrawal="unsubscribe_all")

    assert statuses(outcomes) == ["accepted"]
    assert hubspot.opted_out == {"ann@example.com"}


def test_the_address_of_a_person_who_was_sent_without_one_is_looked_up(hubspot: HubSpot) -> None:
    hubspot.contacts = {"0": {"customer_id": "u1", "email": "ann@example.com"}, "1": {"customer_id": "u2"}}
    schema = pa.schema({"customer_id": pa.string(), "email": pa.string()})
    rows = pa.Table.from_pylist([{"customer_id": "u1"}, {"customer_id": "u2"}, {"customer_id": "u3"}], schema)

    outcomes = remove(rows, key="customer_id", id_property="customer_id", on_withdrawal="unsubscribe_all")

    assert statuses(outcomes) == ["accepted"] * 3
    assert hubspot.opted_out == {"ann@example.com"}


def test_a_withdrawn_field_that_is_a_subscription_unsubscribes_and_a_property_is_emptied(hubspot: HubSpot) -> None:
    contacts(hubspot, "ann", "bob")
    rows = people({"email": "ann@example.com", "city": "x", f"subscriptions.{NEWS}": "SUBSCRIBED"})
    subscribed(hubspot, "ann@example.com")
    opened, load = destination(**BASIS), load_of(rows, key_field="email")
    opened.open(load)
    (batch,) = rows.select(["email"]).combine_chunks().to_batches()

    outcomes = opened.clear(Batch(key="0" * 64, rows=batch), ["city", f"subscriptions.{NEWS}"])
    opened.commit()

    assert statuses(outcomes) == ["accepted"]
    assert states(hubspot) == {"ann": "UNSUBSCRIBED"}
    assert [one["city"] for one in hubspot.contacts.values()] == ["", "Ghent"]


def test_a_removal_that_was_half_done_is_uncertain_for_those_left(hubspot: HubSpot) -> None:
    rows = contacts(hubspot, "ann", "bob", "cid")
    deletions: list[Asked] = []

    def second_fails(call: Asked, apply: Callable[[], Reply]) -> Reply:
        deletions.extend([call] if call.path.endswith("/gdpr-delete") else [])
        return limited(call, apply) if len(deletions) > 1 else apply()

    hubspot.fault = second_fails

    outcomes = remove(rows, on_withdrawal="privacy_delete")

    assert [(str(one.status), one.code) for one in outcomes] == [
        ("accepted", ""), ("uncertain", "not_sent"), ("uncertain", "not_sent"),
    ]  # fmt: skip
    assert left(hubspot) == ["bob", "cid"]


def test_an_opt_out_that_the_answer_does_not_confirm_is_uncertain(hubspot: HubSpot) -> None:
    rows = contacts(hubspot, "ann")
    hubspot.fault = lambda call, apply: batch_answer([])

    outcomes = remove(rows, on_withdrawal="unsubscribe_all")

    assert [outcome.code for outcome in outcomes] == ["not_in_answer"]


def test_all_loads_of_an_account_share_its_limit(hubspot: HubSpot) -> None:
    (rate,) = destination(requests_per_10_s=190).limits.account_rates

    assert (rate.account, rate.requests, rate.period_s, rate.by_clock) == ("7001 127.0.0.1", 190, 10, False)


def test_a_day_that_is_used_up_ends_the_try_at_once(hubspot: HubSpot) -> None:
    hubspot.fault = daily_limit

    with pytest.raises(DestinationUnavailableError, match="requests of today are used up") as refusal:
        send(people({"email": "ann@example.com"}), max_attempts=6)

    assert len(hubspot.calls) == 1
    assert refusal.value.retry_after_s == 3600


def test_a_locked_record_is_tried_again(hubspot: HubSpot) -> None:
    locked = [Reply(423, failure("LOCKED", "ann@example.com is locked"), {"Retry-After": "0"})]
    hubspot.fault = lambda _, apply: locked.pop() if locked else apply()

    assert statuses(send(people({"email": "ann@example.com"}))) == ["accepted"]


def test_a_batch_that_is_refused_as_a_whole_is_rejected_with_its_category(hubspot: HubSpot) -> None:
    hubspot.fault = lambda *_: Reply(400, failure("VALIDATION_ERROR", "Property shoe_size does not exist"))

    outcomes = send(people({"email": "ann@example.com"}))

    assert [(str(one.status), one.code) for one in outcomes] == [("rejected", "VALIDATION_ERROR")]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_withdrawal": "delete"}, "`archive`: The contact goes to the recycling bin"),
        ({"on_withdrawal": "unsubscribe", **BASIS}, "unsubscribes is for"),
        ({"on_withdrawal": "unsubscribe", "unsubscribes": [1]}, "needs legal_basis and legal_basis_explanation"),
        ({"on_withdrawal": "archive", "unsubscribes": [1]}, "unsubscribes is for"),
        ({"on_withdrawal": "clear_fields"}, "cleared_properties is for"),
        ({"id_property": ""}, "id_property must not be empty"),
        ({"legal_basis": "CONSENT"}, "legal_basis must be `CONSENT_WITH_NOTICE`, "),
        ({"batch_rows": 101}, "at most 100 contacts"),
        ({"requests_per_10_s": 0}, "requests_per_10_s must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(hubspot: HubSpot, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        destination(**options)


@pytest.mark.parametrize(
    ("row", "options", "words"),
    [
        ({"name": "x"}, {}, "no column is mapped to `email`"),
        ({"email": "x", "subscriptions.x": "y"}, BASIS, "`subscriptions.x` names no subscription"),
        ({"email": "x", "subscriptions.1": "y"}, {}, "states of subscriptions need legal_basis"),
        ({"email": "x", "code": "y"}, {"id_property": "code"}, "has to be `email`, or the primary key's field"),
        ({"email": "x", "raw": b"y"}, {}, "no property of HubSpot has the type of `raw`"),
    ],
)
def test_fields_that_do_not_suit_are_refused_before_any_request(
    hubspot: HubSpot, row: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    rows = people(row)

    with pytest.raises(ConfigurationError, match=words):
        destination(**options).check(load_of(rows, key_field="email"))

    assert hubspot.calls == []


def test_the_fast_lane_builds_it_with_the_same_withdrawal(hubspot: HubSpot) -> None:
    load = partial(LoadToHubSpotOperator, hub_id="7001", on_withdrawal="archive", fields={"email": "email"})

    removing = from_parameters(load, "hubspot", render=lambda value: value)

    assert removing is not None
    built = removing.build_destination()
    assert built.on_withdrawal == "archive"
    assert built.target == f"contacts of HubSpot account 7001 at 127.0.0.1:{hubspot.port}"


def as_app(monkeypatch: pytest.MonkeyPatch, hubspot: HubSpot, **others: str) -> None:
    app = {**APP, **others}
    connection = {
        "conn_type": "consenthubspot",
        "host": hubspot.url,
        "login": app["client_id"],
        "password": app["client_secret"],
        "extra": {"allow_private": True, "refresh_token": app["refresh_token"]},
    }
    monkeypatch.setenv("AIRFLOW_CONN_CONSENTHUBSPOT_DEFAULT", json.dumps(connection))


def test_an_app_with_oauth_fetches_one_token_for_a_load(hubspot: HubSpot, monkeypatch: pytest.MonkeyPatch) -> None:
    as_app(monkeypatch, hubspot)

    outcomes = send(people({"email": "ann@example.com", "city": "Ghent"}))

    assert statuses(outcomes) == ["accepted"]
    assert hubspot.token_calls == [APP]
    assert HubSpotHook().test_connection()[0]


def test_an_app_whose_refresh_token_is_refused_stops_the_load_and_no_secret_is_shown(
    hubspot: HubSpot, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_app(monkeypatch, hubspot, refresh_token="refresh-other")

    with pytest.raises(DestinationError, match="refuses its credentials with 400 \\(invalid_grant\\)") as refused:
        send(people({"email": "ann@example.com", "city": "Ghent"}))

    assert not any(secret in str(refused.value) for secret in ("refresh-other", APP["client_secret"]))
    assert hubspot.calls == []


@pytest.mark.parametrize(
    ("missing", "words"),
    [("login", "Client id"), ("password", "Client secret")],
)
def test_an_app_without_a_part_of_its_credentials_is_refused(
    hubspot: HubSpot, monkeypatch: pytest.MonkeyPatch, missing: str, words: str
) -> None:
    as_app(monkeypatch, hubspot)
    connection = json.loads(os.environ["AIRFLOW_CONN_CONSENTHUBSPOT_DEFAULT"])
    del connection[missing]
    monkeypatch.setenv("AIRFLOW_CONN_CONSENTHUBSPOT_DEFAULT", json.dumps(connection))

    with pytest.raises(ConfigurationError, match=words):
        destination()


def test_the_connection_is_tested_with_a_question_about_the_account(hubspot: HubSpot) -> None:
    passes, sentence = HubSpotHook().test_connection()

    assert passes, sentence
    assert [call.path for call in hubspot.calls] == ["/account-info/2026-09/details"]


@pytest.mark.parametrize(
    ("options", "knows"),
    [
        ({"id_property": "customer_id", "on_withdrawal": "archive", "fields": {"customer_id": "id"}}, False),
        ({"on_withdrawal": "archive", "fields": {"email": "email"}}, True),
        ({"id_property": "customer_id", "on_withdrawal": "unsubscribe_all", "fields": {"email": "email"}}, True),
        ({"id_property": "customer_id", "on_withdrawal": "archive", "fields": {"subscriptions.1": "news"}}, True),
    ],
)
def test_a_load_warns_of_shared_addresses_only_if_it_depends_on_them(options: dict[str, Any], knows: bool) -> None:
    load = LoadToHubSpotOperator(task_id="load", permitted=None, destination="hubspot", hub_id="7001", **options)

    assert load.knows_by_identifiers is knows
