"""Each vendor is told of each person's own answer, in the names and values that its documentation has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.sdk import DAG
from support.guarding import World, receiving, webhook
from support.vendor_server import Asked, Reply, VendorServer, vendor_server

from airflow_consent_retl.destinations.declared import (
    ById,
    ByIndex,
    Counts,
    DeclaredRequest,
    DestinationDeclaration,
    Errors,
    StatedSuccess,
    StatusOnly,
    each_row,
    field,
    other_fields,
)
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.fields import (
    AmazonAudienceConsent,
    AmazonEventConsent,
    MailchimpConsent,
    MicrosoftConsent,
    PinterestConsent,
    TikTokConsent,
    consent,
    constant,
)
from airflow_consent_retl.fields.vendor_consent import VendorConsent
from airflow_consent_retl.operators import LoadToDeclaredHttpOperator

ANY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [
        {"id": "C0004", "name": "Advertising", "destinations": ["ads"]},
        {"id": "C0005", "name": "Telephone", "destinations": ["ads"]},
    ],
    "destinations": {"ads": {"match": "any"}},
}
TEXT, NUMBER, BOOLEAN = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
GRANTED_OR_DENIED = {"enum": ["GRANTED", "DENIED"]}


def shape(**properties: Any) -> dict[str, Any]:
    """Return the schema of an object with these properties, all of them needed, and no other."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def list_of(one: Any) -> dict[str, Any]:
    return {"type": "array", "items": one, "minItems": 1}


AMAZON = shape(amznUserData=GRANTED_OR_DENIED, amznAdStorage=GRANTED_OR_DENIED)


@dataclass(frozen=True)
class Vendor:
    """A vendor's request: what the DAG declares, what its documentation allows, and what two people become.

    Attributes:
        body: of the declaration.
        rows: the list of the rows in a body, by its names.
        told: the consent of a person who said yes, and of any other.
    """

    record: VendorConsent
    path: str
    body: object
    answer: Any
    fields: Mapping[str, str]
    document: dict[str, Any]
    reply: Any
    rows: str
    told: tuple[object, object]

    @property
    def declaration(self) -> DestinationDeclaration:
        return DestinationDeclaration(
            name=self.record.vendor,
            consent=self.record.taken(),
            send=DeclaredRequest(path=self.path, body=self.body, rows=1000, answer=self.answer),
            on_withdrawal={},
        )

    def load(self, **options: Any) -> Any:
        fields = {**self.fields, **self.record.fields()}
        given = {"fields": fields, "declaration": self.declaration, "conn_id": "vendor", **options}
        return partial(LoadToDeclaredHttpOperator, on_withdrawal=None, accept_no_removal=True, **given)


EVENT = {"id": "id", "event_time": constant(1795900000)}
VENDORS = [
    # `records[].userConsent`: the places of segmentio/action-destinations@970a17e, amazon-amc/types.ts.
    Vendor(
        AmazonAudienceConsent(user_data="C0005", ad_storage="C0005"),
        "/amc/audiences/records",
        {
            "records": each_row(
                {
                    "externalUserId": field("id", as_text=True),
                    "userConsent": {
                        "geo": {"countryCode": field("country")},
                        "consent": {
                            "amzn": {
                                "amznUserData": field("userConsent.consent.amzn.amznUserData"),
                                "amznAdStorage": field("userConsent.consent.amzn.amznAdStorage"),
                            }
                        },
                    },
                }
            )
        },
        StatusOnly(),
        {"id": "id", "country": constant("DE")},
        shape(
            records=list_of(
                shape(
                    externalUserId=TEXT,
                    userConsent=shape(geo=shape(countryCode={"const": "DE"}), consent=shape(amzn=AMAZON)),
                )
            )
        ),
        {},
        "records",
        (
            {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"},
            {"amznUserData": "DENIED", "amznAdStorage": "DENIED"},
        ),
    ),
    Vendor(
        AmazonEventConsent(user_data="C0005", ad_storage="C0005"),
        "/events/v1",
        {"eventData": each_row(other_fields())},
        StatusOnly(),
        {"eventId": "id"},
        shape(eventData=list_of(shape(eventId=NUMBER, consent=shape(amazonConsent=AMAZON)))),
        {},
        "eventData",
        (
            {"amznUserData": "GRANTED", "amznAdStorage": "GRANTED"},
            {"amznUserData": "DENIED", "amznAdStorage": "DENIED"},
        ),
    ),
    Vendor(
        TikTokConsent(full_use="C0005"),
        "/open_api/v1.3/event/track/",
        {
            "event_source": "web",
            "event_source_id": "PIXEL",
            "data": each_row(
                {
                    "event": "Purchase",
                    "event_time": field("event_time"),
                    "event_id": field("id", as_text=True),
                    "limited_data_use": field("limited_data_use"),
                }
            ),
        },
        StatedSuccess(place="code", values=(0,)),
        EVENT,
        shape(
            event_source={"const": "web"},
            event_source_id=TEXT,
            data=list_of(shape(event=TEXT, event_time=NUMBER, event_id=TEXT, limited_data_use=BOOLEAN)),
        ),
        {"code": 0, "message": "OK"},
        "data",
        (False, True),
    ),
    # `ConversionEvents` of pinterest/api-description@c05b189: what is required, and `opt_out`.
    Vendor(
        PinterestConsent(tracking="C0005"),
        "/v5/ad_accounts/549755885175/events",
        {
            "data": each_row(
                {
                    "event_name": "checkout",
                    "action_source": "offline",
                    "event_time": field("event_time"),
                    "event_id": field("id", as_text=True),
                    "user_data": {"external_id": [field("id", as_text=True)]},
                    "opt_out": field("opt_out"),
                }
            )
        },
        Counts(accepted_count="num_events_processed"),
        EVENT,
        shape(
            data=list_of(
                shape(
                    event_name={"const": "checkout"},
                    action_source={"enum": ["app_android", "app_ios", "web", "offline"]},
                    event_time=NUMBER,
                    event_id=TEXT,
                    user_data=shape(external_id=list_of(TEXT)),
                    opt_out=BOOLEAN,
                )
            )
        ),
        None,
        "data",
        (False, True),
    ),
    Vendor(
        MicrosoftConsent(ad_storage="C0005"),
        "/v1/TAG/events",
        {
            "data": each_row(
                {
                    "eventType": "custom",
                    "eventId": field("id", as_text=True),
                    "eventTime": field("event_time"),
                    "adStorageConsent": field("adStorageConsent"),
                    "userData": {"externalId": field("id", as_text=True)},
                }
            )
        },
        Errors(entries="error.details", row=ByIndex("index"), may_be_missing=True),
        EVENT,
        shape(
            data=list_of(
                shape(
                    eventType={"enum": ["pageLoad", "custom"]},
                    eventId=TEXT,
                    eventTime=NUMBER,
                    adStorageConsent={"enum": ["G", "D"]},
                    userData=shape(externalId=TEXT),
                )
            )
        ),
        {"eventsReceived": 4},
        "data",
        ("G", "D"),
    ),
    Vendor(
        MailchimpConsent(email="C0005"),
        "/3.0/lists/a1b2c3d4e5",
        {
            "members": each_row({"email_address": field("email_address"), "status": field("status")}),
            "update_existing": True,
        },
        Errors(row=ById("email_address", "email_address"), code="error_code"),
        {"email_address": "phone_e164"},
        shape(
            members=list_of(
                shape(
                    email_address=TEXT,
                    status={"enum": ["subscribed", "unsubscribed", "cleaned", "pending", "transactional"]},
                )
            ),
            update_existing={"const": True},
        ),
        {"errors": []},
        "members",
        ("subscribed", "unsubscribed"),
    ),
]
NAMED = [pytest.param(vendor, id=type(vendor.record).__name__) for vendor in VENDORS]


@contextmanager
def serving(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> Iterator[VendorServer]:
    def answer(asked: Asked) -> Reply:
        assert asked.path == vendor.path
        jsonschema.validate(asked.document, vendor.document)
        processed = len(asked.document[vendor.rows])
        return Reply(200, {"num_events_processed": processed} if vendor.reply is None else vendor.reply)

    with vendor_server(answer) as server:
        connection = {"conn_type": "http", "host": server.url, "extra": {"allow_private": True}}
        monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps(connection))
        yield server


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path, monkeypatch)
    world.told = {"ads": ["C0005"]}
    return world


def told(vendor: Vendor, server: VendorServer) -> list[object]:
    """Return the consent of the rows of the last request, in the order of their ids."""
    found = []
    keys = {"externalUserId", "eventId", "event_id", "email_address"}
    rows = server.asked[-1].document[vendor.rows]
    for row in sorted(rows, key=lambda one: str(one[min(keys & one.keys())])):
        values: list[Any] = [row] * len(vendor.record.signals)
        for place, signal in enumerate(vendor.record.signals.values()):
            for part in signal.field.split("."):
                values[place] = values[place][part]
        names = [signal.field.rpartition(".")[2] for signal in vendor.record.signals.values()]
        found.append(values[0] if len(values) == 1 else dict(zip(names, values, strict=True)))
    return found


@pytest.mark.parametrize("vendor", NAMED)
def test_a_vendor_is_told_a_yes_only_of_who_said_yes_and_again_when_it_ends(
    vendor: Vendor, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    yes, no = vendor.told
    with serving(vendor, monkeypatch) as server:
        world.answers(True, False, None, True)
        counts = world.load(vendor.load(), policy=ANY)
        assert (counts["accepted"], told(vendor, server)) == (4, [yes, no, no, yes])

        world.answers(False, False, None, True)
        counts = world.load(vendor.load(), policy=ANY)

        assert (counts["updated"], told(vendor, server)) == (1, [no])


@pytest.mark.parametrize("vendor", NAMED)
def test_a_constant_a_column_a_swap_and_a_signal_that_is_left_out_are_refused_when_the_dag_is_parsed(
    vendor: Vendor,
) -> None:
    signal = next(iter(vendor.record.signals.values()))
    swapped = consent("C0005", granted=signal.otherwise, otherwise=signal.granted)
    unsaid = consent("C0005", granted=signal.granted)
    for value in (constant(signal.granted), "calls_ok", swapped, unsaid):
        fields = {**vendor.fields, **vendor.record.fields(), signal.field: value}
        with DAG("d"), pytest.raises(ConfigurationError, match=f"takes `{signal.field}` for consent"):
            vendor.load(fields=fields)(task_id="load", permitted={}, destination="ads")
    with DAG("d"), pytest.raises(ConfigurationError, match=f"needs the field `{signal.field}`"):
        vendor.load(fields=vendor.fields)(task_id="load", permitted={}, destination="ads")


def test_a_number_does_not_stand_for_a_boolean() -> None:
    (signal,) = TikTokConsent.taken().values()

    assert signal.tells(consent("C0005", granted=False, otherwise=True))
    assert not signal.tells(consent("C0005", granted=0, otherwise=1))


@pytest.mark.parametrize("value", ["GRANTED", "denied", "", None, True])
def test_a_record_takes_categories_and_no_value(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="the id of a category"):
        AmazonEventConsent(user_data="C0004", ad_storage=value)


def test_the_fields_of_a_record_suit_any_load(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.answers(True, False)
    fields = {"id": "id", **AmazonAudienceConsent(user_data="C0005", ad_storage="C0005").fields()}
    with receiving(monkeypatch) as server:
        world.load(webhook(fields=fields), policy=ANY)

        consents = [server.people[one]["userConsent"]["consent"]["amzn"] for one in sorted(server.people)]
    assert [one["amznUserData"] for one in consents] == ["GRANTED", "DENIED"]


def test_a_declaration_without_a_place_for_a_signal_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"no place for this field @ \$\.consent\.opt_out"):
        DestinationDeclaration(
            name="Pinterest",
            consent=PinterestConsent.taken(),
            send=DeclaredRequest(path="/e", body={"data": each_row(field("id"))}, rows=9, answer=StatusOnly()),
            on_withdrawal={},
        )
    with pytest.raises(ConfigurationError, match=r"signal of the field `opt_out` @ \$\.consent\.opted"):
        DestinationDeclaration(
            name="Pinterest",
            consent={"opted": PinterestConsent.taken()["opt_out"]},
            send=DeclaredRequest(path="/e", body={"data": each_row(other_fields())}, rows=9, answer=StatusOnly()),
            on_withdrawal={},
        )
