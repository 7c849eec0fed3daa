"""Snowflake as a workspace: transient tables in a staging schema, loaded from Parquet through a temporary stage."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
import pyarrow.types as pt

from airflow_consent_retl.databases.plain_query import plain_query
from airflow_consent_retl.databases.snowflake.errors import NO_SUCH_OBJECT, translated
from airflow_consent_retl.databases.snowflake.session import SnowflakeSession, open_session
from airflow_consent_retl.databases.snowflake.source import SnowflakeResult, quoted
from airflow_consent_retl.databases.source import ModelRows
from airflow_consent_retl.databases.staging import StagingTable, Warehouse, is_staging_name
from airflow_consent_retl.databases.staging_files import staging_files
from airflow_consent_retl.errors import (
    ConfigurationError,
    ModelError,
    RefusedError,
    SourceUnavailableError,
)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from snowflake.connector.cursor import SnowflakeCursor

    from airflow_consent_retl.databases.fence import Stage

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_STAGING_NAME = re.compile(r"consent_retl_\d{8}t\d{6}_[a-z]+_[0-9a-f]{16}", re.IGNORECASE)
# Without time travel and fail-safe, which cost money. Only delivered states have them: their loss would lose the record
# of the people who were delivered.
_TRANSIENT = "TRANSIENT TABLE {name} {columns}DATA_RETENTION_TIME_IN_DAYS = 0"
_PERMANENT = "TABLE {name} {columns}"
# An account may turn it off; loaded rows would then be lost at the end of the session.
_SESSION = {"AUTOCOMMIT": True}
_INTEGER_DIGITS = {8: 3, 16: 5, 32: 10, 64: 19}


class SnowflakeWarehouse(Warehouse):
    """Tables of one staging schema on Snowflake, through Airflow's `SnowflakeHook`.

    A schema's name is read like SQL without quotes, so `staging` is STAGING. It is in the connection's database, unless
    it is written `database.staging`. Tables have names in upper case, columns have exactly the given names.
    """

    dialect: ClassVar[str] = "snowflake"

    def __init__(self, hook: DbApiHook, schema: str, *, conn_id: str, labels: Mapping[str, str] | None = None) -> None:
        super().__init__(hook, schema, conn_id=conn_id, labels=labels)
        self._entered: SnowflakeSession | None = None
        self._namespace = ""

    def __enter__(self) -> Self:
        """Connect, and check that the staging schema exists.

        Raises:
            ConfigurationError: the connection is wrong, or there is no such schema that the role may use.
            SourceUnavailableError: Snowflake does not answer.
        """
        session = self._guarded("connect", lambda: open_session(self.hook, labels=self.labels, settings=_SESSION))
        self._entered = session
        is_ready = False
        try:
            self._namespace = self._checked_schema(session)
            is_ready = True
        finally:
            if not is_ready:
                self.__exit__()
        return self

    def __exit__(self, *exception: object) -> None:
        """Cancel a statement that still runs, and disconnect."""
        session, self._entered = self._entered, None
        if session is not None:
            session.close()

    def name_of(self, table: StagingTable) -> str:
        """Return the table's full name, quoted, for SQL."""
        return f"{self._namespace}.{quoted(table.name.upper())}"

    def quote(self, column: str) -> str:
        """Return a column's name, quoted, for SQL."""
        return quoted(column)

    def create_as(self, table: StagingTable, query: str, *, expires: bool = True) -> int:
        """Make a table of a query's rows, in one statement, and return the number of rows."""
        self._run(self.creation(table, query, expires=expires))
        return self.count(table)

    def creation(self, table: StagingTable, query: str, *, expires: bool = True) -> str:
        """Return the statement that `create_as` runs."""
        return f"{self._create(table, '', expires=expires)} AS\n{plain_query(query, dialect='snowflake')}"

    def count(self, table: StagingTable) -> int:
        """Return the number of rows of a table. Snowflake knows it without a running warehouse."""
        cursor = self._run(f"SELECT COUNT(*) FROM {self.name_of(table)}")  # noqa: S608 - names are quoted
        row: Any = self._guarded("read", cursor.fetchone)
        return int(row[0])

    def load(
        self, table: StagingTable, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, expires: bool = True
    ) -> int:
        """Make a table of Arrow batches. Parquet files are uploaded to a temporary stage and copied from it.

        Raises:
            ModelError: a type cannot be staged.
            SourceUnavailableError: a file could not be uploaded, or rows are missing.
        """
        types = [_sql_type(field) for field in schema]
        columns = ", ".join(f"{quoted(field.name)} {type_}" for field, type_ in zip(schema, types, strict=True))
        self._run(self._create(table, f"({columns}) ", expires=expires))
        stage = f"{self._namespace}.{quoted(f'{table.name}_files'.upper())}"
        self._run(f"CREATE TEMPORARY STAGE {stage}")
        rows = 0
        with staging_files(schema, batches, names=[_file_column(index) for index in range(len(schema))]) as files:
            for file in files:
                self._run(f"PUT 'file://{file.path}' @{stage} AUTO_COMPRESS = FALSE")
                rows += file.rows
        # A table's own stage would need no right, but a SELECT cannot read it.
        # https://docs.snowflake.com/en/user-guide/data-load-transform (read 2026-11-24)
        selected = ", ".join(f"$1:{_file_column(index)}::{type_}" for index, type_ in enumerate(types))
        names = ", ".join(quoted(name) for name in schema.names)
        loaded = 0
        if rows:
            loaded = self._copied(
                f"COPY INTO {self.name_of(table)} ({names}) FROM (SELECT {selected} FROM @{stage}) "  # noqa: S608
                "FILE_FORMAT = (TYPE = PARQUET USE_LOGICAL_TYPE = TRUE BINARY_AS_TEXT = FALSE) "
                "PURGE = TRUE ON_ERROR = ABORT_STATEMENT"
            )
        if loaded != rows:
            raise SourceUnavailableError(
                f"connection `{self.conn_id}`: {loaded:,} of {rows:,} rows were loaded into a staging table"
            )
        return rows

    @contextmanager
    def read(self, query: str, *, batch_rows: int = 32_768) -> Iterator[ModelRows]:
        """Run a SELECT and stream its rows, with the types that an extraction of the same columns would have."""
        statement = plain_query(query, dialect="snowflake")
        result = SnowflakeResult(self._session, statement, guarded=self._guarded, batch_rows=batch_rows)
        batches = self._counted(result.batches())
        try:
            yield ModelRows(result.schema, batches)
        finally:
            batches.close()

    def drop(self, table: StagingTable) -> None:
        """Delete a table; a missing table is not an error."""
        self._run(f"DROP TABLE IF EXISTS {self.name_of(table)}")

    def native_types(self, table: StagingTable) -> dict[str, str]:
        """Return the type of each column as Snowflake names it, in the columns' order."""
        cursor = self._run(f"DESCRIBE TABLE {self.name_of(table)}")
        described = [column.name for column in cursor.description]
        name, type_ = described.index("name"), described.index("type")
        rows: list[Any] = self._guarded("read", cursor.fetchall)
        return {row[name]: row[type_] for row in rows}

    def cancel(self) -> None:
        """Cancel the running statement, from another thread or a signal handler."""
        session = self._entered
        if session is not None:
            self._guarded("read", session.cancel)

    def tables(self) -> list[StagingTable]:
        """Return the tables of the staging schema whose names this package made."""
        names = self._shown(self._session, f"TABLES LIKE 'CONSENT_RETL_%' IN SCHEMA {self._namespace}")
        return [StagingTable(self.schema, name.lower()) for name in names if is_staging_name(name.lower())]

    @property
    def _session(self) -> SnowflakeSession:
        if self._entered is None:
            raise RuntimeError("the warehouse is not entered")
        return self._entered

    def _checked_schema(self, session: SnowflakeSession) -> str:
        *databases, schema = [_folded(part) for part in self.schema.split(".")]
        database = databases[0] if databases else session.connection.database
        if len(databases) > 1 or not database:
            raise ConfigurationError(
                f"staging schema `{self.schema}` on connection `{self.conn_id}`: expected `database.schema`, or "
                f"`schema` and a database in the connection"
            )
        database = database.strip('"')
        if schema not in self._shown(session, f"SCHEMAS LIKE '{schema}' IN DATABASE {quoted(database)}"):
            raise ConfigurationError(
                f"there is no staging schema `{self.schema}` in database {database} on connection `{self.conn_id}`, or "
                f"its role has no right to use it: CREATE SCHEMA, then GRANT USAGE, CREATE TABLE and CREATE STAGE on it"
            )
        return f"{quoted(database)}.{quoted(schema)}"

    def _shown(self, session: SnowflakeSession, what: str) -> list[str]:
        cursor = self._guarded("prepare", lambda: session.run(f"SHOW TERSE {what}"))
        place = [column.name for column in cursor.description].index("name")
        rows: list[Any] = self._guarded("read", cursor.fetchall)
        return [row[place] for row in rows]

    def _create(self, table: StagingTable, columns: str, *, expires: bool) -> str:
        kind = _TRANSIENT if expires else _PERMANENT
        return "CREATE " + kind.format(name=self.name_of(table), columns=columns).rstrip()

    def _copied(self, statement: str) -> int:
        cursor = self._run(statement)
        place = [column.name for column in cursor.description].index("rows_loaded")
        files: list[Any] = self._guarded("read", cursor.fetchall)
        return sum(int(file[place]) for file in files)

    def set_time_zone(self, time_zone: str) -> None:
        """Change the session's time zone."""
        self._guarded("prepare", lambda: self._session.set_time_zone(time_zone))

    def _run(self, statement: str) -> SnowflakeCursor:
        return self._guarded("prepare", lambda: self._session.run(statement))

    def translate(self, error: Exception, stage: Stage) -> Exception:
        """Return this package's error for the connector's; for a missing staging table, that it is gone."""
        gone = _STAGING_NAME.search(str(error))
        if gone and getattr(error, "errno", None) in NO_SUCH_OBJECT:
            return RefusedError(f"staging table {gone[0].lower()} on connection `{self.conn_id}` is gone")
        return translated(error, stage, conn_id=self.conn_id)


def _folded(name: str) -> str:
    """Return a name as Snowflake reads it without quotes."""
    return name.upper() if _PLAIN_NAME.fullmatch(name) else name


def _file_column(index: int) -> str:
    return f"C{index}"


def _sql_type(field: pa.Field) -> str:
    type_ = field.type
    if pt.is_signed_integer(type_):
        return f"NUMBER({_INTEGER_DIGITS[type_.bit_width]}, 0)"
    if pt.is_decimal128(type_) and 0 <= type_.scale <= type_.precision:
        return f"NUMBER({type_.precision}, {type_.scale})"
    if pt.is_timestamp(type_):
        digits = 9 if type_.unit == "ns" else 6
        return f"TIMESTAMP_NTZ({digits})" if type_.tz is None else f"TIMESTAMP_LTZ({digits})"
    for is_of, name in _SQL_TYPES:
        if is_of(type_):
            return name
    raise ModelError(f"column `{field.name}` is {type_}, which cannot be loaded into a staging table")


_SQL_TYPES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pt.is_boolean, "BOOLEAN"),
    (pt.is_string, "VARCHAR"),
    (pt.is_binary, "BINARY"),
    (pt.is_date32, "DATE"),
    (pt.is_float64, "FLOAT"),
)
