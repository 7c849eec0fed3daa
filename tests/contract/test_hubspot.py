"""The contract, kept by HubSpot, whose other side is a local server in the shape of its specification."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa
import pytest
from airflow.sdk import Connection
from support.hubspot_server import HubSpot, bad_token, limited
from support.vendor_api import applied_then_reset, unreadable

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.hubspot.destination import HubSpotDestination
from airflow_consent_retl.destinations.hubspot.options import HubSpotOptions, HubSpotWithdrawal
from airflow_consent_retl.testing import DestinationContract, Person, StandIn
from airflow_consent_retl.testing.removal_checks import RemovalChecks

UNFIT = (
    "binary", "large_binary", "fixed_size_binary", "duration", "month_day_nano_interval", "map", "struct", "list_view",
    "large_list_view", "run_end_encoded", "time32", "time64", "extension<arrow.bool8>",
)  # fmt: skip


class HubSpotStandIn(StandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        "swallowed_removal": "an API that reports success and keeps a contact looks like one that removed it",
    }
    key_field: ClassVar[str | None] = "customer_id"
    on_withdrawal: ClassVar[HubSpotWithdrawal] = "privacy_delete"

    def __init__(self, server: HubSpot) -> None:
        self._server = server
        extra = {"allow_private": True, "token": server.token}
        connection = Connection(conn_id="hubspot", conn_type="http", host=server.url, extra=json.dumps(extra))
        self._address = http_address(connection, endpoint="/")

    def destination(self) -> Destination:
        options = HubSpotOptions(
            on_withdrawal=self.on_withdrawal,
            id_property="customer_id",
            nulls="keep",
            requests_per_10_s=100_000,
            timeout_s=20,
            max_attempts=3,
            backoff_s=0.01,
        )
        return HubSpotDestination(self._address, options, account="7001")

    def rows(self, people: Sequence[Person]) -> pa.Table:
        return super().rows(people).rename_columns(["customer_id", "text"])

    def stored(self) -> Sequence[Person]:
        return [Person(one["customer_id"], one.get("text", "")) for one in self._server.contacts.values()]

    def takes(self, kind: pa.DataType) -> bool:
        return not str(kind).startswith(UNFIT) and not (pa.types.is_timestamp(kind) and kind.tz is None)

    def stored_values(self) -> Mapping[str, object]:
        return {one["customer_id"]: one.get("value") for one in self._server.contacts.values()}

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
        self._server.fault = bad_token

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self._server.refused = set(refused)
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        records = self._server.contacts.items()
        self._server.refused = {record for record, one in records if one["customer_id"] in held}

    def recover(self) -> None:
        self._server.fault = None


class TestHubSpot(DestinationContract):
    destination_class = HubSpotDestination

    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        with HubSpot().serving() as server:
            yield HubSpotStandIn(server)


class ArchiveStandIn(HubSpotStandIn):
    """The recycling bin is no place of contacts."""

    impossible: ClassVar[Mapping[str, str]] = {
        **HubSpotStandIn.impossible,
        "partial_removal": "HubSpot archives all contacts of a request, or refuses the request",
    }
    on_withdrawal: ClassVar[HubSpotWithdrawal] = "archive"
    partial_removal = StandIn.partial_removal


class TestHubSpotThatArchives(RemovalChecks):
    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        with HubSpot().serving() as server:
            yield ArchiveStandIn(server)
