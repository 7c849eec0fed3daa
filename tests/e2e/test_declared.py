"""Three days of declared destinations through real Airflow: changes, withdrawals, and the failures of vendors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from destinations.declared.acme import AcmeCrm
from e2e.test_canaries import leaks
from support.airflow_run import Airflow
from support.customerio_server import CustomerIo
from support.declared_vendors import customerio_workspace, iterable_project
from support.iterable_server import IterableProject
from support.people import CANARY, people

GRANTING = [one.number for one in people() if one.ads == "yes"]
LEAVING, CHANGING, FORGOTTEN = GRANTING[:3]


@pytest.fixture
def iterable(monkeypatch: pytest.MonkeyPatch) -> Iterator[IterableProject]:
    with iterable_project(monkeypatch) as vendor:
        yield vendor


@pytest.fixture
def customerio(monkeypatch: pytest.MonkeyPatch) -> Iterator[CustomerIo]:
    with customerio_workspace(monkeypatch) as vendor:
        yield vendor


@pytest.fixture
def acme(monkeypatch: pytest.MonkeyPatch) -> Iterator[AcmeCrm]:
    vendor = AcmeCrm()
    with vendor.serving() as server:
        connection = {"conn_type": "http", "host": server.url, "password": vendor.secret}
        monkeypatch.setenv("AIRFLOW_CONN_ACME", json.dumps({**connection, "extra": {"allow_private": True}}))
        yield vendor


def email(number: int) -> str:
    return f"{CANARY}-{number}@example.com"


def key(number: int) -> str:
    return f"{CANARY}-id-{number:04d}"


def change(warehouse: Path, column: str, value: str, number: int) -> None:
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(f"UPDATE people SET {column} = ? WHERE user_id = ?", [value, key(number)])


@pytest.mark.long
def test_declared_destinations_follow_consent_over_three_days(
    airflow: Airflow,
    warehouse: Path,
    iterable: IterableProject,
    customerio: CustomerIo,
    acme: AcmeCrm,
    tmp_path: Path,
) -> None:
    def run() -> list[dict[str, int]]:
        done = airflow.run("declared", module="declared")
        assert done.state == "success", done.output
        assert leaks(airflow, done, tmp_path) == []
        return [airflow.xcom(done, f"people.load_{name}") for name in ("iterable", "customerio", "acme")]

    first = run()

    assert [one["accepted"] for one in first] == [len(GRANTING)] * 3
    assert iterable.lists[7] == set(map(email, GRANTING))
    assert customerio.people.keys() == acme.people.keys() == set(map(key, GRANTING))
    told = {name for name, one in acme.people.items() if one.get("newsletter") == "subscribed"}
    assert told == {one.user_id for one in people() if one.ads == "yes" and one.analytics_ok is True}

    change(warehouse, "ads", "no", LEAVING)
    change(warehouse, "name", f"{CANARY} new", CHANGING)
    change(warehouse, "name", f"{CANARY} new", FORGOTTEN)
    iterable.forgotten = {email(FORGOTTEN)}
    customerio.refused = acme.refused = {key(FORGOTTEN)}
    iterable.limits = customerio.limits = acme.limits = 1
    second = run()

    assert [(one["removed"], one["updated"], one["rejected"]) for one in second] == [(1, 2, 1)] * 3
    assert iterable.lists[7] == set(map(email, GRANTING)) - {email(LEAVING)}
    assert (email(LEAVING) in iterable.people, iterable.silenced) == (True, set())
    assert customerio.people[key(LEAVING)]["unsubscribed"] is True
    assert iterable.people[email(CHANGING)] == customerio.people[key(CHANGING)] == {"name": f"{CANARY} new"}

    assert acme.people.keys() == set(map(key, GRANTING)) - {key(LEAVING)}

    customerio.refused = acme.refused = set()
    change(warehouse, "ads", "yes", LEAVING)
    third = run()

    # Iterable refuses whom it has forgotten for ever: the row is not sent again.
    assert [(one["removed"], one["rejected"]) for one in third] == [(0, 0)] * 3
    assert iterable.lists[7] == set(map(email, GRANTING))
    assert customerio.people[key(LEAVING)]["unsubscribed"] is True
    assert customerio.people[key(FORGOTTEN)] == {"name": f"{CANARY} new"}
    assert acme.people.keys() == set(map(key, GRANTING))
