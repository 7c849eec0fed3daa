"""A vendor of people for the contract of destinations: a local server with faults, and its stand-in."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pyarrow as pa
from support.vendor_server import Asked, Reply, VendorServer, vendor_server

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.testing import Person, StandIn

# Types that JSON has no exact form for.
NO_JSON = ("duration", "month_day_nano_interval", "map", "list_view", "large_list_view", "run_end_encoded")


class PeopleVendor(ABC):
    """A vendor; a subclass checks requests by the vendor's specification and applies them to `people`.

    Attributes:
        people: what the vendor has of each person, by their id.
        refused: the ids of people whose rows and removals are refused.
        fault: what happens to every request: "" nothing, or `lost`, `unreadable`, `unavailable`, `refused`.
        limits: this number of requests are answered with 429 first.
        secret: the text that every request has to have in the header of `credential`.
    """

    secret: ClassVar[str] = "secret-41c7"
    credential: ClassVar[str] = "authorization"

    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        self.refused: set[str] = set()
        self.fault = ""
        self.limits = 0
        self.server: VendorServer | None = None
        self._applying = threading.Lock()

    @abstractmethod
    def applied(self, asked: Asked) -> Reply:
        """Check and apply one request. An `AssertionError` fails the test at its end."""

    def stored_people(self) -> dict[str, dict[str, Any]]:
        """Return the people that a load put there."""
        return self.people

    def answer(self, asked: Asked) -> Reply:
        assert self.secret in asked.headers[self.credential]
        if self.fault == "unavailable" or self.limits:
            self.limits = max(0, self.limits - 1)
            return Reply(429)
        if self.fault == "refused":
            return Reply(401, f"no such key: {self.secret}".encode())
        with self._applying:
            reply = self.applied(asked)
        if self.fault == "lost":
            return Reply(0)
        return Reply(200, b"<html>all is well</html>") if self.fault == "unreadable" else reply

    @property
    def asked_of(self) -> VendorServer:
        assert self.server is not None
        return self.server

    @contextmanager
    def serving(self) -> Iterator[VendorServer]:
        with vendor_server(self.answer) as self.server:
            yield self.server


class PeopleVendorStandIn(StandIn):
    """The stand-in of such a vendor.

    Args:
        vendor: see there; it serves.
        build: returns a new destination.
    """

    impossible: ClassVar[Mapping[str, str]] = {
        "swallowed_removal": "an API that reports success and keeps a person looks like one that removed them",
    }

    def __init__(self, vendor: PeopleVendor, build: Callable[[], Destination]) -> None:
        self.vendor = vendor
        self._build = build

    def destination(self) -> Destination:
        return self._build()

    def rows(self, people: Sequence[Person]) -> pa.Table:
        return super().rows(people).rename_columns([self.key_field, "text"])

    def stored(self) -> Sequence[Person]:
        return [Person(key, one.get(self.text_field) or "") for key, one in self.vendor.stored_people().items()]

    def takes(self, kind: pa.DataType) -> bool:
        return not str(kind).startswith((*NO_JSON, "extension<arrow.bool8>"))

    def stored_values(self) -> Mapping[str, object]:
        return {key: one.get("value") for key, one in self.vendor.stored_people().items()}

    def secrets(self) -> Sequence[str]:
        return [self.vendor.secret]

    def requests(self) -> int:
        return len(self.vendor.asked_of.asked)

    def applied_then_timeout(self) -> None:
        self.vendor.fault = "lost"

    def unreadable_answer(self) -> None:
        self.vendor.fault = "unreadable"

    def unavailable(self) -> None:
        self.vendor.fault = "unavailable"

    def refused(self) -> None:
        self.vendor.fault = "refused"

    def partial_failure(self, people: Sequence[Person], refused: Collection[str]) -> pa.Table:
        self.vendor.refused = set(refused)
        return self.rows(people)

    def partial_removal(self, held: Collection[str]) -> None:
        self.vendor.refused = set(held)

    def recover(self) -> None:
        self.vendor.fault = ""
        self.vendor.refused = set()
