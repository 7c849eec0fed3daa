"""Three days of a Braze workspace through real Airflow: first load, changes, withdrawals, Braze's own failures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from e2e.test_canaries import leaks
from support.airflow_run import Airflow, DagRunResult
from support.braze_server import Braze, quoting
from support.people import CANARY, people

GRANTING = [one for one in people() if one.analytics_ok is True and one.ads == "yes"]
DELIVERED = [one for one in people() if one.analytics_ok is True]
LEAVING, CHANGING, OPTED_OUT, SILENCED = (one.user_id for one in GRANTING[:4])


@pytest.fixture
def braze(monkeypatch: pytest.MonkeyPatch) -> Iterator[Braze]:
    with Braze().serving() as server:
        extra = {"allow_private": True}
        connection = {"conn_type": "consentbraze", "host": server.url, "password": server.token, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_CONSENTBRAZE_DEFAULT", json.dumps(connection))
        yield server


def update(warehouse: Path, column: str, value: object, *user_ids: str) -> None:
    with duckdb.connect(str(warehouse)) as connection:
        rows = [[value, user_id] for user_id in user_ids]
        connection.executemany(f"UPDATE people SET {column} = ? WHERE user_id = ?", rows)


def sent_objects(braze: Braze) -> list[dict[str, Any]]:
    return [one for call in braze.called("/users/track") for one in call["attributes"]]


@pytest.mark.long
def test_braze_follows_consent_over_three_days_and_its_opt_outs_survive(
    airflow: Airflow, warehouse: Path, braze: Braze, tmp_path: Path
) -> None:
    def run(state: str = "success") -> DagRunResult:
        done = airflow.run("users", module="braze")
        assert done.state == state, done.output
        assert leaks(airflow, done, tmp_path) == []
        return done

    def counts() -> dict[str, int]:
        found: dict[str, int] = airflow.xcom(run(), "load")
        return found

    braze.fault = lambda call, apply: quoting(call, apply) if call.path == "/users/track" else apply()
    run("failed")
    braze.fault = None
    first = counts()

    assert first["accepted"] == len(braze.users) == len(DELIVERED)
    opted_in = {user_id for user_id, user in braze.users.items() if user.get("email_subscribe") == "opted_in"}
    assert opted_in == braze.groups["news"].keys() == {one.user_id for one in GRANTING}

    braze.users[OPTED_OUT]["email_subscribe"] = "unsubscribed"
    braze.groups["news"][OPTED_OUT] = "unsubscribed"
    update(warehouse, "analytics_ok", False, LEAVING)
    update(warehouse, "ads", "no", SILENCED)
    update(warehouse, "name", f"{CANARY} new", CHANGING, OPTED_OUT)
    braze.refused = {CHANGING}
    braze.calls.clear()
    second = counts()

    assert (second["removed"], second["updated"], second["rejected"]) == (1, 3, 1)
    (withdrawn,) = [one for one in sent_objects(braze) if one["external_id"] == LEAVING]
    assert withdrawn == {
        "external_id": LEAVING,
        "_update_existing_only": True,
        "subscription_groups": [{"subscription_group_id": "news", "subscription_state": "unsubscribed"}],
    }
    assert braze.users[OPTED_OUT]["first_name"] == f"{CANARY} new"

    braze.refused = set()
    update(warehouse, "analytics_ok", True, LEAVING)
    third = counts()

    assert (third["removed"], third["rejected"]) == (0, 0)
    out = {user_id for user_id, state in braze.groups["news"].items() if state == "unsubscribed"}
    assert out == {LEAVING, OPTED_OUT, SILENCED}
    assert {braze.users[one]["email_subscribe"] for one in (OPTED_OUT, SILENCED)} == {"unsubscribed"}
    assert braze.users[CHANGING]["first_name"] == f"{CANARY} new"
    assert braze.called("/users/delete") == []
