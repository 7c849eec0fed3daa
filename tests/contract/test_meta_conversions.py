"""The contract, kept by Meta's events: HTTP against a local Graph API that checks each request."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from support.meta_server import APP_SECRET, DATASET, TOKEN, MetaApi, meta_api, refused, throttled
from support.vendor_server import Reply

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.meta_conversions.destination import MetaConversionsDestination
from airflow_consent_retl.destinations.meta_conversions.options import MetaConversionsSpec
from airflow_consent_retl.testing import DestinationContract, Person, StandIn

ALWAYS = 1000
NOW = int(time.time()) - 60


class MetaConversionsStandIn(StandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        "overwriting": "the first event of a name and id counts, a repeated one is dropped",
        "partial_removal": "an event cannot be taken back, so no removal is ever sent",
        "swallowed_removal": "an event cannot be taken back, so no removal is ever sent",
    }
    key_field = "event_id"
    text_field = "custom_data.text"

    def __init__(self, meta: MetaApi) -> None:
        self._meta = meta

    def destination(self) -> Destination:
        return MetaConversionsSpec(
            conn_id="local_meta", dataset_id=DATASET, timeout_s=20, max_attempts=3, backoff_s=0.01
        ).build()

    def rows(self, people: Sequence[Person]) -> pa.Table:
        count = len(people)
        columns: dict[str, list[str]] = {
            "event_id": [person.id for person in people],
            "event_name": ["Purchase"] * count,
            "action_source": ["system_generated"] * count,
            "email": [f"{person.id.encode().hex()}@example.com" for person in people],
            "custom_data.text": [person.text for person in people],
        }
        texts = {field: pa.array(column, pa.string()) for field, column in columns.items()}
        return pa.table({**texts, "event_time": pa.array([NOW] * count, pa.int64())})

    def stored(self) -> Sequence[Person]:
        return [Person(event["event_id"], event["custom_data"]["text"]) for event in self._meta.events.values()]

    def takes(self, kind: pa.DataType) -> bool:
        # An event has the fields that Meta knows, and its own ones below `custom_data`.
        return False

    def secrets(self) -> Sequence[str]:
        return [TOKEN, APP_SECRET]

    def requests(self) -> int:
        return len(self._meta.received)

    def applied_then_timeout(self) -> None:
        self._meta.script, self._meta.applies = [Reply(0)] * ALWAYS, True

    def unreadable_answer(self) -> None:
        self._meta.script, self._meta.applies = [Reply(200, {"fbtrace_id": "AbC"})] * ALWAYS, True

    def unavailable(self) -> None:
        self._meta.script, self._meta.applies = [throttled()] * ALWAYS, False

    def refused(self) -> None:
        self._meta.script, self._meta.applies = [refused()] * ALWAYS, False

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        def is_refused(event: dict[str, Any]) -> bool:
            return event["event_id"] in refused

        self._meta.refused_event = is_refused
        return self.rows(people)

    def recover(self) -> None:
        self._meta.script.clear()


class TestMetaConversions(DestinationContract):
    destination_class = MetaConversionsDestination

    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        with meta_api() as meta:
            yield MetaConversionsStandIn(meta)
