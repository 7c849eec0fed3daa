"""Checks that a database's source reads rows exactly, quotes no row in an error, and stops when it is cancelled."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pyarrow as pa
import pytest

from airflow_consent_retl.databases.source import DatabaseSource, ModelQuery, source_of
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, ModelError
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.testing.database_stand_in import DatabaseStandIn
from airflow_consent_retl.testing.people import CANARY

_BEGINNING_S = 0.3
_CANCEL_INTERVAL_S = 0.2
_SOON_S = 60


class ReadingChecks:
    """Checks of the source."""

    def test_ids_are_read_as_integers_and_cancelling_no_query_is_no_error(self, database: DatabaseStandIn) -> None:
        """Cancelling before the query and after it has no effect."""
        source = _source(database, database.ids)

        source.cancel()
        read = _read(source)
        source.cancel()

        assert pa.types.is_integer(read.schema.field(database.key).type)
        assert sorted(read[database.key].to_pylist()) == [1, 2, 3]

    def test_only_the_wanted_columns_are_read(self, database: DatabaseStandIn) -> None:
        """Names are quoted as the database quotes them, and a comment at the end hides nothing."""
        read = _read(_source(database, "SELECT 1 AS id, 2 AS n -- all", columns=(database.key,)))

        assert read.to_pylist() == [{database.key: 1}]

    def test_an_error_quotes_no_value_of_a_row_and_chains_no_driver(self, database: DatabaseStandIn) -> None:
        """The driver's exception ends at the fence."""
        with pytest.raises(ModelError) as failure:
            _read(_source(database, database.quoting))

        assert CANARY not in repr(failure.value)
        assert failure.value.__context__ is None
        assert failure.value.__cause__ is None

    def test_a_missing_table_is_named(self, database: DatabaseStandIn) -> None:
        """The server's message is shown if it was made before any row was read."""
        with pytest.raises((ModelError, ConfigurationError), match=r"(?i)no_such_table"):
            _read(_source(database, "SELECT * FROM no_such_table"))

    def test_cancelling_ends_a_query_that_would_run_for_long(self, database: DatabaseStandIn) -> None:
        """Another thread cancels it; the reader gets an error."""
        source, is_over = _source(database, database.endless), threading.Event()
        began: list[float] = []
        stopping = threading.Thread(target=_cancel_until_over, args=[source, is_over, began])

        stopping.start()
        try:
            with pytest.raises(ConsentRetlError):
                _read(source)
        finally:
            is_over.set()
            stopping.join()

        assert time.monotonic() - began[0] < _SOON_S
        assert not source.is_running


def read_rows(database: DatabaseStandIn, sql: str, *, key: str | None = None) -> pa.Table:
    """Read a query as a model.

    Args:
        database: to read from.
        sql: the query.
        key: its column with ids; without one, the stand-in's `key`.
    """
    query = ModelQuery(conn_id=database.conn_id, sql=sql, primary_key=key or database.key)
    return _read(source_of(sql_hook(database.conn_id), query))


def _source(database: DatabaseStandIn, sql: str, *, columns: tuple[str, ...] | None = None) -> DatabaseSource:
    query = ModelQuery(conn_id=database.conn_id, sql=sql, primary_key=database.key, columns=columns)
    return source_of(sql_hook(database.conn_id), query)


def _read(source: DatabaseSource) -> pa.Table:
    with source.reading() as rows:
        batches = list(rows.batches)
    return pa.Table.from_batches(batches) if batches else rows.schema.empty_table()


def _cancel_until_over(source: DatabaseSource, is_over: threading.Event, began: list[float]) -> None:
    # A cancellation before the query has begun has no effect.
    while not source.is_running and not is_over.wait(_CANCEL_INTERVAL_S):
        pass
    is_over.wait(_BEGINNING_S)
    began.append(time.monotonic())
    while not is_over.is_set():
        # The query may end between two cancellations.
        with suppress(ConsentRetlError):
            source.cancel()
        is_over.wait(_CANCEL_INTERVAL_S)
