"""The table writer for any database with an SQLAlchemy dialect.

An upsert is one statement where the database declares one, and three statements otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn, CreateTable

from airflow_consent_retl.databases.engine import sqlalchemy_engine
from airflow_consent_retl.databases.fence import fenced
from airflow_consent_retl.databases.tables.added_columns import missing_fields
from airflow_consent_retl.databases.tables.column_types import column_type, reflected
from airflow_consent_retl.databases.tables.dialects import STANDARD, table_dialect
from airflow_consent_retl.databases.tables.failures import failure_of
from airflow_consent_retl.databases.tables.key_comparison import check_comparison
from airflow_consent_retl.databases.tables.proof import Proof
from airflow_consent_retl.databases.tables.removal_marks import Mark, mark_kind
from airflow_consent_retl.databases.tables.statements import (
    Parameters,
    Removal,
    Upsert,
    delete_from,
    empty_in,
    mark_in,
    parameter_names,
    quoted,
    quoted_or_none,
)
from airflow_consent_retl.databases.tables.values import bound_values
from airflow_consent_retl.databases.tables.write_rules import WriteRules
from airflow_consent_retl.databases.tables.writer import (
    NO_ROW,
    NOT_STORED,
    Nulls,
    Refused,
    TableTarget,
    TableWriter,
    UnprovenError,
    check_fields,
    check_people,
    check_target,
    family,
    missing_table,
)
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.databases.tables.table_name import TableName

T = TypeVar("T")


class CoreWriter(TableWriter):
    """Writes through the engine of an Airflow hook.

    Args:
        hook: of the connection.
        table: to write to.
        nulls: `"keep"` leaves a column as it is where the row has NULL.
        create_table: make the table when it is missing.
        mark: what a removal leaves; None deletes.
        add_columns: add the columns that the table lacks.
        generic: use the three statements that every database knows, even if the database declares one.
    """

    _proof_class: ClassVar[type[Proof]] = Proof

    def __init__(
        self,
        hook: DbApiHook,
        *,
        table: TableName,
        nulls: Nulls,
        create_table: bool,
        mark: Mark | None = None,
        add_columns: bool = False,
        generic: bool = False,
    ) -> None:
        self._hook = hook
        self._table = table
        self._nulls = nulls
        self._rules = WriteRules()
        self._create_table = create_table
        self._mark = mark
        self._add_columns = add_columns
        self._generic = generic
        self._engine: sa.Engine | None = None
        self._dialect = STANDARD
        self._target = TableTarget({})
        self._upsert: Upsert | None = None
        self._proof: Proof | None = None
        self._key = ""
        self._names: list[str] = []
        self._staged: list[Parameters] = []
        self._staged_keys: list[object] = []

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the table."""
        return frozenset(self._target.columns)

    @property
    def not_null(self) -> frozenset[str]:
        """The columns that cannot be NULL."""
        return self._target.not_null

    def open(self, load: Load, *, key: str) -> None:
        """Connect, make or check the table, and prepare the statement."""
        fenced(
            lambda: self._prepare(load, key=key),
            self._failure_to_open,
            errors=(sa.exc.StatementError, sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ImportError),
        )

    def _prepare(self, load: Load, *, key: str) -> None:
        self._engine = sqlalchemy_engine(self._hook)
        self._dialect = table_dialect(self._engine.dialect.name)
        check_fields(load, case_sensitive=self._dialect.case_sensitive)
        with self._engine.connect() as connection:
            self._target = self._made_or_checked(connection, load, key=key)
        self._key, self._names = key, load.schema.names
        self._rules = WriteRules.of(load, self._nulls)
        self._upsert = self._upsert_for()
        self._proof = proof = self._proof_for()
        with self._engine.connect() as connection:
            self._check_readable(connection, proof)
            if load.delivered:
                # After the check before it, since rows that the role may not see would look like an empty table.
                check_people(self._table, load, is_there=proof.has_rows(connection))
            if load.rows and family(load.schema.field(key).type) == "text":
                column = self._target.columns[key]
                check_comparison(self._table, key, column, lambda texts: proof.distinct(connection, texts))

    def _check_readable(self, connection: sa.Connection, proof: Proof) -> None:
        """Raise a `ConfigurationError` if the role cannot read back what it will write."""

        def unreadable(error: Exception) -> Exception:
            if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
                return self._failure_to_open(error)
            return ConfigurationError(
                f"connection `{self._hook.get_conn_id()}` may not read table `{self._table}`, so no load could check "
                "what it wrote: GRANT SELECT on it"
            )

        fenced(lambda: proof.check_readable(connection), unreadable, errors=(sa.exc.DBAPIError,))

    def stage(self, rows: pa.RecordBatch) -> dict[str, Refused]:
        """Convert the rows into parameters."""
        refused: dict[str, Refused] = {}
        columns = []
        for name, column in zip(rows.schema.names, rows.columns, strict=True):
            values, unfit = bound_values(column, dialect=self._dialect)
            columns.append(values)
            if unfit:
                refused[name] = unfit
        names = parameter_names(rows.schema.names)
        self._staged = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        return refused

    def write(self, positions: Sequence[int]) -> None:
        """Upsert in one transaction."""
        upsert, proof = self._upsert, self._proven
        if upsert is None:
            raise RuntimeError("open() comes first")

        def work(connection: sa.Connection) -> Refused:
            touched = self._upserted(connection, upsert, positions)
            codes = self._unstored(connection, proof, positions)
            missing: Refused = {}
            if not self._rules.inserts:
                missing = {position: NO_ROW for position, code in codes.items() if code == NOT_STORED}
                codes = {position: code for position, code in codes.items() if position not in missing}
            if not codes and touched is not None and touched + len(missing) < len(positions):
                there = [position for position in positions if position not in missing]
                codes = {there[place]: NOT_STORED for place in upsert.untouched(connection, self._parameters(there))}
            if codes:
                raise UnprovenError(codes, applied="nothing")
            return missing

        if missing := self._in_transaction(work):
            raise UnprovenError(missing, applied="rest")

    def _unstored(self, connection: sa.Connection, proof: Proof, positions: Sequence[int]) -> Refused:
        """Return codes for the staged rows of which the table does not show exactly the key."""
        key = parameter_names(self._names)[self._names.index(self._key)]
        return proof.unstored(connection, [(position, self._staged[position][key]) for position in positions])

    def _parameters(self, positions: Sequence[int]) -> list[Parameters]:
        """Return the parameters of staged rows."""
        return [self._staged[position] for position in positions]

    def _upserted(self, connection: sa.Connection, upsert: Upsert, positions: Sequence[int]) -> int | None:
        """Upsert staged rows; return how many were inserted or updated, None where the database does not count them."""
        return upsert(connection, self._parameters(positions))

    def stage_removal(self, keys: pa.Array) -> Refused:
        """Convert the keys into parameters."""
        self._staged_keys, refused = bound_values(keys, dialect=self._dialect)
        return refused

    def remove(self, positions: Sequence[int]) -> None:
        """Delete or mark in one transaction."""
        removal, proof = self._removal(), self._proven
        keyed = [(position, self._staged_keys[position]) for position in positions]

        def work(connection: sa.Connection) -> Refused:
            removal(connection, [key for _, key in keyed])
            return proof.unremoved(connection, keyed)

        # Committed also if some are left: a trigger may have marked them in its own way.
        if left := self._in_transaction(work):
            raise UnprovenError(left, applied="rest")

    def empty(self, positions: Sequence[int], names: Sequence[str]) -> None:
        """Clear columns in one transaction."""
        emptying = empty_in(self._table, key=self._key, emptied=names)
        proof = Proof(self._table, key=self._key, emptied=names)
        keyed = [(position, self._staged_keys[position]) for position in positions]

        def work(connection: sa.Connection) -> Refused:
            emptying(connection, [key for _, key in keyed])
            return proof.unemptied(connection, keyed)

        if left := self._in_transaction(work):
            raise UnprovenError(left, applied="rest")

    def holds(self, position: int) -> bool:
        """Look for the key."""
        keyed = [(position, self._staged_keys[position])]
        return bool(self._in_transaction(lambda connection: self._proven.unremoved(connection, keyed)))

    def _in_transaction(self, work: Callable[[sa.Connection], T]) -> T:
        in_commit = False

        def run() -> T:
            nonlocal in_commit
            with self._opened.connect() as connection:
                result = work(connection)
                in_commit = True
                connection.commit()
            return result

        def failed(error: Exception) -> Exception:
            failure = failure_of(
                error,
                dialect=self._dialect,
                in_commit=in_commit,
                table=self._table.name,
                target=self._target,
            )
            if isinstance(failure, DestinationError):
                return DestinationError(f"table `{self._table}`: {failure}")
            return failure

        return fenced(run, failed, errors=(sa.exc.StatementError, OverflowError))

    def close(self) -> None:
        """Close the connections."""
        self._staged, self._staged_keys = [], []
        if self._engine is not None:
            with suppress(sa.exc.DBAPIError):
                self._engine.dispose()

    @property
    def _opened(self) -> sa.Engine:
        if self._engine is None:
            raise RuntimeError("open() comes first")
        return self._engine

    @property
    def _proven(self) -> Proof:
        if self._proof is None:
            raise RuntimeError("open() comes first")
        return self._proof

    def _failure_to_open(self, error: Exception) -> Exception:
        conn_id = self._hook.get_conn_id()
        if not isinstance(error, sa.exc.StatementError):
            return ConfigurationError(f"connection `{conn_id}`: SQLAlchemy has no driver for it")
        failure = failure_of(error, dialect=self._dialect, in_commit=False)
        if isinstance(failure, DestinationError):
            return DestinationError(f"connection `{conn_id}`: {failure}")
        # PostgreSQL's client library gives no SQLSTATE for a refused login, only text.
        if "authentication failed" in str(error.orig) or " does not exist" in str(error.orig):
            return DestinationError(f"connection `{conn_id}`: the login was refused, or there is no such database")
        code = getattr(failure, "code", type(error.orig).__name__)
        return DestinationUnavailableError(f"connection `{conn_id}`: the database does not answer ({code})")

    def _made_or_checked(self, connection: sa.Connection, load: Load, *, key: str) -> TableTarget:
        target = self._existing(connection)
        check_people(self._table, load, is_there=target is not None)
        if target is None:
            if not self._create_table:
                raise missing_table(self._table, sa.inspect(connection).get_table_names(schema=self._table.schema))
            self._make(connection, load, key=key)
            target = self._existing(connection)
            if target is None:
                raise DestinationError(f"table `{self._table}` was made, but the database does not show it")
        elif self._add_columns:
            target = self._with_all_columns(connection, target, load)
        check_target(load, key=key, table=self._table, target=target, mark=self._mark)
        return target

    def _with_all_columns(self, connection: sa.Connection, target: TableTarget, load: Load) -> TableTarget:
        missing = missing_fields(load, target.columns, case_sensitive=self._dialect.case_sensitive)
        columns = [self._column(field, is_key=False) for field in missing]
        table = sa.Table(quoted(self._table.name), sa.MetaData(), *columns, schema=quoted_or_none(self._table.schema))
        name = connection.dialect.identifier_preparer.format_table(table)
        for column in columns:
            added = CreateColumn(column).compile(dialect=connection.dialect)
            try:
                connection.execute(sa.text(f"ALTER TABLE {name} ADD {added}"))
                connection.commit()
            except (sa.exc.ProgrammingError, sa.exc.OperationalError):
                # Another task may have added it in the meantime; otherwise the check of the table names it.
                connection.rollback()
        return (self._existing(connection) or target) if missing else target

    def _existing(self, connection: sa.Connection) -> TableTarget | None:
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
        try:
            return reflected(inspector, name, schema, dialect=self._dialect)
        except sa.exc.NoSuchTableError:
            # SQLite finds a table also by a name in another case.
            there = [*inspector.get_table_names(schema=schema), *views]
        raise ConfigurationError(f"there is no table `{self._table}`{suggestion(self._table.name, there)}")

    def _make(self, connection: sa.Connection, load: Load, *, key: str) -> None:
        columns = [self._column(field, is_key=field.name == key) for field in load.schema]
        if self._mark is not None:
            kind = column_type(pa.timestamp("us", tz="UTC"), dialect=self._dialect, is_key=False)
            columns.append(sa.Column(quoted(self._mark.column), kind, nullable=True))
        table = sa.Table(quoted(self._table.name), sa.MetaData(), *columns, schema=quoted_or_none(self._table.schema))
        try:
            connection.execute(CreateTable(table))
            connection.commit()
        except (sa.exc.ProgrammingError, sa.exc.OperationalError, sa.exc.IntegrityError):
            # Another task may have made it in the meantime.
            connection.rollback()
            if self._existing(connection) is None:
                raise

    def _column(self, field: pa.Field, *, is_key: bool) -> sa.Column[Any]:
        kind = column_type(field.type, dialect=self._dialect, is_key=is_key)
        return sa.Column(quoted(field.name), kind, primary_key=is_key, nullable=not is_key, autoincrement=False)

    def _upsert_for(self) -> Upsert:
        # This clause names no constraint: with a second unique one, it could overwrite the row of another person.
        is_ambiguous = self._dialect.upsert == "on_duplicate_key" and len(self._target.unique) > 1
        return Upsert(
            self._table,
            self._names,
            key=self._key,
            rules=self._rules,
            dialect=STANDARD if self._generic or is_ambiguous else self._dialect,
            always=self._always(),
        )

    def _always(self) -> dict[str, sa.ColumnElement[Any]]:
        if self._mark is None:
            return {}
        # A person who is sent again is no longer removed, so the mark is cleared.
        flag = mark_kind(self._target.columns[self._mark.column]) == "flag"
        return {self._mark.column: sa.false() if flag else sa.null()}

    def _removal(self) -> Removal:
        if self._mark is None:
            return delete_from(self._table, key=self._key)
        kind = mark_kind(self._target.columns[self._mark.column])
        # A mark is written like the timestamps of rows, so that all have one form.
        zone = "UTC" if kind == "timestamptz" else None
        now = pa.array([datetime.now(UTC)], pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us", tz=zone))
        [time] = [None] if kind == "flag" else bound_values(now, dialect=self._dialect)[0]
        return mark_in(self._table, key=self._key, mark=self._mark.column, moment=time, emptied=self._emptied())

    def _proof_for(self) -> Proof:
        mark = None if self._mark is None else self._mark.column
        is_flag = mark is not None and mark_kind(self._target.columns[mark]) == "flag"
        return self._proof_class(self._table, key=self._key, mark=mark, is_flag=is_flag, emptied=self._emptied())

    def _emptied(self) -> list[str]:
        emptied = self._mark is not None and self._mark.nulls
        return sorted(self._target.columns.keys() & set(self._names) - {self._key}) if emptied else []
