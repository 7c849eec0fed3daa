"""Three days of a Braze workspace through real Airflow: first load, changes, withdrawals, Braze's own failures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from e2e.test_canaries import leaks
from support.airflow_run import Airflow, DagRunResult
from support.braze_server import Braze, quoting
from support.people import CANARY, people

GRANTING = [one for one in people() if one.analytics_ok is True and one.ads == "yes"]
LEAVING, CHANGING, OPTED_OUT = (one.user_id for one in GRANTING[:3])


@pytest.fixture
def braze(monkeypatch: pytest.MonkeyPatch) -> Iterator[Braze]:
    with Braze().serving() as server:
        extra = {"allow_private": True}
        connection = {"conn_type": "consentbraze", "host": server.url, "password": server.token, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_CONSENTBRAZE_DEFAULT", json.dumps(connection))
        yield server


def update(warehouse: Path, column: str, value: str, *user_ids: str) -> None:
    with duckdb.connect(str(warehouse)) as connection:
        rows = [[value, user_id] for user_id in user_ids]
        connection.executemany(f"UPDATE people SET {column} = ? WHERE user_id = ?", rows)


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

    assert first["accepted"] == len(braze.users) == len(GRANTING)
    assert {user["email_subscribe"] for user in braze.users.values()} == {"opted_in"}
    assert set(braze.groups["news"].values()) == {"subscribed"}

    braze.users[OPTED_OUT]["email_subscribe"] = "unsubscribed"
    braze.groups["news"][OPTED_OUT] = "unsubscribed"
    update(warehouse, "ads", "no", LEAVING)
    update(warehouse, "name", f"{CANARY} new", CHANGING, OPTED_OUT)
    braze.refused = {CHANGING}
    second = counts()

    assert (second["removed"], second["updated"], second["rejected"]) == (1, 2, 1)
    assert braze.called("/v2/subscription/status/set") == [
        {
            "subscription_groups": [
                {"subscription_group_id": "news", "subscription_state": "unsubscribed", "external_ids": [LEAVING]}
            ]
        }
    ]
    assert braze.users[OPTED_OUT]["first_name"] == f"{CANARY} new"

    braze.refused = set()
    update(warehouse, "ads", "yes", LEAVING)
    third = counts()

    assert (third["removed"], third["rejected"]) == (0, 0)
    out = {user_id for user_id, state in braze.groups["news"].items() if state == "unsubscribed"}
    assert out == {LEAVING, OPTED_OUT}
    assert braze.users[OPTED_OUT]["email_subscribe"] == "unsubscribed"
    assert braze.users[CHANGING]["first_name"] == f"{CANARY} new"
    assert braze.called("/users/delete") == []
