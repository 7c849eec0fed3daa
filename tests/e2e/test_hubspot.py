"""Three days of a HubSpot account through real Airflow: first load, changes, withdrawals, HubSpot's own failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from e2e.test_canaries import leaks
from support.airflow_run import Airflow, DagRunResult
from support.hubspot_server import HubSpot, State, failure, limited
from support.people import CANARY, people
from support.vendor_server import Asked, Reply

GRANTING = [one for one in people() if one.analytics_ok is True and one.ads == "yes"]
DELIVERED = [one for one in people() if one.analytics_ok is True]
LEAVING, CHANGING, OPTED_OUT, SILENCED = (one.number for one in GRANTING[:4])


@pytest.fixture
def hubspot(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubSpot]:
    with HubSpot().serving() as server:
        extra = {"allow_private": True}
        connection = {"conn_type": "consenthubspot", "host": server.url, "password": server.token, "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_CONSENTHUBSPOT_DEFAULT", json.dumps(connection))
        yield server


def email(number: int) -> str:
    return f"{CANARY}-{number}@example.com"


def update(warehouse: Path, column: str, value: object, *numbers: int) -> None:
    with duckdb.connect(str(warehouse)) as connection:
        rows = [[value, email(number)] for number in numbers]
        connection.executemany(f"UPDATE people SET {column} = ? WHERE email = ?", rows)


def states(hubspot: HubSpot) -> dict[int, str]:
    return {one.number: hubspot.states[email(one.number), 11].status_state for one in GRANTING}


@pytest.mark.long
def test_hubspot_follows_consent_over_three_days_and_its_opt_outs_survive(
    airflow: Airflow, warehouse: Path, hubspot: HubSpot, tmp_path: Path
) -> None:
    def run(state: str = "success") -> DagRunResult:
        done = airflow.run("hubspot_contacts", module="hubspot")
        assert done.state == state, done.output
        assert leaks(airflow, done, tmp_path) == []
        return done

    def counts() -> dict[str, int]:
        found: dict[str, int] = airflow.xcom(run(), "load")
        return found

    hubspot.fault = quoting
    run("failed")
    hubspot.fault = None
    first = counts()

    assert first["accepted"] == len(hubspot.contacts) == len(DELIVERED)
    assert set(states(hubspot).values()) == {"SUBSCRIBED"}

    hubspot.states[email(OPTED_OUT), 11] = State("EMAIL", "UNSUBSCRIBED", email(OPTED_OUT), 11)
    update(warehouse, "analytics_ok", False, LEAVING)
    update(warehouse, "ads", "no", SILENCED)
    update(warehouse, "name", f"{CANARY} new", CHANGING, OPTED_OUT)
    hubspot.refused = {f"{CANARY}-id-{CHANGING:04d}"}
    hubspot.fault = once_limited()
    second = counts()

    assert (second["removed"], second["updated"], second["rejected"]) == (1, 3, 1)
    assert {number for number, state in states(hubspot).items() if state == "UNSUBSCRIBED"} == {
        LEAVING, OPTED_OUT, SILENCED,
    }  # fmt: skip
    written = [one for call in hubspot.called("/write")[1:] for one in call["inputs"]]
    # Twice, since HubSpot limited the first request; the person who unsubscribed there is not written at all.
    assert [(one["subscriberIdString"], one["statusState"]) for one in written] == [
        (email(number), "UNSUBSCRIBED") for number in (LEAVING, LEAVING, SILENCED)
    ]

    hubspot.refused = set()
    update(warehouse, "analytics_ok", True, LEAVING)
    third = counts()

    assert (third["removed"], third["rejected"]) == (0, 0)
    assert states(hubspot) == {
        one.number: "UNSUBSCRIBED" if one.number in {LEAVING, OPTED_OUT, SILENCED} else "SUBSCRIBED" for one in GRANTING
    }
    named = {one["email"]: one["firstname"] for one in hubspot.contacts.values()}
    assert named[email(CHANGING)] == named[email(OPTED_OUT)] == f"{CANARY} new"
    assert hubspot.archived == {}


def quoting(call: Asked, _: Callable[[], Reply]) -> Reply:
    """Refuse a call, and quote its contacts in every place."""
    ids = [one["id"] for one in json.loads(call.body)["inputs"]]
    return Reply(400, {**failure(ids[0], f"bad: {ids}"), "context": {"ids": ids}, "subCategory": ids[1]})


def once_limited() -> Callable[[Asked, Callable[[], Reply]], Reply]:
    calls: list[Asked] = []

    def fault(call: Asked, apply: Callable[[], Reply]) -> Reply:
        calls.append(call)
        return limited(call, apply) if len(calls) == 1 else apply()

    return fault
