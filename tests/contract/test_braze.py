"""The contract, kept by Braze, whose other side is a local server in the shape of its pages."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa
import pytest
from support.braze_server import Braze, bad_key, limited
from support.vendor_api import applied_then_reset, unreadable

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.braze.destination import BrazeDestination
from airflow_consent_retl.destinations.braze.options import BrazeSpec
from airflow_consent_retl.testing import DestinationContract, Person, StandIn

UNFIT = ("duration", "month_day_nano_interval", "map", "struct", "list_view", "large_list_view", "run_end_encoded")


class BrazeStandIn(StandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        "partial_removal": "Braze deletes the users of a request or refuses it: no answer names single users",
        "swallowed_removal": "an API that reports success and keeps a user looks like one that deleted it",
    }
    key_field: ClassVar[str | None] = "external_id"

    def __init__(self, server: Braze) -> None:
        self._server = server

    def destination(self) -> Destination:
        return BrazeSpec(
            workspace_name="shop", on_withdrawal="delete", timeout_s=20, max_attempts=3, backoff_s=0.01
        ).build()

    def rows(self, people: Sequence[Person]) -> pa.Table:
        return super().rows(people).rename_columns(["external_id", "text"])

    def stored(self) -> Sequence[Person]:
        return [Person(one, user.get("text", "")) for one, user in self._server.users.items()]

    def takes(self, kind: pa.DataType) -> bool:
        return not str(kind).startswith((*UNFIT, "extension<arrow.bool8>"))

    def stored_values(self) -> Mapping[str, object]:
        return {one: user.get("value") for one, user in self._server.users.items()}

    def secrets(self) -> Sequence[str]:
        return [self._server.token]

    def requests(self) -> int:
        return len(self._server.calls)

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

    def recover(self) -> None:
        self._server.fault = None


class TestBraze(DestinationContract):
    destination_class = BrazeDestination

    @pytest.fixture
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        with Braze().serving() as server:
            extra = {"allow_private": True}
            connection = {"conn_type": "consentbraze", "host": server.url, "password": server.token, "extra": extra}
            monkeypatch.setenv("AIRFLOW_CONN_CONSENTBRAZE_DEFAULT", json.dumps(connection))
            yield BrazeStandIn(server)
