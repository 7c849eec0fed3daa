"""The contract, kept by the webhook, whose other side is a real HTTP server."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa
import pytest
from airflow.sdk import Connection
from support.servers import Answer, Handler, Received, Receiver, apply_and, receiver, reset, says, status

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.http.address import http_address
from airflow_consent_retl.destinations.webhook.destination import WebhookDestination
from airflow_consent_retl.destinations.webhook.options import WebhookOptions
from airflow_consent_retl.testing import DestinationContract, Person, StandIn

TOKEN, QUERY_KEY = "token-77d1", "query-88e2"
# Types that JSON has no exact form for.
NO_JSON = ("duration", "month_day_nano_interval", "map", "list_view", "large_list_view", "run_end_encoded")
ALWAYS = 1000


class WebhookStandIn(StandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        "swallowed_removal": "a receiver that reports success and keeps somebody looks like one that removed them",
    }

    def __init__(self, server: Receiver, options: WebhookOptions) -> None:
        self._server = server
        self._options = options
        extra = {"allow_private": True, "token": TOKEN}
        connection = Connection(conn_id="crm_http", conn_type="http", host=server.url, extra=json.dumps(extra))
        self._address = http_address(connection, endpoint=f"/v1/people?key={QUERY_KEY}")

    def destination(self) -> Destination:
        return WebhookDestination(self._address, self._options)

    def stored(self) -> Sequence[Person]:
        # The receiver honours keys: the same rows under two of them are two copies.
        return [
            Person(key, row["text"])
            for key, row in self._server.people.items()
            for _ in range(sum(row in rows for rows in self._server.applied.values()) or 1)
        ]

    def takes(self, kind: pa.DataType) -> bool:
        return not str(kind).startswith((*NO_JSON, "extension<arrow.bool8>"))

    def stored_values(self) -> Mapping[str, object]:
        return {key: row.get("value") for key, row in self._server.people.items()}

    def secrets(self) -> Sequence[str]:
        return [TOKEN, QUERY_KEY]

    def requests(self) -> int:
        return len(self._server.received)

    def applied_then_timeout(self) -> None:
        self._server.answers = [apply_and(reset)] * ALWAYS

    def unreadable_answer(self) -> None:
        self._server.answers = [apply_and(status(200, b"<html>all is well</html>"))] * ALWAYS

    def unavailable(self) -> None:
        self._server.answers = [status(429)] * ALWAYS

    def refused(self) -> None:
        self._server.answers = [status(401, f"no such token: {TOKEN}".encode())] * ALWAYS

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self._server.answers = [all_but(refused)] * ALWAYS
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self._server.answers = [all_but(held)] * ALWAYS

    def recover(self) -> None:
        self._server.answers.clear()


def all_but(refused: Collection[str]) -> Answer:
    """Apply the others, and quote the refused ones, as vendors do."""

    def answer(handler: Handler, request: Received) -> None:
        rows = [row for row in request.rows if row["id"] not in refused]
        errors = [
            {"index": number, "code": f"bad_{row['id']}", "message": f"{row} is bad"}
            for number, row in enumerate(request.rows)
            if row["id"] in refused
        ]
        handler.server.receiver.apply(dataclasses.replace(request, rows=rows))
        says({"errors": errors})(handler, request)

    return answer


OPTIONS = WebhookOptions(timeout_s=20, max_attempts=3, backoff_s=0.01)


class TestWebhook(DestinationContract):
    destination_class = WebhookDestination

    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        with receiver() as server:
            yield WebhookStandIn(server, OPTIONS)


class TestWebhookThatIsToldOfRemovals(DestinationContract):
    destination_class = WebhookDestination

    @pytest.fixture
    def stand_in(self) -> Iterator[StandIn]:
        options = dataclasses.replace(
            OPTIONS, removal_method="POST", removal_event={"event": "removed"}, removal_batch_rows=30, nulls="omit"
        )
        with receiver() as server:
            yield WebhookStandIn(server, options)
