"""PostgreSQL as a workspace: unlogged tables in a staging schema, loaded by COPY."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
import pyarrow.types as pt

from airflow_consent_retl.databases.plain_query import plain_query
from airflow_consent_retl.databases.postgres.copy_in import copy_into, literal, quote
from airflow_consent_retl.databases.postgres.edge_values import edge_error, edges_of
from airflow_consent_retl.databases.postgres.source import PostgresSource
from airflow_consent_retl.databases.source import ModelQuery, ModelRows
from airflow_consent_retl.databases.staging import StagingTable, Warehouse, is_staging_name
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, ModelError, RefusedError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.databases.fence import Stage

# The text of a value must not depend on the server's or the role's settings.
_SETTINGS = (
    "SET datestyle TO 'ISO'; SET intervalstyle TO 'iso_8601'; SET bytea_output TO 'hex'; SET extra_float_digits TO 1; "
)
_UTC = "SET timezone TO 'UTC'"
_UNDEFINED_TABLE, _UNDEFINED_SCHEMA, _NO_RIGHT = "42P01", "3F000", "42501"


class PostgresWarehouse(Warehouse):
    """Tables of one staging schema on PostgreSQL, through Airflow's `PostgresHook`, with psycopg 3 or psycopg2.

    Each statement is its own transaction. Staged tables are unlogged: a crash of the server empties them, and readers
    then refuse them. `delivered` tables are logged.
    """

    dialect: ClassVar[str] = "postgres"

    def __init__(self, hook: DbApiHook, schema: str, *, conn_id: str, labels: Mapping[str, str] | None = None) -> None:
        super().__init__(hook, schema, conn_id=conn_id, labels=labels)
        self._connection: Any = None

    def __enter__(self) -> Self:
        """Connect, and check that the staging schema exists.

        Raises:
            ConfigurationError: the connection is wrong, or there is no such schema that the role may write to.
            SourceUnavailableError: the server does not answer.
        """
        self._connection = self._guarded("connect", self.hook.get_conn)
        is_ready = False
        try:
            self._guarded("connect", lambda: setattr(self._connection, "autocommit", True))
            self._rows(_SETTINGS + _UTC)
            self._check_schema()
            is_ready = True
        finally:
            if not is_ready:
                self.__exit__()
        return self

    def __exit__(self, *exception: object) -> None:
        """Cancel a statement that still runs, and disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.cancel()
            with suppress(Exception):
                connection.close()

    def cancel(self) -> None:
        """Cancel the running statement, from another thread or a signal handler."""
        connection = self._connection
        if connection is not None:
            self._guarded("read", connection.cancel)

    def name_of(self, table: StagingTable) -> str:
        """Return the table's full name, quoted, for SQL."""
        return f"{self.quote(table.schema)}.{self.quote(table.name)}"

    def quote(self, column: str) -> str:
        """Return a column's name, quoted, for SQL."""
        return quote(column)

    def create_as(self, table: StagingTable, query: str, *, expires: bool = True) -> int:
        """Make a table of a query's rows, in one statement, and return the number of rows."""
        statement = self.creation(table, query, expires=expires)
        # Planned first, so that a message about the statement itself can be shown: no row is computed yet.
        self._rows(f"EXPLAIN {statement}")
        rows = self._rows(statement, counted=True, stage="read")
        # The planner has no statistics of a new table, and would assume that it is small.
        self._rows(f"ANALYZE {self.name_of(table)}")
        return int(rows[0][0])

    def creation(self, table: StagingTable, query: str, *, expires: bool = True) -> str:
        """Return the statement that `create_as` runs."""
        query = plain_query(query, dialect="postgres")
        # On separate lines, so that a comment at the end of the query comments out nothing else.
        return f"CREATE {_kind(expires=expires)}TABLE {self.name_of(table)} AS\n{query}\n"

    def set_time_zone(self, time_zone: str) -> None:
        """Change the session's time zone."""
        self._rows(f"SET timezone TO {literal(time_zone)}")

    def count(self, table: StagingTable) -> int:
        """Return the number of rows of a table."""
        return int(self._rows(f"SELECT count(*) FROM {self.name_of(table)}")[0][0])  # noqa: S608 - names are quoted

    def load(
        self, table: StagingTable, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, expires: bool = True
    ) -> int:
        """Make a table of Arrow batches, by COPY, and return the number of its rows.

        Raises:
            ModelError: a type cannot be staged.
        """
        columns = ", ".join(f"{self.quote(field.name)} {_sql_type(field)}" for field in schema)
        self._rows(f"CREATE {_kind(expires=expires)}TABLE {self.name_of(table)} ({columns})")
        rows = self._guarded("read", lambda: copy_into(self._connection, self.name_of(table), schema.names, batches))
        self._rows(f"ANALYZE {self.name_of(table)}")
        return rows

    @contextmanager
    def read(self, query: str, *, batch_rows: int = 32_768) -> Iterator[ModelRows]:
        """Run a SELECT and stream its rows, with the types that an extraction of the same columns would have."""
        source = _StagedRows(
            self.hook, ModelQuery(conn_id=self.conn_id, sql=query, primary_key="", batch_rows=batch_rows), self
        )
        with source.reading() as rows:
            yield ModelRows(rows.schema, self._counted(rows.batches))

    def drop(self, table: StagingTable) -> None:
        """Delete a table; a missing table is not an error."""
        self._rows(f"DROP TABLE IF EXISTS {self.name_of(table)}")

    def tables(self) -> list[StagingTable]:
        """Return the tables of the staging schema whose names this package made."""
        names = self._rows("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = %s", (self.schema,))
        return [StagingTable(self.schema, name) for (name,) in names if is_staging_name(name)]

    def native_types(self, table: StagingTable) -> dict[str, str]:
        """Return the type of each column as PostgreSQL names it, in the columns' order."""
        return dict(
            self._rows(
                "SELECT attname, format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute "
                "WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
                (self.name_of(table),),
            )
        )

    def check_values(self, table: StagingTable) -> None:
        """Count the values that a snapshot in files cannot hold, in one pass, if a column's type has such values."""
        edges = edges_of(self.native_types(table))
        if not edges:
            return
        counts = ", ".join(sql for _, _, sql in edges)
        (found,) = self._rows(f"SELECT {counts} FROM {self.name_of(table)}")  # noqa: S608 - names are quoted
        for (column, edge, _), rows in zip(edges, found, strict=True):
            if rows:
                raise edge_error(column, edge, rows)

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return this package's error for a driver's, without a value of a row."""
        sqlstate = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
        primary = getattr(getattr(error, "diag", None), "message_primary", None) or ""
        if stage == "read":
            primary = ""
        if sqlstate == _UNDEFINED_TABLE and "consent_retl_" in primary:
            return RefusedError(f"a staging table on connection `{self.conn_id}` is gone: {primary}")
        if primary and sqlstate in (_NO_RIGHT, _UNDEFINED_SCHEMA):
            return ConfigurationError(f"connection `{self.conn_id}`: {primary}")
        source = _StagedRows(self.hook, ModelQuery(conn_id=self.conn_id, sql="", primary_key=""), self)
        return PostgresSource.translate(source, error, stage)

    def _check_schema(self) -> None:
        found = self._rows(
            "SELECT has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE') "
            "FROM pg_catalog.pg_namespace WHERE nspname = %s",
            (self.schema,),
        )
        if not found:
            raise ConfigurationError(
                f"there is no staging schema `{self.schema}` on connection `{self.conn_id}`: CREATE SCHEMA, then GRANT "
                "USAGE, CREATE on it"
            )
        if not found[0][0]:
            raise ConfigurationError(
                f"the role of connection `{self.conn_id}` may not write to staging schema `{self.schema}`: GRANT "
                "USAGE, CREATE on it"
            )

    def _rows(
        self, statement: str, parameters: Sequence[object] = (), *, counted: bool = False, stage: Stage = "prepare"
    ) -> list[Any]:
        def run() -> list[Any]:
            with self._connection.cursor() as cursor:
                # Without parameters the driver reads no `%` in a model's SQL as a placeholder.
                cursor.execute(statement, *([tuple(parameters)] if parameters else []))
                if counted:
                    return [(cursor.rowcount,)]
                return list(cursor.fetchall()) if cursor.description else []

        return self._guarded(stage, run)


class _StagedRows(PostgresSource):
    """Rows of staging tables: any columns that a query of this package selects, with or without an id."""

    def __init__(self, hook: DbApiHook, query: ModelQuery, warehouse: PostgresWarehouse) -> None:
        super().__init__(hook, query)
        self._warehouse = warehouse

    def connect(self, resources: ExitStack) -> Any:
        """Return a separate session, so that tables can be made while rows are read."""
        connection = super().connect(resources)
        with connection.cursor() as cursor:
            cursor.execute(_SETTINGS + _UTC)
        return connection

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return the warehouse's error, which names the problem with the staging tables."""
        return self._warehouse.translate(error, stage)

    def _check_columns(self, names: Sequence[str]) -> None:
        pass


def _kind(*, expires: bool) -> str:
    return "UNLOGGED " if expires else ""


def _sql_type(field: pa.Field) -> str:
    type_ = field.type
    if pt.is_decimal128(type_):
        return f"numeric({type_.precision}, {type_.scale})"
    if pt.is_timestamp(type_) and type_.unit in ("s", "ms", "us"):
        return "timestamp" if type_.tz is None else "timestamptz"
    for is_of, name in _SQL_TYPES:
        if is_of(type_):
            return name
    raise ModelError(f"column `{field.name}` is {type_}, which cannot be loaded into a staging table")


_SQL_TYPES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pt.is_boolean, "boolean"),
    (pt.is_int8, "smallint"),
    (pt.is_int16, "smallint"),
    (pt.is_int32, "integer"),
    (pt.is_int64, "bigint"),
    (pt.is_string, "text"),
    (pt.is_binary, "bytea"),
    (pt.is_fixed_size_binary, "bytea"),
    (pt.is_date32, "date"),
    (pt.is_float64, "double precision"),
)
