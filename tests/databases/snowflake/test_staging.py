"""Snowflake as a workspace: what is Snowflake's own about the tables of the staging schema."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.snowflake_server import Snowflake

from airflow_consent_retl.databases.staging import Warehouse, warehouse
from airflow_consent_retl.errors import ConfigurationError, ModelError, SourceUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook

NOW = dt.datetime(2026, 11, 24, 2, 13, tzinfo=dt.UTC)
# No other database takes a quote in a name, and 35 digits before the point with 3 after it.
SCHEMA = pa.schema({'ti"tle': pa.string(), "amount": pa.decimal128(38, 3)})
ROW = {'ti"tle': "x", "amount": Decimal("-99999999999999999999999999999999999.125")}


@pytest.fixture
def staging(snowflake: Snowflake) -> Iterator[Warehouse]:
    snowflake.run("CREATE SCHEMA staging")
    with warehouse(sql_hook("snow"), "staging", conn_id="snow") as entered:
        yield entered


def rows_of(staging: Warehouse, sql: str, **options: Any) -> pa.Table:
    with staging.read(sql, **options) as rows:
        batches = list(rows.batches)
    return pa.Table.from_batches(batches) if batches else rows.schema.empty_table()


def test_a_table_is_made_of_a_query_with_comments_at_its_end(staging: Warehouse, snowflake: Snowflake) -> None:
    table = staging.table("snapshot", at=NOW)

    made = staging.create_as(table, "WITH t AS (SELECT 1 AS id, 'x' AS \"eMail\") SELECT * FROM t; -- all\n/* of it */")

    assert made == 1
    assert rows_of(staging, f"SELECT * FROM {staging.name_of(table)}").to_pylist() == [{"ID": 1, "eMail": "x"}]
    assert snowflake.seen("CREATE TRANSIENT TABLE")[0]["text"].count("DATA_RETENTION_TIME_IN_DAYS = 0") == 1


def test_what_has_to_last_is_in_a_permanent_table(staging: Warehouse, snowflake: Snowflake) -> None:
    staging.create_as(staging.table("delivered", at=NOW), "SELECT 1 AS id", expires=False)
    staging.load(staging.table("delivered", at=NOW), pa.schema({"id": pa.int64()}), [], expires=False)

    assert len(snowflake.seen("CREATE TABLE")) == 2
    assert not snowflake.seen("CREATE TRANSIENT")


def test_a_name_with_a_quote_and_the_most_digits_are_loaded(staging: Warehouse) -> None:
    table = staging.table("decided", at=NOW)

    staging.load(table, SCHEMA, [pa.RecordBatch.from_pylist([ROW], schema=SCHEMA)])

    read = rows_of(staging, f"SELECT * FROM {staging.name_of(table)}")
    assert read.to_pylist() == [ROW]
    assert read.schema == SCHEMA


def test_much_is_loaded_in_several_files_of_which_none_stays(
    staging: Warehouse, snowflake: Snowflake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    schema = pa.schema({"id": pa.int64(), "noise": pa.binary()})
    some = random.Random(4)  # noqa: S311 - what matters is that it cannot be compressed
    sent: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, 160_000, 10_000):
            noise = [some.randbytes(512) for _ in range(10_000)]
            yield pa.RecordBatch.from_arrays([pa.array(range(start, start + 10_000)), noise], schema=schema)
            sent.append(sum(file.stat().st_size for file in tmp_path.rglob("*.parquet")))

    table = staging.table("touched", at=NOW)
    assert staging.load(table, schema, batches()) == 160_000

    counted = rows_of(staging, f'SELECT COUNT(DISTINCT "id") AS n FROM {staging.name_of(table)}')
    assert counted["N"].to_pylist() == [160_000]
    assert len(snowflake.seen("PUT 'file:///")) > 1
    assert max(sent) < 100 << 20
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_rows_that_do_not_arrive_fail_the_load(staging: Warehouse, snowflake: Snowflake) -> None:
    loaded = pa.array(["0.parquet"]), pa.array([0], pa.int8())
    text = {"name": "file", "type": "text", "scale": None, "precision": None, "length": 99}
    count = {"name": "rows_loaded", "type": "fixed", "scale": 0, "precision": 38, "length": None}
    snowflake.answer(
        "^COPY INTO",
        [(text, loaded[0], {"charLength": "0"}), (count, loaded[1], {"scale": "0", "precision": "38"})],
    )

    with pytest.raises(SourceUnavailableError, match="0 of 1 rows were loaded"):
        staging.load(staging.table("asked", at=NOW), SCHEMA, [pa.RecordBatch.from_pylist([ROW], schema=SCHEMA)])


def test_reading_counts_the_bytes_that_left(staging: Warehouse) -> None:
    rows_of(staging, "SELECT 1 AS id")
    before = staging.bytes_read

    table = rows_of(staging, "SELECT SEQ8() AS id FROM TABLE(GENERATOR(ROWCOUNT => 100000))", batch_rows=1000)

    assert before == 8
    assert staging.bytes_read - before == table.nbytes == 800_000


def test_types_are_those_of_an_extraction(
    staging: Warehouse, snowflake: Snowflake, extracted: Callable[..., pa.Table]
) -> None:
    model = (
        "SELECT 1 AS id, 1.5::NUMBER(10, 2) AS n, TRUE AS b, '1:02:03'::TIME AS t, CURRENT_DATE AS d, "
        "'2026-01-01'::TIMESTAMP_NTZ AS ntz, '2026-01-01 00:00:00 +02:00'::TIMESTAMP_TZ AS tz, PARSE_JSON('[1]') AS v"
    )
    table = staging.table("snapshot", at=NOW)
    staging.create_as(table, model)

    assert rows_of(staging, f"SELECT * FROM {staging.name_of(table)}").equals(extracted(model))
    assert rows_of(staging, f"SELECT * FROM {staging.name_of(table)} LIMIT 0").schema == extracted(model).schema


def test_types_are_named_as_in_snowflake(staging: Warehouse) -> None:
    table = staging.table("snapshot", at=NOW)
    staging.create_as(table, "SELECT 1.5::NUMBER(10, 2) AS n, PARSE_JSON('1') AS v, 'x' AS \"s\", TRUE AS b")

    types = staging.native_types(table)

    assert list(types) == ["N", "V", "s", "B"]
    assert [type_.partition("(")[0] for type_ in types.values()] == ["NUMBER", "VARIANT", "VARCHAR", "BOOLEAN"]


def test_a_right_that_is_missing_is_named(staging: Warehouse, snowflake: Snowflake) -> None:
    message = "SQL access control error:\nInsufficient privileges to operate on schema 'STAGING'"
    snowflake.fail("^CREATE TRANSIENT", errno=3001, sqlstate="42501", message=message)

    with pytest.raises(ConfigurationError, match=r"connection `snow`: the role lacks a right: ProgrammingError 003001"):
        staging.create_as(staging.table("snapshot", at=NOW), "SELECT 1 AS id")


@pytest.mark.parametrize("schema", ["nowhere", "no_database.staging"])
def test_a_schema_that_is_not_there_is_named_and_no_session_is_left(schema: str, snowflake: Snowflake) -> None:
    with (
        pytest.raises((ConfigurationError, ModelError), match=r"(?i)nowhere|no_database"),
        warehouse(sql_hook("snow"), schema, conn_id="snow"),
    ):
        pass

    assert snowflake.server.control()["sessions"] == 0


def test_a_schema_of_another_database_is_used(snowflake: Snowflake) -> None:
    other = f"{snowflake.database}_OTHER"
    snowflake.run(f"CREATE DATABASE {other}", f"CREATE SCHEMA {other}.staging")

    with warehouse(sql_hook("snow"), f"{other.lower()}.staging", conn_id="snow") as entered:
        table = entered.table("snapshot", at=NOW)
        entered.create_as(table, "SELECT 1 AS id")
        entered.load(entered.table("asked", at=NOW), pa.schema({"id": pa.int64()}), [pa.record_batch([[1]], ["id"])])

        assert entered.name_of(table) == f'"{other}"."STAGING"."{table.name.upper()}"'
        assert len(entered.tables()) == 2


def test_queries_carry_the_labels(snowflake: Snowflake) -> None:
    snowflake.run("CREATE SCHEMA staging")

    with warehouse(sql_hook("snow"), "staging", conn_id="snow", labels={"model": "people"}) as entered:
        rows_of(entered, "SELECT 1 AS id")

    assert '"model": "people"' in snowflake.seen("SELECT 1")[0]["parameters"]["QUERY_TAG"]


def test_what_is_loaded_is_committed_also_where_the_account_would_not(snowflake: Snowflake) -> None:
    snowflake.run("CREATE SCHEMA staging")

    with warehouse(sql_hook("snow"), "staging", conn_id="snow") as entered:
        rows_of(entered, "SELECT 1 AS id")

    assert snowflake.seen("SELECT 1")[0]["parameters"]["AUTOCOMMIT"] == "TRUE"
