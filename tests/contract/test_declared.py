"""The contract, kept by destinations that are declared as data: an example, Iterable and Customer.io."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import ClassVar

import pyarrow as pa
import pytest
from destinations.declared.acme import ACME, AcmeCrm
from support.customerio_server import CustomerIo, SegmentOfCustomerIo
from support.iterable_server import IterableProject, ListOfIterable
from support.people_vendor import PeopleVendor, PeopleVendorStandIn

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.customerio.customerio_requests import customerio
from airflow_consent_retl.destinations.customerio.destination import CustomerioDestination
from airflow_consent_retl.destinations.declared import DestinationDeclaration
from airflow_consent_retl.destinations.declared.building import DeclaredHttpOptions, built
from airflow_consent_retl.destinations.declared.destination import destination_class
from airflow_consent_retl.destinations.iterable.destination import IterableDestination
from airflow_consent_retl.destinations.iterable.iterable_requests import iterable
from airflow_consent_retl.testing import DestinationContract, Person, StandIn

ACME_CLASS = destination_class(ACME)


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[AcmeCrm]:
    vendor = AcmeCrm()
    with vendor.serving() as server:
        extra = {"allow_private": True}
        connection = {"conn_type": "http", "host": server.url, "password": vendor.secret, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps(connection))
        yield vendor


def acme_destination(on_withdrawal: str) -> Destination:
    return built(ACME, options(on_withdrawal, list_id=7), conn_id="acme", kind=ACME_CLASS)


class TestDeclaredThatDeletes(DestinationContract):
    destination_class = ACME_CLASS

    @pytest.fixture
    def stand_in(self, acme: AcmeCrm) -> StandIn:
        return PeopleVendorStandIn(acme, lambda: acme_destination("delete"))


class TestDeclaredThatLeavesAList(DestinationContract):
    destination_class = ACME_CLASS

    @pytest.fixture
    def stand_in(self, acme: AcmeCrm) -> StandIn:
        return PeopleVendorStandIn(acme, lambda: acme_destination("leave_audience"))


def quick(declaration: DestinationDeclaration) -> DestinationDeclaration:
    """Return a vendor that takes requests at any rate."""
    removals = {choice: replace(one, rate=None) for choice, one in declaration.on_withdrawal.items()}
    return replace(declaration, rate=None, on_withdrawal=removals)


def options(on_withdrawal: str, **parameters: int) -> DeclaredHttpOptions:
    return DeclaredHttpOptions(
        on_withdrawal=on_withdrawal, parameters=parameters, timeout_s=20, max_attempts=3, backoff_s=0.01
    )


@contextmanager
def connected(vendor: PeopleVendor, conn_type: str, monkeypatch: pytest.MonkeyPatch, **secret: str) -> Iterator[None]:
    with vendor.serving() as server:
        connection = {"conn_type": conn_type, "host": server.url, "extra": {"allow_private": True}, **secret}
        monkeypatch.setenv("AIRFLOW_CONN_VENDOR", json.dumps(connection))
        yield


class IterableStandIn(PeopleVendorStandIn):
    key_field: ClassVar[str | None] = "userId"


class TestIterableThatDeletes(DestinationContract):
    destination_class = IterableDestination

    @pytest.fixture
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        vendor, declaration = IterableProject(), quick(iterable("userId", on_list=False))
        with connected(vendor, "consentiterable", monkeypatch, password=vendor.secret):
            yield IterableStandIn(
                vendor,
                lambda: built(
                    declaration, options("delete", project_id=41), conn_id="vendor", kind=IterableDestination
                ),
            )


class TestIterableThatLeavesAList(DestinationContract):
    destination_class = IterableDestination

    @pytest.fixture
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        vendor, declaration = ListOfIterable(), quick(iterable("userId", on_list=True))
        chosen = options("leave_audience", project_id=41, list_id=7)
        with connected(vendor, "consentiterable", monkeypatch, password=vendor.secret):
            yield IterableStandIn(
                vendor, lambda: built(declaration, chosen, conn_id="vendor", kind=IterableDestination)
            )
        assert vendor.silenced == set()


class TestCustomerio(DestinationContract):
    destination_class = CustomerioDestination

    @pytest.fixture
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        vendor, declaration = CustomerIo(), quick(customerio("id", in_segment=False))
        with connected(vendor, "consentcustomerio", monkeypatch, login="site-7", password="key-41c7"):
            yield PeopleVendorStandIn(
                vendor,
                lambda: built(
                    declaration, options("delete", workspace_id=9), conn_id="vendor", kind=CustomerioDestination
                ),
            )


class SegmentStandIn(PeopleVendorStandIn):
    """A segment has ids and nothing else: what a person was sent with is known from the rows."""

    impossible: ClassVar[Mapping[str, str]] = {
        **PeopleVendorStandIn.impossible,
        "overwriting": "a segment keeps no value of a person that could be overwritten",
        "partial_failure": "Customer.io takes all ids of a request, or refuses the request",
        "partial_removal": "Customer.io takes all ids of a request, or refuses the request",
    }
    text_field: ClassVar[str] = "id"
    partial_failure = StandIn.partial_failure
    partial_removal = StandIn.partial_removal

    def __init__(self, vendor: PeopleVendor, build: Callable[[], Destination]) -> None:
        super().__init__(vendor, build)
        self._texts: dict[str, str] = {}

    def rows(self, people: Sequence[Person]) -> pa.Table:
        self._texts.update({one.id: one.text for one in people})
        return super().rows(people).select([self.key_field])

    def stored(self) -> Sequence[Person]:
        return [Person(key, self._texts[key]) for key in self.vendor.stored_people()]

    def takes(self, kind: pa.DataType) -> bool:
        return False


class TestSegmentOfCustomerio(DestinationContract):
    destination_class = CustomerioDestination

    @pytest.fixture
    def stand_in(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
        vendor, declaration = SegmentOfCustomerIo(), quick(customerio("id", in_segment=True))
        chosen = options("leave_audience", workspace_id=9, segment_id=5)
        with connected(vendor, "consentcustomerio", monkeypatch, login="site-7", password="key-41c7"):
            yield SegmentStandIn(
                vendor, lambda: built(declaration, chosen, conn_id="vendor", kind=CustomerioDestination)
            )
