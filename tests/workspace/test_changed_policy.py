"""A changed policy in files and in a warehouse: what was guarded at the last run is not open by omission."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from support.warehouse_sync import POLICY, Sync

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
        with pytest.raises(AirflowFailException, match="destination `crm` required `C1` at the last run"):
            sync.permit({"categories": categories})
        assert len(sync.people()) == 800


def test_a_policy_that_releases_many_is_stopped_by_default(syncs: list[Sync]) -> None:
    loose = {"categories": [{**GUARD, "regime": "exempt", "reason": "own use", "owner": "law"}, OTHER]}
    for sync in syncs:
        sync.run()
        with pytest.raises(AirflowFailException, match=r"max_released_ratio is 0\.05 by default"):
            sync.permit(loose)
