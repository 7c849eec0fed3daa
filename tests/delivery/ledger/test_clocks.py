"""A clock that was ahead blocks no one: leases end by a mark, and no time of the future is recorded as the newest."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from support.ledgers import SYNC, advanced, begun, sqlite_url

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.records import SourceRecord
from airflow_consent_retl.delivery.ledger.schema import sources, syncs
from airflow_consent_retl.errors import SyncBusyError
from airflow_consent_retl.hooks.ledgers import open_ledger
from airflow_consent_retl.operators import ResetLedgerTimesOperator

HOUR = timedelta(hours=1)


def source(as_of: datetime, **changed: object) -> SourceRecord:
    """Describe what a run read."""
    values: dict[str, object] = {
        "conn_id": "warehouse",
        "hook_params": {"options": "-c search_path=b"},
        "session_time_zone": "UTC",
        "sql_sha256": "1" * 64,
        "sources_sha256": "2" * 64,
        "sql_outline": "4" * 64,
        "sources_outline": "5" * 64,
        "sql_shape": "3" * 64,
        "sql_date": "",
        "is_dated": False,
    }
    return SourceRecord(as_of=as_of, **{**values, **changed})  # type: ignore[arg-type]


def written_ahead(url: str, *columns: sa.Column[Any]) -> None:
    """Write times of all syncs as a machine whose clock is an hour ahead would."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for column in columns:
            connection.execute(sa.update(column.table).values({column.name: datetime.now(UTC) + HOUR}))
    engine.dispose()


def test_a_released_lease_is_free_whatever_time_it_was_released_at(ledger: Ledger, ledger_url: str) -> None:
    ledger.acquire(SYNC, holder="ahead").release()
    written_ahead(ledger_url, syncs.c.expires_at)

    with ledger.acquire(SYNC, holder="next") as lease:
        assert lease.epoch == 2
    (known,) = ledger.syncs()
    assert (known.holder, known.expires_at) == (None, None)


def test_a_lease_of_a_dead_worker_with_a_clock_ahead_ends_after_its_own_time(ledger: Ledger, ledger_url: str) -> None:
    dead = ledger.acquire(SYNC, holder="dead", ttl_s=0.3)
    written_ahead(ledger_url, syncs.c.expires_at)

    with pytest.raises(SyncBusyError, match="expires in 0 s") as busy:
        ledger.acquire(SYNC, holder="next")
    assert busy.value.retry_after_s == pytest.approx(0.3)

    with ledger.acquire(SYNC, holder="next", wait_s=5) as lease:
        assert lease.epoch == dead.epoch + 1


def test_a_living_worker_keeps_its_lease_while_its_time_is_corrected(ledger: Ledger, ledger_url: str) -> None:
    with ledger.acquire(SYNC, holder="alive", ttl_s=0.6) as lease:
        written_ahead(ledger_url, syncs.c.expires_at)

        with pytest.raises(SyncBusyError, match="by `alive`"):
            ledger.acquire(SYNC, holder="next", wait_s=1.5)

        lease.check()


def test_a_lease_without_a_holder_cannot_be_taken(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="needs a holder"):
        ledger.acquire(SYNC, holder="")


def test_no_decision_and_no_data_later_than_the_ledger_s_clock_are_recorded(ledger: Ledger) -> None:
    tomorrow = datetime.now(UTC) + 24 * HOUR
    with ledger.acquire(SYNC, holder="ahead") as lease:
        lease.note_decision(tomorrow, source(tomorrow))
        noted = lease.newest()
        advanced(lease, begun(lease, decided_at=tomorrow))
        begun_at = lease.newest()

    for newest in (noted, begun_at):
        assert newest.decided_at is not None
        assert newest.source is not None
        assert newest.decided_at <= datetime.now(UTC)
        assert newest.source.as_of <= datetime.now(UTC)
        assert not newest.is_ahead


def test_a_decision_of_the_future_is_known_as_such_and_replaced(ledger: Ledger, ledger_url: str) -> None:
    now = datetime.now(UTC)
    with ledger.acquire(SYNC, holder="first") as lease:
        lease.note_decision(now, source(now))
    written_ahead(ledger_url, syncs.c.decided_at, sources.c.as_of)

    with ledger.acquire(SYNC, holder="second") as lease:
        assert lease.newest().is_ahead
        lease.note_decision(now, source(now))
        newest = lease.newest()

    assert newest.source is not None
    assert (newest.decided_at, newest.is_ahead, newest.source.as_of) == (now, False, now)
    assert newest.source.served_by == "second"


def test_withdrawals_of_the_future_count_as_of_now(ledger: Ledger, ledger_url: str) -> None:
    with ledger.acquire(SYNC, holder="first") as lease:
        lease.note_withdrawals()
    written_ahead(ledger_url, syncs.c.withdrawn_at)

    with ledger.acquire(SYNC, holder="second") as lease:
        withdrawn = lease.withdrawn_at()
        assert withdrawn is not None
        assert withdrawn <= datetime.now(UTC)
        assert lease.withdrawn_at() == withdrawn


def test_older_data_never_replace_what_is_known_of_newer_ones(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    with ledger.acquire(SYNC, holder="newer") as lease:
        lease.note_decision(now, source(now - HOUR, session_time_zone="Europe/Paris"))
    with ledger.acquire(SYNC, holder="older") as lease:
        lease.note_decision(now, source(now - 2 * HOUR))
        known = lease.newest().source

    assert known == source(now - HOUR, session_time_zone="Europe/Paris", served_by="newer")


def test_times_of_the_future_are_reset_and_no_others(ledger: Ledger, ledger_url: str) -> None:
    now = datetime.now(UTC)
    with ledger.acquire(SYNC, holder="first") as lease:
        lease.note_decision(now, source(now))
        lease.note_withdrawals()
    assert ledger.reset_times() == []
    written_ahead(ledger_url, syncs.c.decided_at, syncs.c.withdrawn_at, sources.c.as_of)

    assert ledger.reset_times() == [SYNC]

    assert ledger.reset_times() == []
    with ledger.acquire(SYNC, holder="second") as lease:
        newest = lease.newest()
        assert not newest.is_ahead
        assert newest.source is not None
        assert newest.source.as_of <= datetime.now(UTC)


def test_the_operator_resets_the_ledger_of_its_workspace(tmp_path: Path) -> None:
    with open_ledger(tmp_path.as_uri()) as ledger, ledger.acquire(SYNC, holder="first") as lease:
        lease.note_decision(datetime.now(UTC))
    written_ahead(sqlite_url(tmp_path / "ledger.db"), syncs.c.decided_at)
    operator = ResetLedgerTimesOperator(task_id="reset", workspace=tmp_path.as_uri())

    assert [operator.execute({}) for _ in range(2)] == [[SYNC], []]


def test_the_command_resets_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_ledger(tmp_path.as_uri()) as ledger, ledger.acquire(SYNC, holder="first") as lease:
        lease.note_decision(datetime.now(UTC))
    written_ahead(sqlite_url(tmp_path / "ledger.db"), syncs.c.decided_at)

    assert main(["reset-times", "--workspace", tmp_path.as_uri(), "--json"]) == 0

    assert json.loads(capsys.readouterr().out) == [SYNC]
