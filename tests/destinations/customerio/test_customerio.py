"""Tests of Customer.io's own ways: batches with errors by index, segments, and each choice of a removal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.customerio_server import CustomerIo
from support.declared_vendors import customerio_workspace, removed, rows, sent
from support.loading import deliver, load_of

from airflow_consent_retl.destinations.customerio.customerio_hook import CustomerioHook
from airflow_consent_retl.destinations.customerio.options import CustomerioSpec
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.operators import LoadToCustomerioOperator

ANN, BOB = {"id": 1, "city": "Ghent"}, {"id": 2, "city": None}


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIo]:
    with customerio_workspace(monkeypatch) as vendor:
        yield vendor


def spec(**options: Any) -> CustomerioSpec:
    return CustomerioSpec(**{"workspace_id": 9, "on_withdrawal": "delete", **options})


def test_people_are_stored_by_an_identifier_that_is_text(workspace: CustomerIo) -> None:
    workspace.people["2"] = {"city": "Oslo"}

    assert sent(spec(), rows(ANN, BOB), key="id") == ["accepted", "accepted"]
    assert workspace.people == {"1": {"city": "Ghent"}, "2": {"city": "Oslo"}}


def test_an_error_with_an_index_rejects_its_row_alone(workspace: CustomerIo) -> None:
    workspace.refused = {"2"}

    assert sent(spec(), rows(ANN, BOB), key="id") == ["accepted", "rejected invalid"]
    assert workspace.people.keys() == {"1"}


def test_a_person_of_more_than_32_kb_is_rejected_alone(workspace: CustomerIo) -> None:
    outcomes = sent(spec(), rows(ANN, {"id": 3, "city": "x" * 33_000}), key="id")

    assert outcomes == ["accepted", "rejected row_too_large"]


def test_a_batch_is_cut_where_it_has_more_than_500_kb(workspace: CustomerIo) -> None:
    people = [{"id": number, "city": "x" * 20_000} for number in range(40)]

    assert sent(spec(), rows(*people), key="id") == ["accepted"] * 40
    assert max(len(asked.body) for asked in workspace.asked_of.asked) <= 500_000


@pytest.mark.parametrize(
    ("choice", "people", "suppressed"),
    [
        ("unsubscribe", {"1": {"city": "Ghent", "unsubscribed": True}, "2": {}}, set()),
        ("suppress", {"2": {}}, {"1", "3"}),
        ("delete", {"2": {}}, set()),
    ],
)
def test_a_removal_does_what_was_chosen_and_makes_no_one(
    workspace: CustomerIo, choice: str, people: dict[str, Any], suppressed: set[str]
) -> None:
    sent(spec(), rows(ANN, BOB), key="id")

    outcomes = removed(spec(on_withdrawal=choice), rows({"id": 1}, {"id": 3}), key="id")

    assert outcomes == ["accepted", "accepted"]
    assert workspace.people == people
    assert workspace.suppressed == suppressed


def test_a_person_who_grants_again_stays_unsubscribed_and_one_who_was_suppressed_is_ignored(
    workspace: CustomerIo,
) -> None:
    for person, choice in ((ANN, "unsubscribe"), (BOB, "suppress")):
        sent(spec(), rows(person), key="id")
        removed(spec(on_withdrawal=choice), rows({"id": person["id"]}), key="id")

    assert sent(spec(), rows(ANN, BOB), key="id") == ["accepted", "accepted"]
    assert workspace.people == {"1": {"city": "Ghent", "unsubscribed": True}}


def test_a_segment_gets_people_and_loses_them_and_no_one_leaves_the_workspace(workspace: CustomerIo) -> None:
    workspace.people = {"ann@example.com": {}, "bob@example.com": {}}
    segment = spec(segment_id=5, known_by="email", on_withdrawal="leave_audience")
    both = rows({"email": "ann@example.com"}, {"email": "bob@example.com"})

    added = sent(segment, both, key="email")
    gone = removed(segment, rows({"email": "ann@example.com"}), key="email")

    assert (added, gone) == (["accepted"] * 2, ["accepted"])
    assert workspace.segments == {"5": {"bob@example.com"}}
    assert len(workspace.people) == 2
    assert [asked.query for asked in workspace.asked_of.asked] == [{"id_type": ["email"]}] * 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"on_withdrawal": "archive"}, "`suppress`: the person is deleted, and Customer.io ignores them from then on"),
        ({"on_withdrawal": "leave_audience"}, "Customer.io needs the parameter `segment_id`"),
        ({"segment_id": 5, "fields": {"id": "a", "city": "b"}}, "Customer.io has no place for the field `city`"),
        (
            {"fields": {"id": "a", "unsubscribed": "b"}},
            "Customer.io takes no field `unsubscribed`: it belongs to the per",
        ),
        (
            {"fields": {"id": "a", "cio_subscription_preferences.topics.topic_1": "b"}},
            "takes no field `cio_subscription_p",
        ),
        ({"fields": {"email": "a"}}, "Customer.io needs the field `id`"),
    ],
)
def test_a_load_that_does_not_suit_customer_io_is_refused_when_the_dag_is_parsed(
    parameters: dict[str, Any], message: str
) -> None:
    given = {"workspace_id": 9, "on_withdrawal": "delete", "fields": {"id": "id"}, **parameters}

    with pytest.raises(ConfigurationError) as refusal:
        LoadToCustomerioOperator(task_id="load", permitted=None, destination="customerio", **given)

    assert message in str(refusal.value)


def test_the_place_has_workspace_and_segment_and_the_connection_can_be_tested(workspace: CustomerIo) -> None:
    target = spec(segment_id=5).build().target

    assert target.endswith("/api/v1/segments/5/add_customers with segment_id 5, workspace_id 9")
    assert CustomerioHook().test_connection()[0]


def test_a_null_is_sent_for_a_field_whose_consent_is_withheld_or_for_which_the_load_chooses_it(
    workspace: CustomerIo,
) -> None:
    table = rows({"id": 1, "city": None, "phone": None, "plan": None})
    load = replace(load_of(table, key_field="id"), cleared=frozenset({"phone"}), nulls={"plan": "send"})

    deliver(spec().build(), table, load)

    assert workspace.people == {"1": {"phone": None, "plan": None}}
