"""The base class of table writers for warehouses: a bulk load into a temporary table, then one MERGE.

It has the flow that warehouses share. Names of types and sessions are in the databases' folders.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import pyarrow as pa

from airflow_consent_retl.databases.tables.added_columns import missing_fields
from airflow_consent_retl.databases.tables.bulk import Capacity, is_stageable, last_of_each, staged
from airflow_consent_retl.databases.tables.merge_statements import (
    KEY,
    POSITION,
    MergeStatements,
    TargetWarehouse,
    loaded_name,
)
from airflow_consent_retl.databases.tables.write_rules import WriteRules
from airflow_consent_retl.databases.tables.writer import (
    NO_ROW,
    NOT_CLEARED,
    NOT_REMOVED,
    NOT_VISIBLE,
    BusyError,
    ConnectionLostError,
    Nulls,
    Refused,
    RowRefusedError,
    TableTarget,
    TableWriter,
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
    from airflow_consent_retl.databases.staging import Kind, StagingTable
    from airflow_consent_retl.databases.tables.merge_statements import Rows
    from airflow_consent_retl.databases.tables.removal_marks import Mark, MarkKind
    from airflow_consent_retl.databases.tables.table_name import TableName

# The table of a batch is named like a workspace's tables, so that a person finds all of them in one way.
_KIND: Kind = "batch"
W = TypeVar("W", bound=TargetWarehouse)


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
        add_columns: add the columns that the table lacks.
    """

    case_sensitive: ClassVar[bool]

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
        self._conn_id = hook.get_conn_id()
        self._table = table
        self._nulls = nulls
        self._rules = WriteRules()
        self._create_table = create_table
        self._mark = mark
        self._add_columns = add_columns
        self._entered: W | None = None
        self._target = TableTarget({})
        self._key = ""
        self._schema = pa.schema([])
        self._writes = False
        self._rows = pa.table({})
        self._names: list[str] = []
        # The table that contains a part of the staged batch, and the positions of that part.
        self._loaded: StagingTable | None = None
        self._loaded_positions: list[int] = []

    @property
    def columns(self) -> frozenset[str]:
        """The columns of the table."""
        return frozenset(self._target.columns)

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
        self._rules = WriteRules.of(load, self._nulls)
        code = ""
        try:
            self._target = self._made_or_checked(load, key=key)
            # A role that may write and not read could check nothing that it wrote.
            self._run(self._sql.readable())
            if load.delivered:
                rows = self._run(f"SELECT 1 FROM {self._opened.target} LIMIT 1")  # noqa: S608 - quoted
                check_people(self._table, load, is_there=bool(rows))
        except (BusyError, RowRefusedError) as error:
            code = error.code
        except ConnectionLostError:
            code = "connection_lost"
        if code:
            raise DestinationUnavailableError(f"connection `{self._conn_id}`: the warehouse does not answer ({code})")

    def stage(self, rows: pa.RecordBatch) -> dict[str, Refused]:
        """Keep the batch in the form of the bulk load."""
        names = [self._key, *(name for name in rows.schema.names if name != self._key)]
        return self._staged({name: rows.column(name) for name in names})

    def write(self, positions: Sequence[int]) -> None:
        """Upsert with one MERGE, and look for the keys."""
        source = self._source(positions)
        self._run(self._sql.upsert(source, self._names))
        hidden = self._read_back(self._sql.hidden(source))
        if hidden and not self._rules.inserts:
            raise UnprovenError(dict.fromkeys(hidden, NO_ROW), applied="rest")
        if hidden:
            # The MERGE is committed: the rows may be there, where this role does not see them.
            raise UnprovenError(dict.fromkeys(hidden, NOT_VISIBLE), applied="unknown")

    def stage_removal(self, keys: pa.Array) -> Refused:
        """Keep the keys in the form of the bulk load."""
        return self._staged({self._key: keys}).get(self._key, {})

    def remove(self, positions: Sequence[int]) -> None:
        """Delete or mark with one statement, and look for the keys."""
        source = self._source(positions)
        self._run(self._sql.removal(source))
        if left := self._read_back(self._sql.unremoved(source)):
            raise UnprovenError(dict.fromkeys(left, NOT_REMOVED), applied="rest")

    def empty(self, positions: Sequence[int], names: Sequence[str]) -> None:
        """Clear columns with one statement, and look for values."""
        source = self._source(positions)
        self._run(self._sql.emptying(source, names))
        if left := self._read_back(self._sql.unemptied(source, names)):
            raise UnprovenError(dict.fromkeys(left, NOT_CLEARED), applied="rest")

    def holds(self, position: int) -> bool:
        """Look for the key."""
        return bool(self._run(self._sql.unremoved(self._source([position]))))

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
        """Return the warehouse, entered."""

    @abstractmethod
    def _existing(self, warehouse: W) -> TableTarget | None:
        """Return the columns of the table; None if it does not exist.

        Raises:
            ConfigurationError: it is a view.
        """

    @abstractmethod
    def _create(self, warehouse: W, fields: Iterable[pa.Field], *, key: str, mark: str | None) -> None:
        """Make the table; an existing one is not an error."""

    @abstractmethod
    def _add(self, warehouse: W, fields: Iterable[pa.Field]) -> None:
        """Add columns to the table."""

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

    def _made_or_checked(self, load: Load, *, key: str) -> TableTarget:
        warehouse = self._opened
        target = self._existing(warehouse)
        check_people(self._table, load, is_there=target is not None)
        if target is None:
            if not self._create_table:
                raise missing_table(self._table, warehouse.names())
            self._create(warehouse, load.schema, key=key, mark=self._mark.column if self._mark else None)
            target = self._existing(warehouse)
            if target is None:
                raise DestinationError(f"table `{self._table}` was made, but the warehouse does not show it")
        elif self._add_columns:
            target = self._with_all_columns(warehouse, target, load)
        target = TableTarget(target.columns, target.unique | {frozenset({key})})
        check_target(load, key=key, table=self._table, target=target, mark=self._mark)
        return target

    def _with_all_columns(self, warehouse: W, target: TableTarget, load: Load) -> TableTarget:
        missing = missing_fields(load, target.columns, case_sensitive=self.case_sensitive)
        if not missing:
            return target
        # Another task may have added them in the meantime; otherwise the check of the table names them.
        with suppress(DestinationError, RowRefusedError):
            self._add(warehouse, missing)
        return self._existing(warehouse) or target

    def _staged(self, columns: dict[str, pa.Array]) -> dict[str, Refused]:
        self._drop()
        refused: dict[str, Refused] = {}
        taken = []
        for name, values in columns.items():
            array, unfit = staged(values, self._capacity(self._target.columns[name].shown))
            if unfit:
                refused[name] = unfit
            taken.append(array)
        names = [loaded_name(index) for index in range(len(taken))]
        positions = pa.array(range(len(taken[0])), pa.int64())
        self._names, self._rows = list(columns), pa.table([*taken, positions], [*names, POSITION])
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
            f"WHERE {self._opened.quote(POSITION)} BETWEEN {int(wanted[0])} AND {int(wanted[-1])}"
        )

    def _load(self, positions: list[int]) -> StagingTable:
        warehouse = self._opened
        taken = self._rows.take(pa.array(positions, pa.int64()))
        # A MERGE would insert a new key twice.
        rows = last_of_each(taken, key=KEY, position=POSITION).combine_chunks()
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
            return self._opened.rows(statement)
        except ConnectionLostError:
            # The next try connects again.
            self._disconnect()
            raise

    def _read_back(self, statement: str) -> list[int]:
        """Return the positions that a query returns after a statement that is committed."""
        try:
            return [int(str(row[0])) for row in self._run(statement)]
        except (BusyError, RowRefusedError):
            # Otherwise it would seem that nothing was applied.
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

    @property
    def _sql(self) -> MergeStatements:
        return MergeStatements(
            warehouse=self._opened,
            target=self._target,
            schema=self._schema,
            key=self._key,
            rules=self._rules,
            mark=self._mark,
            value=self._value,
            mark_time=self._mark_time,
        )
