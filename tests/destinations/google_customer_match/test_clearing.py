"""Withdrawn fields at Google: their identifiers leave the audience, before the next load and without one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.customer_match import CONN_ID, connection_to
from support.data_manager_server import DataManager, Ending, data_manager
from support.guarding import World
from support.log_lines import task_fails

from airflow_consent_retl.destinations.data_manager.members import identified_by
from airflow_consent_retl.errors import DestinationUnavailableError
from airflow_consent_retl.operators import LoadToGoogleCustomerMatchOperator

SQL = (
    "SELECT id, ads_ok, calls_ok, 'u' || id || '@x.example' AS email, '+4917100000' || id AS phone_e164, "
    "'+4917200000' || id AS mobile FROM people"
)
FIELDS = {"email": "email", "phone": "phone_e164", "phone_2": "mobile"}
ADDRESS = ("given_name", "family_name", "region_code", "postal_code")


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)


@pytest.fixture
def google() -> Iterator[DataManager]:
    with data_manager() as server:
        connection_to(server)
        yield server
    assert server.violations == []


def audience_load(**more: Any) -> Any:
    settings: dict[str, Any] = {
        "fields": FIELDS,
        "gcp_conn_id": CONN_ID,
        "audience_id": "42",
        "operating_account": "123-456-7890",
        "consent_signals": {"ad_user_data": "C0004", "ad_personalization": "C0004"},
        "terms_of_service_accepted": True,
    }
    return partial(LoadToGoogleCustomerMatchOperator, **settings | more)


def digests(*texts: str) -> set[str]:
    return {sha256(text.encode()).hexdigest() for text in texts}


def audience(google: DataManager) -> set[str]:
    return {identifier[1] for identifier in google.audience}


EMAILS = digests("u0@x.example", "u1@x.example")
MOBILES = digests("+49172000000", "+49172000001")
PHONES = [digests("+49171000000"), digests("+49171000001")]


def test_the_fast_lane_takes_the_withdrawn_identifier_out_and_leaves_the_others(
    world: World, google: DataManager
) -> None:
    world.answers(True, True)
    world.load(audience_load(), sql=SQL)
    world.answers(False, True)

    # No guard delays it.
    counts = world.withdraw(audience_load(), max_removed_ratio=0.0)

    assert audience(google) == EMAILS | MOBILES | PHONES[1]
    assert (counts["cleared"], counts["removed"], counts["removals_by_cause"]) == (1, 0, {"field_withdrawn": 1})
    assert len(google.taken[-1].members) == 1
    assert world.withdraw(audience_load())["cleared"] == 0
    assert world.load(audience_load(), sql=SQL)["updated"] == 1
    assert audience(google) == EMAILS | MOBILES | PHONES[1]


def test_a_refused_load_takes_the_withdrawn_identifier_out_all_the_same(world: World, google: DataManager) -> None:
    world.answers(True, True)
    world.load(audience_load(), sql=SQL)
    world.answers(True, False)

    with task_fails(match="the policy guards field `phone`") as refused:
        world.load(audience_load(fields={"email": "email", "phone_2": "mobile"}), sql=SQL)

    assert str(refused.value).endswith("withdrawn fields were cleared of 1 person")
    assert audience(google) == EMAILS | MOBILES | PHONES[0]


def test_what_google_still_processes_is_asked_for_by_the_next_try(world: World, google: DataManager) -> None:
    world.answers(True, True)
    world.load(audience_load(), sql=SQL)
    world.answers(False, False)
    google.polls = 1

    with pytest.raises(DestinationUnavailableError, match="still processes"):
        world.withdraw(audience_load(), confirm_timeout_s=0)
    requests = len(google.taken)

    world.withdraw(audience_load())

    assert audience(google) == EMAILS | MOBILES
    assert len(google.taken) == requests
    assert world.withdraw(audience_load())["cleared"] == 0


def test_an_identifier_that_google_did_not_take_out_fails_the_task(world: World, google: DataManager) -> None:
    world.answers(True, True)
    world.load(audience_load(), sql=SQL)
    world.answers(False, True)
    google.endings = [Ending(state=3, apply=False)]

    with task_fails(match="did not clear withdrawn fields of 1 of 1 people"):
        world.withdraw(audience_load())

    assert world.withdraw(audience_load())["cleared"] == 1
    assert audience(google) == EMAILS | MOBILES | PHONES[1]


def test_who_permits_the_field_again_is_in_the_audience_with_it_again(world: World, google: DataManager) -> None:
    world.answers(True, True)
    world.load(audience_load(), sql=SQL)
    world.answers(False, True)
    world.withdraw(audience_load())
    world.answers(True, True)

    world.load(audience_load(), sql=SQL)

    assert audience(google) == EMAILS | MOBILES | PHONES[0] | PHONES[1]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (["email_2"], ["email_2"]),
        (["postal_code"], [*ADDRESS]),
        (["given_name", "email"], ["email", *ADDRESS]),
        (["phone"], []),
    ],
)
def test_an_address_is_one_identifier(fields: list[str], expected: list[str]) -> None:
    assert identified_by(fields, ["email", "email_2", *ADDRESS]) == expected
