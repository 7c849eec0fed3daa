"""BigQuery as a workspace: what is BigQuery's own about the tables of the staging dataset."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.bigquery_server import BigQuery

from airflow_consent_retl.databases.staging import Warehouse, warehouse
from airflow_consent_retl.errors import ConfigurationError, ModelError, SourceUnavailableError
from airflow_consent_retl.hooks.sql import sql_hook

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
CANARY = "canary-7f3a@example.com"
SCHEMA = pa.schema({"id": pa.int64()})


@pytest.fixture
def staging(bigquery: BigQuery) -> Iterator[Warehouse]:
    bigquery.run("CREATE SCHEMA staging")
    with warehouse(sql_hook("bq"), "staging", conn_id="bq") as entered:
        yield entered


def rows_of(staging: Warehouse, sql: str, **options: Any) -> pa.Table:
    with staging.read(sql, **options) as rows:
        return pa.Table.from_batches(list(rows.batches), rows.schema)


def test_a_table_is_made_of_a_query_with_comments_at_its_end(staging: Warehouse, bigquery: BigQuery) -> None:
    table = staging.table("snapshot", at=NOW)

    made = staging.create_as(table, "WITH t AS (SELECT 1 AS id, 'x' AS eMail) SELECT * FROM t; -- all\n/* of it */")

    assert made == 1
    assert rows_of(staging, f"SELECT * FROM {staging.name_of(table)}").to_pylist() == [{"id": 1, "eMail": "x"}]
    (creation,) = bigquery.seen("CREATE TABLE")
    assert f'expiration_timestamp=TIMESTAMP "{NOW + dt.timedelta(days=7):%Y-%m-%d}' in creation["text"]
    assert '("app", "airflow-consent-retl")' in creation["text"]


def test_what_has_to_last_does_not_expire(staging: Warehouse, bigquery: BigQuery) -> None:
    staging.create_as(staging.table("delivered", at=NOW), "SELECT 1 AS id", expires=False)
    staging.load(staging.table("delivered", at=NOW), pa.schema({"id": pa.int64()}), [], expires=False)

    assert "expiration" not in bigquery.seen("CREATE TABLE")[0]["text"]
    assert bigquery.server.control()["expirations"] == [None]


def test_what_is_loaded_expires(staging: Warehouse, bigquery: BigQuery) -> None:
    staging.load(staging.table("asked", at=NOW), pa.schema({"id": pa.int64()}), [])

    (expires,) = bigquery.server.control()["expirations"]
    assert 6.9 < (int(expires) / 1000 - NOW.timestamp()) / 86_400 < 7.1


def test_much_is_loaded_in_several_files_of_which_none_stays(
    staging: Warehouse, bigquery: BigQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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

    counted = rows_of(staging, f"SELECT COUNT(DISTINCT id) AS n FROM {staging.name_of(table)}")
    assert counted["n"].to_pylist() == [160_000]
    loads = bigquery.seen("LOAD")
    assert len(loads) > 1
    assert all(load["configuration"]["labels"]["app"] == "airflow-consent-retl" for load in loads)
    assert max(sent) < 100 << 20
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("type_", [pa.decimal256(76, 38), pa.timestamp("ns")])
def test_a_type_that_cannot_be_staged_is_named(type_: pa.DataType, staging: Warehouse, bigquery: BigQuery) -> None:
    with pytest.raises(ModelError, match="column `tags` is "):
        staging.load(staging.table("asked", at=NOW), pa.schema({"tags": type_}), [])

    assert staging.tables() == []


def test_rows_that_do_not_arrive_fail_the_load(staging: Warehouse, bigquery: BigQuery) -> None:
    bigquery.server.control(fewer_rows=True)

    with pytest.raises(SourceUnavailableError, match="0 of 1 rows were loaded"):
        staging.load(staging.table("asked", at=NOW), SCHEMA, [pa.record_batch([[1]], ["id"])])


def test_reading_counts_the_bytes_that_left(staging: Warehouse) -> None:
    rows_of(staging, "SELECT 1 AS id")
    before = staging.bytes_read

    table = rows_of(staging, "SELECT n AS id FROM UNNEST(GENERATE_ARRAY(1, 100000)) AS n", batch_rows=1000)

    assert before == 8
    assert staging.bytes_read - before == table.nbytes == 800_000


def test_types_are_those_of_an_extraction(staging: Warehouse, extracted: Callable[..., pa.Table]) -> None:
    model = (
        "SELECT 1 AS id, CAST('1.5' AS NUMERIC) AS n, TRUE AS b, TIME '01:02:03' AS t, DATE '2026-01-01' AS d, "
        "DATETIME '2026-01-01 00:00:00' AS at, TIMESTAMP '2026-01-01 00:00:00+02' AS ts, JSON '[1]' AS v, [1, 2] AS a, "
        "STRUCT('x' AS x) AS s"
    )
    table = staging.table("snapshot", at=NOW)
    staging.create_as(table, model)

    assert rows_of(staging, f"SELECT * FROM {staging.name_of(table)}").equals(extracted(model))
    assert rows_of(staging, f"SELECT * FROM {staging.name_of(table)} LIMIT 0").schema == extracted(model).schema


def test_types_are_named_as_sql_names_them(staging: Warehouse) -> None:
    table = staging.table("snapshot", at=NOW)
    staging.create_as(table, "SELECT 1 AS i, 1.5 AS f, TRUE AS b, 'x' AS s, [1] AS a, STRUCT(1 AS x, ['y'] AS y) AS r")

    types = staging.native_types(table)

    assert types == {
        "i": "INT64",
        "f": "FLOAT64",
        "b": "BOOL",
        "s": "STRING",
        "a": "ARRAY<INT64>",
        "r": "STRUCT<x INT64, y ARRAY<STRING>>",
    }


def test_a_right_that_is_missing_is_named(staging: Warehouse, bigquery: BigQuery) -> None:
    message = "Access Denied: Dataset p:staging: Permission bigquery.tables.create denied on dataset p:staging"
    bigquery.fail("CREATE TABLE", reason="accessDenied", message=message)

    with pytest.raises(ConfigurationError, match=r"lacks a right: Forbidden \(accessDenied\)$"):
        staging.create_as(staging.table("snapshot", at=NOW), "SELECT 1 AS id")


def test_what_is_wrong_with_a_statement_is_reported(staging: Warehouse) -> None:
    with pytest.raises(ModelError, match=r"(?i)no_such_function"):
        staging.create_as(staging.table("snapshot", at=NOW), "SELECT NO_SUCH_FUNCTION(1) AS id")


@pytest.mark.parametrize("schema", ["nowhere", "other-project.staging"])
def test_a_dataset_that_is_not_there_is_named(schema: str, bigquery: BigQuery) -> None:
    with (
        pytest.raises(ConfigurationError, match=f"no staging dataset `{schema}`"),
        warehouse(sql_hook("bq"), schema, conn_id="bq"),
    ):
        pass


def test_a_dataset_whose_tables_expire_is_refused(bigquery: BigQuery) -> None:
    bigquery.dataset("fleeting", defaultTableExpirationMs="3600000")

    with (
        pytest.raises(ConfigurationError, match="expire by default"),
        warehouse(sql_hook("bq"), "fleeting", conn_id="bq"),
    ):
        pass


def test_a_dataset_of_another_project_is_used_where_it_is(bigquery: BigQuery) -> None:
    other = f"{bigquery.project}-other"
    bigquery.dataset("staging", project=other, location="EU")

    with warehouse(sql_hook("bq"), f"{other}.staging", conn_id="bq") as entered:
        table = entered.table("snapshot", at=NOW)
        entered.create_as(table, "SELECT 1 AS id")
        entered.load(entered.table("asked", at=NOW), pa.schema({"id": pa.int64()}), [pa.record_batch([[1]], ["id"])])

        assert entered.name_of(table) == f"`{other}.staging.{table.name}`"
        assert len(entered.tables()) == 2
    assert bigquery.seen("CREATE TABLE")[0]["location"] == "EU"


def test_jobs_carry_the_labels(bigquery: BigQuery) -> None:
    bigquery.run("CREATE SCHEMA staging")

    with warehouse(sql_hook("bq"), "staging", conn_id="bq", labels={"model": "people"}) as entered:
        rows_of(entered, "SELECT 1 AS id")

    assert bigquery.seen("SELECT 1 AS id")[0]["configuration"]["labels"]["model"] == "people"
