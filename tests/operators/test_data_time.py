"""A sync goes forward in time: backfills, cleared runs, catch-up and mapped tasks never send who said no since."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.log_lines import task_fails
from support.postgres import Postgres, postgres

from airflow_consent_retl.compat import AirflowSkipException
from airflow_consent_retl.consent import ConsentSource
from airflow_consent_retl.operators import (
    ConsentFilterOperator,
    ExtractModelOperator,
    LoadToFilesOperator,
    LoadToSqlTableOperator,
    PropagateWithdrawalsOperator,
)
from airflow_consent_retl.storage.dated_sql import DatedSql

# Each case in files or in a warehouse; `make test-long` has the other.
pytestmark = pytest.mark.diagonal("source")
__all__ = ["postgres"]

POLICY = {"categories": [{"id": "C0004", "name": "Advertising", "destinations": ["crm"]}]}
FIELDS = {"id": "id", "email": "email"}
# On the 27th, 2 withdrew, 3 was erased and 4 joined.
DAYS = """
    ('2026-11-26', 1, 'a@x.example', true), ('2026-11-26', 2, 'b@x.example', true),
    ('2026-11-26', 3, 'c@x.example', true), ('2026-11-27', 1, 'a@x.example', true),
    ('2026-11-27', 2, 'b@x.example', false), ('2026-11-27', 4, 'd@x.example', true)
"""
TABLE = f"CREATE TABLE days AS SELECT * FROM (VALUES {DAYS}) AS t(ds, id, email, ads_ok)"


class Source:
    """A model with one partition for each day, and the table that it is loaded into."""

    def __init__(self, run: Callable[[str], None], crm: Path, workspace: str | None) -> None:
        self.run = run
        self.crm = crm
        self.workspace = workspace

    def extract(self, sql: str, **parameters: Any) -> Any:
        return ExtractModelOperator(
            task_id="extract",
            model="people",
            conn_id="source",
            sql=sql,
            primary_key="id",
            workspace=self.workspace,
            **parameters,
        ).execute({})

    def permit(self, snapshot: Any, **parameters: Any) -> Any:
        return ConsentFilterOperator(
            task_id="consent",
            snapshot=snapshot,
            policy=POLICY,
            consent=parameters.pop("consent", {"C0004": "ads_ok"}),
            destinations=["crm"],
        ).execute({})

    def load(self, permitted: Any, **parameters: Any) -> dict[str, Any]:
        counts: dict[str, Any] = LoadToSqlTableOperator(
            task_id="load",
            permitted=permitted,
            destination="crm",
            conn_id="crm",
            table="people",
            fields=FIELDS,
            policy=POLICY,
            max_removed_ratio=None,
            **parameters,
        ).execute({})
        return counts

    def day(self, ds: str, *, extraction: dict[str, Any] | None = None, **load: Any) -> dict[str, Any]:
        sql = f"SELECT id, email, ads_ok FROM days WHERE ds = '{ds}'"
        return self.load(self.permit(self.extract(sql, **(extraction or {}))), **load)

    def withdraw(self, **parameters: Any) -> dict[str, Any]:
        given = {"sql": "SELECT id, ads_ok FROM days WHERE ds = '2026-11-27'", **parameters}
        served: dict[str, Any] = PropagateWithdrawalsOperator(
            task_id="withdraw",
            model="people",
            conn_id="source",
            primary_key="id",
            policy=POLICY,
            consent={"C0004": "ads_ok"},
            loads={"crm": partial(LoadToSqlTableOperator, conn_id="crm", table="people", fields=FIELDS)},
            max_removed_ratio=None,
            **given,
        ).execute({})
        counts: dict[str, Any] = served["crm"]
        return counts

    def people(self) -> set[int]:
        with closing(sqlite3.connect(self.crm)) as connection:
            return {id_ for (id_,) in connection.execute("SELECT id FROM people")}


@pytest.fixture(params=["files", "warehouse"])
def source(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> Source:
    """The model in DuckDB, through files; and in PostgreSQL, through its staging schema."""
    crm = tmp_path / "crm.db"
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(crm)}))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    if request.param == "files":
        file = tmp_path / "source.duckdb"
        monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps({"conn_type": "duckdb", "host": str(file)}))

        def run(statement: str) -> None:
            with duckdb.connect(str(file)) as connection:
                connection.execute(statement)
    else:
        monkeypatch.setenv("AIRFLOW_CONN_SOURCE", postgres.airflow_connection())

        def run(statement: str) -> None:
            with postgres.connect() as connection:
                connection.execute(statement)

        run("DROP SCHEMA IF EXISTS staging CASCADE")
        run("CREATE SCHEMA staging")
        run("DROP TABLE IF EXISTS days, consents")
    run(TABLE)
    return Source(run, crm, "warehouse:staging" if request.param == "warehouse" else None)


def test_a_cleared_run_of_an_older_day_is_refused_and_nobody_comes_back(source: Source) -> None:
    source.day("2026-11-26")
    source.day("2026-11-27")

    with task_fails(match=r"bound to 2026-11-26.*never goes back in time.*allow_older"):
        source.day("2026-11-26")

    assert source.people() == {1, 4}


def test_a_backfill_of_a_day_that_never_ran_is_refused_too(source: Source) -> None:
    source.run("INSERT INTO days VALUES ('2026-11-25', 7, 'g@x.example', true)")
    source.day("2026-11-26")
    source.day("2026-11-27")

    with task_fails(match="bound to 2026-11-25"):
        source.day("2026-11-25")

    assert source.people() == {1, 4}


def test_a_declared_time_decides_where_the_sql_names_no_day(source: Source) -> None:
    newest = source.permit(
        source.extract(
            "SELECT * FROM days WHERE ads_ok AND id <> 3 AND ds = '2026-11-27'", as_of="2026-11-28T00:00:00+00:00"
        )
    )
    source.load(newest)

    with task_fails(match="these data are of 2026-11-27 00:00:00 UTC, those of 2026-11-28"):
        source.load(source.permit(source.extract("SELECT * FROM days WHERE id = 3", as_of="2026-11-27 00:00:00+00:00")))

    assert source.people() == {1, 4}


def test_a_column_may_tell_the_time_of_the_rows(source: Source) -> None:
    sql = "SELECT id, email, ads_ok, CAST(ds AS date) AS day FROM days WHERE ds = '{}' -- {}"
    source.load(source.permit(source.extract(sql.format("2026-11-27", "new"), as_of="day")))

    with task_fails(match="these data are of 2026-11-26"):
        source.load(source.permit(source.extract(sql.format("2026-11-26", "old"), as_of="day")))

    assert source.people() == {1, 4}


@pytest.mark.parametrize(
    ("sql", "as_of", "message"),
    [
        ("SELECT id, email, ads_ok, CAST(ds AS date) AS day FROM days WHERE id > 2", "day", "more than one time"),
        ("SELECT id, email, ads_ok, CAST(NULL AS date) AS day FROM days WHERE id > 2", "day", "is NULL in some rows"),
        ("SELECT id, email, ads_ok FROM days WHERE id > 2", "day", "there is no column `day`"),
        ("SELECT id, email, ads_ok FROM days WHERE id > 2", "email", "expected a date or a time with a zone"),
        ("SELECT id, email, ads_ok, CAST(ds AS date) AS day FROM days WHERE id > 9", "day", "the model has no row"),
        ("SELECT id FROM days WHERE id > 2", "2026-11-26T01:00:00", "has no offset from UTC"),
        ("SELECT id FROM days WHERE id > 2", "2026-13-26", "neither a time in ISO 8601 nor the name of a column"),
        ("SELECT id FROM days WHERE id > 2", "None", "as_of is empty"),
    ],
)
def test_a_time_that_is_none_is_refused(source: Source, sql: str, as_of: str, message: str) -> None:
    with task_fails(match=message):
        source.extract(sql, as_of=as_of)


def test_older_data_that_are_allowed_remove_and_add_no_one(source: Source) -> None:
    source.day("2026-11-26")
    source.day("2026-11-27")
    source.run("UPDATE days SET ads_ok = false WHERE ds = '2026-11-26' AND id = 1")

    counts = source.day("2026-11-26", allow_older=True)

    assert (counts["added"], counts["skipped"], counts["accepted"]) == (0, 2, 0)
    assert source.people() == set()
    assert source.day("2026-11-27")["added"] == 2


def test_a_first_load_is_never_older(source: Source) -> None:
    assert source.day("2026-11-26", allow_older=True)["added"] == 3


def test_a_run_that_a_newer_one_overtook_is_skipped_and_the_sentence_says_by_which(source: Source) -> None:
    older = source.permit(source.extract("SELECT id, email, ads_ok FROM days WHERE ds = '2026-11-26'"))
    source.day("2026-11-27")

    with task_fails(kind=AirflowSkipException, match=r"already has a newer decision.*delivered by `adhoc`"):
        source.load(older)

    assert source.people() == {1, 4}


def test_catch_up_runs_that_overlap_leave_the_newest_day_whichever_loads_last(source: Source) -> None:
    slow = source.extract("SELECT id, email, ads_ok FROM days WHERE ds = '2026-11-26'")
    source.day("2026-11-27")

    # It decides later than the other one, about older data that it had read before.
    with task_fails(kind=AirflowSkipException, match="already has newer data, delivered by `adhoc` while this run ran"):
        source.load(source.permit(slow))

    assert source.people() == {1, 4}


def test_the_same_day_again_is_no_older_day(source: Source) -> None:
    source.day("2026-11-26")
    source.day("2026-11-27")

    again = source.day("2026-11-27")

    assert (again["unchanged"], again["removed"]) == (2, 0)


def test_sql_that_is_bound_to_a_day_is_not_asked_again_and_the_age_of_its_data_counts(source: Source) -> None:
    def days_ago(days: int) -> dict[str, str]:
        return {"as_of": (datetime.now(UTC) - timedelta(days=days)).isoformat()}

    source.day("2026-11-26", extraction=days_ago(3))

    with task_fails(match=r"stands in data that are 17\d,\d{3} s old, max_age_s is 86,400"):
        source.day("2026-11-27", extraction=days_ago(2))

    assert source.people() == {1, 2, 3}


def test_a_question_with_its_own_sql_withholds_who_withdrew_since_the_day(source: Source) -> None:
    source.run("CREATE TABLE consents AS SELECT id, ads_ok FROM days WHERE ds = '2026-11-27'")
    source.day("2026-11-26")
    source.run("UPDATE consents SET ads_ok = false WHERE id = 4")
    own = {"current_consent_sql": "SELECT id, ads_ok FROM consents"}

    counts = source.day("2026-11-27", extraction=own)

    assert counts["withheld"] == 1
    assert source.people() == {1}


def test_a_consent_source_answers_for_the_present_where_the_model_is_bound_to_a_day(source: Source) -> None:
    source.run("CREATE TABLE consents AS SELECT id, ads_ok AS given FROM days WHERE ds = '2026-11-27'")
    consents = [ConsentSource("SELECT id, given FROM consents", subject="id", columns=["given"])]

    def day(ds: str, *, withdrawn: int | None = None) -> dict[str, Any]:
        sql = f"SELECT id, email FROM days WHERE ds = '{ds}'"
        permitted = source.permit(source.extract(sql, consent_sources=consents), consent={"C0004": "given"})
        if withdrawn is not None:
            source.run(f"UPDATE consents SET given = false WHERE id = {withdrawn}")
        return source.load(permitted)

    day("2026-11-26")
    counts = day("2026-11-27", withdrawn=4)

    assert counts["withheld"] == 1
    assert source.people() == {1}


def test_the_fast_lane_refuses_answers_older_than_the_delivered_data(source: Source) -> None:
    source.day("2026-11-27", extraction={"as_of": "2026-11-28"})
    old = "SELECT id, false AS ads_ok FROM days WHERE ds = '2026-11-26'"

    with task_fails(match=r"delivered data of 2026-11-28 .* these answers are of 2026-11-27"):
        source.withdraw(sql=old, as_of="2026-11-27")

    assert source.people() == {1, 4}
    assert source.withdraw(as_of="2026-11-28")["removed"] == 0


def test_a_changed_time_zone_is_refused_by_load_and_fast_lane_until_a_load_accepts_it(source: Source) -> None:
    source.day("2026-11-26")
    paris = {"session_time_zone": "Europe/Paris"}

    with task_fails(match="under the time zone UTC, now it is Europe/Paris"):
        source.day("2026-11-27", extraction=paris)
    with task_fails(match="under the time zone UTC, now it is Europe/Paris"):
        source.withdraw(**paris)
    assert source.people() == {1, 2, 3}

    source.day("2026-11-27", extraction=paris, accept_time_zone="Europe/Paris")

    assert source.people() == {1, 4}
    # The fast lane takes over the time zone, and the next load needs no acceptance.
    assert source.withdraw()["removed"] == 0
    assert source.day("2026-11-27", extraction=paris)["unchanged"] == 2
    with task_fails(match="under the time zone Europe/Paris, now it is UTC"):
        source.day("2026-11-27")


@pytest.mark.parametrize("mode", ["upsert", "insert", "full"])
def test_older_data_that_are_allowed_add_no_one_in_any_mode(source: Source, mode: str) -> None:
    source.day("2026-11-26")
    source.day("2026-11-27")
    source.run("UPDATE days SET email = 'old@x.example' WHERE ds = '2026-11-26'")

    counts = source.day("2026-11-26", allow_older=True, mode=mode)

    assert counts["added"] == 0
    assert source.people() <= {1, 4}


def test_older_data_that_are_allowed_add_no_one_to_files(source: Source, tmp_path: Path) -> None:
    def lake(ds: str, **options: Any) -> list[int]:
        permitted = source.permit(source.extract(f"SELECT id, email, ads_ok FROM days WHERE ds = '{ds}'"))
        LoadToFilesOperator(
            task_id="load",
            permitted=permitted,
            destination="crm",
            policy=POLICY,
            path=(tmp_path / "lake").as_uri(),
            format="jsonl",
            fields=FIELDS,
            max_removed_ratio=None,
            **options,
        ).execute({})
        version = json.loads((tmp_path / "lake" / "_current.json").read_text())["current"]
        parts = (tmp_path / "lake" / version).glob("*.jsonl")
        lines = [line for part in parts for line in part.read_text().splitlines()]
        return sorted(json.loads(line)["id"] for line in lines)

    assert lake("2026-11-26") == [1, 2, 3]
    assert lake("2026-11-27") == [1, 4]
    with task_fails(match="bound to 2026-11-26"):
        lake("2026-11-26")

    assert lake("2026-11-26", allow_older=True) == [1]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("SELECT id FROM days WHERE ds = '2026-11-26'", "SELECT id FROM days WHERE ds = '2026-11-27'"),
        ("SELECT id FROM days_20261126", "SELECT id FROM days_20261127"),
        ("SELECT id WHERE '2026-11-26T23:00:00+00:00' > ds", "SELECT id WHERE '2026-11-27T23:00:00+00:00' > ds"),
        (
            "SELECT id FROM days WHERE at < '2026-11-26 01:30:00'",
            "SELECT id FROM days WHERE at < '2026-11-26 01:30:01'",
        ),
    ],
)
def test_dates_in_sql_are_ordered(older: str, newer: str) -> None:
    first, second = DatedSql.of(older), DatedSql.of(newer)

    assert first.shape == second.shape
    assert first.date < second.date


@pytest.mark.parametrize("text", ["SELECT 20261340 AS id", "SELECT 123420261126 AS id", "SELECT 1 AS id", "LIMIT 2026"])
def test_a_number_is_no_date(text: str) -> None:
    assert DatedSql.of(text).date == ""
