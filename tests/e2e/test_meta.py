"""Three days of syncs to Meta through real Airflow: adds, changes, withdrawals, and failures of Meta's own kind."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pytest
from e2e.test_canaries import leaks
from support.airflow_run import Airflow, DagRunResult
from support.meta_server import MetaApi, meta_api
from support.people import CANARY, people
from support.vendor_server import Reply


@pytest.fixture
def meta() -> Iterator[MetaApi]:
    with meta_api() as api:
        yield api


def digest(email: str) -> str:
    return sha256(email.encode()).hexdigest()


def consenting() -> dict[int, str]:
    """Return the hash of each consenting person's e-mail, by the person's number."""
    return {one.number: digest(f"{CANARY}-{one.number}@example.com") for one in people() if one.ads == "yes"}


def audience(meta: MetaApi) -> dict[str, list[Any]]:
    """Return the data processing options of each person in the audience."""
    return {dict(user)["EMAIL"]: options[0] for user, options in meta.users.items()}


def change(warehouse: Path, number: int, **values: str) -> None:
    with duckdb.connect(str(warehouse)) as connection:
        for column, value in values.items():
            sql = f"UPDATE people SET {column} = ? WHERE user_id = ?"
            connection.execute(sql, [value, f"{CANARY}-id-{number:04d}"])


def failed(run: DagRunResult) -> list[str]:
    return [task for task, state in run.tasks.items() if state == "failed"]


@pytest.mark.long
def test_an_audience_follows_consent_for_three_days_and_says_loudly_that_it_is_flagged(
    airflow: Airflow, meta: MetaApi, warehouse: Path, tmp_path: Path
) -> None:
    hashes = consenting()
    withdraws, moves, withdraws_later, *_ = sorted(hashes)
    sells = next(one.number for one in people() if one.ads == "yes" and one.analytics_ok is False)

    first = airflow.run("meta_audience", module="meta")

    assert first.state == "success", first.output
    limited = {one.number for one in people() if one.analytics_ok is not True}
    assert audience(meta) == {known: ["LDU"] if number in limited else [] for number, known in hashes.items()}

    change(warehouse, withdraws, ads="no")
    change(warehouse, moves, email=f"{CANARY}-moved@example.com")
    change(warehouse, sells, analytics_ok="true")
    second = airflow.run("meta_audience", module="meta")

    assert second.state == "success", second.output
    assert "leave_audience" in second.output
    moved = digest(f"{CANARY}-moved@example.com")
    assert set(audience(meta)) == {*hashes.values(), moved} - {hashes[withdraws], hashes[moves]}
    assert audience(meta)[hashes[sells]] == []
    (removal,) = meta.removals
    assert sorted(removal.document["payload"]["data"]) == sorted([[hashes[withdraws]], [hashes[moves]]])

    change(warehouse, withdraws_later, ads="no")
    meta.flagged, requests = True, len(meta.received)
    third = airflow.run("meta_audience", module="meta")

    assert [task.rpartition(".")[2] for task in failed(third)] == ["load_meta_ads"]
    assert "PEOPLE WHO WITHDREW ARE STILL IN THE AUDIENCE" in third.output
    assert hashes[withdraws_later] in audience(meta)
    assert len(meta.received) == requests + 1

    # The owner appealed. The first answer is then lost on its way, and the removal repeated.
    meta.flagged, meta.script, meta.applies = False, [Reply(0)], True
    fourth = airflow.run("meta_audience", module="meta")

    assert fourth.state == "success", fourth.output
    assert hashes[withdraws_later] not in audience(meta)
    for run in (first, second, third, fourth):
        assert leaks(airflow, run, tmp_path) == []


@pytest.mark.long
def test_events_follow_consent_for_three_days_and_are_never_counted_twice(
    airflow: Airflow, meta: MetaApi, warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Meta takes no older events than those of seven days.
    monkeypatch.setenv("ORDERED_AT", datetime.now(UTC).isoformat(timespec="seconds"))
    numbers = sorted(consenting())
    grants, grants_later, refused, *_ = [one.number for one in people() if one.ads == "no"]

    first = airflow.run("meta_conversions", module="meta")

    assert first.state == "success", first.output
    limited = {f"{CANARY}-id-{one.number:04d}-order" for one in people() if one.analytics_ok is not True}
    assert {event["event_id"]: event["data_processing_options"] for event in meta.events.values()} == {
        order: ["LDU"] if order in limited else []
        for order in (f"{CANARY}-id-{number:04d}-order" for number in numbers)
    }

    # One person withdraws: the event stays at Meta, and the run says so. Another one grants, and their event goes.
    change(warehouse, numbers[0], ads="no")
    change(warehouse, grants, ads="yes")
    meta.script, meta.applies = [Reply(0)], True
    second = airflow.run("meta_conversions", module="meta")

    assert second.state == "success", second.output
    assert "cannot remove" in second.output
    assert (len(meta.events), len(meta.removals)) == (len(numbers) + 1, 0)
    # The first answer was lost: the same event was sent twice, and counts once.
    assert [len(asked.document["data"]) for asked in meta.received] == [len(numbers), 1, 1]

    # Meta refuses a whole request because of one event: it alone is rejected, and the run fails because of it.
    change(warehouse, grants_later, ads="yes")
    change(warehouse, refused, ads="yes")
    meta.refused_event = lambda event: event["event_id"] == f"{CANARY}-id-{refused:04d}-order"
    third = airflow.run("meta_conversions", module="meta")

    assert [task.rpartition(".")[2] for task in failed(third)] == ["load_meta_capi"]
    assert "error_100_2804050" in third.output
    assert len(meta.events) == len(numbers) + 2
    for run in (first, second, third):
        assert leaks(airflow, run, tmp_path) == []
