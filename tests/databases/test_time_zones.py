"""The model's SQL runs under one time zone everywhere: UTC, or the one that the model names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.bigquery_server import BigQuery
from support.extracting import run_duckdb, run_sqlite
from support.log_lines import task_fails
from support.postgres import Postgres, postgres
from support.snapshots import extracted
from support.snowflake_server import Snowflake

from airflow_consent_retl.compat import TaskDeferred
from airflow_consent_retl.consent import ConsentSource
from airflow_consent_retl.operators import ExtractModelOperator
from airflow_consent_retl.triggers.submitted_query import SubmittedQueryTrigger

__all__ = ["postgres", "run_duckdb", "run_sqlite"]

# In Paris the second day of the year begins at 23:00 UTC on the first.
DAY = "CAST(CAST('2026-01-01 23:30:00+00' AS timestamptz) AS date)"


@pytest.fixture(autouse=True)
def default_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())


@pytest.fixture(params=["psycopg", "psycopg2"])
def paris(request: pytest.FixtureRequest, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Postgres:
    """Make connection `pg`, whose sessions begin in Paris, with a staging schema; once with each driver."""
    from airflow.providers.postgres.hooks import postgres as hook

    connection = json.loads(postgres.airflow_connection())
    connection["extra"] = {"options": "-c timezone=Europe/Paris"}
    monkeypatch.setenv("AIRFLOW_CONN_PG", json.dumps(connection))
    monkeypatch.setattr(hook, "USE_PSYCOPG3", request.param == "psycopg")
    with postgres.connect() as opened:
        opened.execute("DROP SCHEMA IF EXISTS staging CASCADE")
        opened.execute("CREATE SCHEMA staging")
    return postgres


def extract(conn_id: str, sql: str, **parameters: Any) -> Any:
    given = {"primary_key": "id", **parameters}
    return ExtractModelOperator(task_id="extract", model="people", conn_id=conn_id, sql=sql, **given).execute({})


def read(conn_id: str, sql: str, **parameters: Any) -> tuple[str, list[Any]]:
    """Return the recorded time zone, and the values of column `found`."""
    snapshot, table = extracted(extract(conn_id, sql, **parameters))
    return snapshot.manifest.source.session_time_zone, table["found"].to_pylist()


@pytest.mark.parametrize(("zone", "day"), [(None, 1), ("UTC", 1), ("Europe/Paris", 2), ("America/New_York", 1)])
@pytest.mark.parametrize("shape", ["copied", "through a cursor"])
def test_postgres_reads_under_the_model_s_zone_whatever_the_role_says(
    paris: Postgres, zone: str | None, day: int, shape: str
) -> None:
    # An array cannot be copied out.
    more = "" if shape == "copied" else ", ARRAY[1, 2] AS list"

    found = read("pg", f"SELECT 1 AS id, extract(day FROM {DAY})::int AS found{more}", session_time_zone=zone)

    assert found == (zone or "UTC", [day])


@pytest.mark.parametrize(("zone", "day"), [(None, 1), ("Europe/Paris", 2)])
def test_a_warehouse_workspace_reads_under_the_same_zone_as_files(paris: Postgres, zone: str | None, day: int) -> None:
    sql = f"SELECT 1 AS id, extract(day FROM {DAY})::int AS found, '2026-01-01 23:30+00'::timestamptz AS time"
    source = ConsentSource(f"SELECT 1 AS id, extract(day FROM {DAY})::int AS day", subject="id", columns=["day"])

    extract("pg", sql, workspace="warehouse:staging", session_time_zone=zone, consent_sources=[source])

    with paris.connect() as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'staging'").fetchall()
        (row,) = connection.execute(
            f"SELECT found, day, time = '2026-01-01 23:30+00' FROM staging.{names[0][0]}"
        ).fetchall()
    assert len(names) == 1
    assert row == (day, day, True)


@pytest.mark.parametrize(("zone", "day"), [(None, 1), ("Europe/Paris", 2), ("Asia/Tokyo", 2)])
def test_duckdb_reads_under_the_model_s_zone(run_duckdb: Callable[[str], None], zone: str | None, day: int) -> None:
    sql = f"SELECT 1 AS id, day({DAY}) AS found, current_setting('TimeZone') AS zone"

    assert read("duck", sql, session_time_zone=zone) == (zone or "UTC", [day])


def test_a_consent_source_runs_under_the_model_s_zone(run_duckdb: Callable[[str], None]) -> None:
    source = ConsentSource(f"SELECT 1 AS id, day({DAY}) AS found", subject="id", columns=["found"])

    parameters = {"consent_sources": [source], "session_time_zone": "Europe/Paris"}

    assert read("duck", "SELECT 1 AS id", **parameters) == ("Europe/Paris", [2])


def test_a_zone_that_the_sql_itself_sets_is_refused(run_duckdb: Callable[[str], None]) -> None:
    with task_fails(match="sets the time zone Asia/Tokyo, the model's is UTC"):
        extract("duck", "SET TimeZone = 'Asia/Tokyo'; SELECT 1 AS id")

    assert read("duck", "SET TimeZone = 'Asia/Tokyo'; SELECT 1 AS id, 2 AS found", session_time_zone="Asia/Tokyo") == (
        "Asia/Tokyo",
        [2],
    )


def test_sqlite_has_no_zone_to_set(run_sqlite: Callable[..., None]) -> None:
    assert read("lite", "SELECT 1 AS id, 2 AS found") == ("server", [2])
    with task_fails(match="no time zone can be set in a session of SQLite"):
        extract("lite", "SELECT 1 AS id", session_time_zone="Europe/Paris")


@pytest.mark.parametrize("zone", ["Europe/Pariis", "+02:00", "../etc/passwd", "UTC'; DROP TABLE people; --", ""])
def test_a_name_that_is_no_zone_is_refused(run_duckdb: Callable[[str], None], zone: str) -> None:
    with task_fails(match="is no name of the IANA time zone database"):
        extract("duck", "SELECT 1 AS id", session_time_zone=zone)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_snowflake_is_told_the_model_s_zone_whatever_the_connection_says(
    snowflake: Snowflake, zone: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = snowflake.airflow_connection(session_parameters={"timezone": "Asia/Tokyo"})
    monkeypatch.setenv("AIRFLOW_CONN_SNOW", own)

    extract("snow", "SELECT 1 AS ID", primary_key="ID", session_time_zone=zone)

    seen = {name.upper(): value for name, value in snowflake.seen("SELECT * FROM (")[0]["parameters"].items()}
    assert seen["TIMEZONE"] == (zone or "UTC")


@pytest.mark.parametrize("workspace", [None, "warehouse:staging"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_bigquery_is_told_the_model_s_zone_in_each_query(
    bigquery: BigQuery, zone: str | None, workspace: str | None
) -> None:
    bigquery.dataset("staging")

    extract("bq", "SELECT 1 AS id", session_time_zone=zone, workspace=workspace)

    told = {
        tuple((one["key"], one["value"]) for one in job["configuration"]["query"]["connectionProperties"])
        for job in bigquery.jobs()
        if "SELECT 1 AS id" in str(job["configuration"])
    }
    assert told == {(("time_zone", zone or "UTC"),)}


async def first_event(trigger: SubmittedQueryTrigger) -> dict[str, Any]:
    async for event in trigger.run():
        payload: dict[str, Any] = event.payload
        return payload
    raise AssertionError("the trigger ended without an event")


def test_a_query_that_runs_without_a_worker_keeps_zone_parameters_and_time_of_its_model(bigquery: BigQuery) -> None:
    def operator() -> ExtractModelOperator:
        return ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id="bq",
            sql="SELECT 1 AS id",
            primary_key="id",
            session_time_zone="Europe/Berlin",
            hook_params={"labels": {"team": "crm"}},
            as_of="2026-11-27T02:00:00+02:00",
            deferrable=True,
            poll_interval_s=0.05,
        )

    with pytest.raises(TaskDeferred) as deferral:
        operator().execute({})
    _, stored = deferral.value.trigger.serialize()
    event = asyncio.run(first_event(SubmittedQueryTrigger(**stored)))
    snapshot, _ = extracted(operator().resume({}, event))

    assert stored["hook_params"] == {"labels": {"team": "crm"}}
    source = snapshot.manifest.source
    assert (source.session_time_zone, source.hook_params) == ("Europe/Berlin", {"labels": {"team": "crm"}})
    assert snapshot.manifest.as_of == datetime(2026, 11, 27, tzinfo=UTC)
    jobs = [job["configuration"] for job in bigquery.jobs() if "SELECT 1 AS id" in str(job["configuration"])]
    assert {job["labels"]["team"] for job in jobs} == {"crm"}
    assert {job["query"]["connectionProperties"][0]["value"] for job in jobs} == {"Europe/Berlin"}
