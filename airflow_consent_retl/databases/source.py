"""Sources, which read a model's rows as Arrow batches through the hook of an Airflow connection.

A source reads only, holds one batch at a time, and shows no message of a driver that could quote a row. This file has
the base classes and the source for any DB-API hook. A database with a faster source has one in its folder, and names it
in its record.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.databases.cursor_rows import RowColumn, RowConverter
from airflow_consent_retl.databases.database import UTC_ZONE
from airflow_consent_retl.databases.fence import Fenced, Stage
from airflow_consent_retl.databases.plain_query import BYTE_ORDER_MARK, plain_query, quoted
from airflow_consent_retl.databases.registry import database_of
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, ModelError, SourceUnavailableError
from airflow_consent_retl.values.columns import cast, check_key_type, check_names

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook

# Connection exceptions, insufficient resources, operator intervention, serialization failures.
_TRANSIENT_SQLSTATES = ("08", "53", "57", "40")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelQuery:
    """A query, and the options with which a source reads it.

    Args:
        conn_id: the Airflow connection, for messages.
        sql: one query; DuckDB also takes settings before it.
        primary_key: name of the column that holds the ids.
        column_types: types that the DAG declares, by column.
        batch_rows: the largest number of rows in a batch.
        more_memory: give an embedded engine its full memory from the start, after `MoreMemoryNeededError`.
        columns: read only these of the query's columns; None for all.
        time_zone: the session's, where the database can set it.
        query_id: of `sql`, if it was submitted before (`databases.submitted`): its result is read, nothing is run.
        has_fingerprint: whether the database is asked for a fingerprint of all rows first.
    """

    conn_id: str
    sql: str
    primary_key: str
    column_types: Mapping[str, pa.DataType] = field(default_factory=dict)
    batch_rows: int = 32_768
    more_memory: bool = False
    columns: tuple[str, ...] | None = None
    time_zone: str = UTC_ZONE
    query_id: str | None = None
    has_fingerprint: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "sql", self.sql.removeprefix(BYTE_ORDER_MARK))


class MoreMemoryNeededError(SourceUnavailableError):
    """A plain scan did not fit in the small memory that plain scans get: read again, with `more_memory`."""


@dataclass(frozen=True, slots=True)
class ModelRows:
    """A running query: the schema before the first row, and the batches, each with that schema or a wider one.

    `fingerprint`: a text that other rows do not have, with a chance of 1 in 2**64, whatever their order: their number,
    and the sum of a hash of each. The database computed it from the rows of `batches`. Empty: it was not asked, or
    this kind of connection cannot.
    """

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]
    fingerprint: str = field(default="", kw_only=True)


def source_of(hook: DbApiHook, query: ModelQuery) -> DatabaseSource:
    """Return the source that reads the query, not yet connected."""
    database = database_of(hook.conn_type)
    class_: type[DatabaseSource] = database.load(database.source)
    return class_(hook, query)


@contextmanager
def read_model(hook: DbApiHook, query: ModelQuery) -> Iterator[ModelRows]:
    """Run the query. At the end, everything it opened is closed.

    Raises:
        ConfigurationError: the connection or a declared type is wrong.
        ModelError: the query fails, or its columns cannot make a model.
        SourceUnavailableError: the source does not answer, or is locked.
        MoreMemoryNeededError: a plain scan needs more memory; only while rows are read.
    """
    with source_of(hook, query).reading() as rows:
        yield rows


class DatabaseSource(Fenced):
    """One query on one connection."""

    # Asks the server to stop the query, from another thread or a signal handler.
    _stop: Callable[[], None] | None = None

    def __init__(self, hook: DbApiHook, query: ModelQuery) -> None:
        self._hook = hook
        self._query = query

    @contextmanager
    def reading(self) -> Iterator[ModelRows]:
        """Run the query. At the end, everything it opened is closed. Raises the errors of `read_model`."""
        with ExitStack() as resources:
            resources.callback(setattr, self, "_stop", None)
            yield self.open(resources)

    @property
    def is_running(self) -> bool:
        """Whether there is a query to cancel."""
        return self._stop is not None

    def cancel(self) -> None:
        """Cancel the query: its reader gets an error. Does nothing if none runs.

        May be called from another thread, and from a signal handler.
        """
        stop = self._stop
        if stop is not None:
            self._guarded("read", stop)

    @property
    def statement(self) -> str:
        """The SQL to run: the model's query, or the wanted columns of it."""
        if self._query.columns is None:
            return self._query.sql
        dialect = database_of(self._hook.conn_type).quotes_as
        names = ", ".join(quoted(name, dialect=dialect) for name in self._query.columns)
        # On separate lines, so that a comment at the end of the query comments out nothing else.
        query = plain_query(self._query.sql, dialect=dialect)
        return f"SELECT {names} FROM (\n{query}\n) AS consent_model"  # noqa: S608 - the DAG's own SQL

    @abstractmethod
    def open(self, resources: ExitStack) -> ModelRows:
        """Connect, start the query, and register everything to close with `resources`."""

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return this package's error for a driver's, without a value of a row."""
        return self._failure(error, stage)

    def _check_columns(self, names: Sequence[str]) -> None:
        check_names(names, primary_key=self._query.primary_key, declared=self._query.column_types)

    def _failure(self, error: Exception, stage: Stage, message: str = "") -> ConsentRetlError:
        """Return the error for a failure. `message` is the driver's, if the caller knows that it quotes no row."""
        sqlstate = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
        names = [type(error).__name__, f"SQLSTATE {sqlstate}" if sqlstate else "", message]
        cause = ": ".join(filter(None, names))
        conn_id = self._query.conn_id
        is_network = isinstance(error, ConnectionError | TimeoutError)
        if is_network or sqlstate.startswith(_TRANSIENT_SQLSTATES) or (stage == "connect" and _is_operational(error)):
            return SourceUnavailableError(f"connection `{conn_id}` is not available: {cause}")
        if stage == "connect":
            return ConfigurationError(f"connection `{conn_id}` cannot be opened: {cause}")
        what = "the query failed while its rows were read" if stage == "read" else "the query failed"
        return ModelError(f"{what} on connection `{conn_id}`: {cause}")


class DbApiSource(DatabaseSource):
    """One query on any DB-API 2.0 connection: rows come through a cursor, types from the values."""

    def open(self, resources: ExitStack) -> ModelRows:
        """Connect and execute; rows come through `fetchmany`."""
        connection = self._guarded("connect", lambda: self.connect(resources))
        cursor = self._guarded("prepare", lambda: self.execute(connection, resources))
        if not cursor.description:
            raise ModelError("the SQL is not a query: it returns no rows")
        self._check_columns([described[0] for described in cursor.description])
        converter = RowConverter(
            [self.column(described) for described in cursor.description],
            primary_key=self._query.primary_key,
            declared=self._query.column_types,
            exact=self.exact,
        )
        fingerprint = self._guarded("read", lambda: self.fingerprint(connection)) if self._query.has_fingerprint else ""
        return ModelRows(converter.empty_schema, self._batches(cursor, converter, resources), fingerprint=fingerprint)

    def fingerprint(self, connection: Any) -> str:
        """Return the fingerprint of all rows, from the same state of the database: see `ModelRows`."""
        return ""

    def exact(self, array: pa.Array, type_: pa.DataType, /, *, column: str) -> pa.Array:
        """Cast to the declared type without changing a value."""
        return cast(array, type_, column=column)

    def connect(self, resources: ExitStack) -> Any:
        """Return the hook's connection."""
        connection = self._hook.get_conn()
        resources.callback(connection.close)
        # Drivers have one of these methods; PEP 249 defines neither.
        self._stop = getattr(connection, "cancel", None) or getattr(connection, "interrupt", None)
        return connection

    def execute(self, connection: Any, resources: ExitStack) -> Any:
        """Return a cursor on which the query runs."""
        cursor = connection.cursor()
        resources.callback(cursor.close)
        cursor.arraysize = self._query.batch_rows
        cursor.execute(self.statement)
        return cursor

    def column(self, described: Sequence[Any]) -> RowColumn:
        """Return a column for an entry of the cursor's description."""
        return RowColumn(described[0])

    def _batches(self, cursor: Any, converter: RowConverter, resources: ExitStack) -> Iterator[pa.RecordBatch]:
        while rows := self._guarded("read", lambda: cursor.fetchmany(self._query.batch_rows)):
            yield converter.batch(rows)


class ArrowSource(DatabaseSource):
    """The base class of sources whose clients return Arrow batches."""

    def _check_schema(self, schema: pa.Schema) -> None:
        self._check_columns(schema.names)
        check_key_type(schema.field(self._query.primary_key).type, primary_key=self._query.primary_key)


def _is_operational(error: Exception) -> bool:
    # PEP 249 defines the names of the classes, but drivers share no base class.
    return any(base.__name__ in {"OperationalError", "InterfaceError"} for base in type(error).__mro__)
