"""Syncs to Google through real Airflow and Google's real client: an audience, and events with their consent."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest
from e2e.test_canaries import leaks
from google.ads.datamanager_v1 import types
from support.airflow_run import Airflow
from support.customer_match import connection_to
from support.data_manager_server import DataManager, Ending, data_manager
from support.people import CANARY, people


@pytest.fixture
def google() -> Iterator[DataManager]:
    with data_manager() as server:
        connection_to(server)
        yield server


def consenting() -> set[str]:
    """Return the e-mails of the people who permit both signals, in the form that Google receives."""
    return {
        sha256(f"{CANARY}-{person.number}@example.com".encode()).hexdigest()
        for person in people()
        if person.analytics_ok is True and person.ads == "yes"
    }


def audience(google: DataManager) -> set[str]:
    return {value for _, value in google.audience}


def test_an_audience_follows_consent_and_waits_until_google_has_processed_everything(
    airflow: Airflow, google: DataManager, warehouse: Path
) -> None:
    first = airflow.run("audience", module="google")

    assert first.state == "success", first.output
    assert audience(google) == consenting()
    counts = airflow.xcom(first, "load")
    assert (counts["accepted"], counts["pending"], counts["uncertain"]) == (len(consenting()), 0, 0)
    requests = len(google.taken)

    withdrawn, moved = sorted(
        person.number for person in people() if person.analytics_ok is True and person.ads == "yes"
    )[:2]
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute("UPDATE people SET ads = 'no' WHERE user_id = ?", [f"{CANARY}-id-{withdrawn:04d}"])
        connection.execute(
            "UPDATE people SET email = ? WHERE user_id = ?",
            [f"{CANARY}-moved@example.com", f"{CANARY}-id-{moved:04d}"],
        )
    second = airflow.run("audience", module="google")

    assert second.state == "success", second.output
    former = {sha256(f"{CANARY}-{number}@example.com".encode()).hexdigest() for number in (withdrawn, moved)}
    new = sha256(f"{CANARY}-moved@example.com".encode()).hexdigest()
    assert audience(google) == consenting() - former | {new}
    counts = airflow.xcom(second, "load")
    assert counts["removals_by_cause"] == {"consent_withdrawn": 1, "identifiers_changed": 1}
    assert (counts["updated"], counts["removed"], counts["unchanged"]) == (1, 2, len(consenting()) - 2)
    assert len(google.taken) == requests + 2
    assert CANARY not in first.output + second.output


def order(number: int) -> str:
    return f"{CANARY}-id-{number:04d}-order"


def change(warehouse: Path, number: int, column: str, value: str) -> None:
    with duckdb.connect(str(warehouse)) as connection:
        connection.execute(f"UPDATE people SET {column} = ? WHERE user_id = ?", [value, f"{CANARY}-id-{number:04d}"])


@pytest.mark.long
def test_events_tell_each_persons_consent_for_three_days_and_stay_where_it_is_withdrawn(
    airflow: Airflow, google: DataManager, warehouse: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORDERED_AT", datetime.now(UTC).isoformat(timespec="seconds"))
    personal = {one.number: one.analytics_ok is True for one in people() if one.ads == "yes"}
    withdraws = min(personal)
    changes_mind = next(number for number, granted in personal.items() if granted and number != withdraws)
    grants, grants_later, *_ = [one.number for one in people() if one.ads == "no"]

    first = airflow.run("conversions", module="google")

    assert first.state == "success", first.output
    told = {id_: event.consent.ad_personalization.name for id_, event in google.events.items()}
    assert told == {order(n): "CONSENT_GRANTED" if yes else "CONSENT_DENIED" for n, yes in personal.items()}
    assert {event.consent.ad_user_data.name for event in google.events.values()} == {"CONSENT_GRANTED"}
    # Events with equal consent go together.
    assert sorted(len(received.events) for received in google.taken) == sorted(
        [sum(personal.values()), len(personal) - sum(personal.values())]
    )

    change(warehouse, withdraws, "ads", "no")
    change(warehouse, changes_mind, "analytics_ok", "false")
    change(warehouse, grants, "ads", "yes")
    second = airflow.run("conversions", module="google")

    assert second.state == "success", second.output
    assert "cannot remove" in second.output
    assert set(google.events) == {order(number) for number in (*personal, grants)}
    assert [event.transaction_id for event in google.taken[-1].events] == [order(grants)]

    # Google takes a part of a request, and says of how many events, but never which.
    change(warehouse, grants_later, "ads", "yes")
    reason = int(types.ProcessingErrorReason.PROCESSING_ERROR_REASON_EVENT_TOO_OLD)
    partial = int(types.RequestStatusPerDestination.RequestStatus.PARTIAL_SUCCESS)
    google.endings = [Ending(partial, {reason: 1}, apply=False)]
    third = airflow.run("conversions", module="google")

    assert third.state == "failed", third.output
    assert "the result of 1 of 1 rows to send is unknown (uncertain:partial_success 1)" in third.output
    assert order(grants_later) not in google.events

    fourth = airflow.run("conversions", module="google")

    assert fourth.state == "success", fourth.output
    assert set(google.events) == {order(number) for number in (*personal, grants, grants_later)}
    assert google.violations == []
    for run in (first, second, third, fourth):
        assert leaks(airflow, run, tmp_path) == []
