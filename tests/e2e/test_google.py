"""Tests of a Customer Match audience through real Airflow and Google's real client: add, confirm, change and remove."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest
from support.airflow_run import Airflow
from support.customer_match import connection_to
from support.data_manager_server import DataManager, data_manager
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
