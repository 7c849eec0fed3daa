"""The table writer for DuckDB, through its own connection: it reads Arrow directly, so every type is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb
import pyarrow as pa

from airflow_consent_retl.databases.duckdb.table_statements import BATCH, POSITION, Statements, quoted, table_name
from airflow_consent_retl.databases.duckdb.types import OUT_OF_RANGE, accepted_by, column_types, fitted
from airflow_consent_retl.databases.fence import fenced
from airflow_consent_retl.databases.tables.added_columns import missing_fields
from airflow_consent_retl.databases.tables.bulk import last_of_each
from airflow_consent_retl.databases.tables.key_comparison import check_comparison
from airflow_consent_retl.databases.tables.write_rules import WriteRules
from airflow_consent_retl.databases.tables.writer import (
    KEY_CHANGED,
    NO_ROW,
    NOT_CLEARED,
    NOT_REMOVED,
    NOT_STORED,
    BusyError,
    Nulls,
    Refused,
    RowRefusedError,
    TableTarget,
    TableWriter,
    TargetColumn,
    UnprovenError,
    check_fields,
    check_people,
    check_target,
    family,
    missing_table,
)
from airflow_consent_retl.errors import ConfigurationError, DestinationError, DestinationUnavailableError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.databases.tables.removal_marks import Mark
    from airflow_consent_retl.databases.tables.table_name import TableName

_CODES = (
    ("NOT NULL", "not_null"),
    ("CHECK", "check"),
    ("foreign key", "foreign_key"),
    ("Duplicate key", "unique"),
    ("PRIMARY KEY or UNIQUE", "unique"),
)
_DUPLICATE = re.compile(r'Duplicate key "([^":]+): ')
_NO_DATABASE = "not a valid DuckDB database file"
_MAGIC = b"DUCK"
_MAGIC_AT_BYTES = 8
T = TypeVar("T")


class DuckDbWriter(TableWriter):
    """Writes through a DuckDB hook's connection, which stays open while the load runs.

    Args:
        hook: of the connection.
        table: to write to.
        nulls: `"keep"` leaves a column as it is where the row has NULL.
        create_table: make the table when it is missing.
        mark: what a removal leaves; None deletes.
        add_columns: add the columns that the table lacks.
    """

    def __init__(
        self,
        hook: DbApiHook,
        *,
        table: TableName,
        nulls: Nulls,
        create_table: bool,
        mark: Mark | None = None,
        add_columns: bool = False,
    ) -> None:
        self._hook = hook
        self._table = table
        self._nulls = nulls
        self._rules = WriteRules()
        self._create_table = create_table
        self._mark = mark
        self._add_columns = add_columns
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._target = TableTarget({})
        self._key = ""
        self._sql: Statements | None = None
        self._staged = pa.table({})
        self._staged_people = pa.table({})

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
        check_fields(load, case_sensitive=False)
        # Before the connection is opened, which would make a missing file.
        column_types(field for field in load.schema if load.rows or field.name == key)
        self._key = key
        fenced(lambda: self._prepare(load, key=key), self._failure_to_prepare, errors=(duckdb.Error,))

    def _prepare(self, load: Load, *, key: str) -> None:
        self._connection = self._hook.get_conn()
        self._target = self._made_or_checked(load, key=key)
        self._rules = WriteRules.of(load, self._nulls)
        self._sql = Statements(self._table, self._target, load.schema, key=key, rules=self._rules, mark=self._mark)
        if load.rows and family(load.schema.field(key).type) == "text":
            check_comparison(self._table, key, self._target.columns[key], self._distinct)

    def _distinct(self, texts: Sequence[str]) -> int | None:
        try:
            return len(self._opened.execute(self._prepared.distinct(texts)).fetchall())
        except duckdb.ConversionException:
            return None

    def stage(self, rows: pa.RecordBatch) -> dict[str, Refused]:
        """Keep the batch, in the form that the columns take."""
        refused: dict[str, Refused] = {}
        columns = {}
        for name, column in zip(rows.schema.names, rows.columns, strict=True):
            columns[name], unfit = fitted(column, shown=self._target.columns[name].shown)
            if unfit:
                refused[name] = unfit
        self._staged = _numbered(columns)
        return refused

    def write(self, positions: Sequence[int]) -> None:
        """Upsert in one transaction."""
        # DuckDB would keep the first row of a key.
        rows = last_of_each(self._staged.take(pa.array(positions, pa.int64())), key=self._key, position=POSITION)
        sql = self._prepared

        def work(connection: duckdb.DuckDBPyConnection) -> Refused:
            connection.execute(sql.upsert)
            unstored = dict(connection.execute(sql.unstored).fetchall())
            inserts = self._rules.inserts
            codes = {
                p: KEY_CHANGED if is_there else NOT_STORED for p, is_there in unstored.items() if inserts or is_there
            }
            if codes:
                raise UnprovenError(codes, applied="nothing")
            return dict.fromkeys(unstored, NO_ROW)

        if missing := self._in_transaction(work, rows):
            raise UnprovenError(missing, applied="rest")

    def stage_removal(self, keys: pa.Array) -> Refused:
        """Keep the keys, with the time that marks are set to."""
        now = pa.scalar(datetime.now(UTC), pa.timestamp("us", tz="UTC"))
        times = pa.array([now.as_py()] * len(keys), now.type)
        ids, refused = fitted(keys, shown=self._target.columns[self._key].shown)
        columns = {"id": ids, "timestamptz": times, "timestamp": times.cast(pa.timestamp("us"))}
        self._staged_people = _numbered(columns)
        return refused

    def remove(self, positions: Sequence[int]) -> None:
        """Delete or mark in one transaction."""
        sql = self._prepared

        def work(connection: duckdb.DuckDBPyConnection) -> list[tuple[int]]:
            connection.execute(sql.removal)
            return connection.execute(sql.unremoved).fetchall()

        if left := self._in_transaction(work, self._people(positions)):
            raise UnprovenError({position: NOT_REMOVED for (position,) in left}, applied="rest")

    def empty(self, positions: Sequence[int], names: Sequence[str]) -> None:
        """Clear columns in one transaction."""
        sql = self._prepared

        def work(connection: duckdb.DuckDBPyConnection) -> list[tuple[int]]:
            connection.execute(sql.emptying(names))
            return connection.execute(sql.unemptied(names)).fetchall()

        if left := self._in_transaction(work, self._people(positions)):
            raise UnprovenError({position: NOT_CLEARED for (position,) in left}, applied="rest")

    def holds(self, position: int) -> bool:
        """Look for the key."""
        sql, people = self._prepared, self._people([position])
        return bool(self._in_transaction(lambda connection: connection.execute(sql.unremoved).fetchall(), people))

    def _people(self, positions: Sequence[int]) -> pa.Table:
        return self._staged_people.take(pa.array(positions, pa.int64()))

    def _in_transaction(self, work: Callable[[duckdb.DuckDBPyConnection], T], batch: pa.Table) -> T:
        connection = self._opened

        def run() -> T:
            connection.begin()
            with ExitStack() as undo:
                undo.callback(_roll_back, connection)
                result = work(connection)
                connection.commit()
                undo.pop_all()
            return result

        connection.register(BATCH, batch)
        try:
            return fenced(run, self._failure_of, errors=(duckdb.Error, UnicodeDecodeError))
        finally:
            connection.unregister(BATCH)

    def close(self) -> None:
        """Close the connection. Other processes can then open the file."""
        self._staged = self._staged_people = pa.table({})
        if self._connection is not None:
            with suppress(duckdb.Error):
                self._connection.close()
            self._connection = None

    @property
    def _opened(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            raise RuntimeError("open() comes first")
        return self._connection

    @property
    def _prepared(self) -> Statements:
        if self._sql is None:
            raise RuntimeError("open() comes first")
        return self._sql

    def _failure_to_prepare(self, error: Exception) -> Exception:
        if not isinstance(error, duckdb.IOException):
            return DestinationError(f"table `{self._table}`: refused ({type(error).__name__})")
        conn_id = self._hook.get_conn_id()
        if _NO_DATABASE in str(error) or _is_foreign(self._hook.get_connection(conn_id).host):
            return ConfigurationError(f"connection `{conn_id}`: its file is no DuckDB database")
        return DestinationUnavailableError(
            f"connection `{conn_id}`: the DuckDB file cannot be opened, or another process has it"
        )

    def _failure_of(self, error: Exception) -> Exception:
        if isinstance(error, duckdb.ConstraintException):
            # The message quotes the row after its first words; only marks of the first words are searched.
            message = str(error)
            code = next((code for mark, code in _CODES if mark in message), "constraint")
            return RowRefusedError(code, self._repeated_column(message))
        if isinstance(error, duckdb.OutOfRangeException):
            return RowRefusedError(OUT_OF_RANGE)
        if isinstance(error, duckdb.DataError | UnicodeDecodeError | duckdb.InvalidInputException):
            return RowRefusedError("data_error")
        if isinstance(error, duckdb.TransactionException | duckdb.IOException | duckdb.OutOfMemoryException):
            return BusyError(type(error).__name__)
        return DestinationError(f"table `{self._table}`: the statement was refused ({type(error).__name__})")

    def _repeated_column(self, message: str) -> str:
        # The name before the value is kept, and only if it is that of a unique column: a value is none.
        found = _DUPLICATE.search(message)
        is_alone = found is not None and frozenset({found[1]}) in self._target.unique
        return found[1] if found is not None and is_alone else ""

    def _made_or_checked(self, load: Load, *, key: str) -> TableTarget:
        kind = self._table_kind()
        if kind == "VIEW":
            raise ConfigurationError(f"`{self._table}` is a view: name a table")
        check_people(self._table, load, is_there=kind is not None)
        if kind is None:
            if not self._create_table:
                raise missing_table(self._table, self._table_names())
            self._make(load, key=key)
        elif self._add_columns:
            fields = missing_fields(load, self._existing().columns, case_sensitive=False)
            for name, type_ in column_types(fields).items():
                self._opened.execute(
                    f"ALTER TABLE {table_name(self._table)} ADD COLUMN IF NOT EXISTS {quoted(name)} {type_}"
                )
        target = self._existing()
        check_target(load, key=key, table=self._table, target=target, mark=self._mark)
        if load.delivered:
            row = self._opened.execute(f"SELECT 1 FROM {table_name(self._table)} LIMIT 1").fetchone()  # noqa: S608 - quoted
            check_people(self._table, load, is_there=row is not None)
        return target

    def _table_kind(self) -> str | None:
        schema = self._table.schema
        if (
            schema is not None
            and not self._opened.execute(
                "SELECT 1 FROM duckdb_schemas() WHERE database_name = current_database() AND schema_name = ?", [schema]
            ).fetchone()
        ):
            raise ConfigurationError(f"there is no schema `{schema}`")
        row = self._opened.execute(
            "SELECT table_type FROM information_schema.tables WHERE table_catalog = current_database() "
            "AND table_schema = coalesce(?, current_schema()) AND table_name = ?",
            [schema, self._table.name],
        ).fetchone()
        return None if row is None else str(row[0])

    def _table_names(self) -> list[str]:
        rows = self._opened.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() "
            "AND schema_name = coalesce(?, current_schema())",
            [self._table.schema],
        ).fetchall()
        return [str(row[0]) for row in rows]

    def _make(self, load: Load, *, key: str) -> None:
        columns = [
            f"{quoted(name)} {kind}{' PRIMARY KEY' if name == key else ''}"
            for name, kind in column_types(load.schema).items()
        ]
        if self._mark is not None:
            columns.append(f"{quoted(self._mark.column)} TIMESTAMP WITH TIME ZONE")
        self._opened.execute(f"CREATE TABLE IF NOT EXISTS {table_name(self._table)} ({', '.join(columns)})")

    def _existing(self) -> TableTarget:
        place = [self._table.schema, self._table.name]
        where = (
            "WHERE database_name = current_database() AND schema_name = coalesce(?, current_schema()) "
            "AND table_name = ?"
        )
        columns = {}
        for name, kind, nullable, default, scale in self._opened.execute(
            "SELECT column_name, data_type, is_nullable, column_default, numeric_scale "  # noqa: S608 - constants
            f"FROM duckdb_columns() {where}",
            place,
        ).fetchall():
            columns[str(name)] = TargetColumn(
                shown=kind,
                accepts=accepted_by(kind),
                scale=scale if kind.startswith("DECIMAL") else None,
                nullable=bool(nullable),
                filled=default is not None,
            )
        unique = self._opened.execute(
            f"SELECT constraint_column_names FROM duckdb_constraints() {where} "  # noqa: S608 - constants
            "AND constraint_type IN ('PRIMARY KEY', 'UNIQUE')",
            place,
        ).fetchall()
        return TableTarget(columns, frozenset(frozenset(row[0]) for row in unique))


def _roll_back(connection: duckdb.DuckDBPyConnection) -> None:
    # A commit that failed has ended the transaction.
    with suppress(duckdb.Error):
        connection.rollback()


def _is_foreign(path: str | None) -> bool:
    # A file of SQLite makes DuckDB look for an extension. An empty file may be one that another process is making. Call
    # this only after DuckDB has failed: closing a file releases every lock that the process has on it.
    try:
        with Path(path or "").expanduser().open("rb") as file:
            head = file.read(_MAGIC_AT_BYTES + len(_MAGIC))
    except OSError:
        return False
    return bool(head) and head[_MAGIC_AT_BYTES:] != _MAGIC


def _numbered(columns: dict[str, Any]) -> pa.Table:
    rows = pa.table(columns)
    return rows.append_column(POSITION, pa.array(range(rows.num_rows), pa.int64()))
