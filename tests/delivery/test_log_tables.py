"""Sync logs in real databases: each run once; tables that get what they lack; the queries of the page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.bigquery_server import BigQuery
from support.databases import Database
from support.noted_runs import a_load, withdrawals
from support.snowflake_server import Snowflake

from airflow_consent_retl.databases.tables.table_name import TableName
from airflow_consent_retl.delivery.ledger import Ledger
from airflow_consent_retl.delivery.ledger.run_records import COUNTS, RunRecord, RunState
from airflow_consent_retl.delivery.log_rows import COUNTS_BY_CODE, LAGS, RUNS
from airflow_consent_retl.delivery.log_tables import LogTableNames, write_sync_logs
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.sql import sql_hook

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "sync-logs.md").read_text()
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
TYPES = {
    "string": "text",
    "int64": "integer",
    "double": "double",
    "bool": "boolean",
    "date32[day]": "date",
    "timestamp[us, tz=UTC]": "timestamp",
}

BIGQUERY = {
    "string": "STRING",
    "int64": "INT64",
    "double": "FLOAT64",
    "bool": "BOOL",
    "date32[day]": "DATE",
    "timestamp[us, tz=UTC]": "TIMESTAMP",
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.sqlite(tmp_path / "ledger.db") as found:
        yield found


def names(schema: str | None = None, **other: str) -> LogTableNames:
    found = {kind: other.get(kind, f"consent_sync_{kind}") for kind in ("runs", "counts", "lags")}
    return LogTableNames(**{kind: TableName(name, schema) for kind, name in found.items()})


def note(ledger: Ledger, *records: RunRecord) -> None:
    for record in records:
        ledger.note_run(record)


def write(
    ledger: Ledger, database: Database, where: LogTableNames | None = None, *, since: datetime | None = None
) -> dict[str, int]:
    return write_sync_logs(ledger, sql_hook(database.conn_id), where or names(), syncs=None, since=since)


def test_each_run_is_one_row_with_its_counts_and_lags(ledger: Ledger, database: Database) -> None:
    note(ledger, a_load(at=TODAY), withdrawals(at=TODAY + timedelta(hours=1)))

    written = write(ledger, database)

    assert written == {"runs": 2, "counts": 4, "lags": 3}
    columns = (
        "kind, state, dag_id, attempt, duration_s, data_age_s, people, denied, accepted, removed, lag_people, "
        "lag_median_s"
    )
    assert database.rows("consent_sync_runs", columns) == [
        ("load", "done", "customers", 1, 60.0, 180.0, 60, 40, 10, 0, 0, None),
        ("withdrawals", "done", "withdrawals", 1, 20.0, None, 57, 0, 0, 3, 3, 120.0),
    ]
    assert database.rows("consent_sync_counts", "sync, what, code, people") == [
        ("customers/webhook", "denied", "C0004:denied", 30),
        ("customers/webhook", "denied", "C0004:unknown", 10),
        ("customers/webhook", "not_accepted", "rejected:invalid_email", 2),
        ("customers/webhook", "removal", "consent_withdrawn", 3),
    ]
    assert database.execute("SELECT SUM(people), COUNT(*) FROM consent_sync_lags WHERE up_to_s >= 90") == [(3, 3)]


def test_a_repeated_write_doubles_nothing_and_marks_what_a_later_try_resumed(
    ledger: Ledger, database: Database
) -> None:
    note(ledger, a_load(at=TODAY, delivery=7, state=RunState.FAILED, failure="DestinationUnavailableError"))
    write(ledger, database)
    note(ledger, a_load(at=TODAY + timedelta(minutes=5), delivery=7, attempt=2))
    write(ledger, database)
    write(ledger, database)

    rows = database.rows("consent_sync_runs", "attempt, state, failure, is_resumed")
    assert [(*row[:3], bool(row[3])) for row in rows] == [
        (1, "failed", "DestinationUnavailableError", True),
        (2, "done", "", False),
    ]
    assert len(database.rows("consent_sync_counts")) == 6


def test_only_new_runs_are_written_but_a_new_table_gets_all(ledger: Ledger, database: Database) -> None:
    note(ledger, *(a_load(at=TODAY - timedelta(days=days)) for days in (40, 20, 1)))
    since = TODAY - timedelta(days=7)

    first = write(ledger, database, since=since)
    second = write(ledger, database, since=since)

    assert (first["runs"], second["runs"]) == (3, 1)
    assert len(database.rows("consent_sync_runs")) == 3


def test_a_table_of_an_earlier_release_gets_the_columns_that_it_lacks(ledger: Ledger, database: Database) -> None:
    note(ledger, a_load(at=TODAY))
    key = "VARCHAR(64) PRIMARY KEY"
    database.execute(f"CREATE TABLE consent_sync_runs (run_key {key}, sync TEXT, our_note TEXT)")
    database.execute("INSERT INTO consent_sync_runs VALUES ('old', 'a/b', 'ours')")

    write(ledger, database)

    rows = database.rows("consent_sync_runs", "sync, our_note, accepted, lag_oldest_s")
    assert rows == [("a/b", "ours", None, None), ("customers/webhook", None, 10, None)]


def test_a_column_of_another_type_is_refused_with_its_name(ledger: Ledger, database: Database) -> None:
    note(ledger, a_load(at=TODAY))
    other = "DATE" if database.kind == "duckdb" else "TEXT"
    database.execute(f"CREATE TABLE consent_sync_runs (run_key VARCHAR(64) PRIMARY KEY, accepted {other})")

    with pytest.raises(ConfigurationError, match="`accepted`"):
        write(ledger, database)


def test_tables_may_have_other_names(ledger: Ledger, database: Database) -> None:
    note(ledger, withdrawals(at=TODAY))

    write(ledger, database, names(runs="crm log", counts="crm_counts", lags="crm_lags"))

    assert len(database.rows('"crm log"')) == 1


def test_more_runs_than_are_read_at_once_are_all_written(ledger: Ledger, sqlite: Database) -> None:
    note(ledger, *(a_load(at=TODAY + timedelta(seconds=number)) for number in range(5)))

    written = write_sync_logs(ledger, sql_hook(sqlite.conn_id), names(), syncs=None, since=None, runs_at_once=2)

    assert written["runs"] == 5
    assert sqlite.execute("SELECT COUNT(*) FROM consent_sync_runs") == [(5,)]


def queries() -> list[str]:
    return re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def noted_days(ledger: Ledger) -> None:
    failed = a_load(at=TODAY, delivery=7, state=RunState.FAILED, failure="DestinationUnavailableError")
    note(ledger, failed, a_load(at=TODAY + timedelta(minutes=5), delivery=7, attempt=2))
    note(
        ledger, withdrawals(at=TODAY + timedelta(minutes=6)), a_load("customers/ads", at=TODAY, accepted=60, rejected=0)
    )


def check_queries(execute: Callable[[str], list[tuple[Any, ...]]]) -> None:
    days, codes, lags = (execute(query) for query in queries())

    def plain(value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else float(value) if not isinstance(value, str) else value

    today = TODAY.date().isoformat()
    assert [tuple(map(plain, (one if one is not None else 0 for one in row))) for row in days] == [
        (today, "customers/ads", 1, 0, 60, 0, 0, 0),
        (today, "customers/webhook", 3, 1, 10, 3, 2, 600),
    ]
    assert [(row[0], row[1], row[2], int(row[3])) for row in codes if row[1] != "denied"] == [
        ("customers/webhook", "not_accepted", "rejected:invalid_email", 2),
        ("customers/webhook", "removal", "consent_withdrawn", 3),
    ]
    ((destination, lag),) = lags
    assert destination == "webhook"
    assert 600 <= lag < 640


def test_the_queries_of_the_page_run(ledger: Ledger, database: Database) -> None:
    noted_days(ledger)
    write(ledger, database)

    check_queries(database.execute)


def test_the_queries_of_the_page_run_in_snowflake(ledger: Ledger, snowflake: Snowflake) -> None:
    noted_days(ledger)
    for _ in range(2):
        write_sync_logs(ledger, sql_hook("snow"), names(), syncs=None, since=None)

    def execute(query: str) -> list[tuple[Any, ...]]:
        # Names are quoted when the tables are made, so they are lower case in Snowflake too.
        return snowflake.run(quoted(query))

    assert snowflake.run('SELECT COUNT(*) FROM "consent_sync_runs"') == [(4,)]
    check_queries(execute)


def quoted(query: str) -> str:
    """Return a query with the names of tables and columns in quotes."""
    known = {column.name for table in (RUNS, COUNTS_BY_CODE, LAGS) for column in table.columns}
    tables = r"consent_sync_\w+"
    return re.sub(rf"\b({'|'.join(sorted(known, key=len, reverse=True))}|{tables})\b(?!')", r'"\1"', query)


def test_a_table_in_snowflake_gets_the_columns_that_it_lacks(ledger: Ledger, snowflake: Snowflake) -> None:
    note(ledger, a_load(at=TODAY))
    snowflake.run('CREATE TABLE "consent_sync_runs" ("run_key" VARCHAR, "sync" VARCHAR)')

    write_sync_logs(ledger, sql_hook("snow"), names(), syncs=None, since=None)

    assert snowflake.run('SELECT "sync", "accepted" FROM "consent_sync_runs"') == [("customers/webhook", 10)]


def test_bigquery_gets_the_tables_and_their_columns(ledger: Ledger, bigquery: BigQuery) -> None:
    noted_days(ledger)
    bigquery.run("CREATE SCHEMA ops")
    # Two columns came with a later release.
    earlier = [column for column in RUNS.columns if column.name not in {"map_index", "lag_oldest_s"}]
    columns = ", ".join(f"`{column.name}` {BIGQUERY[str(column.kind)]}" for column in earlier)
    bigquery.run(f"CREATE TABLE ops.consent_sync_runs ({columns})")
    for _ in range(2):
        write_sync_logs(ledger, sql_hook("bq"), names("ops"), syncs=None, since=None)

    def execute(query: str) -> list[tuple[Any, ...]]:
        return [
            tuple(row.values()) for row in bigquery.run(query.replace("FROM consent_sync", "FROM ops.consent_sync"))
        ]

    assert execute("SELECT COUNT(*) FROM consent_sync_runs") == [(4,)]
    check_queries(execute)


def test_the_page_has_every_column_with_its_type_and_meaning() -> None:
    for table in (RUNS, COUNTS_BY_CODE, LAGS):
        for column in table.columns:
            assert f"| `{column.name}` | {TYPES[str(column.kind)]} | {column.meaning} |" in PAGE


def test_every_count_of_a_run_has_a_column() -> None:
    assert set(COUNTS) <= {column.name for column in RUNS.columns}


def test_a_code_with_the_same_letters_in_another_case_is_another_row(ledger: Ledger, database: Database) -> None:
    note(ledger, replace(a_load(at=TODAY), codes={"rejected:E1": 1, "rejected:e1": 2}))

    write(ledger, database)

    codes = database.execute("SELECT code, people FROM consent_sync_counts WHERE what = 'not_accepted' ORDER BY people")
    assert codes == [("rejected:E1", 1), ("rejected:e1", 2)]
