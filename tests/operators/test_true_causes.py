"""Removals after a policy became stricter: only who said no since the delivery withdrew, and only they pass a guard."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.guarding import World, receiving, webhook
from support.log_lines import task_fails
from support.servers import Receiver

ADS: dict[str, Any] = {"id": "C0004", "name": "Advertising", "destinations": ["ads"]}
CALLS: dict[str, Any] = {"id": "C0005", "name": "Telephone", "destinations": ["ads"]}
FREE = {"reason": "own use", "owner": "law"}


def policy(*categories: dict[str, Any], match: str = "all") -> dict[str, Any]:
    return {"unmapped_destinations": "deny", "categories": [*categories], "destinations": {"ads": {"match": match}}}


ANY, ALL = policy(ADS, CALLS, match="any"), policy(ADS, CALLS)
STRICTER = {
    "of two alternatives both are needed": (ANY, ALL),
    "of two alternatives one is left": (ANY, policy({**ADS, "destinations": ["lake"]}, CALLS)),
    "a category is not exempt any more": (policy(ADS, {**CALLS, "regime": "exempt", **FREE}), ALL),
    "a category is needed too": (policy(ADS, {**CALLS, "destinations": ["lake"]}), ALL),
    "a category is enabled": (policy(ADS, {**CALLS, "enabled": False}), ALL),
}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, monkeypatch)
    # Ten people said no to calls before they were delivered.
    made.answers(*[False] * 10, *[True] * 10)
    return made


@pytest.fixture(autouse=True)
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiving(monkeypatch) as server:
        yield server


def said_no(world: World, *people: int) -> None:
    with closing(sqlite3.connect(world.path / "source.db")) as connection:
        connection.executemany(
            "UPDATE people SET ads_ok = FALSE, calls_ok = FALSE WHERE id = ?", [(one,) for one in people]
        )
        connection.commit()


def run(world: World, present: dict[str, Any], **options: Any) -> dict[str, Any]:
    counts: dict[str, Any] = world.load(webhook(fields={"id": "id"}, answer="status"), policy=present, **options)
    return counts


@pytest.mark.parametrize(("before", "after"), STRICTER.values(), ids=STRICTER)
def test_a_no_that_did_not_count_at_the_delivery_is_no_withdrawal(
    world: World, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert run(world, before)["added"] == 20

    with task_fails(match="policy_changed 10"):
        run(world, after, max_removed_ratio=0.0)

    assert run(world, after, max_removed_ratio=0.5)["removals_by_cause"] == {"policy_changed": 10}
    said_no(world, 15)
    assert run(world, after, max_removed_ratio=0.0)["removals_by_cause"] == {"consent_withdrawn": 1}


def test_the_fast_lane_knows_it_too(world: World) -> None:
    run(world, ANY)
    said_no(world, 15)

    counts = world.withdraw(webhook(fields={"id": "id"}, answer="status"), policy=ALL, max_removed_ratio=None)

    assert counts["removals_by_cause"] == {"policy_changed": 10, "consent_withdrawn": 1}


def test_who_loses_the_last_of_two_alternatives_withdrew(world: World) -> None:
    run(world, ANY)
    said_no(world, 3, 15)

    assert run(world, ANY, max_removed_ratio=0.0)["removals_by_cause"] == {"consent_withdrawn": 2}
