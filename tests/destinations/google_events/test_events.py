"""Events for Google through the official client: what each contains, and what Google makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest
from google.ads.datamanager_v1 import types
from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2
from support.customer_match import CONN_ID, connection_to, destination_of, people_of, states
from support.data_manager_server import DataManager, Ending, Fault, data_manager
from support.google_events import events_destination
from support.loading import batches_of, load_of

from airflow_consent_retl.contract.outcomes import Outcomes
from airflow_consent_retl.destinations.google_events.operator import LoadToGoogleEventsOperator
from airflow_consent_retl.errors import ConfigurationError, DestinationError
from airflow_consent_retl.fields import consent, constant
from airflow_consent_retl.storage.manifest import PermittedCounts

CANARY = "canary-0"
SECONDS = 1_795_900_000
State = types.RequestStatusPerDestination.RequestStatus


@pytest.fixture
def google() -> Iterator[DataManager]:
    with data_manager() as server:
        yield server


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def orders(count: int = 1, /, **columns: Any) -> pa.Table:
    fields: dict[str, Any] = {
        "transaction_id": [f"order-{n}" for n in range(count)],
        "event_timestamp": pa.array([SECONDS] * count, pa.int64()),
        "email": [f"Canary-{n}@Example.com" for n in range(count)],
    }
    return pa.table({**fields, **columns})


def send(google: DataManager, rows: pa.Table, **settings: Any) -> Outcomes:
    destination = events_destination(google, **settings)
    destination.open(load_of(rows, key_field="transaction_id"))
    sent = [destination.send(batch) for batch in batches_of(rows, batch_rows=destination.limits.batch_rows)]
    destination.commit()
    return Outcomes.concatenated(sent)


def confirmed(google: DataManager, request_id: str, rows: int) -> list[str]:
    destination = events_destination(google)
    outcomes = destination.confirm(request_id, rows)
    destination.abort()
    assert outcomes is not None
    return states(outcomes)


def test_an_event_contains_what_is_mapped_and_its_persons_consent(google: DataManager) -> None:
    rows = orders(
        event_timestamp=pa.array([datetime(2026, 11, 28, 9, tzinfo=UTC)], pa.timestamp("ms", "Europe/Berlin")),
        event_source=[" web "],
        currency=["eur"],
        conversion_value=pa.array([Decimal("12.50")], pa.decimal128(9, 2)),
        conversion_count=[2],
        event_name=["purchase"],
        gclid=["Cj0K"],
        dclid=["CMy"],
        session_attributes=["abc"],
        client_id=["1.2"],
        phone=["+49 171 0000000"],
        ad_personalization=["denied"],
        **{"custom_variables.brand": ["ours"], "event_parameters.items": [3]},
    )

    outcomes = send(google, rows)

    (received,) = google.taken
    (event,) = received.events
    assert google.violations == []
    assert states(outcomes) == ["pending:req-0001"]
    assert received.request.encoding == types.Encoding.HEX
    assert not received.request.validate_only
    assert types.IngestEventsRequest.pb(received.request).HasField("consent") is False
    assert received.request.destinations[0].product_destination_id == "4711"
    assert MessageToDict(types.Event.pb(event), preserving_proto_field_name=True) == {
        "transaction_id": "order-0",
        "event_timestamp": "2026-11-28T09:00:00Z",
        "event_source": "WEB",
        "currency": "EUR",
        "conversion_value": 12.5,
        "conversion_count": 2.0,
        "event_name": "purchase",
        "client_id": "1.2",
        "ad_identifiers": {"gclid": "Cj0K", "dclid": "CMy", "session_attributes": "abc"},
        "user_data": {
            "user_identifiers": [
                {"email_address": digest("canary-0@example.com")},
                {"phone_number": digest("+491710000000")},
            ]
        },
        "consent": {"ad_user_data": "CONSENT_GRANTED", "ad_personalization": "CONSENT_DENIED"},
        "custom_variables": [{"variable": "brand", "value": "ours"}],
        "additional_event_parameters": [{"parameter_name": "items", "value": "3"}],
    }


def test_data_about_a_person_goes_nowhere_without_their_grant(google: DataManager) -> None:
    answers = ["granted", "denied", None, " DENIED ", "yes"]
    rows = orders(5, gclid=["a", "b", "c", None, "e"], ad_user_data=answers)

    outcomes = send(google, rows)

    by_id = {event.transaction_id: event for received in google.taken for event in received.events}
    assert set(by_id) == {"order-0", "order-1", "order-2"}
    assert [len(by_id[f"order-{n}"].user_data.user_identifiers) for n in range(3)] == [1, 0, 0]
    assert [by_id[f"order-{n}"].consent.ad_user_data.name for n in range(3)] == [
        "CONSENT_GRANTED",
        "CONSENT_DENIED",
        "CONSENT_DENIED",
    ]
    assert states(outcomes)[3:] == ["rejected:ad_user_data_denied", "rejected:invalid_ad_user_data"]


def test_people_who_denied_make_nobody_else_uncertain(google: DataManager) -> None:
    answers = ["granted", "denied", "granted", "denied"]

    outcomes = send(google, orders(4, gclid=["a", "b", "c", "d"], ad_user_data=answers))

    requests = [outcome.code for outcome in outcomes]
    assert [len(received.events) for received in google.taken] == [2, 2]
    assert requests[0] == requests[2] != requests[1] == requests[3]
    assert confirmed(google, requests[0], 2) == ["accepted"] * 2
    assert confirmed(google, requests[1], 2) == ["rejected:denied_consent"] * 2
    assert set(google.events) == {"order-0", "order-2"}


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({"transaction_id": [""]}, "rejected:missing_transaction_id"),
        ({"event_timestamp": pa.array([None], pa.int64())}, "rejected:missing_event_timestamp"),
        ({"email": [" "]}, "rejected:no_identifier"),
        ({"email": ["no address"]}, "rejected:invalid_email"),
        ({"event_source": ["shop"]}, "rejected:invalid_event_source"),
        ({"currency": ["EURO"]}, "rejected:invalid_currency"),
        ({"conversion_value": [float("nan")]}, "rejected:invalid_conversion_value"),
        ({"conversion_value": [-1]}, "rejected:invalid_conversion_value"),
        ({"client_id": ["1"], "app_instance_id": ["2"]}, "rejected:both_client_id_and_app_instance_id"),
        ({"ad_personalization": ["true"]}, "rejected:invalid_ad_personalization"),
    ],
)
def test_an_unfit_event_is_rejected_alone_before_google_refuses_all(
    google: DataManager, columns: dict[str, Any], state: str
) -> None:
    fit = {"gclid": ["a"]} if "ad_personalization" in columns else {}

    assert states(send(google, orders(**fit, **columns))) == [state]
    assert google.received == []


def test_an_event_that_google_refuses_is_found_where_google_names_it_or_not(google: DataManager) -> None:
    google.refused_event = lambda event: event.transaction_id == "order-2"

    named = send(google, orders(5))
    google.names_members = False
    halved = send(google, orders(5))

    assert [state.partition(":")[0] for state in states(named)] == ["pending"] * 2 + ["rejected"] + ["pending"] * 2
    assert states(named)[2] == "rejected:invalid_event"
    assert [state.partition(":")[0] for state in states(halved)] == ["pending"] * 2 + ["rejected"] + ["pending"] * 2


def test_more_events_than_google_takes_go_in_two_requests(google: DataManager) -> None:
    assert set(states(send(google, orders(2_500)))) == {"pending:req-0001", "pending:req-0002"}
    assert sorted(len(received.events) for received in google.taken) == [500, 2_000]
    with pytest.raises(ConfigurationError, match="at most 2,000: the API accepts no more events in a request"):
        events_destination(google, batch_rows=2_001)


def test_a_partial_success_leaves_every_event_uncertain(google: DataManager, caplog: pytest.LogCaptureFixture) -> None:
    reason = types.ProcessingErrorReason.PROCESSING_ERROR_REASON_EVENT_TOO_OLD
    google.endings = [Ending(int(State.PARTIAL_SUCCESS), {int(reason): 1})]
    send(google, orders(3))

    assert confirmed(google, "req-0001", 3) == ["uncertain:partial_success"] * 3
    assert "1 of 3 events failed (event_too_old 1)" in caplog.text
    assert CANARY not in caplog.text


def test_nothing_is_sent_before_consent_was_checked_and_nothing_is_removed(google: DataManager) -> None:
    rows = orders()
    destination = events_destination(google, consent_granted=False)
    destination.open(load_of(rows, key_field="transaction_id"))
    (batch,) = batches_of(rows, batch_rows=10)

    with pytest.raises(ConfigurationError, match="it was not checked that the people sent to"):
        destination.send(batch)
    with pytest.raises(DestinationError, match="no call that takes an event back"):
        destination.remove(batch)
    destination.abort()
    assert google.received == []


def test_a_refusal_of_the_account_is_no_rejection_of_events(google: DataManager) -> None:
    refusal = Fault(
        code_pb2.INVALID_ARGUMENT,
        "INVALID_ARGUMENT",
        violations=[("destinations.destinations[0].product_destination_id", "INVALID_CONVERSION_ACTION_ID")],
    )
    google.script = [refusal]

    with pytest.raises(DestinationError, match="invalid_conversion_action_id at `destinations"):
        send(google, orders(3))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"event_timestamp": ["2026-11-28"]}, "a timestamp with a time zone"),
        ({"conversion_value": ["12"]}, "`conversion_value` is string, but has to be a number"),
        ({"gclid": [7]}, "`gclid` is int64, but has to be text"),
        ({"phone": [7]}, "`phone` is int64, but has to be text"),
        ({"custom_variables.x": [[1]]}, "has to be text, a number or a boolean"),
        ({"transaction": ["1"]}, "an event of Google has no field `transaction`, did you mean `transaction_id`"),
    ],
)
def test_wrong_fields_are_named_before_anything_is_sent(
    google: DataManager, columns: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        send(google, orders(**columns))


def test_an_event_needs_an_id_a_time_and_somebody(google: DataManager) -> None:
    with pytest.raises(ConfigurationError) as raised:
        send(google, pa.table({"currency": ["EUR"]}))

    for part in ("`transaction_id`", "`event_timestamp`", "no field identifies a person or a click"):
        assert part in str(raised.value)


def test_a_member_can_tell_its_persons_own_answer_to_personal_ads(google: DataManager) -> None:
    rows = people_of(3).append_column("ad_personalization", pa.array(["granted", "denied", None]))
    destination = destination_of(google)
    destination.open(load_of(rows, key_field=None))
    (batch,) = batches_of(rows, batch_rows=10)

    destination.send(batch)
    destination.commit()

    told = [[member.consent.ad_personalization.name for member in received.members] for received in google.taken]
    assert sorted(told) == [["CONSENT_DENIED"] * 2, ["CONSENT_GRANTED"]]
    assert google.violations == []


def test_a_member_is_no_member_without_its_data(google: DataManager) -> None:
    rows = people_of(1).append_column("ad_user_data", pa.array(["granted"]))

    with pytest.raises(ConfigurationError, match="let the policy require it"):
        destination_of(google).open(load_of(rows, key_field=None))


def operator(google: DataManager, **parameters: Any) -> LoadToGoogleEventsOperator:
    connection_to(google)
    settings: dict[str, Any] = {
        "task_id": "load",
        "permitted": {},
        "destination": "google_conversions",
        "fields": {"transaction_id": "id", "event_timestamp": "at", "email": "email"},
        "gcp_conn_id": CONN_ID,
        "product_destination_id": "4711",
        "operating_account": "123-456-7890",
        "mode": "insert",
        "accept_no_removal": True,
    }
    return LoadToGoogleEventsOperator(**settings | parameters)


def counts(*required: str) -> PermittedCounts:
    return PermittedCounts.model_validate(
        {
            "required": required, "match": "all", "ground": "consent", "without_consent": (),
            "read": 1, "permitted": 1, "denied": 0, "denied_by_reason": {},
        }
    )  # fmt: skip


TOLD = consent("C0004", granted="granted", otherwise="denied")


@pytest.mark.parametrize(
    "told",
    [
        constant("granted"),
        "marketing_ok",
        consent("C0004", granted="denied", otherwise="granted"),
        consent("C", granted="x"),
    ],
)
def test_a_signal_is_never_a_constant_nor_anything_else_but_an_answer(google: DataManager, told: str) -> None:
    fields = {"transaction_id": "id", "event_timestamp": "at", "email": "email", "ad_personalization": told}

    with pytest.raises(ConfigurationError, match="`ad_personalization` has to be each person's own answer"):
        operator(google, fields=fields)


@pytest.mark.parametrize(
    ("fields", "signals", "message"),
    [
        ({}, None, "names no category for `ad_user_data`"),
        ({"ad_user_data": TOLD}, None, "names no category for `ad_personalization`"),
        ({}, {"ad_user_data": "C0004", "ad_personalization": "C0009"}, "category `C0009`, which the policy does not"),
        ({"ad_user_data": TOLD}, {"ad_user_data": "C0004"}, "is a field, and in consent_signals too"),
    ],
)
def test_a_signal_that_nobody_tells_stops_the_load(
    google: DataManager, fields: dict[str, str], signals: dict[str, str] | None, message: str
) -> None:
    base = {"transaction_id": "id", "event_timestamp": "at", "email": "email"}

    with pytest.raises(ConfigurationError, match=message):
        operator(google, fields={**base, **fields}, consent_signals=signals).check_permitted(counts("C0004"))


@pytest.mark.parametrize(
    ("fields", "signals"),
    [
        ({}, {"ad_user_data": "C0004", "ad_personalization": "C0004"}),
        ({"ad_personalization": TOLD}, {"ad_user_data": "C0004"}),
        ({"ad_user_data": TOLD, "ad_personalization": TOLD}, None),
    ],
)
def test_signals_are_required_of_everyone_or_told_by_each(
    google: DataManager, fields: dict[str, str], signals: dict[str, str] | None
) -> None:
    base = {"transaction_id": "id", "event_timestamp": "at", "email": "email"}
    load = operator(google, fields={**base, **fields}, consent_signals=signals)

    load.check_permitted(counts("C0004"))

    assert load.build_destination().target == "source of events 4711 of GOOGLE_ADS account 1234567890 at " + (
        google.endpoint
    )


def test_a_malformed_target_is_named(google: DataManager) -> None:
    with pytest.raises(ConfigurationError, match=r"product_destination_id must be .*; the account_id of operating"):
        operator(google, product_destination_id="my action", operating_account={"account_id": "x"})


def test_the_preview_shows_what_is_sent_and_no_more(google: DataManager) -> None:
    rows = orders(2, gclid=["a", None], ad_user_data=["denied", "denied"])
    destination = events_destination(google)
    (batch,) = batches_of(rows, batch_rows=10)

    shown = destination.sent_as(batch.rows, load_of(rows, key_field="transaction_id"))

    assert shown == [
        {
            "transaction_id": "order-0",
            "event_timestamp": SECONDS * 1_000_000,
            "gclid": "a",
            "ad_user_data": False,
            "ad_personalization": True,
        },
        {},
    ]
