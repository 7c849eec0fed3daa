"""Checks of a database's staging tables, and of the refusal where it has no warehouse workspace."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from airflow_consent_retl.databases.staging import StagingTable, Warehouse, warehouse
from airflow_consent_retl.errors import ConfigurationError, ModelError, RefusedError
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.testing.database_stand_in import DatabaseStandIn
from airflow_consent_retl.testing.people import CANARY

_SCHEMA = pa.schema(
    {
        "id": pa.int64(),
        "small": pa.int8(),
        "name": pa.string(),
        "ok": pa.bool_(),
        "Digest": pa.binary(),
        "day": pa.date32(),
        "until": pa.timestamp("us", "UTC"),
        "local": pa.timestamp("us"),
        "amount": pa.decimal128(38, 9),
        "ratio": pa.float64(),
    }
)
_ROWS = [
    {
        "id": 2**63 - 1,
        "small": -128,
        "name": " 'ü' \\ \n \"😀\", \\N",
        "ok": True,
        "Digest": b"\x00\xff",
        "day": date(9999, 12, 31),
        "until": datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC),
        "local": datetime(1, 1, 1, 0, 0, 0, 1, UTC).replace(tzinfo=None),
        "amount": Decimal("-99999999999999999999999999999.125"),
        "ratio": 0.1,
    },
    {
        "id": 2,
        "small": 0,
        "name": "",
        "ok": False,
        "Digest": b"",
        "day": date(1, 1, 1),
        "until": datetime(1, 1, 1, tzinfo=UTC),
        "local": datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC).replace(tzinfo=None),
        "amount": Decimal("0.000000001"),
        "ratio": float("inf"),
    },
    {**dict.fromkeys(_SCHEMA.names), "id": 1},
]


class StagingChecks:
    """Checks of the warehouse workspace."""

    def test_a_table_is_made_of_a_query_with_a_comment_at_its_end(self, database: DatabaseStandIn) -> None:
        """In one statement, with the query's columns."""
        with _staging(database) as staging:
            table = staging.table("snapshot", at=_now())

            assert staging.create_as(table, f"{database.ids}; -- all\n/* of it */") == 3

            assert staging.count(table) == 3
            assert list(staging.native_types(table)) == [database.key]

    def test_loaded_rows_are_read_again(self, database: DatabaseStandIn) -> None:
        """Every value is exact, and the bytes that left are counted."""
        with _staging(database) as staging:
            table = staging.table("decided", at=_now())
            batches = [pa.RecordBatch.from_pylist([row], schema=_SCHEMA) for row in _ROWS]

            assert staging.load(table, _SCHEMA, batches) == 3

            read = _rows(staging, _all(staging, table))
            assert sorted(read.to_pylist(), key=lambda row: int(row["id"]), reverse=True) == _ROWS
            # Some databases have one width of integers.
            assert pa.types.is_integer(read.schema.field("small").type)
            assert read.schema.remove(1) == _SCHEMA.remove(1)
            assert staging.bytes_read > 0

    def test_nan_and_nothing_are_loaded(self, database: DatabaseStandIn) -> None:
        """A table without rows has the schema. NaN stays NaN."""
        with _staging(database) as staging:
            empty, odd = (staging.table("asked", at=_now()) for _ in range(2))

            assert staging.load(empty, _SCHEMA, []) == 0
            assert staging.load(odd, pa.schema({"x": pa.float64()}), [pa.record_batch([[math.nan]], ["x"])]) == 1

            assert _rows(staging, _all(staging, empty)).num_rows == 0
            assert math.isnan(_rows(staging, _all(staging, odd))["x"].to_pylist()[0])

    def test_only_staging_tables_are_listed_and_dropping_one_again_is_no_error(self, database: DatabaseStandIn) -> None:
        """A retry may drop a table that the try before it dropped."""
        for name in ("not_ours", "consent_retl_neither"):
            database.run(f"CREATE TABLE {database.schema}.{name} AS SELECT 1 AS id")
        with _staging(database) as staging:
            made_at = _now()
            first, second = (staging.table("permitted", at=made_at) for _ in range(2))
            for table in (first, second):
                staging.create_as(table, database.ids)
            assert set(staging.tables()) == {first, second}

            staging.drop(first)
            staging.drop(first)

            assert staging.tables() == [second]
            assert staging.tables()[0].made_at == made_at

    def test_a_staging_table_that_is_gone_is_refused(self, database: DatabaseStandIn) -> None:
        """With its name, and never as an empty result."""
        with _staging(database) as staging:
            gone = staging.table("permitted", at=_now())

            with pytest.raises(RefusedError, match="is gone") as failure:
                _rows(staging, _all(staging, gone))
            assert gone.name in str(failure.value)
            with pytest.raises(RefusedError, match="is gone"):
                staging.create_as(staging.table("permitted", at=_now()), _all(staging, gone))
            with pytest.raises(RefusedError, match="is gone"):
                staging.count(gone)

    def test_a_type_that_cannot_be_staged_is_named(self, database: DatabaseStandIn) -> None:
        """With its column."""
        with _staging(database) as staging, pytest.raises(ModelError, match="column `tags` is list"):
            staging.load(staging.table("asked", at=_now()), pa.schema({"tags": pa.list_(pa.int64())}), [])

    def test_a_staging_error_quotes_no_value_of_a_row(self, database: DatabaseStandIn) -> None:
        """The driver's exception ends at the fence here, too."""
        with _staging(database) as staging:
            with pytest.raises(ModelError, match="the query failed") as failure:
                staging.create_as(staging.table("snapshot", at=_now()), database.quoting)

            assert CANARY not in repr(failure.value)
            assert failure.value.__context__ is None


class StagingRefusalChecks:
    """Checks of a database without a warehouse workspace."""

    def test_a_warehouse_workspace_is_refused(self, database: DatabaseStandIn) -> None:
        """Before anything is connected."""
        with pytest.raises(ConfigurationError, match="which has no warehouse workspace"):
            _staging(database)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _staging(database: DatabaseStandIn) -> Warehouse:
    return warehouse(sql_hook(database.conn_id), database.schema, conn_id=database.conn_id)


def _all(staging: Warehouse, table: StagingTable) -> str:
    return f"SELECT * FROM {staging.name_of(table)}"  # noqa: S608 - the name is quoted


def _rows(staging: Warehouse, sql: str) -> pa.Table:
    with staging.read(sql) as rows:
        batches = list(rows.batches)
    return pa.Table.from_batches(batches) if batches else rows.schema.empty_table()
