"""A new destination over HTTP: at most 150 lines with the kit, and it keeps the whole contract."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest
from destinations.http.acme_crm import AcmeCrmDestination, AcmeCrmSpec, LoadToAcmeCrmOperator
from support.servers import Answer, Handler, Received, Receiver, apply_and, receiver, reset, says, status

from airflow_consent_retl.contract import Destination
from airflow_consent_retl.operators.removing_load import from_parameters
from airflow_consent_retl.testing import DestinationContract, Person, StandIn

TOKEN = "token-5c0e"
# Types that JSON has no exact form for.
NO_JSON = ("duration", "month_day_nano_interval", "map", "list_view", "large_list_view", "run_end_encoded")
ALWAYS = 1000


def crm(refused: Collection[str] = ()) -> Answer:
    """Apply a request's rows but for the refused ones, and answer for each row in order."""

    def answer(handler: Handler, request: Received) -> None:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        rows = [row for row in request.rows if row["id"] not in refused]
        handler.server.receiver.apply(dataclasses.replace(request, rows=rows))
        results = [
            {"status": "error", "code": f"bad_{row['id']}"} if row["id"] in refused else {"status": "ok"}
            for row in request.rows
        ]
        says({"results": results})(handler, request)

    return answer


class AcmeCrmStandIn(StandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        "swallowed_removal": "a receiver that reports success and keeps somebody looks like one that removed them",
    }

    def __init__(self, server: Receiver) -> None:
        self._server = server
        self.recover()

    def destination(self) -> Destination:
        return AcmeCrmSpec(conn_id="acme", timeout_s=20, max_attempts=3, backoff_s=0.01).build()

    def stored(self) -> Sequence[Person]:
        # The CRM honours keys: the same rows under two of them are two copies.
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
        return [TOKEN]

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
        self._server.answers = [crm(refused)] * ALWAYS
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self._server.answers = [crm(held)] * ALWAYS

    def recover(self) -> None:
        self._server.answers = [crm()] * ALWAYS


class TestAcmeCrm(DestinationContract):
    destination_class = AcmeCrmDestination

    @pytest.fixture
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        with receiver() as server:
            extra = {"allow_private": True, "token": TOKEN}
            connection = {"conn_type": "http", "host": f"{server.url}/v2/accounts/7", "extra": extra}
            monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps(connection))
            yield AcmeCrmStandIn(server)


def test_a_new_destination_over_http_takes_at_most_150_lines_of_its_own() -> None:
    lines = (Path(__file__).parent / "acme_crm.py").read_text().splitlines()

    assert len(lines) <= 150


def test_withdrawals_build_it_without_an_airflow_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps({"conn_type": "http", "host": "https://acme.example/v2"}))

    removing = from_parameters(partial(LoadToAcmeCrmOperator, conn_id="acme"), "acme", render=lambda value: value)

    assert removing is not None
    assert removing.build_destination().target == "https://acme.example:443/v2/contacts"
    assert removing.build_destination().limits.requests_per_s == 100
