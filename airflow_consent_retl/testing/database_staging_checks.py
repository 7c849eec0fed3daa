"""Checks of a database's staging tables; where it declares no warehouse workspace, checks that one is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from airflow_consent_retl.databases.staging import StagingTable, Warehouse, warehouse
from airflow_consent_retl.errors import ConfigurationError, ModelError, RefusedError
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.testing.database_stand_in import DatabaseStandIn
from airflow_consent_retl.testing.people import CANARY

_SCHEMA = pa.schema({"id": pa.int64(), "name": pa.string(), "ok": pa.bool_(), "hash": pa.binary()})
_ROWS = [
    {"id": 1, "name": " 'ü' \\ \n 😀", "ok": True, "hash": b"\x00\xff"},
    {"id": 2, "name": "", "ok": False, "hash": b""},
    {"id": 3, "name": None, "ok": None, "hash": None},
]


class StagingChecks:
    """Checks of the warehouse workspace."""

    def test_a_table_is_made_of_a_query_with_a_comment_at_its_end(self, database: DatabaseStandIn) -> None:
        """In one statement, with the query's columns."""
        with _staging(database) as staging:
            if staging is None:
                return
            table = staging.table("snapshot", at=_now())

            assert staging.create_as(table, f"{database.ids}; -- all\n/* of it */") == 3

            assert staging.count(table) == 3
            assert list(staging.native_types(table)) == [database.key]

    def test_loaded_rows_are_read_again(self, database: DatabaseStandIn) -> None:
        """Every value is exact, and the bytes that left are counted."""
        with _staging(database) as staging:
            if staging is None:
                return
            table = staging.table("decided", at=_now())
            batches = [pa.RecordBatch.from_pylist([row], schema=_SCHEMA) for row in _ROWS]

            assert staging.load(table, _SCHEMA, batches) == 3

            read = _rows(staging, _all(staging, table))
            assert sorted(read.to_pylist(), key=lambda row: int(row["id"])) == _ROWS
            assert read.schema == _SCHEMA
            assert staging.bytes_read > 0

    def test_an_empty_table_is_loaded(self, database: DatabaseStandIn) -> None:
        """It has the schema, and no rows."""
        with _staging(database) as staging:
            if staging is None:
                return
            table = staging.table("asked", at=_now())

            assert staging.load(table, _SCHEMA, []) == 0

            assert _rows(staging, _all(staging, table)).num_rows == 0

    def test_tables_are_listed_and_dropping_one_again_is_no_error(self, database: DatabaseStandIn) -> None:
        """A retry may drop what the try before it dropped."""
        with _staging(database) as staging:
            if staging is None:
                return
            first, second = (staging.table("permitted", at=_now()) for _ in range(2))
            for table in (first, second):
                staging.create_as(table, database.ids)
            assert {first, second} <= set(staging.tables())

            staging.drop(first)
            staging.drop(first)

            assert second in staging.tables()
            assert first not in staging.tables()

    def test_a_staging_table_that_is_gone_is_refused(self, database: DatabaseStandIn) -> None:
        """With its name, and never as an empty result."""
        with _staging(database) as staging:
            if staging is None:
                return
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
        with _staging(database) as staging:
            if staging is None:
                return
            with pytest.raises(ModelError, match="column `tags` is list"):
                staging.load(staging.table("asked", at=_now()), pa.schema({"tags": pa.list_(pa.int64())}), [])

    def test_a_staging_error_quotes_no_value_of_a_row(self, database: DatabaseStandIn) -> None:
        """The driver's exception ends at the fence here, too."""
        with _staging(database) as staging:
            if staging is None:
                return
            with pytest.raises(ModelError, match="the query failed") as failure:
                staging.create_as(staging.table("snapshot", at=_now()), database.quoting)

            assert CANARY not in repr(failure.value)
            assert failure.value.__context__ is None


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@contextmanager
def _staging(database: DatabaseStandIn) -> Iterator[Warehouse | None]:
    """Enter the workspace. Where none is declared, check the refusal and yield None."""
    hook = sql_hook(database.conn_id)
    if not database.abilities.stages:
        with pytest.raises(ConfigurationError, match="which has no warehouse workspace"):
            warehouse(hook, database.schema, conn_id=database.conn_id)
        yield None
        return
    with warehouse(hook, database.schema, conn_id=database.conn_id) as entered:
        yield entered


def _all(staging: Warehouse, table: StagingTable) -> str:
    return f"SELECT * FROM {staging.name_of(table)}"  # noqa: S608 - the name is quoted


def _rows(staging: Warehouse, sql: str) -> pa.Table:
    with staging.read(sql) as rows:
        batches = list(rows.batches)
    return pa.Table.from_batches(batches) if batches else rows.schema.empty_table()
