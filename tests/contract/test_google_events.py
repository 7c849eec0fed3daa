"""The contract, kept by events for Google: the official client against a local server that speaks the API."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa
import pytest
from google.ads.datamanager_v1 import types
from google.rpc import code_pb2
from support.data_manager_server import DataManager, Ending, Fault, data_manager
from support.google_events import events_destination

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.google_events.destination import GoogleEventsDestination
from airflow_consent_retl.testing import DestinationContract, Person, StandIn

ALWAYS = 1000
NOBODY_KNOWS = 77
TEXT = "note"


class EventsStandIn(StandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        "overwriting": "a repeated transaction id restates the value of a conversion, and no other field",
        "partial_removal": "an event cannot be taken back, so no removal is ever sent",
        "swallowed_removal": "an event cannot be taken back, so no removal is ever sent",
        "secrets": "a local server takes anonymous calls; the destination is handed a client, and no credentials",
    }
    key_field = "transaction_id"
    text_field = f"custom_variables.{TEXT}"

    def __init__(self, google: DataManager) -> None:
        self._google = google

    def destination(self) -> Destination:
        return events_destination(self._google)

    def rows(self, people: Sequence[Person]) -> pa.Table:
        columns = {
            "transaction_id": [person.id for person in people],
            "email": [f"{person.id.encode().hex()}@example.com" for person in people],
            self.text_field: [person.text for person in people],
        }
        texts = {field: pa.array(column, pa.string()) for field, column in columns.items()}
        return pa.table({**texts, "event_timestamp": pa.array([1_795_900_000] * len(people), pa.int64())})

    def stored(self) -> Sequence[Person]:
        return [
            Person(number, next((one.value for one in event.custom_variables if one.variable == TEXT), ""))
            for number, event in self._google.events.items()
        ]

    def takes(self, kind: pa.DataType) -> bool:
        # An event has the fields that Google knows, and texts.
        return False

    def requests(self) -> int:
        return len(self._google.received)

    def applied_then_timeout(self) -> None:
        self._google.script = [Fault(code_pb2.UNAVAILABLE, apply=True)] * ALWAYS

    def unreadable_answer(self) -> None:
        self._google.endings = [Ending(NOBODY_KNOWS)] * ALWAYS

    def unavailable(self) -> None:
        self._google.script = [Fault(code_pb2.RESOURCE_EXHAUSTED, "RATE_LIMIT_EXCEEDED", retry_after_s=0.01)] * ALWAYS

    def refused(self) -> None:
        self._google.script = [Fault(code_pb2.PERMISSION_DENIED, "PERMISSION_DENIED")] * ALWAYS

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        def is_refused(event: types.Event) -> bool:
            return event.transaction_id in refused

        self._google.refused_event = is_refused
        return self.rows(people)

    def recover(self) -> None:
        self._google.script = []
        self._google.endings = []


class TestGoogleEvents(DestinationContract):
    destination_class = GoogleEventsDestination

    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        with data_manager(polls=1) as google:
            yield EventsStandIn(google)
        assert google.violations == []
