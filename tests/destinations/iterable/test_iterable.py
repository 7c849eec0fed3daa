"""Tests of Iterable's own ways: users and lists, forgotten people, dropped fields, and each choice of a removal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.declared_vendors import iterable_project, removed, rows, sent
from support.iterable_server import IterableProject

from airflow_consent_retl.destinations.iterable.iterable_hook import IterableHook
from airflow_consent_retl.destinations.iterable.options import IterableSpec
from airflow_consent_retl.errors import ConfigurationError, DestinationError
from airflow_consent_retl.operators import LoadToIterableOperator

ANN, BOB = {"email": "Ann@example.com", "city": "Ghent"}, {"email": "bob@example.com", "city": None}


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[IterableProject]:
    with iterable_project(monkeypatch) as vendor:
        yield vendor


def spec(**options: Any) -> IterableSpec:
    return IterableSpec(**{"project_id": 41, "on_withdrawal": "delete", **options})


def test_users_are_stored_with_their_fields_and_a_null_leaves_what_iterable_has(project: IterableProject) -> None:
    project.people["bob@example.com"] = {"city": "Oslo"}

    outcomes = sent(spec(), rows({**ANN, "address.zip": "9000"}, BOB), key="email")

    assert outcomes == ["accepted", "accepted"]
    assert project.people == {
        "Ann@example.com": {"city": "Ghent", "address": {"zip": "9000"}},
        "bob@example.com": {"city": "Oslo"},
    }
    assert project.asked_of.asked[0].document["users"][0]["mergeNestedObjects"] is True


def test_a_list_gets_the_people_and_keeps_the_others(project: IterableProject) -> None:
    project.lists[7] = {"cem@example.com"}

    outcomes = sent(spec(list_id="7"), rows(ANN), key="email")

    assert outcomes == ["accepted"]
    assert project.lists[7] == {"cem@example.com", "Ann@example.com"}


def test_forgotten_and_refused_people_are_rejected_whatever_the_case_of_their_address(project: IterableProject) -> None:
    project.forgotten, project.refused = {"Ann@example.com"}, {"bob@example.com"}

    outcomes = sent(spec(), rows(ANN, BOB, {"email": "cem@example.com", "city": "Bonn"}), key="email")

    assert outcomes == ["rejected forgotten", "rejected invalid_data", "accepted"]
    assert "SuppressionList" in spec().build().remedy("forgotten")
    assert len(project.asked_of.asked) == 1


def test_rows_are_uncertain_where_iterable_drops_a_field(project: IterableProject) -> None:
    project.dropped = {"city"}

    outcomes = sent(spec(), rows(ANN, BOB), key="email")

    assert outcomes == ["uncertain fields_dropped"] * 2


def test_a_row_without_an_address_is_never_sent(project: IterableProject) -> None:
    assert sent(spec(), rows(ANN, {"email": None, "city": "Bonn"}), key="email") == [
        "accepted",
        "rejected missing_email",
    ]
    assert removed(spec(), rows({"email": None}), key="email") == ["accepted"]


def test_who_leaves_a_list_stays_a_user_and_keeps_the_channel(project: IterableProject) -> None:
    leaving = spec(list_id=7, on_withdrawal="leave_audience")
    sent(leaving, rows(ANN, BOB), key="email")
    project.forgotten = {"dee@example.com"}

    outcomes = removed(leaving, rows(ANN, {"email": "cem@example.com"}, {"email": "dee@example.com"}), key="email")

    assert outcomes == ["accepted"] * 3
    assert project.lists[7] == {"bob@example.com"}
    assert project.people.keys() == {"Ann@example.com", "bob@example.com"}
    assert project.silenced == set()
    assert b'"channelUnsubscribe":false' in project.asked_of.asked[-1].body


def test_a_deleted_user_is_gone_and_one_who_is_not_there_counts_as_deleted(project: IterableProject) -> None:
    odd = {"email": "a/b+c@example.com", "city": "x"}
    sent(spec(), rows(ANN, odd), key="email")

    outcomes = removed(
        spec(), rows({"email": ANN["email"]}, {"email": odd["email"]}, {"email": "no@one.org"}), key="email"
    )

    assert outcomes == ["accepted"] * 3
    assert project.people == {}
    assert project.asked_of.asked[2].path == "/api/users/a%2Fb%2Bc%40example.com"


def test_a_forgotten_user_can_never_be_added_again(project: IterableProject) -> None:
    forgetting = spec(known_by="userId", on_withdrawal="privacy_delete")
    sent(forgetting, rows({"userId": 7, "city": "Ghent"}), key="userId")

    outcomes = removed(forgetting, rows({"userId": 7}), key="userId")

    assert outcomes == ["accepted"]
    assert (project.people, project.forgotten) == ({}, {"7"})
    assert sent(forgetting, rows({"userId": 7, "city": "Ghent"}), key="userId") == ["rejected forgotten"]


def test_a_user_whom_iterable_keeps_is_not_removed(project: IterableProject) -> None:
    project.refused = {"Ann@example.com"}

    assert removed(spec(), rows(ANN), key="email") == ["rejected GenericError"]


def test_a_refused_key_stops_the_load(project: IterableProject) -> None:
    project.fault = "refused"

    with pytest.raises(DestinationError, match="refuses every request with 401"):
        sent(spec(), rows(ANN), key="email")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"on_withdrawal": "unsubscribe"}, "on_withdrawal is not one of the destination's choices"),
        ({"on_withdrawal": "leave_audience"}, "Iterable needs the parameter `list_id`: the number of the list"),
        ({"list_id": "seven"}, "the parameter `list_id` is a number"),
        ({"fields": {"mail": "email"}}, "Iterable needs the field `email`, did you mean `mail`?"),
        ({"fields": {"email": "email", "unsubscribedChannelIds": "x"}}, "opt-outs belong to the person"),
        ({"known_by": "userId"}, "Iterable needs the field `userId`"),
    ],
)
def test_a_load_that_does_not_suit_iterable_is_refused_when_the_dag_is_parsed(
    parameters: dict[str, Any], message: str
) -> None:
    given = {"project_id": 41, "on_withdrawal": "delete", "fields": {"email": "email"}, **parameters}

    with pytest.raises(ConfigurationError) as refusal:
        LoadToIterableOperator(task_id="load", permitted=None, destination="iterable", **given)

    assert message in str(refusal.value)


def test_a_template_for_the_list_is_known_when_the_task_runs() -> None:
    load = LoadToIterableOperator(
        task_id="load",
        permitted=None,
        destination="iterable",
        project_id=41,
        list_id="{{ var.value.list }}",
        on_withdrawal="leave_audience",
        fields={"email": "email"},
    )

    assert (load.knows_by_identifiers, "list_id" in load.template_fields) == (True, True)


def test_the_place_has_project_and_list_and_the_connection_can_be_tested(project: IterableProject) -> None:
    target = spec(list_id=7).build().target

    assert target.endswith("/api/lists/subscribe with list_id 7, project_id 41")
    assert IterableHook().test_connection()[0]


def test_the_rate_of_a_project_is_one_for_all_workers_and_each_removal_has_its_own(project: IterableProject) -> None:
    forgetting = spec(on_withdrawal="privacy_delete").build()
    other = spec(on_withdrawal="privacy_delete", project_id=42).build()

    (sending,) = forgetting.account_rates()

    assert (sending.requests, sending.period_s, sending.vendor) == (5, 1, "Iterable")
    assert sending.identity != other.account_rates()[0].identity
    assert sending.identity == spec().build().account_rates()[0].identity


def test_forgetting_waits_for_the_rate_that_the_specification_has_for_it(project: IterableProject) -> None:
    people = [{"email": f"{number}@example.com"} for number in range(5)]
    begun = time.monotonic()

    outcomes = removed(spec(on_withdrawal="privacy_delete"), rows(*people), key="email")

    assert outcomes == ["accepted"] * 5
    # Three at once, and the others in the next second.
    assert time.monotonic() - begun > 0.9
