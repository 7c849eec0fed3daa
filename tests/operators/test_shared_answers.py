"""A field tells each person's own answer to a category, as it stands when the row is sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import BaseSerialization
from support.guarding import World, receiving, webhook
from support.log_lines import task_fails
from support.servers import Receiver

from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.fields import columns, consent, constant, expression
from airflow_consent_retl.operators import ConsentFilterOperator, LoadToWebhookOperator
from airflow_consent_retl.operators.marked_answers import marked_answers
from airflow_consent_retl.reports import person_history

ANY: dict[str, Any] = {
    "unmapped_destinations": "deny",
    "categories": [
        {"id": "C0004", "name": "Advertising", "destinations": ["ads"]},
        {"id": "C0005", "name": "Telephone", "destinations": ["ads"]},
    ],
    "destinations": {"ads": {"match": "any"}},
}
OPT_OUT: dict[str, Any] = {
    "categories": [
        {"id": "C0004", "name": "Advertising", "destinations": ["ads"]},
        {"id": "C0005", "name": "Telephone", "destinations": ["ads"], "regime": "opt_out"},
    ]
}
GUARDING: dict[str, Any] = {
    "categories": [
        {"id": "C0004", "name": "Advertising", "destinations": ["ads"]},
        {"id": "C0005", "name": "Telephone", "fields": {"ads": ["calls"]}},
    ]
}
STATUS = {"id": "id", "calls": consent("C0005", granted="subscribed", otherwise="unsubscribed")}
OR_NULL = {"id": "id", "calls": consent("C0005", granted=True)}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path, monkeypatch)
    world.told = {"ads": ["C0005"]}
    return world


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving(monkeypatch) as server:
        yield server


def told(vendor: Receiver) -> list[Any]:
    return [vendor.people[one]["calls"] for one in sorted(vendor.people)]


@pytest.mark.parametrize("policy", [ANY, OPT_OUT, GUARDING], ids=["alternative", "opt out", "guarded field"])
def test_only_a_person_who_said_yes_is_told_as_granted_whatever_else_permits_the_row(
    world: World, vendor: Receiver, policy: dict[str, Any]
) -> None:
    world.answers(True, None, True, None)

    world.load(webhook(fields=STATUS), policy=policy)

    assert told(vendor) == ["subscribed", "unsubscribed", "subscribed", "unsubscribed"]


def test_a_changed_answer_is_an_update_in_both_directions_and_an_unchanged_one_is_not(
    world: World, vendor: Receiver
) -> None:
    world.answers(True, False, True)
    world.load(webhook(fields=STATUS), policy=ANY)
    world.answers(False, True, True)

    counts = world.load(webhook(fields=STATUS), policy=ANY)

    assert (counts["updated"], counts["unchanged"]) == (2, 1)
    assert told(vendor) == ["unsubscribed", "subscribed", "subscribed"]
    again = world.load(webhook(fields=STATUS), policy=ANY)
    assert (again["updated"], again["unchanged"]) == (0, 3)


def test_a_yes_that_ends_between_filter_and_load_is_not_told(world: World, vendor: Receiver) -> None:
    world.answers(True, True)
    permitted = world.permitted(policy=ANY)
    world.answers(False, True)

    counts = webhook(fields=STATUS)(
        task_id="load", permitted=permitted, destination="ads", policy=ANY, settle_s=0, workspace=world.workspace
    ).execute({})

    assert (counts["withheld"], {one: row["calls"] for one, row in vendor.people.items()}) == (1, {1: "subscribed"})
    world.load(webhook(fields=STATUS), policy=ANY)
    assert told(vendor) == ["unsubscribed", "subscribed"]


def test_mode_insert_sends_a_yes_that_ended(world: World, vendor: Receiver) -> None:
    world.answers(True, True)
    world.load(webhook(fields=STATUS), policy=ANY, mode="insert")
    world.answers(False, True)

    world.load(webhook(fields=STATUS), policy=ANY, mode="insert")

    assert told(vendor) == ["unsubscribed", "subscribed"]


def test_the_fast_lane_takes_back_a_yes_as_null_once_and_removes_no_one_for_it(world: World, vendor: Receiver) -> None:
    load = webhook(fields=OR_NULL, nulls="omit")
    world.answers(True, True)
    world.load(load, policy=ANY)
    world.answers(False, True)

    counts, again = world.withdraw(load, policy=ANY), world.withdraw(load, policy=ANY)

    assert (counts["cleared"], counts["removed"], again["cleared"]) == (1, 0, 0)
    assert told(vendor) == [None, True]
    world.load(load, policy=ANY)
    assert (told(vendor), world.withdraw(load, policy=ANY)["cleared"]) == ([None, True], 0)


def test_the_fast_lane_leaves_an_answer_that_has_a_value_of_its_own_to_the_next_load(
    world: World, vendor: Receiver
) -> None:
    load = webhook(fields=STATUS)
    world.answers(True, True)
    world.load(load, policy=ANY)
    world.answers(False, True)
    before = len(vendor.received)

    counts = world.withdraw(load, policy=ANY)

    assert (counts["cleared"], counts["removed"], len(vendor.received)) == (0, 0, before)
    world.load(load, policy=ANY)
    assert told(vendor) == ["unsubscribed", "subscribed"]


def test_a_filter_that_did_not_mark_the_answers_is_refused_before_a_request(world: World, vendor: Receiver) -> None:
    world.told = {}
    world.answers(True, None)

    with task_fails(match=r'run the filter again.*answers=\{"ads": \["C0005"\]\}'):
        world.load(webhook(fields=STATUS), policy=ANY)

    assert vendor.received == []


@pytest.mark.parametrize(
    ("category", "message"),
    [
        ("C0004", None),
        ("C0009", r"category `C0009` is not in the policy"),
        ("C0005", r"map the category to the destination in the policy, or guard the field with it"),
    ],
)
def test_only_a_category_that_the_policy_requires_or_guards_the_field_with_is_told(
    world: World, vendor: Receiver, category: str, message: str | None
) -> None:
    other = {"id": "C0005", "name": "Phone", "destinations": ["other"]}
    policy = {"categories": [{"id": "C0004", "name": "Ads", "destinations": ["ads"]}, other]}
    world.told = {"ads": [category]}
    world.answers(True)
    fields = {"id": "id", "calls": consent(category, granted="yes")}

    if message is None:
        world.load(webhook(fields=fields), policy=policy)
        assert told(vendor) == ["yes"]
        return
    with task_fails(match=message):
        world.load(webhook(fields=fields), policy=policy)
    assert vendor.received == []


def test_a_guard_of_another_field_is_no_reason_to_tell_the_answer_in_this_one(world: World, vendor: Receiver) -> None:
    world.answers(True)
    fields = {**OR_NULL, "status": consent("C0005", granted="subscribed")}

    with task_fails(match=r"guard the field with it .*\["):
        world.load(webhook(fields=fields), policy=GUARDING)

    assert vendor.received == []


def test_an_answer_that_was_told_cannot_leave_the_mapping_as_long_as_people_may_take_it_back(
    world: World, vendor: Receiver
) -> None:
    world.answers(True, True)
    world.load(webhook(fields=STATUS), policy=ANY)
    before = len(vendor.received)

    with task_fails(match="the destination would keep a yes of people who take it back"):
        world.load(webhook(fields={"id": "id"}), policy=ANY)

    assert len(vendor.received) == before
    world.load(webhook(fields={"id": "id", "calls": constant("unsubscribed")}), policy=ANY)
    assert told(vendor) == ["unsubscribed", "unsubscribed"]
    assert world.load(webhook(fields={"id": "id"}), policy=ANY)["accepted"] == 2


def test_a_change_of_an_answer_is_in_the_record_of_the_person(world: World, vendor: Receiver) -> None:
    world.answers(True)
    world.load(webhook(fields=STATUS), policy=ANY)
    world.answers(False)
    world.load(webhook(fields=STATUS), policy=ANY)

    history = person_history("0", workspace=world.workspace)

    assert [event.withheld for event in history.decisions if event.destination == "ads"] == [(), ("a yes to C0005",)]


def test_a_constant_is_sent_with_each_row_and_another_one_is_an_update(world: World, vendor: Receiver) -> None:
    world.told = {}
    world.answers(None, None)
    fields = {"id": "id", "source": constant("warehouse"), "score": constant(7), "none": constant(None)}

    world.load(webhook(fields=fields), policy=GUARDING, fields_not_sent=["calls"])

    assert vendor.people[1] == {"id": 1, "source": "warehouse", "score": 7, "none": None}
    changed = world.load(webhook(fields={**fields, "score": constant(8)}), policy=GUARDING, fields_not_sent=["calls"])
    assert (changed["updated"], vendor.people[0]["score"]) == (2, 8)


def test_the_filter_finds_the_answers_that_the_loads_of_its_dag_tell_also_mapped_ones() -> None:
    policy = parse_policy(ANY)
    with DAG("d"):
        filter_task = ConsentFilterOperator(
            task_id="consent", snapshot={}, destinations=["ads"], answers={"ads": ["C0004"]}
        )
        other = ConsentFilterOperator(task_id="other", snapshot={}, destinations=["ads"])
        webhook(fields=STATUS)(task_id="load", permitted=filter_task.output, destination="ads")
        LoadToWebhookOperator.partial(
            task_id="mapped",
            permitted=filter_task.output,
            destination="ads",
            conn_id="hook",
            endpoint="/people",
            fields={"id": "id", "a": consent("C0004", granted="{{ ds }}"), "b": consent("C0004", granted=1)},
        ).expand(mode=["mirror"])
        webhook(fields=OR_NULL)(task_id="foreign", permitted=other.output, destination="ads:second")

    assert marked_answers(filter_task, policy) == {"ads": ("C0004", "C0005")}
    assert marked_answers(other, policy) == {"ads:second": ("C0005",)}


def test_airflow_serializes_the_values_as_they_were_written() -> None:
    fields = {**STATUS, "source": constant("it's {{ ds }}"), "all": columns("a", "b"), "up": expression("upper(a)")}

    assert BaseSerialization.deserialize(BaseSerialization.serialize(fields)) == fields
