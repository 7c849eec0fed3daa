"""The contract, kept by a destination over HTTP that processes rows later, in jobs."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import ClassVar

import pyarrow as pa
import pytest
from destinations.http.bulk_crm import BulkCrmDestination, BulkCrmSpec
from destinations.http.bulk_crm_server import BulkCrm
from support.vendor_server import Reply, VendorServer, vendor_server

from airflow_consent_retl.contract import Destination
from airflow_consent_retl.testing import DestinationContract, Person, StandIn

TOKEN = "token-93be"
# Types that JSON has no exact form for.
NO_JSON = ("duration", "month_day_nano_interval", "map", "list_view", "large_list_view", "run_end_encoded")


class BulkCrmStandIn(StandIn):
    impossible: ClassVar[Mapping[str, str]] = {
        "swallowed_removal": "a vendor that reports success and keeps a person looks like one that removed them",
    }

    def __init__(self, crm: BulkCrm, server: VendorServer) -> None:
        self._crm = crm
        self._server = server
        crm.questions = 1

    def destination(self) -> Destination:
        return BulkCrmSpec(conn_id="bulk", timeout_s=20, max_attempts=3, backoff_s=0.01).build()

    def stored(self) -> Sequence[Person]:
        return [Person(key, row["text"]) for key, row in self._crm.contacts.items()]

    def takes(self, kind: pa.DataType) -> bool:
        return not str(kind).startswith((*NO_JSON, "extension<arrow.bool8>"))

    def stored_values(self) -> Mapping[str, object]:
        return {key: row.get("value") for key, row in self._crm.contacts.items()}

    def secrets(self) -> Sequence[str]:
        return [TOKEN]

    def requests(self) -> int:
        return sum(one.method == "POST" for one in self._server.asked)

    def applied_then_timeout(self) -> None:
        self._crm.submissions = self._applied_and(Reply(0))

    def unreadable_answer(self) -> None:
        self._crm.submissions = self._applied_and(Reply(200, b"<html>all is well</html>"))

    def unavailable(self) -> None:
        self._crm.submissions = lambda submit: Reply(429)

    def refused(self) -> None:
        self._crm.submissions = lambda submit: Reply(401, f"no such token: {TOKEN}".encode())

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self._crm.refused = set(refused)
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self._crm.refused = set(held)

    def recover(self) -> None:
        self._crm.submissions = lambda submit: submit()
        self._crm.refused = set()

    def _applied_and(self, reply: Reply) -> Callable[[Callable[[], Reply]], Reply]:
        def submission(submit: Callable[[], Reply]) -> Reply:
            self._crm.process(submit().content["data"]["id"])
            return reply

        return submission


class TestBulkCrm(DestinationContract):
    destination_class = BulkCrmDestination

    @pytest.fixture
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        crm = BulkCrm()
        with vendor_server(crm) as server:
            crm.url = server.url
            extra = {"allow_private": True, "token": TOKEN}
            monkeypatch.setenv(
                "AIRFLOW_CONN_BULK", json.dumps({"conn_type": "http", "host": server.url, "extra": extra})
            )
            yield BulkCrmStandIn(crm, server)
