"""A request whose answer was read to its end is sent again only until an answer is clear; the log says why it is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.log_lines import unwrapped
from support.servers import Answer, Receiver, receiver, reset, says, status

from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.errors import DestinationUnavailableError, SyncBusyError
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToWebhookOperator,
    PropagateWithdrawalsOperator,
)

POLICY = {"categories": [{"id": "C1", "name": "Ads", "destinations": ["hook"]}]}
SQL = "SELECT * FROM people"
WEBHOOK: dict[str, Any] = {"conn_id": "http", "endpoint": "/v1/people", "fields": {"id": "id"}}
UNCLEAR = [
    status(200, b"{}"),
    status(200, b"<html>"),
    says({"results": []}),
    says({"accepted": 1, "rejected": 1}),
]


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as served:
        yield served


@pytest.fixture(autouse=True)
def connections(server: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    http = {"conn_type": "http", "host": server.url, "extra": {"allow_private": True}}
    monkeypatch.setenv("AIRFLOW_CONN_HTTP", json.dumps(http))
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps({"conn_type": "duckdb", "host": str(tmp_path / "source.db")}))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    source(tmp_path, "CREATE TABLE people AS SELECT i AS id, TRUE AS ok FROM range(6) t(i)")


def source(tmp_path: Path, statement: str) -> None:
    with duckdb.connect(str(tmp_path / "source.db")) as connection:
        connection.execute(statement)


def load(**parameters: Any) -> Any:
    snapshot = ExtractModelOperator(task_id="extract", model="m", conn_id="source", sql=SQL, primary_key="id").execute(
        {}
    )
    permitted = ConsentFilterOperator(
        task_id="consent", snapshot=snapshot, policy=POLICY, consent={"C1": "ok"}, destinations=["hook"]
    ).execute({})
    return LoadToWebhookOperator(
        task_id="load", permitted=permitted, destination="hook", policy=POLICY, **{**WEBHOOK, **parameters}
    ).execute({})


def withdraw(**parameters: Any) -> Any:
    return PropagateWithdrawalsOperator(
        task_id="withdraw",
        model="m",
        conn_id="source",
        sql=SQL,
        primary_key="id",
        policy=POLICY,
        consent={"C1": "ok"},
        loads={"hook": partial(LoadToWebhookOperator, **WEBHOOK)},
        max_removed_ratio=None,
        **parameters,
    ).execute({})["hook"]


@pytest.mark.parametrize("unclear", UNCLEAR)
def test_rows_with_an_unclear_answer_are_sent_again_until_one_is_clear_and_then_no_more(
    server: Receiver, unclear: Answer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.answers = [unclear]
    with pytest.raises(DestinationUnavailableError):
        load()

    clear = load()
    after = load()

    assert clear["accepted"] == 6
    assert (after["unchanged"], after["accepted"]) == (6, 0)
    assert len(server.received) == 2
    assert "6 of 6 updated are sent again because the last request with them got no clear answer" in (
        capfd.readouterr().out
    )


def test_rows_whose_request_was_never_answered_are_sent_again_until_it_cannot_come_late(server: Receiver) -> None:
    server.answers = [reset]
    with pytest.raises(DestinationUnavailableError):
        load(max_attempts=1)

    counts = [load(), load()]

    assert [count["accepted"] for count in counts] == [6, 6]


@pytest.mark.parametrize("unclear", UNCLEAR)
def test_a_removal_with_an_unclear_answer_is_repeated_until_one_is_clear_and_then_no_more(
    server: Receiver, tmp_path: Path, unclear: Answer
) -> None:
    load()
    source(tmp_path, "UPDATE people SET ok = FALSE WHERE id < 2")
    server.answers = [unclear]
    with pytest.raises(DestinationUnavailableError):
        withdraw()

    served = [withdraw(), withdraw()]

    assert [counts["removed"] for counts in served] == [2, 0]
    assert [counts["delivered"] for counts in served] == [4, 4]


def test_empty_columns_are_left_out_and_lines_of_a_load_are_short(
    server: Receiver, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source(tmp_path, "UPDATE people SET ok = FALSE WHERE id = 5")
    load()
    source(tmp_path, "UPDATE people SET ok = FALSE WHERE id < 2")
    withdraw()

    log = capfd.readouterr().out
    tables = log.partition("load of model `m`")[2]
    header, _, row, because = tables.splitlines()[1:5]
    assert header.split() == ["destination", "read", "denied", "permitted", "added", "accepted", "removed"]
    assert max(map(len, (header, row))) < 120
    assert because.startswith("denied because C1:denied 1")
    assert "not accepted because" not in log
    assert "lag median" not in log
    assert "may be there" in log.partition("withdrawals of model `m`")[2]


def test_waiting_for_a_lease_says_who_has_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load()
    caplog.set_level("INFO", logger="airflow_consent_retl")
    with Ledger.sqlite(tmp_path / "workspace" / "ledger.db") as ledger:
        held = ledger.acquire(sync_name("m", "hook"), holder="daily 2026-11-28 load try 1")
        with held, pytest.raises(SyncBusyError):
            withdraw(lease_wait_s=0.2)

    (line,) = [
        unwrapped(record.getMessage()) for record in caplog.records if record.getMessage().startswith("waiting up to")
    ]
    assert "sync `m/hook` is being loaded by `daily 2026-11-28 load try 1`" in line
