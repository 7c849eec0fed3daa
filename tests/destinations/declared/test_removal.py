"""Who is sent can be removed later by each declared removal; who cannot be named never counts as removed."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from support.declared_vendors import removed, rows, sent
from support.vendor_server import Asked, Reply, VendorServer, vendor_server

from airflow_consent_retl.destinations.declared import (
    ByIndex,
    DeclaredRemoval,
    DeclaredRequest,
    DestinationDeclaration,
    Errors,
    StatusOnly,
    each_row,
    field,
    other_fields,
)
from airflow_consent_retl.destinations.declared.options import DeclaredHttpSpec

ANSWER = Errors(row=ByIndex(), may_be_missing=True)
BY_MAIL = DestinationDeclaration(
    name="Acme",
    send=DeclaredRequest(
        path="/people",
        body=each_row({"id": field("id"), "email": field("email", optional=True), "more": other_fields()}),
        rows=10,
        answer=ANSWER,
    ),
    on_withdrawal={
        "unsubscribe": DeclaredRemoval(
            "no more mail", DeclaredRequest(path="/out", body=each_row(field("email")), rows=10, answer=ANSWER)
        ),
        "delete": DeclaredRemoval(
            "gone", DeclaredRequest(method="DELETE", path="/people/{id}", answer=StatusOnly(not_there=(404,)))
        ),
    },
)


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[VendorServer]:
    def answer(asked: Asked) -> Reply:
        return Reply(200, {})

    with vendor_server(answer) as server:
        connection = {"conn_type": "http", "host": server.url, "extra": {"allow_private": True}}
        monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps(connection))
        yield server


def spec(choice: str) -> DeclaredHttpSpec:
    return DeclaredHttpSpec(declaration=BY_MAIL, conn_id="acme", on_withdrawal=choice)


@pytest.mark.parametrize("choice", ["unsubscribe", "delete"])
def test_a_row_that_no_removal_could_name_is_never_sent(acme: VendorServer, choice: str) -> None:
    outcomes = sent(spec(choice), rows({"id": 1, "email": "a@x.org"}, {"id": 2, "email": None}), key="id")

    assert outcomes == ["accepted", "rejected missing_email"]
    assert [one["id"] for one in acme.asked[0].document] == [1]


def test_a_person_of_whom_only_another_identifier_was_kept_does_not_count_as_removed(acme: VendorServer) -> None:
    # They were sent before the load had their address: only the id was kept.
    kept = rows({"id": 1, "email": "a@x.org"}, {"id": 2, "email": None}, {"id": None, "email": None})

    outcomes = removed(spec("unsubscribe"), kept, key="id")

    assert outcomes == ["accepted", "rejected missing_email", "accepted"]
    assert acme.asked[0].document == ["a@x.org"]


def test_an_id_that_makes_no_path_is_never_sent(acme: VendorServer) -> None:
    outcomes = sent(spec("delete"), rows({"id": "..", "email": "a@x.org"}, {"id": "b/c", "email": "b@x.org"}), key="id")

    assert outcomes == ["rejected no_endpoint", "accepted"]
    assert removed(spec("delete"), rows({"id": "b/c", "email": "b@x.org"}), key="id") == ["accepted"]
    assert acme.asked[-1].path == "/people/b%2Fc"
