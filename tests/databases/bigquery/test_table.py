"""The table writer of BigQuery: what is its own, with the unmodified client and the local BigQuery."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.cloud.bigquery import SchemaField, Table
from support.bigquery_server import BigQuery
from support.loading import deliver, load_of, rejected, take_back
from support.table_sync import sync_table

from airflow_consent_retl.destinations.sql_table.destination import SqlTableDestination
from airflow_consent_retl.destinations.sql_table.options import SqlTableOptions
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook

MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
CANARY = "canary-5f1c@example.org"
PEOPLE = pa.table({"id": [1, 2, 3], "email": ["a@example.org", None, CANARY], "age": [40, 41, None]})
MARK: dict[str, Any] = {"on_remove": "mark", "mark_column": "removed_at"}
FLAG: dict[str, Any] = {"on_remove": "mark", "mark_column": "gone"}


@pytest.fixture(autouse=True)
def crm(bigquery: BigQuery) -> None:
    bigquery.run("CREATE SCHEMA crm")


def destination(table: str = "crm.people", **options: Any) -> SqlTableDestination:
    return SqlTableDestination(sql_hook("bq"), SqlTableOptions(table=table, **options))


def rows_of(bigquery: BigQuery, columns: str = "*", table: str = "crm.people") -> list[tuple[Any, ...]]:
    return sorted((tuple(row.values()) for row in bigquery.run(f"SELECT {columns} FROM {table}")), key=str)


def make(bigquery: BigQuery, *fields: SchemaField) -> None:
    """Make the table by REST. The emulator keeps no lengths and digits, and its DDL takes JSON for text."""
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

    client: Any = BigQueryHook(gcp_conn_id="bq").get_client(project_id=bigquery.project)
    client.create_table(Table(f"{bigquery.project}.crm.people", schema=fields))
    client.close()


def ids(*values: int | None) -> pa.Table:
    return pa.table({"id": pa.array(values, pa.int64())})


def removal_of(rows: pa.Table = PEOPLE) -> Any:
    return load_of(rows, rows_sent=0)


def test_columns_that_are_not_mapped_stay_as_they_are(bigquery: BigQuery) -> None:
    bigquery.run("CREATE TABLE crm.people (id INT64, note STRING, email STRING)")
    bigquery.run("INSERT INTO crm.people VALUES (1, 'mine', 'old')")

    deliver(destination(), PEOPLE.select(["id", "email"]))

    assert rows_of(bigquery) == [(1, "mine", "a@example.org"), (2, None, None), (3, None, CANARY)]


def test_a_batch_is_one_load_job_and_one_merge_and_nothing_stays(bigquery: BigQuery) -> None:
    people = pa.table({"id": range(12_000)})

    deliver(destination(), people)

    assert rows_of(bigquery, "COUNT(*)") == [(12_000,)]
    assert [len(bigquery.seen(text)) for text in ("LOAD", "MERGE")] == [1, 1]
    names = bigquery.run("SELECT table_name FROM crm.INFORMATION_SCHEMA.TABLES")
    assert [row["table_name"] for row in names] == ["people"]


def test_a_batch_waits_in_a_table_that_goes_by_itself_and_people_in_one_that_stays(bigquery: BigQuery) -> None:
    deliver(destination(), PEOPLE)

    made, waiting = bigquery.server.control()["expirations"]
    assert made is None
    assert datetime.fromtimestamp(int(waiting) / 1000, UTC) < datetime.now(UTC) + timedelta(days=8)


def test_a_key_that_comes_twice_in_a_batch_makes_one_row_with_the_last_values(bigquery: BigQuery) -> None:
    outcomes = deliver(destination(), pa.table({"id": [1, 1, 2], "email": ["a", "b", "c"]}))

    assert rejected(outcomes) == {}
    assert rows_of(bigquery) == [(1, "b"), (2, "c")]


def test_a_table_that_holds_a_key_twice_has_all_of_its_rows_changed(bigquery: BigQuery) -> None:
    bigquery.run("CREATE TABLE crm.people (id INT64, email STRING, age INT64)")
    bigquery.run("INSERT INTO crm.people VALUES (1, 'x', 0), (1, 'y', 1)")

    deliver(destination(), PEOPLE.slice(0, 1))
    changed = rows_of(bigquery)
    take_back(destination(), ids(1), removal_of())

    assert changed == [(1, "a@example.org", 40)] * 2
    assert rows_of(bigquery) == []


def test_names_that_a_statement_could_take_for_its_own_are_columns(bigquery: BigQuery) -> None:
    rows = pa.table({"group": [1, 2], "select": ["x", "y"], "P": ["a", "b"], "C0": ["c", "d"], "target": [1, 2]})

    deliver(destination(), rows, load_of(rows, key_field="group"))
    outcomes = deliver(destination(nulls="keep"), rows, load_of(rows, key_field="group"))

    assert rejected(outcomes) == {}
    assert rows_of(bigquery) == [(1, "x", "a", "c", 1), (2, "y", "b", "d", 2)]


def test_writes_into_a_dataset_of_another_project(bigquery: BigQuery) -> None:
    other = f"{bigquery.project}-crm"
    bigquery.dataset("crm", project=other)

    deliver(destination(f'"{other}.crm".people'), PEOPLE)

    assert len(rows_of(bigquery, table=f"`{other}.crm.people`")) == 3


EXACT = pa.table(
    {
        "id": pa.array(["2", "02", "1e5"], pa.string()),
        "big": pa.array([2**63 - 1, -(2**63), None], pa.int64()),
        "small": pa.array([2**32 - 1, 0, None], pa.uint32()),
        "unsigned": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "flag": pa.array([True, False, None], pa.bool_()),
        "price": pa.array([Decimal("12345678901234567890.12345678"), Decimal("0.00000001"), None]),
        "ratio": pa.array([0.1, -1e300, None], pa.float64()),
        "half": pa.array([0.5, -2.0, None], pa.float32()),
        "name": pa.array(["Zoë 🦊", "", None], pa.large_string()),
        "seen": pa.array([MOMENT, MOMENT, None], pa.timestamp("us", tz="Europe/Amsterdam")),
        "local": pa.array([MOMENT.replace(tzinfo=None), None, None], pa.timestamp("us")),
        "day": pa.array([date(2026, 2, 3), None, None], pa.date32()),
        "hour": pa.array([time(4, 5, 6, 7), None, None], pa.time64("us")),
        "raw": pa.array([b"\x00\xff", b"", None], pa.binary()),
        "tags": pa.array([["a", "b"], [], None], pa.list_(pa.string())),
        "tier": pa.array(["gold", "1", None]).dictionary_encode(),
        "nothing": pa.nulls(3),
    }
)


def test_holds_every_value_exactly(bigquery: BigQuery) -> None:
    deliver(destination(), EXACT)
    outcomes = deliver(destination(), EXACT)

    assert rejected(outcomes) == {}
    expected = EXACT.drop_columns("tags").to_pylist()
    columns = ", ".join(f"`{name}`" for name in EXACT.column_names if name != "tags")
    assert rows_of(bigquery, columns) == sorted((tuple(row.values()) for row in expected), key=str)
    tags = {row[0]: row[1] and json.loads(row[1]) for row in rows_of(bigquery, "id, TO_JSON_STRING(tags)")}
    assert tags == {"2": ["a", "b"], "02": [], "1e5": None}


def test_values_that_a_column_cannot_hold_are_rejected_before_any_statement(bigquery: BigQuery) -> None:
    make(
        bigquery,
        SchemaField("id", "INTEGER", mode="REQUIRED"),
        SchemaField("code", "STRING"),
        SchemaField("seen", "TIMESTAMP"),
    )
    rows = pa.table(
        {
            "id": pa.array([1, 2**63, 3, None, 5], pa.uint64()),
            "code": pa.array([b"zo\xc3\xab", b"b", b"\xff", b"", b""]).view(pa.string()),
            "seen": pa.array([1_000, 0, 0, 0, 1], pa.timestamp("ns", tz="UTC")),
        }
    )

    outcomes = deliver(destination(), rows)

    assert rejected(outcomes) == {1: "value_out_of_range", 2: "not_utf8", 3: "not_null", 4: "too_precise"}
    assert rows_of(bigquery, "id, code") == [(1, "zoë")]
    assert len(bigquery.seen("MERGE")) == 1


def test_a_batch_that_is_refused_is_cut_without_another_load(bigquery: BigQuery) -> None:
    deliver(destination(), PEOPLE)
    # The whole batch, then the second half of it, then the last row. The server accepts each job before it fails.
    for pattern in ("BETWEEN 0 AND 2", "BETWEEN 1 AND 2", "BETWEEN 2 AND 2"):
        bigquery.fail(f"MERGE.*{pattern}", reason="invalidQuery", message=f"numeric overflow: {CANARY}")

    outcomes = deliver(destination(), PEOPLE)

    assert rejected(outcomes) == {2: "value_out_of_range"}
    assert len([job for job in bigquery.seen("LOAD") if job["text"] == "LOAD"]) == 2


def test_a_refused_statement_ends_the_load_without_a_value_in_the_message(bigquery: BigQuery) -> None:
    deliver(destination(), PEOPLE)
    bigquery.fail("MERGE", reason="resourcesExceeded", message=f"no one knows why: {CANARY}")

    with pytest.raises(DestinationError, match="resourcesExceeded") as caught:
        deliver(destination(), PEOPLE)

    assert CANARY not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_statement_that_is_wrong_in_itself_rejects_no_row(bigquery: BigQuery) -> None:
    deliver(destination(), PEOPLE)
    # Once for the job, and once for the dry run that explains it.
    bigquery.fail("MERGE", reason="invalidQuery", message="Cannot query over table without a filter", times=2)

    with pytest.raises(DestinationError, match="Cannot query over table without a filter"):
        deliver(destination(), PEOPLE)


@pytest.mark.parametrize(
    "message",
    [
        "Could not serialize access to table crm.people due to concurrent update",
        "Too many DML statements outstanding against table crm.people, limit is 20.",
        "Transaction is aborted due to concurrent update against table crm.people.",
    ],
)
def test_others_at_work_on_the_table_are_waited_for(bigquery: BigQuery, message: str) -> None:
    deliver(destination(), PEOPLE)
    bigquery.fail("MERGE", reason="invalidQuery", message=message)

    outcomes = deliver(destination(), PEOPLE)

    assert rejected(outcomes) == {}
    assert len([job for job in bigquery.seen("LOAD") if job["text"] == "LOAD"]) == 2


def test_rows_that_are_still_streamed_in_are_waited_for_by_another_try_of_the_task(bigquery: BigQuery) -> None:
    deliver(destination(), PEOPLE)
    message = "UPDATE or DELETE statement over table crm.people would affect rows in the streaming buffer"
    bigquery.fail("DELETE", reason="invalidQuery", message=message, times=5)

    with pytest.raises(DestinationUnavailableError, match=r"nothing of the batch was applied \(streaming_buffer\)"):
        take_back(destination(), ids(1), removal_of())


def test_a_job_that_failed_for_the_time_being_is_tried_again(bigquery: BigQuery) -> None:
    deliver(destination(), PEOPLE)
    bigquery.fail("MERGE", reason="backendError", message="try again", times=5)

    with pytest.raises(DestinationUnavailableError, match="nothing of the batch was applied"):
        deliver(destination(), PEOPLE)


def test_a_column_that_is_gone_since_keeps_no_one_in(bigquery: BigQuery) -> None:
    bigquery.run("CREATE TABLE crm.people AS SELECT 1 AS id UNION ALL SELECT 2")

    outcomes = take_back(destination(), ids(1), removal_of())

    assert rejected(outcomes) == {}
    assert rows_of(bigquery) == [(2,)]


def test_marks_with_a_local_time_where_the_column_has_no_zone(bigquery: BigQuery) -> None:
    bigquery.run("CREATE TABLE crm.people (id INT64, removed_at DATETIME)")
    deliver(destination(**MARK), ids(1, 2))

    take_back(destination(**MARK), ids(1), removal_of(ids(1)))

    found = dict(rows_of(bigquery))
    assert abs(found[1] - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)
    assert found[2] is None


def test_marks_with_a_boolean_and_empties_the_mapped_columns_where_asked_to(bigquery: BigQuery) -> None:
    bigquery.run("CREATE TABLE crm.people (id INT64, email STRING, age INT64, note STRING, gone BOOL NOT NULL)")
    deliver(destination(**FLAG), PEOPLE)
    bigquery.run("UPDATE crm.people SET note = 'mine' WHERE TRUE")

    take_back(destination(mark_nulls=True, **FLAG), ids(1), removal_of())

    assert rows_of(bigquery) == [
        (1, None, None, "mine", True),
        (2, None, 41, "mine", False),
        (3, CANARY, None, "mine", False),
    ]


def test_refuses_a_view(bigquery: BigQuery) -> None:
    bigquery.run("CREATE VIEW crm.people AS SELECT 1 AS id")

    with pytest.raises(ConfigurationError, match=r"`crm\.people` is a view: name a table"):
        deliver(destination(), ids(1))


def test_names_the_near_match_of_a_table_or_dataset_that_is_not_there(bigquery: BigQuery) -> None:
    bigquery.run("CREATE TABLE crm.peoples (id INT64)")

    with pytest.raises(ConfigurationError, match=r"`crm\.people` does not exist, did you mean `peoples`"):
        deliver(destination(create_table=False), ids(1))
    with pytest.raises(ConfigurationError, match="no dataset `crmm`, did you mean `crm`"):
        deliver(destination("crmm.people"), ids(1))


def test_asks_for_the_dataset(bigquery: BigQuery) -> None:
    with pytest.raises(ConfigurationError, match=r"`people` names no dataset: write `dataset\.people`"):
        deliver(destination("people"), ids(1))


def test_refuses_fields_that_the_table_does_not_hold_exactly_all_at_once(bigquery: BigQuery) -> None:
    make(
        bigquery,
        SchemaField("id", "STRING"),
        SchemaField("mail", "STRING"),
        SchemaField("age", "INTEGER"),
        SchemaField("since", "DATETIME"),
        SchemaField("tags", "STRING", mode="REPEATED"),
        SchemaField("tenant", "INTEGER", mode="REQUIRED"),
    )
    rows = pa.table(
        {
            "id": [1],
            "email": ["a"],
            "age": pa.array([Decimal("1.5")]),
            "since": pa.array([MOMENT], pa.timestamp("us", tz="UTC")),
            "tags": [["a"]],
        }
    )

    with pytest.raises(ConfigurationError, match="6 problems") as caught:
        deliver(destination(), rows)

    for part in (
        "`id` (int64) does not fit",
        "did you mean `mail`",
        "`age` (decimal128(2, 1)) does not fit",
        "`since` (timestamp",
        "`tenant`",
    ):
        assert part in str(caught.value)
    assert "(ARRAY<STRING>): cast" in str(caught.value)


def test_a_sync_follows_grants_and_withdrawals(
    bigquery: BigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", tmp_path.as_uri())
    bigquery.run(
        "CREATE TABLE crm.shop AS SELECT 1 AS id, 'a@x.org' AS email, '{\"C4\": true}' AS doc "
        "UNION ALL SELECT 2, 'b@x.org', '{\"C4\": false}' UNION ALL SELECT 3, 'c@x.org', '{\"C4\": true}'"
    )

    def run() -> dict[str, Any]:
        return sync_table(
            "bq", sql="SELECT * FROM crm.shop", table="crm.people", id_="id", email="email", document="doc"
        )

    first = run()
    delivered = rows_of(bigquery)
    bigquery.run("UPDATE crm.shop SET doc = '{\"C4\": false}' WHERE id = 1")
    bigquery.run("UPDATE crm.shop SET doc = '{\"C4\": true}' WHERE id = 2")
    second = run()

    assert (first["added"], second["added"], second["removed"]) == (2, 1, 1)
    assert delivered == [(1, "a@x.org"), (3, "c@x.org")]
    assert rows_of(bigquery) == [(2, "b@x.org"), (3, "c@x.org")]
