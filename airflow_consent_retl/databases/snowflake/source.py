"""Snowflake as a source: the connector's Arrow chunks, in the types that Snowflake declares."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.types as pt

from airflow_consent_retl.databases.plain_query import plain_query
from airflow_consent_retl.databases.snowflake.errors import translated
from airflow_consent_retl.databases.snowflake.session import SnowflakeSession, open_session
from airflow_consent_retl.databases.snowflake.types import SnowflakeColumn, nanoseconds_lost
from airflow_consent_retl.databases.source import ArrowSource, ModelRows
from airflow_consent_retl.errors import ConsentRetlError, SourceUnavailableError
from airflow_consent_retl.values.columns import cast

if TYPE_CHECKING:
    from snowflake.connector.cursor import SnowflakeCursor

    from airflow_consent_retl.databases.fence import Guarded, Stage


class SnowflakeSource(ArrowSource):
    """One query through Airflow's `SnowflakeHook`.

    The query runs as a subquery, so that it can only read. Leaving the context cancels the query.
    """

    @property
    def statement(self) -> str:
        """The SQL to run: a SELECT around the model's query."""
        query = plain_query(self._query.sql, dialect="snowflake")
        names = "*" if self._query.columns is None else ", ".join(map(quoted, self._query.columns))
        return f"SELECT {names} FROM (\n{query}\n) AS consent_model"  # noqa: S608 - the DAG's own SQL

    def open(self, resources: ExitStack) -> ModelRows:
        """Connect, run the query to its end, and return its chunks as they are downloaded."""
        session = self._guarded("connect", lambda: open_session(self._hook, time_zone=self._query.time_zone))
        resources.callback(session.close)
        self._stop = session.cancel
        result = SnowflakeResult(
            session,
            self._submitted(session, self._query.query_id) if self._query.query_id else self.statement,
            guarded=self._guarded,
            declared=self._query.column_types,
            batch_rows=self._query.batch_rows,
            check=self._check_columns,
        )
        self._check_schema(result.schema)
        batches = result.batches()
        # Running downloads end before the session does.
        resources.callback(batches.close)
        return ModelRows(result.schema, batches)

    def _submitted(self, session: SnowflakeSession, query_id: str) -> str:
        """Wait for a submitted query, without a limit, and return a statement that selects its result."""
        self._guarded("read", lambda: session.wait_for(query_id))
        return f"SELECT * FROM {kept_result(query_id)}"  # noqa: S608 - an id of the server's

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return an error with the server's message, if that is about the statement or the connection."""
        return translated(error, stage, conn_id=self._query.conn_id)


class SnowflakeResult:
    """The result of one query.

    Args:
        session: to run it in.
        statement: one SELECT.
        guarded: turns the connector's errors into this package's.
        declared: types that win over Snowflake's, by column.
        batch_rows: the largest number of rows in a batch.
        check: gets the columns' names before a row is read.

    Raises:
        ModelError: the query fails, or a column has no exact counterpart.
        ConfigurationError: a right or a warehouse is missing.
        SourceUnavailableError: the server does not answer, or the query was cancelled.
    """

    def __init__(
        self,
        session: SnowflakeSession,
        statement: str,
        *,
        guarded: Guarded,
        declared: Mapping[str, pa.DataType] | None = None,
        batch_rows: int = 32_768,
        check: Callable[[list[str]], None] | None = None,
    ) -> None:
        self._session = session
        self._guarded = guarded
        self._declared = declared or {}
        self._batch_rows = batch_rows
        self._cursor = self._run(statement)
        described = self._cursor.description
        if check is not None:
            check([column.name for column in described])
        self._columns = [SnowflakeColumn.of(column) for column in described]
        self._exact()
        self.schema = pa.schema(
            pa.field(column.name, self._declared.get(column.name, column.type)) for column in self._columns
        )
        self._checked_for_nanoseconds = False

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Read the rows, once. Integers beyond 64 bits widen a column's type from one batch to the next.

        Raises:
            ModelError: a value has no counterpart in the column's type.
            SourceUnavailableError: the number of rows differs from the server's count.
        """
        promised, rows = self._cursor.rowcount, 0
        chunks: Any = self._guarded("read", self._cursor.fetch_arrow_batches)
        try:
            while (chunk := self._guarded("read", lambda: next(chunks, None))) is not None:
                for batch in chunk.to_batches(max_chunksize=self._batch_rows):
                    yield self._converted(batch)
                    rows += batch.num_rows
                del chunk, batch
        finally:
            chunks.close()
        if promised is not None and rows != promised:
            raise SourceUnavailableError(f"the result came incomplete: {rows:,} of {promised:,} rows")

    def _run(self, statement: str) -> SnowflakeCursor:
        return self._guarded("prepare", lambda: self._session.run(statement))

    def _exact(self) -> None:
        """Read the kept result again, with casts of the columns that the connector would change."""
        if all(column.exact_sql is None for column in self._columns):
            return
        casts = ", ".join(
            f"CAST({quoted(column.name)} AS {column.exact_sql}) AS {quoted(column.name)}"
            if column.exact_sql
            else quoted(column.name)
            for column in self._columns
        )
        self._cursor = self._run(f"SELECT {casts} FROM {kept_result(self._cursor.sfqid)}")  # noqa: S608 - names are quoted

    def _converted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = []
        for sent, column, field in zip(batch.columns, self._columns, self.schema, strict=True):
            keeps = pt.is_timestamp(field.type) and field.type.unit == "ns"
            if column.has_nanoseconds and not keeps and pt.is_timestamp(sent.type) and sent.type.unit == "us":
                self._check_for_nanoseconds()
            array = column.array(sent, nanoseconds=keeps)
            arrays.append(cast(array, field.type, column=field.name) if field.name in self._declared else array)
        return pa.RecordBatch.from_arrays(arrays, names=self.schema.names)

    def _check_for_nanoseconds(self) -> None:
        """Ask the server once whether a column has nanoseconds.

        The connector converts a chunk to microseconds if one of its timestamps is too far away for nanoseconds, and
        cuts the digits of the others without an error.
        """
        if self._checked_for_nanoseconds:
            return
        self._checked_for_nanoseconds = True
        columns = [column for column in self._columns if column.has_nanoseconds]
        counts = ", ".join(
            f"COUNT_IF(CAST({quoted(column.name)} AS {column.kind}(6)) <> {quoted(column.name)})" for column in columns
        )
        cursor = self._run(f"SELECT {counts} FROM {kept_result(self._cursor.sfqid)}")  # noqa: S608 - names are quoted
        found: Any = self._guarded("read", cursor.fetchone)
        if lost := [column for column, count in zip(columns, found, strict=True) if count]:
            raise nanoseconds_lost(lost)


def kept_result(query_id: str | None) -> str:
    """Return the SQL name of a query's result. The server keeps it for 24 hours, for the user who ran the query."""
    return f"TABLE(RESULT_SCAN('{query_id}'))"


def quoted(name: str) -> str:
    """Return a name, quoted, for Snowflake's SQL."""
    return '"' + name.replace('"', '""') + '"'
