"""Upserts through SQLAlchemy Core: PostgreSQL, SQLite and MySQL in one statement, any other database in three.

Columns are untyped in the statements, so that the driver's own types decide and no cast is written around a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from airflow_consent_retl.destinations._sql_failures import failure_of
from airflow_consent_retl.destinations._sql_shape import column_type, reflected
from airflow_consent_retl.destinations._sql_statements import (
    Parameters,
    Upsert,
    parameter_names,
    quoted,
    quoted_or_none,
    upsert_into,
)
from airflow_consent_retl.destinations._sql_target import (
    Nulls,
    Refused,
    TableName,
    TableWriter,
    Target,
    check_fields,
    check_target,
    missing_table,
)
from airflow_consent_retl.destinations._sql_values import bound_values
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    import pyarrow as pa
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.destinations.base import Load


class CoreWriter(TableWriter):
    """Writes through the engine of an Airflow hook.

    Args:
        hook: of the connection.
        table: to write to.
        nulls: `"keep"` leaves a column as it is where the row has NULL.
        create_table: make the table when it is missing.
        generic: use the three statements that every database knows, whatever the dialect.
    """

    def __init__(
        self, hook: DbApiHook, *, table: TableName, nulls: Nulls, create_table: bool, generic: bool = False
    ) -> None:
        self._hook = hook
        self._table = table
        self._keep = nulls == "keep"
        self._create_table = create_table
        self._generic = generic
        self._engine: sa.Engine | None = None
        self._target = Target({})
        self._upsert: Upsert | None = None
        self._staged: list[Parameters] = []

    @property
    def not_null(self) -> frozenset[str]:
        """The columns that take no NULL."""
        return self._target.not_null

    def open(self, load: Load, *, key: str) -> None:
        """Connect, make or check the table, and prepare the statement."""
        failure: Exception
        try:
            self._engine = self._hook.get_sqlalchemy_engine(engine_kwargs=self._engine_options())
            check_fields(load, case_sensitive=self._engine.dialect.name not in {"sqlite", "mysql", "mariadb", "mssql"})
            with self._engine.connect() as connection:
                self._target = self._made_or_checked(connection, load, key=key)
            self._upsert = self._upsert_for(load.schema.names, key=key)
            return
        except (sa.exc.StatementError, sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError) as error:
            failure = self._failure_to_open(error)
        raise failure

    def stage(self, rows: pa.RecordBatch) -> Refused:
        """Turn the rows into parameters."""
        refused: Refused = {}
        columns = []
        for column in rows.columns:
            values, unfit = bound_values(column, dialect=self._opened.dialect.name)
            columns.append(values)
            refused = {**unfit, **refused}
        names = parameter_names(rows.schema.names)
        self._staged = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return refused

    def write(self, positions: Sequence[int]) -> None:
        """Upsert in one transaction."""
        parameters = [self._staged[position] for position in positions]
        failure: Exception
        in_commit = False
        try:
            with self._opened.connect() as connection:
                assert self._upsert is not None  # noqa: S101 - set by `open`
                self._upsert(connection, parameters)
                in_commit = True
                connection.commit()
            return
        except (sa.exc.StatementError, OverflowError) as error:
            failure = failure_of(error, in_commit=in_commit)
        if isinstance(failure, DestinationError):
            failure = DestinationError(f"table `{self._table}`: {failure}")
        raise failure

    def close(self) -> None:
        """Close the connections."""
        self._staged = []
        if self._engine is not None:
            with suppress(sa.exc.DBAPIError):
                self._engine.dispose()

    @property
    def _opened(self) -> sa.Engine:
        if self._engine is None:
            raise RuntimeError("open() comes first")
        return self._engine

    def _engine_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"hide_parameters": True, "pool_pre_ping": True}
        # PostgresHook leaves the connection's extras, `sslmode` among them, out of the engine's URL.
        if self._hook.conn_type == "postgres":
            ignored: set[str] = getattr(self._hook, "ignored_extra_options", set())
            extras = {name: value for name, value in self._hook.connection_extra.items() if name not in ignored}
            options["connect_args"] = extras
        return options

    def _failure_to_open(self, error: Exception) -> Exception:
        conn_id = self._hook.get_conn_id()
        if not isinstance(error, sa.exc.StatementError):
            return ConfigurationError(f"connection `{conn_id}`: SQLAlchemy has no driver for it")
        failure = failure_of(error, in_commit=False)
        if isinstance(failure, DestinationError):
            return DestinationError(f"connection `{conn_id}`: {failure}")
        # libpq gives no SQLSTATE for a refused login, only text.
        if "authentication failed" in str(error.orig) or " does not exist" in str(error.orig):
            return DestinationError(f"connection `{conn_id}`: the login was refused, or there is no such database")
        code = getattr(failure, "code", type(error.orig).__name__)
        return DestinationUnavailableError(f"connection `{conn_id}`: the database does not answer ({code})")

    def _made_or_checked(self, connection: sa.Connection, load: Load, *, key: str) -> Target:
        target = self._existing(connection)
        if target is None:
            if not self._create_table:
                raise missing_table(self._table, sa.inspect(connection).get_table_names(schema=self._table.schema))
            self._make(connection, load, key=key)
            target = self._existing(connection)
            if target is None:
                raise DestinationError(f"table `{self._table}` was made, but the database does not show it")
        check_target(load, key=key, table=self._table, target=target)
        return target

    def _existing(self, connection: sa.Connection) -> Target | None:
        inspector = sa.inspect(connection)
        name, schema = quoted(self._table.name), quoted_or_none(self._table.schema)
        if schema is not None and not inspector.has_schema(schema):
            raise ConfigurationError(f"there is no schema `{schema}`")
        if not inspector.has_table(name, schema=schema):
            return None
        views = set(inspector.get_view_names(schema=schema))
        with suppress(NotImplementedError):
            views.update(inspector.get_materialized_view_names(schema=schema))
        if self._table.name in views:
            raise ConfigurationError(f"`{self._table}` is a view: name a table")
        return reflected(inspector, name, schema)

    def _make(self, connection: sa.Connection, load: Load, *, key: str) -> None:
        dialect = connection.dialect.name
        columns = [
            sa.Column(
                quoted(field.name),
                column_type(field.type, dialect=dialect, is_key=field.name == key),
                primary_key=field.name == key,
                nullable=field.name != key,
                autoincrement=False,
            )
            for field in load.schema
        ]
        table = sa.Table(quoted(self._table.name), sa.MetaData(), *columns, schema=quoted_or_none(self._table.schema))
        try:
            connection.execute(CreateTable(table))
            connection.commit()
        except (sa.exc.ProgrammingError, sa.exc.OperationalError, sa.exc.IntegrityError):
            # Another task may have made it in between.
            connection.rollback()
            if self._existing(connection) is None:
                raise

    def _upsert_for(self, names: Sequence[str], *, key: str) -> Upsert:
        dialect = self._opened.dialect.name
        # MySQL names no constraint: with a second unique one, it could overwrite somebody else's row.
        ambiguous = dialect in {"mysql", "mariadb"} and len(self._target.unique) > 1
        generic = self._generic or ambiguous
        return upsert_into(self._table, names, key=key, keep=self._keep, dialect=None if generic else dialect)
