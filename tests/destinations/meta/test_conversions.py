"""Meta's events: refused alone, each with its person's consent, and no success without the right count."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pytest
from support.loading import deliver, load_of, rejected
from support.meta_server import DATASET, MetaApi, meta_api
from support.vendor_server import Reply

from airflow_consent_retl.contract import Batch, ConfigurationError, DestinationError
from airflow_consent_retl.destinations.meta_conversions.destination import MetaConversionsDestination
from airflow_consent_retl.destinations.meta_conversions.operator import LoadToMetaConversionsOperator
from airflow_consent_retl.destinations.meta_conversions.options import MetaConversionsSpec
from airflow_consent_retl.fields import consent, constant

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
DAY = dt.timedelta(days=1)
PLAIN = {"event_name": "Purchase", "event_time": NOW, "action_source": "system_generated", "email": "ann@example.com"}


@pytest.fixture
def meta() -> Iterator[MetaApi]:
    with meta_api() as api:
        yield api


def dataset(**options: Any) -> MetaConversionsDestination:
    settings: dict[str, Any] = {"timeout_s": 20, "max_attempts": 3, "max_retry_s": 5, "backoff_s": 0.01, **options}
    return MetaConversionsSpec(conn_id="local_meta", dataset_id=DATASET, **settings).build()


def events(*rows: dict[str, Any]) -> pa.Table:
    """Return events with what is needed, and with these values."""
    whole = [{"event_id": f"canary-{number}", **PLAIN, **row} for number, row in enumerate(rows)]
    names = list(dict.fromkeys(name for row in whole for name in row))
    columns = {name: pa.array([row.get(name) for row in whole]) for name in names}
    return pa.table({**columns, "event_time": columns["event_time"].cast(pa.timestamp("us", "UTC"))})


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def test_an_event_has_metas_shape_and_the_consent_of_its_own_person(meta: MetaApi) -> None:
    rows = events(
        {
            "action_source": "website",
            "event_source_url": "https://shop.example.com/7",
            "email_2": "A@x.com",
            "phone": "(650)555-1212",
            "date_of_birth": "2/16/1997",
            "client_user_agent": "Firefox",
            "data_processing_options": "LDU",
            "data_processing_state": "CO",
            "custom_data.value": Decimal("12.50"),
            "custom_data.currency": "EUR",
            "opt_out": True,
        },
        {"email": None, "external_id": " U-7 ", "opt_out": None, "data_processing_options": "none"},
    )

    outcomes = deliver(dataset(phone_region="US"), rows)

    assert rejected(outcomes) == {}
    first, second = meta.events.values()
    assert first == {
        "event_id": "canary-0",
        "event_name": "Purchase",
        "event_time": int(NOW.timestamp()),
        "action_source": "website",
        "event_source_url": "https://shop.example.com/7",
        "opt_out": True,
        "data_processing_options": ["LDU"],
        "data_processing_options_country": 1,
        "data_processing_options_state": 1001,
        "user_data": {
            "em": [digest("ann@example.com"), digest("a@x.com")],
            "ph": digest("16505551212"),
            "db": digest("19970216"),
            "client_user_agent": "Firefox",
        },
        "custom_data": {"value": 12.5, "currency": "EUR"},
    }
    assert (second["user_data"], second["data_processing_options"]) == ({"external_id": digest("U-7")}, [])


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"event_time": NOW - 7 * DAY - DAY / 24}, "event_too_old"),
        ({"event_time": NOW + DAY}, "event_in_the_future"),
        ({"event_time": None}, "missing_event_time"),
        ({"event_id": None}, "missing_event_id"),
        ({"event_name": ""}, "missing_event_name"),
        ({"action_source": "shop"}, "invalid_action_source"),
        ({"action_source": "website"}, "website_event_incomplete"),
        ({"email": "nobody"}, "invalid_email"),
        ({"email": None}, "no_identifier"),
        ({"email": None, "first_name": "Ann", "gender": "f"}, "identifiers_too_broad"),
        ({"data_processing_options": "full"}, "invalid_data_processing_options"),
    ],
)
def test_an_event_that_meta_would_refuse_is_rejected_alone(meta: MetaApi, row: dict[str, Any], code: str) -> None:
    outcomes = deliver(dataset(), events({}, row, {}))

    assert rejected(outcomes) == {1: code}
    assert [event["event_id"] for event in meta.events.values()] == ["canary-0", "canary-2"]


def test_an_event_in_a_shop_may_be_62_days_old(meta: MetaApi) -> None:
    rows = events(*({"action_source": "physical_store", "event_time": NOW - age * DAY} for age in (61, 63)))

    assert rejected(deliver(dataset(), rows)) == {1: "event_too_old"}


def test_one_event_because_of_which_meta_refuses_all_is_found(meta: MetaApi) -> None:
    meta.refused_event = lambda event: event["event_id"] in {"canary-3", "canary-40"}

    outcomes = deliver(dataset(), events(*[{}] * 50))

    assert rejected(outcomes) == {3: "error_100_2804050", 40: "error_100_2804050"}
    assert len(meta.events) == 48


@pytest.mark.parametrize(("received", "code"), [(2, "events_received_differs"), ("3", "unreadable_answer"), (None, "unreadable_answer")])  # fmt: skip  # noqa: E501
def test_another_number_of_received_events_is_no_success(meta: MetaApi, received: object, code: str) -> None:
    meta.script = [Reply(200, {"events_received": received, "messages": []})]

    outcomes = deliver(dataset(), events({}, {}, {}))

    assert [(one.status, one.code) for one in outcomes] == [("uncertain", code)] * 3


def test_a_repeated_event_counts_once(meta: MetaApi) -> None:
    for _ in range(2):
        deliver(dataset(), events({}, {}))

    assert (len(meta.received), len(meta.events)) == (2, 2)


def test_events_are_never_taken_back(meta: MetaApi) -> None:
    destination, rows = dataset(), events({})
    destination.open(load_of(rows, key_field="event_id"))
    (batch,) = rows.combine_chunks().to_batches()

    with pytest.raises(DestinationError, match="no call that takes an event back"):
        destination.remove(Batch(key="0" * 64, rows=batch))
    destination.abort()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_time": pa.array([NOW.replace(tzinfo=None)])}, "a timestamp with a time zone"),
        ({"event_id": None}, "an event needs the field `event_id`"),
        ({"email": None}, "no field identifies a person"),
        ({"valeu": pa.array([1.0])}, "an event knows no field `valeu`"),
        ({"email": pa.array([1])}, "field `email` is int64, but has to be text"),
    ],
)
def test_fields_that_make_no_event_are_refused_before_anything_is_sent(
    meta: MetaApi, change: dict[str, pa.Array | None], message: str
) -> None:
    columns = dict(zip(events({}).column_names, events({}).columns, strict=True)) | change
    rows = pa.table({name: column for name, column in columns.items() if column is not None})

    with pytest.raises(ConfigurationError, match=message):
        dataset().check(load_of(rows, key_field=None))


def test_seconds_since_1970_are_a_time_too(meta: MetaApi) -> None:
    rows = events({}).drop_columns("event_time").append_column("event_time", pa.array([int(time.time())]))

    assert rejected(deliver(dataset(), rows)) == {}


def test_no_request_has_more_than_a_thousand_events() -> None:
    with pytest.raises(ConfigurationError, match="at most 1,000"):
        MetaConversionsSpec(dataset_id=DATASET, batch_rows=1001)


def test_full_use_is_never_told_of_everyone() -> None:
    def load(told: str) -> LoadToMetaConversionsOperator:
        fields = {"email": "email", "data_processing_options": told}
        return LoadToMetaConversionsOperator(
            task_id="load", permitted={}, destination="meta", fields=fields, dataset_id=DATASET
        )

    with pytest.raises(ConfigurationError, match="full use of everyone, whatever they answered"):
        load(constant("none"))
    for told in (constant("LDU"), constant(None), "their_column", consent("C8", granted="none", otherwise="LDU")):
        assert load(told).fields["data_processing_options"] == told
