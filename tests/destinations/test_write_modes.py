"""HubSpot, Klaviyo and Braze write only people that they have, or only new ones, and never keep a withheld value.

HubSpot gets single fields that are empty there, too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pytest
from support.braze_server import Braze
from support.hubspot_server import HubSpot
from support.klaviyo_server import Klaviyo
from support.loading import load_of
from support.vendor_api import VendorApi
from support.vendor_server import Reply

from airflow_consent_retl.contract import (
    ConfigurationError,
    DestinationError,
    DestinationSpec,
    Outcome,
    Outcomes,
    RowStatus,
)
from airflow_consent_retl.contract.destination import Batch, Destination, WriteMode
from airflow_consent_retl.delivery.settings import SyncSettings
from airflow_consent_retl.destinations.braze.options import BrazeSpec
from airflow_consent_retl.destinations.hubspot.options import HubSpotSpec
from airflow_consent_retl.destinations.klaviyo.options import KlaviyoSpec

Stored = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Kind:
    """One vendor: its server, its destination, its key, and two fields that a person may have typed.

    Attributes:
        stored: what the server has of each person, by key, with the names of the fields.
        put: adds a person, as a colleague at the vendor does.
        question, request: the paths at which it is asked whom it has, and at which rows are written.
    """

    name: str
    server: Callable[[], VendorApi]
    spec: DestinationSpec
    key: str
    city: str
    phone: str
    stored: Callable[[Any], Stored]
    put: Callable[[Any, str, dict[str, Any]], None]
    question: str
    request: str


def of_klaviyo(server: Klaviyo) -> Stored:
    found = server.by("external_id")
    return {
        key: {f"properties.{name}": value for name, value in one["properties"].items()} for key, one in found.items()
    }


def put_into_klaviyo(server: Klaviyo, key: str, values: dict[str, Any]) -> None:
    properties = {name.removeprefix("properties."): value for name, value in values.items()}
    server.profiles[f"P{key}"] = {"external_id": key, "email": None, "phone_number": None, "properties": properties}


KINDS = [
    Kind(
        "hubspot",
        HubSpot,
        HubSpotSpec(hub_id="1", on_withdrawal="archive", requests_per_10_s=100_000, max_attempts=1),
        "email",
        "city",
        "phone",
        lambda server: {one["email"]: one for one in server.contacts.values()},
        lambda server, key, values: server.contacts.update({key: {"email": key, **values}}),
        "/crm/objects/2026-09/contacts/batch/read",
        "/crm/objects/2026-09/contacts/batch/",
    ),
    Kind(
        "klaviyo",
        Klaviyo,
        KlaviyoSpec(
            account_id="1",
            on_withdrawal="suppress",
            requests_per_s=100_000,
            requests_per_minute=100_000,
            max_attempts=1,
        ),
        "external_id",
        "properties.city",
        "properties.phone",
        of_klaviyo,
        put_into_klaviyo,
        "/api/profiles",
        "/api/profile-bulk-import-jobs",
    ),
    Kind(
        "braze",
        Braze,
        BrazeSpec(workspace_name="w", on_withdrawal="delete", max_attempts=1),
        "external_id",
        "city",
        "phone",
        lambda server: server.users,
        lambda server, key, values: server.users.update({key: values}),
        "/users/export/ids",
        "/users/track",
    ),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture
def vendor(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> Iterator[VendorApi]:
    """The vendor, which has Ann: a colleague typed her city, and her phone number."""
    with kind.server().serving() as server:
        connection = {"conn_type": f"consent{kind.name}", "host": server.url, "password": server.token}
        named = json.dumps({**connection, "extra": {"allow_private": True}})
        monkeypatch.setenv(f"AIRFLOW_CONN_CONSENT{kind.name.upper()}_DEFAULT", named)
        kind.put(server, "ann@x.org", {kind.city: "typed", kind.phone: "+491"})
        yield server


def people(kind: Kind, *rows: tuple[str, str | None, str | None]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays(
        [pa.array(column, pa.string()) for column in columns], names=[kind.key, kind.city, kind.phone]
    )


def sent(kind: Kind, rows: pa.RecordBatch, write: WriteMode, *, cleared: tuple[str, ...] = ()) -> list[Outcome]:
    destination = kind.spec.build()
    load = load_of(pa.Table.from_batches([rows]), key_field=kind.key)
    destination.open(replace(load, write=write, cleared=frozenset(cleared)))
    try:
        return settled(destination, destination.send(Batch(key="0" * 64, rows=rows)), rows)
    finally:
        destination.commit()


def settled(destination: Destination, outcomes: Outcomes, rows: pa.RecordBatch) -> list[Outcome]:
    found = list(outcomes)
    for code in {one.code for one in outcomes if one.status is RowStatus.PENDING}:
        places = [row for row, one in enumerate(found) if one.code == code]
        answer = None
        while answer is None:
            answer = destination.confirm_rows(code, len(places), lambda: rows.take(pa.array(places)))  # noqa: B023
        for row, one in zip(places, answer, strict=True):
            found[row] = one
    return found


ACCEPTED, NOT_FOUND = Outcome(RowStatus.ACCEPTED), Outcome(RowStatus.REJECTED, "not_found")


def test_only_new_people_are_written_and_others_stay_as_they_are(kind: Kind, vendor: VendorApi) -> None:
    rows = people(kind, ("ann@x.org", "Ghent", "+492"), ("bob@x.org", "Rome", "+493"))

    assert sent(kind, rows, "create_only") == [ACCEPTED, ACCEPTED]
    found = kind.stored(vendor)
    assert (found["ann@x.org"][kind.city], found["ann@x.org"][kind.phone]) == ("typed", "+491")
    assert found["bob@x.org"][kind.city] == "Rome"
    assert sent(kind, rows, "create_only") == [ACCEPTED, ACCEPTED]
    assert kind.stored(vendor) == found


def test_only_people_who_are_there_are_updated_and_no_one_is_made(kind: Kind, vendor: VendorApi) -> None:
    rows = people(kind, ("bob@x.org", "Rome", "+493"), ("ann@x.org", "Ghent", "+492"))

    assert sent(kind, rows, "update_only") == [NOT_FOUND, ACCEPTED]
    assert kind.stored(vendor).keys() == {"ann@x.org"}
    assert kind.stored(vendor)["ann@x.org"][kind.city] == "Ghent"
    assert sent(kind, rows.slice(0, 1), "update_only") == [NOT_FOUND]


def test_a_field_that_consent_withholds_is_emptied_of_a_person_who_stays_as_they_are(
    kind: Kind, vendor: VendorApi
) -> None:
    rows = people(kind, ("ann@x.org", "Ghent", None), ("bob@x.org", "Rome", None))

    assert sent(kind, rows, "create_only", cleared=(kind.phone,)) == [ACCEPTED, ACCEPTED]
    ann = kind.stored(vendor)["ann@x.org"]
    assert (ann[kind.city], ann.get(kind.phone) or None) == ("typed", None)


@pytest.mark.parametrize("write", ["create_only", "update_only"])
def test_a_question_without_an_answer_writes_nothing(kind: Kind, vendor: VendorApi, write: WriteMode) -> None:
    vendor.fault = lambda call, apply: Reply(403) if call.path == kind.question else apply()
    before = json.dumps(kind.stored(vendor))

    with pytest.raises(DestinationError):
        sent(kind, people(kind, ("ann@x.org", "Ghent", "+492"), ("bob@x.org", "Rome", "+493")), write)

    assert json.dumps(kind.stored(vendor)) == before


# Klaviyo's import is its only request for many profiles, and makes those that are not there.
@pytest.mark.parametrize("kind", [one for one in KINDS if one.name != "klaviyo"], ids=lambda kind: kind.name)
def test_a_person_who_vanishes_after_the_question_is_not_made_by_an_update(kind: Kind, vendor: VendorApi) -> None:
    def vanish(call: Any, apply: Callable[[], Reply]) -> Reply:
        if call.path.startswith(kind.request) and call.path != kind.question:
            kind.stored(vendor).clear()
            getattr(vendor, "contacts", {}).clear()
        return apply()

    vendor.fault = vanish
    sent(kind, people(kind, ("ann@x.org", "Ghent", "+492")), "update_only")

    assert kind.stored(vendor) == {}


HUBSPOT = [one for one in KINDS if one.name == "hubspot"]


@pytest.mark.parametrize("kind", HUBSPOT, ids=lambda kind: kind.name)
def test_only_what_no_one_typed_is_filled_and_a_null_fills_nothing(kind: Kind, vendor: HubSpot) -> None:
    vendor.contacts["cid"] = {"email": "cid@x.org", "city": "typed", "phone": ""}
    vendor.contacts["dan"] = {"email": "dan@x.org", "city": "typed", "phone": ""}
    known = [("ann@x.org", "Ghent", "+492"), ("cid@x.org", "Ghent", "+494"), ("dan@x.org", None, "+495")]
    rows = people(kind, *known, ("bob@x.org", "Rome", None))

    assert sent(kind, rows, "fill_empty") == [ACCEPTED] * 4
    found = kind.stored(vendor)
    assert (found["dan@x.org"]["city"], found["dan@x.org"]["phone"]) == ("typed", "+495")
    assert (found["ann@x.org"]["city"], found["ann@x.org"]["phone"]) == ("typed", "+491")
    assert (found["bob@x.org"]["city"], found["bob@x.org"].get("phone")) == ("Rome", None)
    assert (found["cid@x.org"]["city"], found["cid@x.org"]["phone"]) == ("typed", "+494")
    written = [call for call in vendor.calls if call.path.endswith("/batch/upsert")]
    assert all(b"Ghent" not in call.body for call in written)


@pytest.mark.parametrize("kind", HUBSPOT, ids=lambda kind: kind.name)
def test_a_person_with_nothing_to_fill_is_not_sent(kind: Kind, vendor: HubSpot) -> None:
    assert sent(kind, people(kind, ("ann@x.org", "Ghent", "+492")), "fill_empty") == [ACCEPTED]

    assert [call.path.rpartition("/")[2] for call in vendor.calls] == ["read"]


@pytest.mark.parametrize("kind", HUBSPOT, ids=lambda kind: kind.name)
def test_a_property_that_the_answer_does_not_have_is_not_filled(kind: Kind, vendor: HubSpot) -> None:
    vendor.contacts["ann@x.org"] = {"email": "ann@x.org"}

    def hide(call: Any, apply: Callable[[], Reply]) -> Reply:
        answer = apply()
        for one in answer.content["results"] if call.path == kind.question else ():
            del one["properties"]["city"]
        return answer

    vendor.fault = hide

    assert sent(kind, people(kind, ("ann@x.org", "Ghent", "+492")), "fill_empty") == [ACCEPTED]
    assert vendor.contacts["ann@x.org"] == {"email": "ann@x.org", "phone": "+492"}


@pytest.mark.parametrize("kind", HUBSPOT, ids=lambda kind: kind.name)
def test_a_field_that_consent_withholds_is_emptied_whoever_filled_it(kind: Kind, vendor: HubSpot) -> None:
    vendor.contacts["ann@x.org"] = {"email": "ann@x.org", "city": "", "phone": "+491"}
    rows = people(kind, ("ann@x.org", "Ghent", None), ("bob@x.org", "Rome", None))

    assert sent(kind, rows, "fill_empty", cleared=("phone",)) == [ACCEPTED, ACCEPTED]
    assert vendor.contacts["ann@x.org"] == {"email": "ann@x.org", "city": "Ghent", "phone": ""}


@pytest.mark.parametrize("kind", HUBSPOT, ids=lambda kind: kind.name)
def test_after_a_withheld_field_was_emptied_a_row_that_is_not_filled_is_uncertain(kind: Kind, vendor: HubSpot) -> None:
    vendor.contacts["ann@x.org"] = {"email": "ann@x.org", "city": "", "phone": "+491"}
    vendor.fault = lambda call, apply: Reply(403) if call.path.endswith("/batch/upsert") else apply()

    (outcome,) = sent(kind, people(kind, ("ann@x.org", "Ghent", None)), "fill_empty", cleared=("phone",))

    assert outcome.status is RowStatus.UNCERTAIN
    assert vendor.contacts["ann@x.org"]["phone"] == ""


@pytest.mark.parametrize("kind", HUBSPOT, ids=lambda kind: kind.name)
def test_a_question_about_values_without_an_answer_fills_nothing(kind: Kind, vendor: HubSpot) -> None:
    vendor.fault = lambda call, apply: Reply(403) if call.path == kind.question else apply()

    with pytest.raises(DestinationError):
        sent(kind, people(kind, ("bob@x.org", "Rome", "+493")), "fill_empty")

    assert kind.stored(vendor).keys() == {"ann@x.org"}


@pytest.mark.parametrize("kind", [one for one in KINDS if one not in HUBSPOT], ids=lambda kind: kind.name)
def test_vendors_that_write_later_are_not_asked_for_what_is_empty(kind: Kind, vendor: VendorApi) -> None:
    with pytest.raises(ConfigurationError, match="not `fill_empty`: it applies a request some time after it answered"):
        SyncSettings(write="fill_empty").check_supported(kind.spec.build, [])
