"""A changed policy in files and in a warehouse: what was guarded at the last run is not open by omission."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.log_lines import task_fails
from support.warehouse_sync import CONSENT, POLICY, Sync

OTHER = POLICY["categories"][1]
GUARD = POLICY["categories"][0]
OPENED: dict[str, list[dict[str, Any]]] = {
    "its category is gone": [OTHER],
    "its category names another": [{**GUARD, "destinations": ["lake"]}, OTHER],
    "its category is disabled": [{**GUARD, "enabled": False}, OTHER],
}


@pytest.mark.parametrize("categories", OPENED.values(), ids=OPENED.keys())
def test_what_was_guarded_at_the_last_run_is_not_open_by_omission(
    syncs: list[Sync], categories: list[dict[str, Any]]
) -> None:
    for sync in syncs:
        sync.run()
        with task_fails(match="destination `crm` required `C1` at the last run"):
            sync.permit({"categories": categories})
        assert len(sync.people()) == 800


def test_a_policy_that_releases_many_is_stopped_by_default(syncs: list[Sync]) -> None:
    loose = {"categories": [{**GUARD, "regime": "exempt", "reason": "own use", "owner": "law"}, OTHER]}
    for sync in syncs:
        sync.run()
        with task_fails(match=r"max_released_ratio is 0\.05 by default"):
            sync.permit(loose)


def test_a_mapping_that_releases_many_is_stopped_by_default(syncs: list[Sync]) -> None:
    for sync in syncs:
        sync.consent = {**CONSENT, "C1": CONSENT["C4"]}
        assert sync.permit()["permitted"]["crm"] == 222
        sync.consent = CONSENT
        with task_fails(match=r"the consent mapping changed.*`crm`: 711 of 2,000 rows are released\."):
            sync.permit()
        assert sync.permit(max_released_ratio=1)["permitted"]["crm"] == 800


STRICTER = {"categories": [GUARD, {**OTHER, "destinations": ["crm", "other"]}]}
CLOSED = {"unmapped_destinations": "deny", "categories": [OTHER]}


@pytest.mark.long
def test_people_whom_only_a_stricter_policy_denies_did_not_withdraw_and_are_guarded(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    for sync in syncs:
        sync.run()
        with task_fails(match=r"policy_changed \d+"):
            sync.run(STRICTER, max_removed_ratio=0.0)
        assert len(sync.people()) == 800

    counts = [sync.run(STRICTER) for sync in syncs]

    assert counts[0]["removals_by_cause"] == counts[1]["removals_by_cause"]
    assert counts[0]["removals_by_cause"].keys() == {"policy_changed"}
    assert len(syncs[0].people()) == 800 - counts[0]["removed"] > 0


@pytest.mark.long
def test_a_no_to_the_added_category_is_a_withdrawal_once_it_was_required(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    for sync in syncs:
        sync.run(STRICTER)
    one = syncs[0].people()[0][0]
    change(f"UPDATE customers SET doc = '{{\"p\": {{\"C4\": false}}}}' WHERE id = '{one}'")

    counts = [sync.run(STRICTER, max_removed_ratio=0.0) for sync in syncs]

    assert [found["removals_by_cause"] for found in counts] == [{"consent_withdrawn": 1}] * 2


def test_the_fast_lane_knows_a_stricter_policy_from_a_withdrawal(
    syncs: list[Sync], change: Callable[[str], None]
) -> None:
    for sync in syncs:
        sync.run()
    change("UPDATE customers SET ok = false WHERE id = 'c7'")

    counts = [sync.withdraw(policy=STRICTER, max_removed_ratio=None) for sync in syncs]

    assert counts[0]["removals_by_cause"] == counts[1]["removals_by_cause"]
    assert counts[0]["removals_by_cause"].keys() == {"consent_withdrawn", "policy_changed"}
    assert counts[0]["removals_by_cause"]["consent_withdrawn"] == 1


def test_a_destination_that_the_policy_closes_is_emptied_only_if_the_load_allows_it(syncs: list[Sync]) -> None:
    for sync in syncs:
        sync.run()
        with task_fails(match=r"destination_unmapped 800"):
            sync.run(CLOSED, max_removed_ratio=0.5)
        assert len(sync.people()) == 800

    counts = [sync.run(CLOSED, max_removed_ratio=0.5, allow_closing=True) for sync in syncs]

    assert [found["removals_by_cause"] for found in counts] == [{"destination_unmapped": 800}] * 2
    assert [sync.people() for sync in syncs] == [[], []]
