"""The contract, kept by Klaviyo, whose other side is a local server in the shape of its specification."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import ClassVar

import pyarrow as pa
import pytest
from airflow.sdk import Connection
from support.klaviyo_server import Klaviyo, bad_key, limited
from support.vendor_api import applied_then_reset, unreadable

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.klaviyo.destination import KlaviyoDestination
from airflow_consent_retl.destinations.klaviyo.options import KlaviyoSpec
from airflow_consent_retl.testing import DestinationContract, Person, StandIn
from airflow_consent_retl.testing.driving import assert_accepted, deliver, take_back
from airflow_consent_retl.testing.people import people
from airflow_consent_retl.testing.removal_checks import RemovalChecks


class KlaviyoStandIn(StandIn):
    """Its attributes have names of their own: the types of values are tested with Klaviyo's other tests."""

    impossible: ClassVar[Mapping[str, str]] = {
        "swallowed_removal": "a profile that stays keeps its rows pending until the time is up",
    }
    key_field: ClassVar[str | None] = "external_id"
    text_field: ClassVar[str] = "properties.text"

    def __init__(self, server: Klaviyo) -> None:
        self._server = server

    def destination(self) -> Destination:
        return self.spec().build()

    def spec(self) -> KlaviyoSpec:
        return KlaviyoSpec(
            account_id="Ab12",
            on_withdrawal="privacy_delete",
            batch_rows=40,
            removal_batch_rows=15,
            requests_per_s=100_000,
            requests_per_minute=100_000,
            timeout_s=20,
            max_attempts=3,
            backoff_s=0.01,
        )

    def rows(self, people: Sequence[Person]) -> pa.Table:
        return super().rows(people).rename_columns(["external_id", "properties.text"])

    def stored(self) -> Sequence[Person]:
        # A property that is null is none.
        found = self._server.profiles.values()
        return [Person(one["external_id"], one["properties"]["text"] or "") for one in found]

    def takes(self, kind: pa.DataType) -> bool:
        return False

    def secrets(self) -> Sequence[str]:
        return [self._server.token]

    def requests(self) -> int:
        return self._server.with_values

    def applied_then_timeout(self) -> None:
        self._server.fault = applied_then_reset

    def unreadable_answer(self) -> None:
        self._server.fault = unreadable

    def unavailable(self) -> None:
        self._server.fault = limited

    def refused(self) -> None:
        self._server.fault = bad_key

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self._server.refused = set(refused)
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self._server.refused = set(held)

    def recover(self) -> None:
        self._server.fault = None


@pytest.fixture
def klaviyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Klaviyo]:
    with Klaviyo().serving() as server:
        connection = Connection(
            conn_id="consentklaviyo_default",
            conn_type="consentklaviyo",
            host=server.url,
            password=server.token,
            extra=json.dumps({"allow_private": True}),
        )
        monkeypatch.setenv("AIRFLOW_CONN_CONSENTKLAVIYO_DEFAULT", connection.as_json())
        yield server


class TestKlaviyo(DestinationContract):
    destination_class = KlaviyoDestination

    @pytest.fixture
    def stand_in(self, klaviyo: Klaviyo) -> StandIn:
        return KlaviyoStandIn(klaviyo)


class ListStandIn(KlaviyoStandIn):
    """A list: who left it stays a profile."""

    impossible: ClassVar[Mapping[str, str]] = {
        **KlaviyoStandIn.impossible,
        "partial_removal": "Klaviyo takes all profiles of a request off a list, or refuses the request",
    }
    partial_removal = StandIn.partial_removal

    def spec(self) -> KlaviyoSpec:
        return replace(super().spec(), on_withdrawal="leave_list", list_id="L1")

    def stored(self) -> Sequence[Person]:
        on_list = self._server.lists["L1"]
        found = [one for profile, one in self._server.profiles.items() if profile in on_list]
        return [Person(one["external_id"], one["properties"]["text"] or "") for one in found]


class TestKlaviyoThatLeavesAList(RemovalChecks):
    @pytest.fixture
    def stand_in(self, klaviyo: Klaviyo) -> StandIn:
        return ListStandIn(klaviyo)


class ChannelStandIn(KlaviyoStandIn):
    """The subscribers of a channel: who left it stays a profile, and is not subscribed again."""

    impossible: ClassVar[Mapping[str, str]] = {
        **KlaviyoStandIn.impossible,
        "partial_removal": "Klaviyo unsubscribes all addresses of a request, or refuses the request",
    }
    partial_removal = StandIn.partial_removal

    def spec(self) -> KlaviyoSpec:
        return replace(super().spec(), on_withdrawal="unsubscribe_channels", unsubscribes=["email"])

    def rows(self, people: Sequence[Person]) -> pa.Table:
        rows, place = super().rows(people), "subscriptions.email.marketing"
        times = pa.array([datetime(2026, 3, 5, tzinfo=UTC)] * len(people), pa.timestamp("us", "UTC"))
        # Klaviyo compares addresses without the case of their letters, and keys with it.
        addresses = pa.array([f"{one.encode().hex()}@x.org" for one in rows["external_id"].to_pylist()], pa.string())
        states = pa.array(["SUBSCRIBED"] * len(people), pa.string())
        return (
            rows.append_column("email", addresses)
            .append_column(f"{place}.consent", states)
            .append_column(f"{place}.consented_at", times)
        )

    def stored(self) -> Sequence[Person]:
        profiles, states = self._server.profiles, self._server.states
        found = [one for profile, one in profiles.items() if states.get((profile, "email")) == "SUBSCRIBED"]
        return [Person(one["external_id"], one["properties"]["text"] or "") for one in found]


class TestKlaviyoWithStatesOfAChannel(RemovalChecks):
    # A person who was unsubscribed subscribes at Klaviyo: see the test below.
    test_somebody_who_was_removed_can_be_added_again = None  # type: ignore[assignment]

    @pytest.fixture
    def stand_in(self, klaviyo: Klaviyo) -> StandIn:
        return ChannelStandIn(klaviyo)

    def test_somebody_who_was_removed_is_stored_again_and_stays_unsubscribed(
        self, stand_in: StandIn, klaviyo: Klaviyo
    ) -> None:
        deliver(stand_in, people(2))
        take_back(stand_in, people(2), decided=1)

        outcomes = deliver(stand_in, people(2, text="again"), decided=2)

        assert_accepted(outcomes)
        assert (list(stand_in.stored()), klaviyo.opt_outs_deleted) == ([], [])
        assert {one["properties"]["text"] for one in klaviyo.profiles.values()} == {
            one.text for one in people(2, text="again")
        }
