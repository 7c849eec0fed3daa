"""States of Klaviyo's channels: no opt-out there is overwritten by a yes, and a no is over when Klaviyo shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from support.klaviyo_server import Klaviyo
from support.loading import DECIDED_AT, load_of
from support.vendor_api import RESET
from support.vendor_server import Asked, Reply

from airflow_consent_retl.contract import Batch, ConfigurationError, Outcome, Outcomes, RowStatus
from airflow_consent_retl.destinations.klaviyo.destination import KlaviyoDestination
from airflow_consent_retl.destinations.klaviyo.options import KlaviyoSpec
from airflow_consent_retl.fields import consent, constant
from airflow_consent_retl.operators import LoadToKlaviyoOperator

ACCEPTED, REFUSED = Outcome(RowStatus.ACCEPTED), Outcome(RowStatus.REJECTED, "state_refused")
YES, NO = "SUBSCRIBED", "UNSUBSCRIBED"
AGREED = datetime(2026, 3, 5, 9, 30, tzinfo=UTC)
STATE, TIME = "subscriptions.email.marketing.consent", "subscriptions.email.marketing.consented_at"
SMS_STATE, SMS_TIME = "subscriptions.sms.marketing.consent", "subscriptions.sms.marketing.consented_at"
SUBSCRIBING, UNSUBSCRIBING = "/api/profile-subscription-bulk-create-jobs", "/api/profile-subscription-bulk-delete-jobs"
EMAIL = pa.schema(
    [("external_id", pa.string()), ("email", pa.string()), (STATE, pa.string()), (TIME, pa.timestamp("us", "UTC"))]
)
SCHEMA = EMAIL.append(pa.field("phone_number", pa.string()))
SCHEMA = SCHEMA.append(pa.field(SMS_STATE, pa.string())).append(pa.field(SMS_TIME, pa.timestamp("us", "UTC")))


def spec(**given: Any) -> KlaviyoSpec:
    chosen = {"account_id": "Ab12", "on_withdrawal": "unsubscribe_channels", "unsubscribes": ["email", "sms"]}
    rates = {"requests_per_s": 100_000, "requests_per_minute": 100_000, "max_attempts": 2, "backoff_s": 0.01}
    return KlaviyoSpec(**{**chosen, **rates, **given})


def person(name: str, state: str | None = None, **others: object) -> dict[str, object]:
    return {"external_id": name, "email": f"{name}@x.org", STATE: state, TIME: AGREED, **others}


def by_sms(name: str, number: str, state: str | None) -> dict[str, object]:
    return {**person(name), "phone_number": number, SMS_STATE: state, SMS_TIME: AGREED + timedelta(days=1)}


def table(rows: Sequence[Mapping[str, object]], schema: pa.Schema = EMAIL) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(list(rows), schema)


def opened(rows: pa.RecordBatch, *, cleared: frozenset[str] = frozenset(), **given: Any) -> KlaviyoDestination:
    destination = spec(**given).build()
    load = load_of(pa.Table.from_batches([rows]), key_field="external_id")
    destination.open(replace(load, cleared=cleared))
    return destination


def settled(destination: KlaviyoDestination, outcomes: Outcomes, rows: pa.RecordBatch) -> list[Outcome]:
    """Ask about what is pending until there is an answer."""
    return list(destination.after_jobs(Batch(key="2" * 64, rows=rows), outcomes, at_most_s=5))


def sent(rows: Sequence[Mapping[str, object]], schema: pa.Schema = EMAIL, **given: Any) -> list[Outcome]:
    batch = table(rows, schema)
    destination = opened(batch, **given)
    try:
        return settled(destination, destination.send(Batch(key="0" * 64, rows=batch)), batch)
    finally:
        destination.commit()


def known(klaviyo: Klaviyo, *names: str) -> None:
    """Make these people profiles, without a state."""
    assert sent([person(name) for name in names]) == [ACCEPTED] * len(names)
    klaviyo.calls.clear()


def test_a_yes_subscribes_people_of_whom_klaviyo_has_no_state_at_the_time_of_their_own_consent(
    klaviyo: Klaviyo,
) -> None:
    known(klaviyo, "bob")
    later = {TIME: AGREED + timedelta(hours=1, microseconds=5)}

    assert sent([person("ann", YES), person("bob", YES, **later), person("eve")]) == [ACCEPTED] * 3

    assert klaviyo.subscribed == [("ann@x.org", "email", AGREED), ("bob@x.org", "email", later[TIME])]
    assert [klaviyo.state(name) for name in ("ann", "bob", "eve")] == [YES, YES, "NEVER_SUBSCRIBED"]
    assert klaviyo.confirmations == []
    assert klaviyo.violations == []


def test_a_channel_is_subscribed_alone(klaviyo: Klaviyo) -> None:
    rows = [by_sms("ann", "+15005550006", YES), {**by_sms("bob", "+15005550007", None), STATE: YES}]

    assert sent(rows, SCHEMA) == [ACCEPTED] * 2

    assert sorted(klaviyo.subscribed) == [
        ("+15005550006", "sms", AGREED + timedelta(days=1)),
        ("bob@x.org", "email", AGREED),
    ]
    assert [klaviyo.state("ann"), klaviyo.state("bob", "sms")] == ["NEVER_SUBSCRIBED"] * 2


def test_who_is_subscribed_is_not_subscribed_again(klaviyo: Klaviyo) -> None:
    sent([person("ann", YES)])

    assert sent([person("ann", YES)]) == [ACCEPTED]

    assert len(klaviyo.subscribed) == 1


@pytest.mark.parametrize("reason", ["HARD_BOUNCE", "INVALID_EMAIL", "SPAM_COMPLAINT", "UNSUBSCRIBE", "USER_SUPPRESSED"])
@pytest.mark.parametrize("place", ["suppressions", "list_suppressions"])
def test_a_suppression_outlives_a_yes(klaviyo: Klaviyo, reason: str, place: str) -> None:
    known(klaviyo, "ann")
    (profile,) = klaviyo.profiles
    getattr(klaviyo, place)[profile] = [reason]

    assert sent([person("ann", YES)]) == [ACCEPTED]

    assert (klaviyo.called(SUBSCRIBING), getattr(klaviyo, place)) == ([], {profile: [reason]})


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_an_opt_out_outlives_a_yes(klaviyo: Klaviyo, channel: str, caplog: pytest.LogCaptureFixture) -> None:
    row = {**by_sms("ann", "+15005550006", YES), STATE: YES}
    known(klaviyo, "ann")
    klaviyo.opt_out("ann", channel)

    assert sent([row], SCHEMA) == [ACCEPTED]

    other = {"email": "sms", "sms": "email"}[channel]
    assert (klaviyo.state("ann", channel), klaviyo.state("ann", other)) == (NO, YES)
    assert klaviyo.opt_outs_deleted == []
    assert "1 subscriptions were left unsubscribed: Klaviyo has an opt-out" in caplog.text


def test_an_opt_out_outlives_a_change_of_the_address(klaviyo: Klaviyo) -> None:
    known(klaviyo, "ann")
    klaviyo.opt_out("ann")

    def new_address_is_clean(call: Asked, apply: Callable[[], Reply]) -> Reply:
        if call.path == "/api/profile-bulk-import-jobs":
            klaviyo.states.clear()
        return apply()

    klaviyo.fault = new_address_is_clean
    assert sent([person("ann", YES, email="new@x.org")]) == [ACCEPTED]

    assert klaviyo.called(SUBSCRIBING) == []


def _without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(profile: dict[str, Any]) -> None:
        for name in path[:-1]:
            profile = profile[name]
        del profile[path[-1]]

    return change


def _with(value: object, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(profile: dict[str, Any]) -> None:
        for name in path[:-1]:
            profile = profile[name]
        profile[path[-1]] = value

    return change


MARKETING = ("subscriptions", "email", "marketing")


@pytest.mark.parametrize(
    "change",
    [
        _with("PENDING", *MARKETING, "consent"),
        _with(None, *MARKETING, "consent"),
        _with("never_subscribed", *MARKETING, "consent"),
        _without(*MARKETING, "consent"),
        _without(*MARKETING, "suppression"),
        _with(None, *MARKETING, "list_suppressions"),
        _with(None, *MARKETING),
        _with([], *MARKETING),
        _with(None, "subscriptions", "email"),
        _without("subscriptions"),
    ],
    ids=[
        "word", "null", "small_letters", "no_word", "no_suppression", "null_list", "null_marketing", "list",
        "null_channel", "no_subscriptions",
    ],
)  # fmt: skip
def test_no_one_is_subscribed_where_the_state_is_not_clear(
    klaviyo: Klaviyo, change: Callable[[dict[str, Any]], None]
) -> None:
    def strange(call: Asked, apply: Callable[[], Reply]) -> Reply:
        answer = apply()
        if call.path == "/api/profiles":
            for one in answer.content["data"]:
                if one["attributes"]["external_id"] == "ann":
                    change(one["attributes"])
        return answer

    klaviyo.fault = strange
    assert sent([person("ann", YES), person("bob", YES)]) == [REFUSED, ACCEPTED]

    assert [address for address, _, _ in klaviyo.subscribed] == ["bob@x.org"]


@pytest.mark.parametrize("is_free", [False, None])
def test_no_one_is_subscribed_who_cannot_receive_e_mail(klaviyo: Klaviyo, is_free: bool | None) -> None:
    def cannot(call: Asked, apply: Callable[[], Reply]) -> Reply:
        answer = apply()
        if call.path == "/api/profiles":
            for one in answer.content["data"]:
                one["attributes"]["subscriptions"]["email"]["marketing"]["can_receive_email_marketing"] = is_free
        return answer

    klaviyo.fault = cannot
    sent([person("ann", YES)])

    assert klaviyo.called(SUBSCRIBING) == []


@pytest.mark.parametrize(
    "broken",
    [
        Reply(500),
        Reply(200, {"data": None}),
        Reply(200, {"data": [], "links": {"next": "/api/profiles?page=2"}}),
        RESET,
    ],
    ids=["error", "null", "pages", "reset"],
)
def test_no_one_is_subscribed_where_the_question_after_the_import_fails(klaviyo: Klaviyo, broken: Reply) -> None:
    def fails(call: Asked, apply: Callable[[], Reply]) -> Reply:
        return broken if call.path == "/api/profiles" and klaviyo.jobs else apply()

    klaviyo.fault = fails
    outcomes = sent([person("ann", YES), person("bob")])

    assert [one.status for one in outcomes] == [RowStatus.UNCERTAIN, RowStatus.ACCEPTED]
    assert klaviyo.called(SUBSCRIBING) == []


@pytest.mark.parametrize("clean", [0, 1])
def test_no_one_is_subscribed_of_whose_address_klaviyo_shows_two_profiles(klaviyo: Klaviyo, clean: int) -> None:
    def twice(call: Asked, apply: Callable[[], Reply]) -> Reply:
        answer = apply()
        if call.path == "/api/profiles" and klaviyo.jobs:
            pair = [deepcopy(answer.content["data"][0]), deepcopy(answer.content["data"][0])]
            _with(NO, *MARKETING, "consent")(pair[1 - clean]["attributes"])
            return Reply(200, {**answer.content, "data": pair})
        return answer

    klaviyo.fault = twice
    outcomes = sent([person("ann", YES)])

    assert [one.status for one in outcomes] == [RowStatus.UNCERTAIN]
    assert klaviyo.called(SUBSCRIBING) == []


def test_no_one_is_subscribed_whose_profile_is_not_found_after_the_import(klaviyo: Klaviyo) -> None:
    def none(call: Asked, apply: Callable[[], Reply]) -> Reply:
        return Reply(200, {"data": []}) if call.path == "/api/profiles" else apply()

    klaviyo.fault = none
    assert sent([person("ann", YES)]) == [Outcome(RowStatus.UNCERTAIN, "not_in_answer")]

    assert klaviyo.called(SUBSCRIBING) == []


def test_a_row_that_the_import_refuses_is_not_subscribed(klaviyo: Klaviyo) -> None:
    klaviyo.refused = {"ann"}

    assert sent([person("ann", YES), person("bob", YES)]) == [Outcome(RowStatus.REJECTED, "invalid"), ACCEPTED]

    assert [address for address, _, _ in klaviyo.subscribed] == ["bob@x.org"]


def test_an_import_that_takes_too_long_is_uncertain_and_no_one_is_subscribed(klaviyo: Klaviyo) -> None:
    klaviyo.polls = 1_000_000

    outcomes = sent([person("ann", YES)], job_wait_s=0.05)

    assert [one.status for one in outcomes] == [RowStatus.UNCERTAIN]
    assert klaviyo.called(SUBSCRIBING) == []


def test_the_states_wait_for_an_import(klaviyo: Klaviyo) -> None:
    klaviyo.polls = 3

    assert sent([person("ann", YES)]) == [ACCEPTED]

    assert klaviyo.state("ann") == YES


def test_a_no_ends_the_whole_channel_and_is_pending_until_klaviyo_shows_it(klaviyo: Klaviyo) -> None:
    sent([person("ann", YES), person("bob", YES)], list_id="L1")
    klaviyo.lag = 3
    rows = table([person("ann", NO), person("bob", YES)])
    destination = opened(rows, list_id="L1")

    outcomes = destination.send(Batch(key="1" * 64, rows=rows))
    pending = [one.status for one in outcomes]
    ann = rows.slice(0, 1)
    asked = [destination.confirm_rows(outcomes[0].code, 1, lambda: ann) for _ in range(3)]
    destination.commit()

    assert pending == [RowStatus.PENDING, RowStatus.ACCEPTED]
    assert destination.is_processed(outcomes[0].code)
    assert asked[0] is None
    assert asked[-1] == Outcomes.accepted(1)
    assert klaviyo.unsubscribed == [("ann@x.org", "everything")]
    assert (klaviyo.state("ann"), klaviyo.state("bob")) == (NO, YES)


def test_each_no_is_confirmed_by_its_own_channel(klaviyo: Klaviyo) -> None:
    ann, bob = (
        {**by_sms(name, f"+1500555000{len(name)}{name[0] == 'b':d}", YES), STATE: YES} for name in ("ann", "bob")
    )
    sent([ann, bob], SCHEMA)

    outcomes = sent([{**ann, STATE: NO}, {**bob, SMS_STATE: NO}], SCHEMA)

    assert outcomes == [ACCEPTED] * 2
    assert [(klaviyo.state(one), klaviyo.state(one, "sms")) for one in ("ann", "bob")] == [(NO, YES), (YES, NO)]


def test_a_no_is_confirmed_by_the_address_where_the_profile_is_that_of_another_person(klaviyo: Klaviyo) -> None:
    sent([person("ann", YES, email="a@x.org")])
    klaviyo.lag = 4

    outcomes = sent([person("ann", NO, email="a@x.org"), person("bob", email="a@x.org")])

    assert outcomes == [ACCEPTED] * 2
    assert klaviyo.unsubscribed == [("a@x.org", "everything")]


def test_a_no_is_not_confirmed_by_an_answer_that_is_not_clear(klaviyo: Klaviyo) -> None:
    rows = table([person("ann", NO)])
    destination = opened(rows)
    pending = destination.send(Batch(key="1" * 64, rows=rows))

    def pages(call: Asked, apply: Callable[[], Reply]) -> Reply:
        return (
            Reply(200, {"data": [], "links": {"next": "/api/profiles?page=2"}}) if "filter" in call.query else apply()
        )

    klaviyo.fault = pages
    unclear = destination.confirm_rows(pending[0].code, 1, lambda: rows)
    klaviyo.fault = None
    clear = destination.confirm_rows(pending[0].code, 1, lambda: rows)
    destination.commit()

    assert (unclear, clear) == (None, Outcomes.accepted(1))


def test_people_who_share_an_address_have_the_strictest_state(klaviyo: Klaviyo) -> None:
    rows = [person("ann", YES, email="a@x.org"), person("bob", NO, email="A@x.org"), person("eve", YES)]

    assert [one.status for one in sent(rows)] == [RowStatus.ACCEPTED] * 3

    assert [address for address, _, _ in klaviyo.subscribed] == ["eve@x.org"]
    assert klaviyo.unsubscribed == [("a@x.org", "everything")]


def test_a_no_counts_for_an_address_although_its_row_is_refused(klaviyo: Klaviyo) -> None:
    klaviyo.refused = {"bob"}
    rows = [person("ann", YES, email="a@x.org"), person("bob", NO, email="A@x.org"), person("eve", YES)]

    assert sent(rows) == [ACCEPTED, Outcome(RowStatus.REJECTED, "invalid"), ACCEPTED]

    assert [address for address, _, _ in klaviyo.subscribed] == ["eve@x.org"]
    assert klaviyo.called(UNSUBSCRIBING) == []


def test_a_state_that_is_null_says_nothing(klaviyo: Klaviyo) -> None:
    sent([person("ann", YES)])

    assert sent([person("ann")]) == [ACCEPTED]

    assert klaviyo.state("ann") == YES


def test_a_state_that_consent_withholds_ends_a_subscription_and_nothing_else(klaviyo: Klaviyo) -> None:
    sent([person("ann", YES), person("bob")])
    klaviyo.lag = 4

    assert sent([person("ann"), person("bob")], cleared=frozenset({STATE})) == [ACCEPTED] * 2

    assert (klaviyo.state("ann"), klaviyo.state("bob")) == (NO, "NEVER_SUBSCRIBED")
    assert klaviyo.unsubscribed == [("ann@x.org", "everything")]


@pytest.mark.parametrize(
    ("others", "code"),
    [
        ({TIME: None}, "no_consent_time"),
        ({TIME: DECIDED_AT + timedelta(seconds=1)}, "consent_time_ahead"),
        ({STATE: "subscribed"}, "unknown_state"),
        ({STATE: "NEVER_SUBSCRIBED"}, "unknown_state"),
    ],
)
def test_a_yes_without_a_time_or_in_other_words_is_rejected_with_its_row(
    klaviyo: Klaviyo, others: dict[str, object], code: str
) -> None:
    assert sent([person("ann", YES, **others), person("bob", YES)]) == [Outcome(RowStatus.REJECTED, code), ACCEPTED]

    assert klaviyo.by("external_id").keys() == {"bob"}


@pytest.mark.usefixtures("klaviyo")
def test_a_preview_shows_profiles_without_their_states() -> None:
    rows = table([person("ann", YES), person("bob", YES, **{TIME: None})])

    shown = spec().build().sent_as(rows, load_of(pa.Table.from_batches([rows]), key_field="external_id"))

    assert shown == [{"type": "profile", "attributes": {"external_id": "ann", "email": "ann@x.org"}}]


def test_a_time_without_a_time_zone_has_utc(klaviyo: Klaviyo) -> None:
    schema = EMAIL.set(3, pa.field(TIME, pa.timestamp("ns")))

    sent([person("ann", YES, **{TIME: AGREED.replace(tzinfo=None)})], schema)

    assert klaviyo.subscribed == [("ann@x.org", "email", AGREED)]


def test_a_refused_subscription_is_told_from_a_refused_row(klaviyo: Klaviyo) -> None:
    def refuses(call: Asked, apply: Callable[[], Reply]) -> Reply:
        return Reply(400, {"errors": [{"code": "invalid"}]}) if call.path == SUBSCRIBING else apply()

    klaviyo.fault = refuses

    assert sent([person("ann", YES), person("bob")]) == [REFUSED, ACCEPTED]


def test_a_subscription_without_an_answer_is_uncertain(klaviyo: Klaviyo) -> None:
    def lost(call: Asked, apply: Callable[[], Reply]) -> Reply:
        answer = apply()
        return RESET if call.path == SUBSCRIBING else answer

    klaviyo.fault = lost
    outcomes = sent([person("ann", YES), person("bob")])

    assert [one.status for one in outcomes] == [RowStatus.UNCERTAIN, RowStatus.ACCEPTED]


def test_thousands_of_states_are_sent_in_as_many_as_klaviyo_takes(klaviyo: Klaviyo) -> None:
    rows = [person(f"p{number}", YES if number < 1001 else NO) for number in range(1202)]

    assert set(sent(rows)) == {ACCEPTED}

    assert len(klaviyo.called(SUBSCRIBING)) == 2
    assert len(klaviyo.called(UNSUBSCRIBING)) == 3
    assert klaviyo.violations == []


def test_a_withdrawn_state_is_ended_and_the_profile_stays(klaviyo: Klaviyo) -> None:
    rows = table([person("ann", YES), person("bob", YES)])
    sent(rows.to_pylist())
    klaviyo.lag = 2
    destination = opened(rows)
    people = table([{"external_id": "ann"}, {"external_id": "stranger"}], pa.schema([("external_id", pa.string())]))

    outcomes = destination.clear(Batch(key="3" * 64, rows=people), [STATE, TIME])
    after = settled(destination, outcomes, people)
    destination.commit()

    assert after == [ACCEPTED] * 2
    assert (klaviyo.state("ann"), klaviyo.state("bob"), len(klaviyo.profiles)) == (NO, YES, 2)
    assert klaviyo.by("external_id")["ann"]["email"] == "ann@x.org"


def test_an_address_is_emptied_after_its_subscription_ended(klaviyo: Klaviyo) -> None:
    rows = table([person("ann", YES)])
    sent(rows.to_pylist())
    klaviyo.lag = 3
    destination = opened(rows)
    people = table([{"external_id": "ann"}], pa.schema([("external_id", pa.string())]))

    outcomes = destination.clear(Batch(key="3" * 64, rows=people), ["email", STATE])
    after = settled(destination, outcomes, people)
    destination.commit()

    assert after == [ACCEPTED]
    assert (klaviyo.state("ann"), klaviyo.by("external_id")["ann"]["email"], len(klaviyo.profiles)) == (NO, None, 1)


def test_a_removal_ends_the_named_channels(klaviyo: Klaviyo) -> None:
    rows = [{**by_sms(name, f"+1500555000{number}", YES), STATE: YES} for number, name in enumerate(("ann", "bob"))]
    sent(rows, SCHEMA)
    klaviyo.lag = 2
    destination = opened(table(rows, SCHEMA), unsubscribes=["sms", "email"])
    leaving = table([{"external_id": "ann"}, {"external_id": "stranger"}], pa.schema([("external_id", pa.string())]))

    outcomes = destination.remove(Batch(key="4" * 64, rows=leaving))
    after = settled(destination, outcomes, leaving)
    destination.commit()

    assert after == [ACCEPTED] * 2
    assert [(klaviyo.state(name), klaviyo.state(name, "sms")) for name in ("ann", "bob")] == [(NO, NO), (YES, YES)]
    assert len(klaviyo.profiles) == 2


@pytest.mark.parametrize(
    ("schema", "given", "words"),
    [
        (EMAIL.remove(3), {}, f"`{STATE}` needs `{TIME}` among the fields"),
        (EMAIL.remove(1), {}, f"`{STATE}` needs `email` among the fields"),
        (EMAIL.set(3, pa.field(TIME, pa.string())), {}, "has to be a timestamp"),
        (EMAIL.set(2, pa.field(STATE, pa.bool_())), {}, r"\(bool\) has to be text"),
        (EMAIL, {"unsubscribes": ["sms"]}, "subscribes people: use on_withdrawal"),
        (EMAIL, {"on_withdrawal": "suppress", "unsubscribes": ()}, "subscribes people: use on_withdrawal"),
    ],
)
@pytest.mark.usefixtures("klaviyo")
def test_fields_of_states_that_do_not_suit_are_refused(schema: pa.Schema, given: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        opened(pa.RecordBatch.from_pylist([], schema), **given)


def operator(fields: Mapping[str, str], **given: Any) -> LoadToKlaviyoOperator:
    chosen = {"on_withdrawal": "unsubscribe_channels", "unsubscribes": ["email"], **given}
    named = {"external_id": "id", "email": "email", TIME: "agreed_at", **fields}
    return LoadToKlaviyoOperator(
        task_id="load", permitted="x", destination="klaviyo", account_id="A1", fields=named, **chosen
    )


def test_an_answer_to_a_category_is_a_state() -> None:
    operator({STATE: consent("C0005", granted=YES)})
    operator({STATE: consent("C0005", granted=YES, otherwise=NO)})
    operator({STATE: consent("C0005", granted=YES)}, on_withdrawal="privacy_delete", unsubscribes=())


@pytest.mark.parametrize(
    ("fields", "given", "words"),
    [
        ({STATE: constant(YES)}, {}, "has to be each person's own answer"),
        ({STATE: "newsletter"}, {}, "has to be each person's own answer"),
        ({STATE: consent("C0005", granted=NO, otherwise=YES)}, {}, "has to be each person's own answer"),
        ({STATE: consent("C0005", granted=YES), TIME: constant("2026-01-01")}, {}, "time of each person's own consent"),
        ({SMS_STATE: consent("C0005", granted=YES)}, {"unsubscribes": ["sms"]}, "needs `phone_number` and"),
        ({STATE: consent("C0005", granted=YES)}, {"unsubscribes": ["sms"]}, 'with "email" in unsubscribes'),
        (
            {STATE: consent("C0005", granted=YES)},
            {"on_withdrawal": "leave_list", "list_id": "L1", "unsubscribes": ()},
            'with "email" in unsubscribes',
        ),
        ({}, {"unsubscribes": ["fax"]}, "unsubscribes has fax: the channels are email, sms"),
        ({}, {"unsubscribes": []}, "unsubscribes is for on_withdrawal"),
        ({}, {"job_wait_s": 0}, "job_wait_s must be above 0"),
    ],
)
def test_states_that_are_no_answer_or_outlast_a_withdrawal_are_refused_when_the_dag_is_parsed(
    fields: dict[str, str], given: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        operator(fields, **given)

    assert words in " ".join(str(error.value).split())
