"""The contract, kept by a destination that is declared as data: the example of the documentation."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from destinations.declared.acme import ACME, AcmeCrm
from support.people_vendor import PeopleVendorStandIn

from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.destinations.declared.destination import destination_class
from airflow_consent_retl.destinations.declared.options import DeclaredHttpOptions, built
from airflow_consent_retl.testing import DestinationContract, StandIn

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
    options = DeclaredHttpOptions(
        on_withdrawal=on_withdrawal, parameters={"list_id": 7}, timeout_s=20, max_attempts=3, backoff_s=0.01
    )
    return built(ACME, options, conn_id="acme", kind=ACME_CLASS)


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
