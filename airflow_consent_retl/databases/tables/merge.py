"""The base class of table writers for warehouses: a bulk load into a temporary table, then one MERGE.

It has the flow and the statements that warehouses share. Names of types and sessions are in the databases' folders.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Generic, TypeAlias, TypeVar

import pyarrow as pa

from airflow_consent_retl.databases.staging import StagingTable, Warehouse
from airflow_consent_retl.databases.tables.bulk import Capacity, is_stageable, last_of_each, staged
from airflow_consent_retl.databases.tables.removal import Mark, MarkKind, mark_kind
from airflow_consent_retl.databases.tables.target import (
    NOT_REMOVED,
    NOT_VISIBLE,
    BusyError,
    ConnectionLostError,
    Nulls,
    Refused,
    RowRefusedError,
    TableName,
    TableWriter,
    Target,
    UnprovenError,
    check_fields,
    check_people,
    check_target,
    missing_table,
)
from airflow_consent_retl.errors import (
    ConfigurationError,
    ConsentRetlError,
    DestinationError,
    DestinationUnavailableError,
    ModelError,
    SourceUnavailableError,
)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.databases.staging import Kind

    Rows: TypeAlias = Sequence[Sequence[object]]

# The table of a batch is named like a workspace's tables, so that a person finds all of them in one way.
_KIND: Kind = "batch"
_POSITION = "P"
_KEY = "C0"
W = TypeVar("W", bound=Warehouse)


class MergeWriter(TableWriter, Generic[W]):
    """Writes one table through a warehouse's bulk load.

    A batch is loaded once, when its first rows are written, with the position of each row: halves of it are ranges of
    positions. A value that a column cannot hold is refused before. These warehouses do not enforce unique keys, so any
    column may be the key; if a table has a key twice, all rows with it are updated, marked and deleted.

    Args:
        hook: of the connection.
        table: to write to.
        nulls: `"keep"` leaves a column as it is where the row has NULL.
        create_table: make the table when it is missing.
        mark: what a removal leaves; None deletes.
    """

    case_sensitive: ClassVar[bool]

    def __init__(
        self, hook: DbApiHook, *, table: TableName, nulls: Nulls, create_table: bool, mark: Mark | None = None
    ) -> None:
        self._hook = hook
        self._conn_id = hook.get_conn_id()
        self._table = table
        self._keep = nulls == "keep"
        self._create_table = create_table
        self._mark = mark
        self._entered: W | None = None
        self._target = Target({})
        self._key = ""
        self._schema = pa.schema([])
        self._writes = False
        self._rows = pa.table({})
        self._names: list[str] = []
        # The table that contains a part of the staged batch, and the positions of that part.
        self._loaded: StagingTable | None = None
        self._loaded_positions: list[int] = []

    @property
    def not_null(self) -> frozenset[str]:
        """The columns that cannot be NULL."""
        return self._target.not_null

    def open(self, load: Load, *, key: str) -> None:
        """Connect, and make or check the table."""
        check_fields(load, case_sensitive=self.case_sensitive)
        needed = [field for field in load.schema if load.rows or field.name == key]
        unfit = [f"`{field.name}` ({field.type})" for field in needed if not is_stageable(field.type)]
        if unfit:
            raise ConfigurationError(f"no column can hold {', '.join(unfit)}: cast them in the model")
        self._key, self._schema, self._writes = key, load.schema, bool(load.rows)
        code = ""
        try:
            self._target = self._made_or_checked(load, key=key)
        except (BusyError, RowRefusedError) as error:
            code = error.code
        except ConnectionLostError:
            code = "connection_lost"
        if code:
            raise DestinationUnavailableError(f"connection `{self._conn_id}`: the warehouse does not answer ({code})")

    def stage(self, rows: pa.RecordBatch) -> Refused:
        """Keep the batch in the form of the bulk load."""
        names = [self._key, *(name for name in rows.schema.names if name != self._key)]
        return self._staged({name: rows.column(name) for name in names})

    def write(self, positions: Sequence[int]) -> None:
        """Upsert with one MERGE, and look for the keys."""
        source = self._source(positions)
        self._run(self._upsert(source))
        key, table = self._quote(self._key), self._full_name(self._opened)
        shown = f"SELECT {key} FROM {table} WHERE {self._has_key_of(source)}"  # noqa: S608 - names are quoted
        if hidden := self._read_back(source, f"NOT IN ({shown})"):
            # The MERGE is committed: the rows may be there, where this role does not see them.
            raise UnprovenError(dict.fromkeys(hidden, NOT_VISIBLE), applied="unknown")

    def stage_removal(self, keys: pa.Array) -> Refused:
        """Keep the keys in the form of the bulk load."""
        return self._staged({self._key: keys})

    def remove(self, positions: Sequence[int]) -> None:
        """Delete or mark with one statement, and look for the keys."""
        source = self._source(positions)
        self._run(self._removal(source))
        if left := self._unremoved(source):
            raise UnprovenError(dict.fromkeys(left, NOT_REMOVED), applied="rest")

    def holds(self, position: int) -> bool:
        """Look for the key."""
        return bool(self._unremoved(self._source([position])))

    def close(self) -> None:
        """Drop the table of the last batch, and disconnect."""
        self._rows = pa.table({})
        self._drop()
        self._disconnect()

    @property
    def _opened(self) -> W:
        if self._entered is None:
            self._entered = self._connected()
        return self._entered

    @abstractmethod
    def _connected(self) -> W:
        """Return the entered warehouse. It raises the errors of a `TableWriter`, always with `in_commit`."""

    @abstractmethod
    def _execute(self, warehouse: W, statement: str) -> Rows:
        """Run one statement, and return its rows."""

    @abstractmethod
    def _existing(self, warehouse: W) -> Target | None:
        """Return the columns of the table; None if it does not exist.

        Raises:
            ConfigurationError: it is a view.
        """

    @abstractmethod
    def _table_names(self, warehouse: W) -> list[str]:
        """Return the names of all tables in the table's schema."""

    @abstractmethod
    def _create(self, warehouse: W, fields: Iterable[pa.Field], *, key: str, mark: str | None) -> None:
        """Make the table; an existing one is not an error."""

    @abstractmethod
    def _full_name(self, warehouse: W) -> str:
        """Return the table's name, quoted."""

    @abstractmethod
    def _capacity(self, shown: str) -> Capacity:
        """Return the limits of a column of a type."""

    @abstractmethod
    def _value(self, staged: str, kind: pa.DataType, shown: str) -> str:
        """Return the expression that converts a field's loaded value for a column of a type."""

    @abstractmethod
    def _mark_time(self, kind: MarkKind | None, shown: str, now: datetime) -> str:
        """Return the expression for the time of a mark."""

    def _check_collation(self, shown: str, collation: str | None) -> None:
        """Raise a `ConfigurationError` for a key column with a collation, unless the load only removes."""
        if collation and self._writes:
            raise ConfigurationError(
                f"key column `{self._key}` ({shown}) of table `{self._table}` takes keys for equal that differ, by its "
                f"collation `{collation}`: one person would replace another. Use a column without a collation"
            )

    def _made_or_checked(self, load: Load, *, key: str) -> Target:
        warehouse = self._opened
        target = self._existing(warehouse)
        check_people(self._table, load, is_there=target is not None)
        if target is None:
            if not self._create_table:
                raise missing_table(self._table, self._table_names(warehouse))
            self._create(warehouse, load.schema, key=key, mark=self._mark.column if self._mark else None)
            target = self._existing(warehouse)
            if target is None:
                raise DestinationError(f"table `{self._table}` was made, but the warehouse does not show it")
        target = Target(target.columns, target.unique | {frozenset({key})})
        check_target(load, key=key, table=self._table, target=target, mark=self._mark)
        # A role that may write and not read could check nothing that it wrote.
        read_back = [key, self._mark.column] if self._mark else [key]
        columns, name = ", ".join(map(self._quote, read_back)), self._full_name(warehouse)
        self._run(f"SELECT {columns} FROM {name} WHERE FALSE")  # noqa: S608 - names are quoted
        if load.delivered:
            rows = self._run(f"SELECT 1 FROM {name} LIMIT 1")  # noqa: S608 - names are quoted
            check_people(self._table, load, is_there=bool(rows))
        return target

    def _staged(self, columns: dict[str, pa.Array]) -> Refused:
        self._drop()
        refused: Refused = {}
        taken = []
        for name, values in columns.items():
            array, unfit = staged(values, self._capacity(self._target.columns[name].shown))
            refused = {**unfit, **refused}
            taken.append(array)
        names = [_loaded_name(index) for index in range(len(taken))]
        positions = pa.array(range(len(taken[0])), pa.int64())
        self._names, self._rows = list(columns), pa.table([*taken, positions], [*names, _POSITION])
        return refused

    def _source(self, positions: Sequence[int]) -> str:
        """Return the batch's table and the condition for these rows. Loads the rows if they are not loaded yet."""
        wanted, loaded = list(positions), self._loaded
        start = bisect_left(self._loaded_positions, wanted[0])
        if loaded is None or self._loaded_positions[start : start + len(wanted)] != wanted:
            self._drop()
            loaded = self._load(wanted)
        return (
            f"{self._opened.name_of(loaded)} "
            f"WHERE {self._quote(_POSITION)} BETWEEN {int(wanted[0])} AND {int(wanted[-1])}"
        )

    def _load(self, positions: list[int]) -> StagingTable:
        warehouse = self._opened
        taken = self._rows.take(pa.array(positions, pa.int64()))
        # A MERGE would insert a new key twice.
        rows = last_of_each(taken, key=_KEY, position=_POSITION).combine_chunks()
        table = warehouse.table(_KIND, at=datetime.now(UTC))
        # Set before the table exists, so that a table that is half loaded is dropped too.
        self._loaded, self._loaded_positions = table, []
        failure: Exception
        try:
            warehouse.load(table, rows.schema, rows.to_batches())
            self._loaded_positions = positions
            return table
        except ConnectionLostError:
            self._disconnect()
            failure = ConnectionLostError(in_commit=False)
        except SourceUnavailableError:
            failure = BusyError("load_incomplete")
        except ModelError as error:
            failure = DestinationError(f"table `{self._table}`: {error}")
        raise failure

    def _run(self, statement: str) -> Rows:
        try:
            return self._execute(self._opened, statement)
        except ConnectionLostError:
            # The next try connects again.
            self._disconnect()
            raise

    def _unremoved(self, source: str) -> list[int]:
        """Return the positions of the people who are still there: with a row that is not marked or not emptied."""
        conditions = [self._has_key_of(source)]
        if self._mark is not None:
            mark = self._quote(self._mark.column)
            is_unmarked = f"COALESCE({mark}, FALSE) = FALSE" if self._mark_kind == "flag" else f"{mark} IS NULL"
            kept = [f"{self._quote(name)} IS NOT NULL" for name in self._emptied]
            conditions.append(f"({' OR '.join([is_unmarked, *kept])})")
        key, table = self._quote(self._key), self._full_name(self._opened)
        there = f"SELECT {key} FROM {table} WHERE {' AND '.join(conditions)}"  # noqa: S608 - names are quoted
        return self._read_back(source, f"IN ({there})")

    def _read_back(self, source: str, condition: str) -> list[int]:
        """Return the positions of the loaded rows or people whose key meets a condition."""
        statement = f"SELECT {self._quote(_POSITION)} FROM {source} AND {self._sent_key} {condition}"  # noqa: S608 - quoted
        try:
            return [int(str(row[0])) for row in self._run(statement)]
        except (BusyError, RowRefusedError):
            # The statement before this one is committed.
            raise ConnectionLostError(in_commit=True) from None

    def _drop(self) -> None:
        table, self._loaded, self._loaded_positions = self._loaded, None, []
        if table is not None and self._entered is not None:
            # Otherwise the warehouse drops it later.
            with suppress(ConsentRetlError, RowRefusedError, BusyError, ConnectionLostError):
                self._entered.drop(table)

    def _disconnect(self) -> None:
        warehouse, self._entered = self._entered, None
        self._loaded_positions = []
        if warehouse is not None:
            warehouse.__exit__(None, None, None)

    def _quote(self, name: str) -> str:
        return self._opened.quote(name)

    def _upsert(self, source: str) -> str:
        values = {}
        for index, name in enumerate(self._names):
            column, kind = self._quote(_loaded_name(index)), self._schema.field(name).type
            values[name] = self._value(column, kind, self._target.columns[name].shown) + f" AS {column}"
        loaded = {name: f"source.{self._quote(_loaded_name(index))}" for index, name in enumerate(self._names)}
        changes = {
            name: f"COALESCE({new}, target.{self._quote(name)})" if self._keep else new
            for name, new in loaded.items()
            if name != self._key
        }
        if self._mark is not None:
            # A person who is sent again is no longer removed, so the mark is cleared.
            loaded[self._mark.column] = changes[self._mark.column] = "FALSE" if self._mark_kind == "flag" else "NULL"
        changed = ", ".join(f"{self._quote(name)} = {new}" for name, new in changes.items())
        update = f"WHEN MATCHED THEN UPDATE SET {changed} " if changed else ""
        return (
            f"MERGE INTO {self._full_name(self._opened)} AS target "  # noqa: S608 - names are quoted
            f"USING (SELECT {', '.join(values.values())} FROM {source}) AS source "
            f"ON target.{self._quote(self._key)} = source.{self._quote(_KEY)} "
            f"{update}WHEN NOT MATCHED THEN INSERT ({', '.join(map(self._quote, loaded))}) "
            f"VALUES ({', '.join(loaded.values())})"
        )

    def _removal(self, source: str) -> str:
        table, condition = self._full_name(self._opened), self._has_key_of(source)
        if self._mark is None:
            return f"DELETE FROM {table} WHERE {condition}"  # noqa: S608 - names are quoted
        mark, kind = self._quote(self._mark.column), self._mark_kind
        changes = [f"{mark} = TRUE"]
        if kind != "flag":
            time = self._mark_time(kind, self._target.columns[self._mark.column].shown, datetime.now(UTC))
            changes = [f"{mark} = COALESCE({mark}, {time})"]
        changes += [f"{self._quote(name)} = NULL" for name in self._emptied]
        return f"UPDATE {table} SET {', '.join(changes)} WHERE {condition}"  # noqa: S608 - names are quoted

    def _has_key_of(self, source: str) -> str:
        return f"{self._quote(self._key)} IN (SELECT {self._sent_key} FROM {source})"  # noqa: S608 - names are quoted

    @property
    def _sent_key(self) -> str:
        column, kind = self._quote(_KEY), self._schema.field(self._key).type
        return self._value(column, kind, self._target.columns[self._key].shown)

    @property
    def _emptied(self) -> list[str]:
        emptied = self._mark is not None and self._mark.nulls
        return [name for name in self._schema.names if name != self._key and name in self._target.columns and emptied]

    @property
    def _mark_kind(self) -> MarkKind | None:
        return None if self._mark is None else mark_kind(self._target.columns[self._mark.column])


def _loaded_name(index: int) -> str:
    return f"C{index}"
