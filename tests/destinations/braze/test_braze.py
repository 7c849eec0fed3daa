"""Tests of Braze's own ways: states and opt-outs, each choice of a removal, and errors beside a success."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from support.braze_server import Braze, error, limited, quoting
from support.loading import deliver, load_of, take_back
from support.vendor_server import Asked, Reply

from airflow_consent_retl.contract.account_rate import AccountRate, RateBlock, reserved
from airflow_consent_retl.contract.destination import Batch
from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.braze.braze_hook import BrazeHook
from airflow_consent_retl.destinations.braze.destination import BrazeDestination
from airflow_consent_retl.destinations.braze.options import BrazeSpec
from airflow_consent_retl.errors import ConfigurationError, DestinationUnavailableError
from airflow_consent_retl.operators import LoadToBrazeOperator
from airflow_consent_retl.operators.removing_load import from_parameters

NEWS, OFFERS = "group-news", "group-offers"
GROUP = f"subscription_groups.{NEWS}"


@pytest.fixture
def braze(monkeypatch: pytest.MonkeyPatch) -> Iterator[Braze]:
    with Braze().serving() as server:
        extra = {"allow_private": True}
        connection = {"conn_type": "consentbraze", "host": server.url, "password": server.token, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_CONSENTBRAZE_DEFAULT", json.dumps(connection))
        yield server


def destination(**options: Any) -> BrazeDestination:
    options = {"on_withdrawal": "delete", "max_attempts": 2, "backoff_s": 0.01, **options}
    return BrazeSpec(workspace_name="shop", **options).build()


def people(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


def states(field: str, **values: str | None) -> pa.Table:
    """Return people, by name, with their values of a state."""
    return people(
        *({"external_id": name, "email": f"{name}@example.com", field: state} for name, state in values.items())
    )


def send(rows: pa.Table, **options: Any) -> Outcomes:
    return deliver(destination(**options), rows, load_of(rows, key_field="external_id"))


def remove(rows: pa.Table, **options: Any) -> Outcomes:
    gone = destination(**options)
    load = load_of(rows, key_field="external_id", rows_sent=0)
    (batch,) = rows.combine_chunks().to_batches()
    return take_back(gone, pa.Table.from_batches([gone.removal_rows(batch, load)]), load)


def statuses(outcomes: Outcomes) -> list[str]:
    return [str(outcome.status) for outcome in outcomes]


def sent_objects(braze: Braze) -> list[dict[str, Any]]:
    return [one for call in braze.called("/users/track") for one in call["attributes"]]


def test_values_keep_their_types_and_a_null_removes_the_attribute(braze: Braze) -> None:
    braze.users["ann"] = {"home_city": "Ghent", "score": 1}
    rows = people({"external_id": "ann", "home_city": None, "vip": True, "score": 7, "tags": ["a", "b"]})

    outcomes = send(rows)

    assert statuses(outcomes) == ["accepted"]
    assert braze.users["ann"] == {"external_id": "ann", "vip": True, "score": 7, "tags": ["a", "b"]}


def test_a_load_may_keep_single_attributes_whose_field_is_null(braze: Braze) -> None:
    braze.users["ann"] = {"home_city": "Ghent", "score": 1}
    schema = pa.schema({"external_id": pa.string(), "home_city": pa.string(), "score": pa.int64()})
    rows = pa.Table.from_pylist([{"external_id": "ann"}], schema)

    deliver(destination(), rows, replace(load_of(rows, key_field="external_id"), nulls={"home_city": "omit"}))

    assert braze.users["ann"] == {"external_id": "ann", "home_city": "Ghent"}


def test_states_are_told_and_a_null_says_nothing(braze: Braze) -> None:
    rows = people(
        {"external_id": "ann", "email_subscribe": "opted_in", "push_subscribe": None, GROUP: "subscribed"},
        {"external_id": "bob", "email_subscribe": None, "push_subscribe": "unsubscribed", GROUP: None},
    )

    outcomes = send(rows)

    assert statuses(outcomes) == ["accepted"] * 2
    assert sent_objects(braze) == [
        {
            "external_id": "ann",
            "email_subscribe": "opted_in",
            "subscription_groups": [{"subscription_group_id": NEWS, "subscription_state": "subscribed"}],
        },
        {"external_id": "bob", "push_subscribe": "unsubscribed"},
    ]


def test_nothing_is_asked_where_no_one_is_subscribed(braze: Braze) -> None:
    send(states("email_subscribe", ann="unsubscribed", bob=None))

    assert [call.path for call in braze.calls] == ["/users/track"]


@pytest.mark.parametrize("field", ["email_subscribe", "push_subscribe", GROUP])
def test_a_user_who_is_unsubscribed_at_braze_stays_so(
    braze: Braze, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("ann", "bob"):
        braze.users[name] = {"email": f"{name}@example.com", "email_subscribe": "subscribed"}
    if field == GROUP:
        braze.groups[NEWS] = {"ann": "unsubscribed"}
    else:
        braze.users["ann"][field] = "unsubscribed"
    caplog.set_level(logging.WARNING)

    outcomes = send(states(field, ann="subscribed", bob="subscribed"))

    assert statuses(outcomes) == ["accepted"] * 2
    assert [one.keys() for one in sent_objects(braze)] == [
        {"external_id", "email"},
        {"external_id", "email", field.partition(".")[0]},
    ]
    assert "1 subscriptions were left unsubscribed" in caplog.text


@pytest.mark.parametrize("had", [{}, {"ann": {"email": "before@example.com", "email_subscribe": "subscribed"}}])
def test_an_address_that_was_unsubscribed_before_it_had_this_user_stays_so(
    braze: Braze, had: dict[str, dict[str, Any]]
) -> None:
    braze.users |= had
    braze.opted_out = {"ann@example.com"}

    outcomes = send(states("email_subscribe", ann="opted_in", bob="opted_in"))

    assert statuses(outcomes) == ["accepted"] * 2
    assert [one.get("email_subscribe") for one in sent_objects(braze)] == [None, "opted_in"]


def test_an_address_or_a_number_that_left_a_group_is_not_subscribed_as_another_user(braze: Braze) -> None:
    braze.group_opt_outs = {(NEWS, "ann@example.com"), ("sms", "+3212345678")}
    rows = people(
        {"external_id": "a", "email": "ann@example.com", "phone": "+3287654321"},
        {"external_id": "b", "email": "bob@example.com", "phone": "+3212345678"},
    )
    granted = pa.array(["subscribed"] * 2)
    rows = rows.append_column(GROUP, granted).append_column("subscription_groups.sms", granted)

    outcomes = send(rows, phone_groups=["sms"])

    assert statuses(outcomes) == ["accepted"] * 2
    groups = [[group["subscription_group_id"] for group in one["subscription_groups"]] for one in sent_objects(braze)]
    assert groups == [["sms"], [NEWS]]


@pytest.mark.parametrize("field", ["email_subscribe", "push_subscribe", GROUP])
def test_a_user_without_consent_to_a_state_is_unsubscribed_only_if_braze_has_them_subscribed(
    braze: Braze, field: str
) -> None:
    present = {"ann": "subscribed", "bob": "unsubscribed", "cid": None}
    for name, state in present.items():
        braze.users[name] = {"email": f"{name}@example.com"}
        if state and field == GROUP:
            braze.groups.setdefault(NEWS, {})[name] = state
        elif state:
            braze.users[name][field] = state
    rows = states(field, ann=None, bob=None, cid=None, new=None)
    rows = rows.set_column(2, field, pa.nulls(4, pa.string()))
    load = replace(load_of(rows, key_field="external_id"), cleared=frozenset({field}))

    outcomes = deliver(destination(), rows, load)

    assert statuses(outcomes) == ["accepted"] * 4
    told = [one["external_id"] for one in sent_objects(braze) if field.partition(".")[0] in one]
    assert told == ["ann"]
    assert "unsubscribed" in str(sent_objects(braze)[0])


def test_the_no_of_one_user_counts_for_all_who_share_the_address(braze: Braze) -> None:
    rows = people(
        {"external_id": "a", "email": "ann@example.com", "email_subscribe": "opted_in"},
        {"external_id": "b", "email": "ann@example.com", "email_subscribe": "unsubscribed"},
        {"external_id": "c", "email": "ann@example.com", "email_subscribe": "opted_in"},
    )

    outcomes = send(rows)

    assert statuses(outcomes) == ["accepted"] * 3
    assert {user["email_subscribe"] for user in braze.users.values() if "email_subscribe" in user} == {"unsubscribed"}


def test_more_users_than_fit_a_question_are_asked_about_in_several(braze: Braze) -> None:
    rows = states(GROUP, **{f"user{number}": "subscribed" for number in range(75)})
    braze.groups[NEWS] = {"user74": "unsubscribed"}
    braze.users["user74"] = {"email": "user74@example.com"}

    outcomes = send(rows)

    assert statuses(outcomes) == ["accepted"] * 75
    assert sum("subscription_groups" in one for one in sent_objects(braze)) == 74


def instead_of(path: str, document: dict[str, Any]) -> Callable[[Asked, Callable[[], Reply]], Reply]:
    return lambda call, apply: Reply(200, document) if call.path == path else apply()


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/users/export/ids", {"message": "success", "users": []}),
        ("/users/export/ids", {"users": [{"external_id": "ann"}]}),
        ("/email/unsubscribes", {"message": "success"}),
        ("/subscription/status/get", {"message": "success", "status": {}}),
        ("/subscription/status/get", {"message": "success"}),
    ],
)
def test_a_state_in_doubt_is_not_told_and_its_row_is_uncertain(
    braze: Braze, path: str, document: dict[str, Any]
) -> None:
    braze.fault = instead_of(path, document)
    rows = people(
        {"external_id": "ann", "email": "ann@example.com", "email_subscribe": "opted_in", GROUP: "subscribed"}
    )

    outcomes = send(rows)

    assert statuses(outcomes) == ["uncertain"]
    (told,) = sent_objects(braze)
    assert not {"email_subscribe", "subscription_groups"} <= told.keys()


def test_a_user_whose_state_cannot_be_asked_for_is_rejected_as_a_row_of_which_a_part_is_there(braze: Braze) -> None:
    refusal = Reply(400, {"message": "ann is no id"})
    braze.fault = lambda call, apply: refusal if call.path == "/users/export/ids" else apply()

    outcomes = send(states("email_subscribe", ann="opted_in"))

    assert [(str(one.status), one.code) for one in outcomes] == [("rejected", "state_refused")]
    assert list(braze.users) == ["ann"]


def test_a_question_that_braze_does_not_answer_stops_the_batch_before_anything_is_sent(braze: Braze) -> None:
    braze.fault = lambda call, apply: limited(call, apply) if call.path == "/users/export/ids" else apply()

    with pytest.raises(DestinationUnavailableError):
        send(states("email_subscribe", ann="opted_in"))

    assert sent_objects(braze) == []


def test_rows_that_braze_could_not_take_are_rejected(braze: Braze) -> None:
    rows = people(
        {"external_id": None, "email_subscribe": None, "tags": ["x"]},
        {"external_id": "ann", "email_subscribe": "yes", "tags": ["x"]},
        {"external_id": "bob", "email_subscribe": None, "tags": ["x", None]},
        {"external_id": "cid", "email_subscribe": None, "tags": ["x"]},
    )

    outcomes = send(rows)

    assert [outcome.code for outcome in outcomes] == ["no_identifier", "unknown_state", "null_in_list", ""]
    assert list(braze.users) == ["cid"]


def test_a_refused_object_names_its_field_and_the_others_are_accepted(braze: Braze) -> None:
    braze.refused = {"ann"}

    outcomes = send(people({"external_id": "ann", "text": "x"}, {"external_id": "bob", "text": "y"}))

    assert [(outcome.code, outcome.field) for outcome in outcomes] == [("invalid_value", "text"), ("", "")]


def track_answers(document: dict[str, Any]) -> Callable[[Asked, Callable[[], Reply]], Reply]:
    return lambda _, __: Reply(201, document)


@pytest.mark.parametrize(
    ("document", "codes"),
    [
        ({"message": "success", "attributes_processed": 1}, ["not_in_answer"] * 2),
        ({"message": "success", "attributes_processed": 2, "errors": [error(0, "?")]}, ["unnamed", "not_in_answer"]),
        ({"message": "success", "errors": [error(7, "?")]}, ["unreadable_answer"] * 2),
        ({"message": "success", "errors": [{**error(0, "?"), "input_array": "events"}]}, ["unreadable_answer"] * 2),
        ({"message": "success", "errors": ["ann@example.com is no address"]}, ["unreadable_answer"] * 2),
        ({"message": "queued"}, ["unreadable_answer"] * 2),
        ({"message": "success", "errors": [error(1, "?"), error(1, "'text' is bad")]}, ["", "unnamed"]),
        ({"message": "success"}, ["", ""]),
    ],
)
def test_what_the_answer_does_not_make_clear_is_uncertain(
    braze: Braze, document: dict[str, Any], codes: Sequence[str]
) -> None:
    braze.fault = track_answers(document)

    outcomes = send(people({"external_id": "ann", "text": "x"}, {"external_id": "bob", "text": "y"}))

    assert [outcome.code for outcome in outcomes] == list(codes)


def test_a_refusal_of_a_whole_request_rejects_its_rows_and_quotes_none(braze: Braze) -> None:
    braze.fault = quoting

    outcomes = send(people({"external_id": "ann", "text": "x"}))

    assert [(str(outcome.status), outcome.code) for outcome in outcomes] == [("rejected", "http_400")]


GONE = people({"external_id": "ann"}, {"external_id": "stranger"})


def users(braze: Braze) -> None:
    for name in ("ann", "bob"):
        braze.users[name] = {"email": f"{name}@example.com", "audience": True, "score": 7}
        for group in (NEWS, OFFERS):
            braze.groups.setdefault(group, {})[name] = "subscribed"


def test_delete_deletes_the_users(braze: Braze) -> None:
    users(braze)

    outcomes = remove(GONE)

    assert statuses(outcomes) == ["accepted"] * 2
    assert list(braze.users) == ["bob"]


def test_clear_attribute_sets_the_named_attributes_and_makes_no_user(braze: Braze) -> None:
    users(braze)

    outcomes = remove(GONE, on_withdrawal="clear_attribute", withdrawn_attributes={"audience": False, "score": None})

    assert statuses(outcomes) == ["accepted"] * 2
    assert braze.users == {
        "ann": {"external_id": "ann", "email": "ann@example.com", "audience": False},
        "bob": {"email": "bob@example.com", "audience": True, "score": 7},
    }


def test_unsubscribe_is_from_the_named_groups_only(braze: Braze) -> None:
    users(braze)

    outcomes = remove(GONE, on_withdrawal="unsubscribe", unsubscribes=[NEWS])

    assert statuses(outcomes) == ["accepted"] * 2
    assert braze.groups == {
        NEWS: {"ann": "unsubscribed", "bob": "subscribed"},
        OFFERS: {"ann": "subscribed", "bob": "subscribed"},
    }
    assert braze.users["ann"]["audience"] is True


def test_a_person_who_is_granted_again_after_unsubscribe_stays_unsubscribed(braze: Braze) -> None:
    options: dict[str, Any] = {"on_withdrawal": "unsubscribe", "unsubscribes": [NEWS]}
    rows = states(GROUP, ann="subscribed")
    send(rows, **options)
    remove(rows, **options)

    outcomes = send(rows, **options)

    assert statuses(outcomes) == ["accepted"]
    assert braze.groups[NEWS] == {"ann": "unsubscribed"}


def test_withdrawn_fields_are_removed_and_withdrawn_states_are_unsubscribed(braze: Braze) -> None:
    users(braze)
    rows = states(GROUP, ann="subscribed", nobody="subscribed").append_column("score", pa.array([1, 2]))
    rows = rows.append_column("email_subscribe", pa.array(["opted_in", "opted_in"]))
    opened, load = destination(), load_of(rows, key_field="external_id")
    opened.open(load)
    (batch,) = rows.select(["external_id"]).combine_chunks().to_batches()

    outcomes = opened.clear(Batch(key="0" * 64, rows=batch), ["score", "email_subscribe", GROUP])
    opened.commit()

    assert statuses(outcomes) == ["accepted"] * 2
    assert "score" not in braze.users["ann"]
    assert braze.users["ann"]["email_subscribe"] == braze.groups[NEWS]["ann"] == "unsubscribed"
    assert braze.users.keys() == {"ann", "bob"}


def send_by(key_field: str, rows: pa.Table, **options: Any) -> Outcomes:
    return deliver(destination(**options), rows, load_of(rows, key_field=key_field))


BY_ALIAS: dict[str, Any] = {"identifier": "user_alias", "alias_label": "shop_id"}


def alias(name: str) -> dict[str, str]:
    return {"alias_name": name, "alias_label": "shop_id"}


def test_users_known_by_an_alias_are_made_and_changed(braze: Braze) -> None:
    braze.users["known"] = {"user_aliases": [alias("7")], "score": 1}
    rows = people({"alias_name": "7", "score": 2}, {"alias_name": "8", "score": 3})

    outcomes = send_by("alias_name", rows, **BY_ALIAS)

    assert statuses(outcomes) == ["accepted"] * 2
    assert sent_objects(braze) == [
        {"user_alias": alias("7"), "score": 2, "_update_existing_only": False},
        {"user_alias": alias("8"), "score": 3, "_update_existing_only": False},
    ]
    assert braze.users["known"]["score"] == 2
    assert len(braze.users) == 2


def test_users_known_by_their_address_are_made_and_changed(braze: Braze) -> None:
    braze.users["known"] = {"email": "Ann@example.com", "score": 1}
    rows = people({"email": "ann@example.com", "score": 2}, {"email": "bob@example.com", "score": 3})

    outcomes = send_by("email", rows, identifier="email")

    assert statuses(outcomes) == ["accepted"] * 2
    assert sent_objects(braze) == [
        {"email": "ann@example.com", "score": 2},
        {"email": "bob@example.com", "score": 3},
    ]
    assert braze.users["known"]["score"] == 2
    assert len(braze.users) == 2


@pytest.mark.parametrize("name", ["email_subscribe", GROUP])
@pytest.mark.parametrize("by", ["email", "alias_name"])
def test_an_opt_out_survives_whatever_users_are_known_by(braze: Braze, by: str, name: str) -> None:
    options = BY_ALIAS if by == "alias_name" else {"identifier": "email"}
    for user in ("ann", "bob"):
        braze.users[f"~{user}"] = {"email": f"{user}@example.com", "user_aliases": [alias(user)]}
    if name == GROUP:
        braze.group_opt_outs = {(NEWS, "ann@example.com"), (NEWS, "cid@example.com")}
    else:
        braze.users["~ann"]["email_subscribe"] = "unsubscribed"
        braze.opted_out = {"cid@example.com"}
    rows = states(name, ann="subscribed", bob="subscribed", cid="subscribed").drop_columns(["external_id"])
    if by == "alias_name":
        rows = rows.append_column("alias_name", pa.array(["ann", "bob", "cid"]))

    outcomes = send_by(by, rows, **options)

    assert statuses(outcomes) == ["accepted"] * 3
    told = [one["email"] for one in sent_objects(braze) if name.partition(".")[0] in one]
    assert told == ["bob@example.com"]


def test_an_alias_of_another_label_is_another_user(braze: Braze) -> None:
    braze.users["other"] = {"user_aliases": [{"alias_name": "7", "alias_label": "else"}], "email_subscribe": "opted_in"}
    rows = people({"alias_name": "7", "email_subscribe": "opted_in"})

    outcomes = send_by("alias_name", rows, **BY_ALIAS)

    assert statuses(outcomes) == ["accepted"]
    assert len(braze.users) == 2


@pytest.mark.parametrize(
    ("field", "options"), [("email", {"identifier": "email"}), ("alias_name", BY_ALIAS), ("external_id", {})]
)
@pytest.mark.parametrize("how", ["delete", "clear_attribute", "unsubscribe"])
def test_people_are_taken_back_by_the_identifier_with_which_they_were_sent(
    braze: Braze, field: str, options: dict[str, Any], how: str
) -> None:
    choices: dict[str, dict[str, Any]] = {
        "delete": {},
        "clear_attribute": {"withdrawn_attributes": {"vip": False}},
        "unsubscribe": {"unsubscribes": [NEWS]},
    }
    braze.users["ann"] = {"email": "ann@example.com", "user_aliases": [alias("ann@example.com")], "vip": True}
    braze.users["ann@example.com"] = {"email": "second@example.com", "vip": True}
    rows = people({field: "ann@example.com"}, {field: "nobody@example.com"})
    gone = destination(on_withdrawal=how, **choices[how], **options)
    load = load_of(rows, key_field=field, rows_sent=0)

    outcomes = take_back(gone, rows, load)

    assert statuses(outcomes) == ["accepted"] * 2
    place, other = ("ann@example.com", "ann") if field == "external_id" else ("ann", "ann@example.com")
    assert braze.users[other]["vip"] is True
    if how == "delete":
        assert place not in braze.users
    elif how == "clear_attribute":
        assert braze.users[place]["vip"] is False
    else:
        assert braze.groups == {NEWS: {place: "unsubscribed"}}
    assert len(braze.users) == (1 if how == "delete" else 2)


def test_another_identifier_is_another_place(braze: Braze) -> None:
    places = {destination(**options).target for options in ({}, {"identifier": "email"}, BY_ALIAS)}

    assert len(places) == 3


@pytest.mark.parametrize("document", [{"message": "success"}, {"deleted": 3}, {"deleted": "2"}, {"deleted": True}])
def test_a_deletion_without_a_number_that_fits_is_uncertain(braze: Braze, document: dict[str, Any]) -> None:
    braze.fault = track_answers(document)

    assert statuses(remove(GONE)) == ["uncertain"] * 2


def test_all_loads_of_a_workspace_share_its_limits_and_wait_for_its_clock(braze: Braze) -> None:
    (rate,) = destination().limits.account_rates

    assert (rate.account, rate.requests, rate.period_s, rate.by_clock) == ("shop 127.0.0.1", 3000, 3, True)


def test_exports_of_profiles_have_a_limit_of_their_own(braze: Braze) -> None:
    rows = states("email_subscribe", **{f"user{number}": "opted_in" for number in range(51)})

    with pytest.raises(DestinationUnavailableError, match="takes 1 requests in 60 s of its clock"):
        send(rows, exports_per_minute=1, max_retry_s=0.01)

    assert [call.path for call in braze.calls] in [["/users/export/ids"], []]
    assert sent_objects(braze) == []


def test_exports_of_profiles_take_nothing_from_the_limit_of_other_requests(braze: Braze) -> None:
    braze.users["ann"] = {"email": "ann@example.com"}
    rows = states("email_subscribe", ann="opted_in")
    counts: dict[str, dict[int, int]] = {}

    def reserve(rate: AccountRate, wanted: int) -> RateBlock:
        # The time stands still at the beginning of a window: near its end, any request would have to wait.
        block, counts[rate.identity] = reserved(rate, counts.get(rate.identity, {}), wanted, now_us=0)
        return block

    load = replace(load_of(rows, key_field="external_id"), reserve=reserve)
    outcomes = deliver(destination(requests_per_3_s=1, max_retry_s=0.01), rows, load)

    assert statuses(outcomes) == ["accepted"]
    assert [call.path for call in braze.calls] == ["/users/export/ids", "/users/track"]


def test_a_limited_request_is_tried_again_after_the_window(braze: Braze) -> None:
    faults = [limited]
    braze.fault = lambda call, apply: faults.pop()(call, apply) if faults else apply()

    assert statuses(send(people({"external_id": "ann", "text": "x"}))) == ["accepted"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_withdrawal": "archive"}, "`delete`: Braze deletes the user for good"),
        ({"on_withdrawal": "unsubscribe"}, "unsubscribes is for"),
        ({"on_withdrawal": "clear_attribute"}, "withdrawn_attributes is for"),
        ({"unsubscribes": ["x"]}, "unsubscribes is for"),
        ({"batch_rows": 76}, "at most 75 objects"),
        ({"identifier": "phone"}, "identifier must be `external_id`, `email` or `user_alias`"),
        ({"identifier": "user_alias"}, 'alias_label is for identifier="user_alias", which needs it'),
        ({"alias_label": "shop_id"}, 'alias_label is for identifier="user_alias", which needs it'),
        ({"exports_per_minute": 0}, "exports_per_minute must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_refused(braze: Braze, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        destination(**options)


@pytest.mark.parametrize(
    ("row", "key", "words"),
    [
        ({"id": "x"}, "id", "has to be mapped to `external_id`"),
        ({"external_id": "x", "braze_id": "y"}, "external_id", "`braze_id` is no attribute"),
        ({"external_id": "x", "_update_existing_only": True}, "external_id", "`_update_existing_only` is no attribute"),
        ({"external_id": "x", "a.b": "y"}, "external_id", "`a.b` is no attribute"),
        ({"external_id": "x", "pets": {"cats": 1}}, "external_id", r"`pets` \(.*\) is a nested attribute"),
        ({"external_id": "x", "pets": [{"cats": 1}]}, "external_id", r"`pets` \(.*\) is a nested attribute"),
    ],
)
def test_fields_that_do_not_suit_are_refused_before_any_request(
    braze: Braze, row: dict[str, Any], key: str, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        destination().check(load_of(people(row), key_field=key))

    assert braze.calls == []


@pytest.mark.parametrize(
    ("row", "key", "options", "words"),
    [
        ({"external_id": "x"}, "external_id", BY_ALIAS, "has to be mapped to `alias_name`"),
        ({"email": "x", "external_id": "y"}, "email", {"identifier": "email"}, "`external_id` is no attribute"),
        ({"email": "x", "push_subscribe": "opted_in"}, "email", {"identifier": "email"}, "`push_subscribe` is of one"),
    ],
)
def test_fields_that_do_not_suit_the_identifier_are_refused(
    braze: Braze, row: dict[str, Any], key: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        destination(**options).check(load_of(people(row), key_field=key))

    assert braze.calls == []


def test_the_fast_lane_builds_it_with_the_same_withdrawal(braze: Braze) -> None:
    load = partial(LoadToBrazeOperator, workspace_name="shop", on_withdrawal="delete", fields={"external_id": "id"})

    removing = from_parameters(load, "braze", render=lambda value: value)

    assert removing is not None
    built = removing.build_destination()
    assert built.on_withdrawal == "delete"
    assert built.target == f"users of Braze workspace shop at 127.0.0.1:{braze.port}"


def test_the_connection_is_tested_with_an_object_that_changes_nothing(braze: Braze) -> None:
    passes, sentence = BrazeHook().test_connection()

    assert passes, sentence
    assert braze.users == {}


@pytest.mark.parametrize(
    ("fields", "on_withdrawal", "knows"),
    [
        ({"external_id": "id"}, "delete", False),
        ({"external_id": "id", "push_subscribe": "push"}, "delete", False),
        ({"external_id": "id", "email_subscribe": "news"}, "delete", True),
        ({"external_id": "id", GROUP: "news"}, "delete", True),
        ({"external_id": "id"}, "unsubscribe", True),
    ],
)
def test_a_load_warns_of_shared_addresses_only_if_it_depends_on_them(
    fields: dict[str, str], on_withdrawal: Any, knows: bool
) -> None:
    load = LoadToBrazeOperator(
        task_id="load",
        permitted=None,
        destination="braze",
        workspace_name="shop",
        fields=fields,
        on_withdrawal=on_withdrawal,
        unsubscribes=["g1"] if on_withdrawal == "unsubscribe" else (),
    )

    assert load.knows_by_identifiers is knows
