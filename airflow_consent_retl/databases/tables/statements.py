"""Upserts and removals, as SQLAlchemy Core writes them for each dialect, with every name quoted and every value bound.

Columns are untyped, so that the driver's own types decide and no cast is written around a value. Executes nothing by
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import quoted_name

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import DDLCompiler

    from airflow_consent_retl.databases.tables.target import TableName

# Oracle takes 1,000 values in one list, SQL Server 2,100 parameters in one statement.
_KEYS_AT_ONCE = 500
_BATCH = "consent_retl_batch"

Parameters = dict[str, object]
Upsert = Callable[[sa.Connection, Sequence[Parameters]], None]
Removal = Callable[[sa.Connection, Sequence[object]], None]


def upsert_into(
    table: TableName,
    names: Sequence[str],
    *,
    key: str,
    keep: bool,
    dialect: str | None,
    always: Mapping[str, sa.ColumnElement[Any]] | None = None,
) -> Upsert:
    """Return what upserts rows on a connection, without committing.

    Args:
        table: to write to.
        names: of the columns; a row's parameters are named by `parameter_names`.
        key: the column that tells rows apart.
        keep: leave a column as it is where the row has NULL.
        dialect: SQLAlchemy's name of it; None, or one not known here, uses three statements that all understand.
        always: further columns, each with the constant that every row is written with.
    """
    statement = _Statement(table, names, key=key, keep=keep, always=always or {})
    insert = statement.one(dialect)
    if insert is None:
        return statement.three
    return lambda connection, rows: _executed(connection, insert, rows)


@dataclass(frozen=True, slots=True)
class Batch:
    """A temporary table of PostgreSQL that rows wait in until one statement takes them over.

    Args:
        table: the temporary one, gone at the end of the transaction. Its columns are in the order of the rows' values,
            and last the position of the row in its batch.
        creation: what makes it.
        upsert: what takes its rows over; of rows with one key, the last.
    """

    table: sa.TableClause
    creation: sa.Executable
    upsert: sa.Executable


def batch_into(
    table: TableName, names: Sequence[str], *, key: str, keep: bool, always: Mapping[str, sa.ColumnElement[Any]]
) -> Batch:
    """Return how rows are upserted in bulk in PostgreSQL. Arguments are those of `upsert_into`."""
    return _Statement(table, names, key=key, keep=keep, always=always).batch()


def delete_from(table: TableName, *, key: str) -> Removal:
    """Return what deletes the rows with these keys on a connection, without committing."""
    column: sa.ColumnClause[object] = sa.column(quoted(key))
    statement = sa.delete(_table(table, column))
    return lambda connection, keys: _executed_by_keys(connection, statement, column, keys)


def mark_in(table: TableName, *, key: str, mark: str, moment: object | None, emptied: Sequence[str]) -> Removal:
    """Return what marks the rows with these keys on a connection, without committing.

    Args:
        table: to write to.
        key: the column that tells rows apart.
        mark: the column to set.
        moment: to set it to, where it is still NULL; None sets a boolean to true.
        emptied: columns to set to NULL.
    """
    column: sa.ColumnClause[object] = sa.column(quoted(key))
    marked: sa.ColumnClause[object] = sa.column(quoted(mark))
    others: list[sa.ColumnClause[object]] = [sa.column(quoted(name)) for name in emptied]
    now: sa.BindParameter[object] = sa.bindparam(None, moment, type_=sa.types.NullType())
    value: sa.ColumnElement[Any] = sa.true() if moment is None else sa.func.coalesce(marked, now)
    changes = {marked: value, **dict.fromkeys(others, sa.null())}
    statement = sa.update(_table(table, column, marked, *others)).values(changes)
    return lambda connection, keys: _executed_by_keys(connection, statement, column, keys)


def is_there(connection: sa.Connection, table: TableName, *, key: str, value: object) -> bool:
    """Return whether a row has this key."""
    column: sa.ColumnClause[object] = sa.column(quoted(key))
    one: sa.ColumnElement[int] = sa.literal_column("1")
    statement = sa.select(one).select_from(_table(table, column)).where(_among(column, [value]))
    return connection.execute(statement).first() is not None


def parameter_names(names: Sequence[str]) -> list[str]:
    """Return the parameter's name for each column: plain words, and none that is a column's name."""
    prefix = "value"
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return [f"{prefix}{position}" for position in range(len(names))]


def quoted(name: str) -> quoted_name:
    """Return a name that is quoted whatever it holds, so that its case counts."""
    return quoted_name(name, quote=True)


def quoted_or_none(name: str | None) -> quoted_name | None:
    """Return a name that is quoted, if there is one."""
    return None if name is None else quoted(name)


class _TemporaryTable(sa.schema.ExecutableDDLElement):
    """SQLAlchemy has CREATE TABLE AS from 2.1 on."""

    def __init__(self, table: sa.TableClause, like: sa.Select[Any]) -> None:
        self.table = table
        self.like = like


@compiles(_TemporaryTable, "postgresql")
def _creation(element: _TemporaryTable, compiler: DDLCompiler, **_: object) -> str:
    name = compiler.preparer.format_table(element.table)
    query = compiler.sql_compiler.process(element.like, literal_binds=True)
    return f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {query} WITH NO DATA"


class _Statement:
    def __init__(
        self,
        table: TableName,
        names: Sequence[str],
        *,
        key: str,
        keep: bool,
        always: Mapping[str, sa.ColumnElement[Any]],
    ) -> None:
        columns: list[sa.ColumnClause[object]] = [sa.column(quoted(name)) for name in names]
        self._always: dict[sa.ColumnClause[object], sa.ColumnElement[Any]] = {
            sa.column(quoted(name)): value for name, value in always.items()
        }
        self._table = _table(table, *columns, *self._always)
        parameters = parameter_names(names)
        self._bound: dict[Any, sa.BindParameter[object]] = {
            column: sa.bindparam(parameter, type_=sa.types.NullType())
            for column, parameter in zip(columns, parameters, strict=True)
        }
        self._inserted: dict[Any, sa.ColumnElement[Any]] = {**self._bound, **self._always}
        self._key = columns[list(names).index(key)]
        self._key_parameter = parameters[list(names).index(key)]
        self._columns = columns
        self._others = [column for column in columns if column is not self._key]
        self._keep = keep

    def one(self, dialect: str | None) -> sa.Insert | None:
        if dialect in {"postgresql", "sqlite"}:
            into = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(self._table).values(self._inserted)
            return self._resolved(into)
        if dialect in {"mysql", "mariadb"}:
            mine = mysql.insert(self._table).values(self._inserted)
            return mine.on_duplicate_key_update(self._changes(mine.inserted) or {self._key.name: self._key})
        return None

    def batch(self) -> Batch:
        names = [column.name for column in self._columns]
        position = _unlike("position", names)
        waiting = sa.table(quoted(_BATCH), *(sa.column(quoted(name)) for name in [*names, position]))
        # Of the target's own types; not its NOT NULL, which holds for the result only.
        place: sa.Label[Any] = sa.literal_column("CAST(0 AS bigint)").label(quoted(position))
        like: sa.Select[Any] = sa.select(*self._columns).add_columns(place).select_from(self._table)
        # The newest of the rows with one key is the first.
        order = sa.func.row_number().over(partition_by=waiting.c[self._key.name], order_by=waiting.c[position].desc())
        ordered = sa.select(*(waiting.c[name] for name in names), order.label(quoted(position))).subquery()
        newest: sa.Select[Any] = sa.select(*(ordered.c[name] for name in names), *self._always.values()).where(
            ordered.c[position] == sa.literal_column("1")
        )
        into = postgresql.insert(self._table).from_select([*self._columns, *self._always], newest)
        return Batch(
            table=waiting,
            creation=_TemporaryTable(waiting, like),
            upsert=self._resolved(into),
        )

    def _resolved(self, into: postgresql.Insert | sqlite.Insert) -> sa.Insert:
        if changes := self._changes(into.excluded):
            return into.on_conflict_do_update(index_elements=[self._key], set_=changes)
        return into.on_conflict_do_nothing(index_elements=[self._key])

    def three(self, connection: sa.Connection, rows: Sequence[Parameters]) -> None:
        known: set[str] = set()
        for start in range(0, len(rows), _KEYS_AT_ONCE):
            keys = [row[self._key_parameter] for row in rows[start : start + _KEYS_AT_ONCE]]
            found = connection.execute(sa.select(self._key).select_from(self._table).where(self._key.in_(keys)))
            known.update(str(key) for key in found.scalars())
        there = [row for row in rows if str(row[self._key_parameter]) in known]
        changes: dict[Any, Any] = {column: self._new(self._bound[column], column) for column in self._others}
        changes |= self._always
        if there and changes:
            update = sa.update(self._table).where(self._key == self._bound[self._key])
            connection.execute(update.values(changes), there)
        fresh = [row for row in rows if str(row[self._key_parameter]) not in known]
        if fresh:
            connection.execute(sa.insert(self._table).values(self._inserted), fresh)

    def _changes(self, new: Any) -> dict[str, Any]:
        changes = {column.name: self._new(new[column.name], column) for column in self._others}
        return changes | {column.name: value for column, value in self._always.items()}

    def _new(self, new: Any, old: Any) -> Any:
        return sa.func.coalesce(new, old) if self._keep else new


def _executed(connection: sa.Connection, statement: sa.Insert, rows: Sequence[Parameters]) -> None:
    connection.execute(statement, rows)


def _executed_by_keys(
    connection: sa.Connection,
    statement: sa.Delete | sa.Update,
    column: sa.ColumnClause[object],
    keys: Sequence[object],
) -> None:
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        connection.execute(statement.where(_among(column, keys[start : start + _KEYS_AT_ONCE])))


def _among(column: sa.ColumnClause[object], keys: Sequence[object]) -> sa.ColumnElement[bool]:
    # Untyped as well: a cast to text around a key is no key of a uuid column any more. And without a name: it might be
    # a column's.
    return column.in_(sa.bindparam(None, keys, expanding=True, type_=sa.types.NullType()))


def _unlike(name: str, names: Sequence[str]) -> str:
    while name in names:
        name += "_"
    return name


def _table(table: TableName, *columns: sa.ColumnClause[Any]) -> sa.TableClause:
    return sa.table(quoted(table.name), *columns, schema=quoted_or_none(table.schema))
