"""Tests of opening the ledger: it is where the settings say, or nothing is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
from support.postgres import Postgres, postgres

from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.errors import ConfigurationError, LedgerUnavailableError
from airflow_consent_retl.hooks.ledgers import open_ledger

__all__ = ["postgres"]

SYNC = sync_name("customers", "lake")


@pytest.fixture(autouse=True)
def memory() -> None:
    """Have URIs of `memory:` name an object storage of this process."""
    attach("memory", fs=MemoryFileSystem())


def test_a_local_workspace_keeps_its_ledger_in_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    with open_ledger(f"file://{tmp_path}/workspace") as ledger, ledger.acquire(SYNC, holder="test") as lease:
        assert lease.epoch == 1

    file = tmp_path / "workspace" / "ledger.db"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("by_setting", [True, False])
def test_a_postgres_connection_holds_the_ledger_of_any_workspace(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, by_setting: bool
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", postgres.airflow_connection())
    if by_setting:
        monkeypatch.setenv("AIRFLOW__CONSENT_RETL__LEDGER_CONN_ID", "ledger")

    with open_ledger("memory://workspace", None if by_setting else "ledger") as ledger:
        with ledger.acquire(SYNC, holder="test") as lease:
            first = lease.epoch
        with ledger.acquire(SYNC, holder="test") as lease:
            assert lease.epoch == first + 1


def test_object_storage_without_a_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="set `\\[consent_retl\\] ledger_conn_id` to a PostgreSQL connection"):
        open_ledger("memory://workspace")


def test_a_database_that_does_not_answer_is_worth_another_try(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", f"postgres://nobody@%2F{tmp_path.name}/none")

    with pytest.raises(LedgerUnavailableError), open_ledger("memory://workspace", "ledger") as ledger:
        ledger.syncs()
