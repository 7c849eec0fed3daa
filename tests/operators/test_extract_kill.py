"""When Airflow kills an extraction, its query ends at the server."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.postgres import Postgres, postgres

from airflow_consent_retl.errors import SourceUnavailableError
from airflow_consent_retl.operators import ExtractModelOperator

__all__ = ["postgres"]


def running(postgres: Postgres) -> int:
    with postgres.connect() as connection:
        found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone()
    assert found is not None
    return int(str(found[0]))


def kill_once_it_runs(operator: ExtractModelOperator, postgres: Postgres) -> None:
    while not running(postgres):
        time.sleep(0.05)
    operator.on_kill()


@pytest.mark.parametrize("workspace", [None, "warehouse:staging"])
def test_killing_the_task_cancels_the_query(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workspace: str | None
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    with postgres.connect() as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS staging")
    settings: dict[str, Any] = {"sql": "SELECT pg_sleep(600)::text AS id", "primary_key": "id", "workspace": workspace}
    operator = ExtractModelOperator(task_id="extract", model="slow", conn_id="pg", **settings)
    killer = threading.Thread(target=kill_once_it_runs, args=(operator, postgres))
    killer.start()

    with pytest.raises(SourceUnavailableError):
        operator.execute({})

    killer.join()
    assert running(postgres) == 0
    assert not list((tmp_path / "workspace").rglob("manifest.json"))


def test_killing_a_task_that_runs_no_query_is_no_error() -> None:
    operator = ExtractModelOperator(task_id="extract", model="m", conn_id="none", sql="SELECT 1", primary_key="id")

    operator.on_kill()
