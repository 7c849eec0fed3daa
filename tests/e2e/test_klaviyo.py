"""Three days of a Klaviyo list, and of subscribers, through real Airflow: changes, withdrawals, Klaviyo's refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from e2e.test_canaries import leaks
from support.airflow_run import Airflow
from support.klaviyo_server import Klaviyo
from support.people import CANARY, Person, people

DELIVERED = [one for one in people() if one.analytics_ok is True]
GRANTING = [one for one in people() if one.analytics_ok is True and one.ads == "yes"]
LEAVING, GONE, CHANGING, OPTED_OUT = GRANTING[:4]


@pytest.fixture
def klaviyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Klaviyo]:
    with Klaviyo().serving() as server:
        extra = {"allow_private": True}
        connection = {"conn_type": "consentklaviyo", "host": server.url, "password": server.token, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_CONSENTKLAVIYO_DEFAULT", json.dumps(connection))
        server.polls = 1
        yield server


@pytest.mark.long
def test_klaviyo_follows_consent_over_three_days_and_no_one_is_unsubscribed_from_everything(
    airflow: Airflow, warehouse: Path, klaviyo: Klaviyo, tmp_path: Path
) -> None:
    def run() -> dict[str, int]:
        done = airflow.run("newsletter", module="klaviyo")
        assert done.state == "success", done.output
        assert leaks(airflow, done, tmp_path) == []
        assert klaviyo.token not in done.output
        found: dict[str, int] = airflow.xcom(done, "load")
        return found

    def change(sql: str, *values: str) -> None:
        with duckdb.connect(str(warehouse)) as connection:
            connection.execute(sql, values)

    first = run()

    assert (first["accepted"], first["pending"], first["uncertain"]) == (len(GRANTING), 0, 0)
    assert klaviyo.on_list("L1") == {one.user_id for one in GRANTING}
    assert all(one["properties"] == {"offers": True} for one in klaviyo.profiles.values())

    # One of the two who withdraw left the list at Klaviyo before.
    klaviyo.lists["L1"] -= {key for key, one in klaviyo.profiles.items() if one["external_id"] == GONE.user_id}
    for one in (LEAVING, GONE):
        change("UPDATE people SET ads = 'no' WHERE user_id = ?", one.user_id)
    change("UPDATE people SET name = ? WHERE user_id = ?", f"{CANARY} new", CHANGING.user_id)
    klaviyo.refused = {CHANGING.user_id}
    second = run()

    assert (second["removed"], second["rejected"]) == (2, 1)
    assert klaviyo.unsubscribed == [(f"{CANARY}-{LEAVING.number}@example.com", "L1")]
    assert klaviyo.on_list("L1") == {one.user_id for one in GRANTING[2:]}

    klaviyo.refused = set()
    change("UPDATE people SET ads = 'yes' WHERE user_id = ?", LEAVING.user_id)
    third = run()

    assert (third["removed"], third["rejected"]) == (0, 0)
    assert klaviyo.by("external_id")[CHANGING.user_id]["first_name"] == f"{CANARY} new"
    assert klaviyo.on_list("L1") == {one.user_id for one in GRANTING if one is not GONE}
    assert {call.path for call in klaviyo.calls if "subscription-bulk-create" in call.path} == set()


@pytest.mark.long
def test_klaviyo_subscribes_people_over_three_days_and_their_opt_outs_survive(
    airflow: Airflow, warehouse: Path, klaviyo: Klaviyo, tmp_path: Path
) -> None:
    def run() -> dict[str, int]:
        done = airflow.run("subscribers", module="klaviyo")
        assert done.state == "success", done.output
        assert leaks(airflow, done, tmp_path) == []
        found: dict[str, int] = airflow.xcom(done, "load")
        return found

    def change(column: str, value: object, *who: Person) -> None:
        with duckdb.connect(str(warehouse)) as connection:
            connection.executemany(
                f"UPDATE people SET {column} = ? WHERE user_id = ?", [[value, one.user_id] for one in who]
            )

    def subscribers() -> set[str]:
        return {one.user_id for one in DELIVERED if klaviyo.state(one.user_id) == "SUBSCRIBED"}

    first = run()

    assert (first["accepted"], first["pending"], first["uncertain"]) == (len(DELIVERED), 0, 0)
    assert {address for address, _, _ in klaviyo.subscribed} <= {
        f"{CANARY}-{one.number}@example.com" for one in GRANTING
    }

    # One unsubscribes at Klaviyo, and the row changes in the warehouse; one withdraws the newsletter, one everything.
    klaviyo.lag = 3
    klaviyo.opt_out(OPTED_OUT.user_id)
    change("name", f"{CANARY} new", OPTED_OUT, CHANGING)
    change("ads", "no", LEAVING)
    change("analytics_ok", False, GONE)
    second = run()

    assert (second["removed"], second["rejected"], second["uncertain"]) == (1, 0, 0)
    assert klaviyo.by("external_id")[OPTED_OUT.user_id]["first_name"] == f"{CANARY} new"
    assert subscribers() == {one.user_id for one in GRANTING} - {one.user_id for one in (LEAVING, GONE, OPTED_OUT)}

    change("ads", "yes", LEAVING)
    change("analytics_ok", True, GONE)
    change("name", f"{CANARY} newer", OPTED_OUT)
    third = run()

    assert (third["removed"], third["rejected"], third["uncertain"]) == (0, 0, 0)
    assert subscribers() == {one.user_id for one in GRANTING} - {one.user_id for one in (LEAVING, GONE, OPTED_OUT)}
    assert len(klaviyo.subscribed) == len(GRANTING)
    assert (klaviyo.opt_outs_deleted, klaviyo.confirmations) == ([], [])
