"""A day on PostgreSQL, entry by entry: the evidence of each of 200 people is what their receiver's own log says.

Ten runs, two policies, withdrawals by load and by fast lane, a changed row, a rejected one, and one who is forgotten.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.postgres import Postgres, postgres
from support.servers import Handler, Received, Receiver, receiver
from support.servers import status as status_of

from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    ForgetOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.reports import evidence

# Each case in files or in a warehouse; `make test-long` has the other.
pytestmark = pytest.mark.diagonal("day")
__all__ = ["postgres"]

PEOPLE = 200
SQL = "SELECT id, email, ads_ok, stats_ok FROM people"
CONSENT = {"C0002": "stats_ok", "C0004": "ads_ok"}
FIELDS = {"id": "id", "email": "email"}
LOADS = {"crm": partial(LoadToWebhookOperator, conn_id="crm", endpoint="/people", fields=FIELDS)}
ADS = {"id": "C0004", "name": "Advertising", "destinations": ["crm"]}
STATS = {"id": "C0002", "name": "Analytics", "destinations": ["lake"]}
POLICY = {"unmapped_destinations": "deny", "categories": [ADS, STATS]}
STRICTER = {"unmapped_destinations": "deny", "categories": [ADS, {**STATS, "destinations": ["crm", "lake"]}]}


class Entry(NamedTuple):
    """What the receiver wrote down about one person of one request."""

    removes: bool
    key: str
    request_id: str
    status: str
    code: str


@dataclass
class Log:
    """The receiver's own log, by person, and whom it rejects."""

    entries: dict[str, list[Entry]] = field(default_factory=dict)
    rejects: set[str] = field(default_factory=set)

    def answer(self, handler: Handler, request: Received) -> None:
        request_id = str(uuid.uuid4())
        refused = []
        for index, row in enumerate(request.rows):
            person, is_bad = str(row["id"]), not request.removes and row["id"] in self.rejects
            status, code = ("rejected", "invalid_email") if is_bad else ("accepted", "")
            self.entries.setdefault(person, []).append(Entry(request.removes, request.key, request_id, status, code))
            if is_bad:
                refused.append({"index": index, "code": code})
        handler.server.receiver.apply(request)
        body = json.dumps({"errors": refused}).encode()
        status_of(200, body, Content_Type="application/json", X_Request_Id=request_id)(handler, request)


@dataclass
class Day:
    """The deployment: a model, its consents, one webhook, and a workspace in files or in the warehouse."""

    database: Postgres
    crm: Receiver
    log: Log
    staging: str | None
    policy: dict[str, Any] = field(default_factory=lambda: POLICY)

    def change(self, statement: str) -> None:
        with self.database.connect() as connection:
            connection.execute(statement)

    def load(self, **parameters: Any) -> dict[str, Any]:
        """Extract, filter and load."""
        snapshot = ExtractModelOperator(
            task_id="extract", model="people", conn_id="pg", sql=SQL, primary_key="id", workspace=self.staging
        ).execute({})
        permitted = ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=self.policy,
            consent=CONSENT,
            destinations=["crm", "lake"],
            max_released_ratio=None,
        ).execute({})
        counts: dict[str, Any] = LoadToWebhookOperator(
            task_id="load",
            permitted=permitted,
            destination="crm",
            conn_id="crm",
            endpoint="/people",
            fields=FIELDS,
            policy=self.policy,
            batch_rows=37,
            **{"max_removed_ratio": None, **parameters},
        ).execute({})
        return counts

    def withdraw(self) -> dict[str, Any]:
        """Run the fast lane."""
        served: dict[str, Any] = PropagateWithdrawalsOperator(
            task_id="withdraw",
            model="people",
            conn_id="pg",
            sql=SQL,
            primary_key="id",
            policy=self.policy,
            consent=CONSENT,
            loads=LOADS,
        ).execute({})
        counts: dict[str, Any] = served["crm"]
        return counts

    def forget(self, *people: str) -> None:
        ForgetOperator(task_id="forget", ids=list(people), loads=LOADS, settle_s=0).execute({})


@pytest.fixture(params=["files", "warehouse"])
def day(
    request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Day]:
    with postgres.connect() as connection:
        connection.execute(
            "DROP SCHEMA IF EXISTS staging CASCADE; CREATE SCHEMA staging; DROP TABLE IF EXISTS people; "
            "DROP SCHEMA IF EXISTS ledger CASCADE; CREATE SCHEMA ledger; "
            "CREATE TABLE people (id text PRIMARY KEY, email text, ads_ok boolean, stats_ok boolean); "
            f"INSERT INTO people SELECT 'p' || n, 'canary-' || n || '@example.com', n % 4 > 0, n % 2 = 0 "
            f"FROM generate_series(0, {PEOPLE - 1}) n"
        )
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    ledger = json.loads(postgres.airflow_connection()) | {"extra": {"options": "-c search_path=ledger"}}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(ledger))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__LEDGER_CONN_ID", "ledger")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__DIGEST_KEY", "a digest key for the officer's day")
    log = Log()
    with receiver() as crm:
        crm.answers = [log.answer] * 1000
        connection_document = {"conn_type": "http", "host": "127.0.0.1", "port": crm.port}
        connection_document |= {"schema": "http", "extra": {"allow_private": True}}
        monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps(connection_document))
        yield Day(postgres, crm, log, "warehouse:staging" if request.param == "warehouse" else None)


def deliveries(person: str, folder: Path) -> list[dict[str, Any]]:
    """Return the deliveries in the evidence about a person."""
    written = folder / f"evidence-{person}"
    if not written.exists():
        evidence(person, written)
    found: list[dict[str, Any]] = json.loads((written / "history.json").read_bytes())["deliveries"]
    return found


@pytest.mark.long
def test_the_evidence_of_each_person_is_what_the_receivers_log_says(day: Day, tmp_path: Path) -> None:
    counts = [day.load()]
    day.change("UPDATE people SET ads_ok = false WHERE id IN ('p1', 'p2', 'p3', 'p5')")
    counts.append(day.withdraw())
    day.change("UPDATE people SET email = 'moved-' || email WHERE id IN ('p6', 'p7')")
    counts.append(day.load())
    day.policy = STRICTER
    counts.append(day.load())
    day.change("UPDATE people SET stats_ok = true WHERE id IN ('p7', 'p9', 'p11')")
    counts.append(day.load())
    day.change("UPDATE people SET ads_ok = NULL WHERE id = 'p10'")
    counts.append(day.withdraw())
    day.change("INSERT INTO people VALUES ('p1000', 'canary-1000@example.com', true, true)")
    day.log.rejects.add("p1000")
    with pytest.raises(Exception, match="rejected"):
        day.load()
    day.log.rejects.clear()
    counts.append(day.load())
    day.change("UPDATE people SET ads_ok = true WHERE id = 'p2'")
    counts.append(day.load())
    day.change("DELETE FROM people WHERE id IN ('p14', 'p1000')")
    day.forget("p18")
    counts.append(day.load())

    assert [count.get("removed") for count in counts] == [0, 4, 0, 97, 0, 1, 0, 0, 2]
    events = 0
    for person in [*(f"p{number}" for number in range(PEOPLE)), "p1000"]:
        told = [
            Entry(one["event"] == "removed", one["batch_key"], one["request_ids"][0], one["status"], one["code"])
            for one in deliveries(person, tmp_path)
        ]
        assert told == day.log.entries.get(person, []), person
        events += len(told)
    assert events == sum(map(len, day.log.entries.values())) > 200
    causes = {
        person: [one["cause"] for one in deliveries(person, tmp_path) if one["event"] == "removed"]
        for person in ("p1", "p13", "p10", "p14", "p18")
    }
    assert causes == {
        "p1": ["consent_withdrawn"],
        "p13": ["policy_changed"],
        "p10": ["consent_missing"],
        "p14": ["left_model"],
        "p18": ["forgotten"],
    }
    assert "p18" not in day.crm.people
