"""Statements for upserts and removals, built with SQLAlchemy Core. Every name is quoted and every value is bound.

Columns are untyped: the driver's own types decide, and no cast is written around a value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import quoted_name

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.dialects import TableDialect
    from airflow_consent_retl.databases.tables.target import TableName

# Oracle accepts at most 1,000 values in one list, SQL Server 2,100 parameters in one statement.
_KEYS_AT_ONCE = 500

Parameters = dict[str, object]
Upsert = Callable[[sa.Connection, Sequence[Parameters]], None]
Removal = Callable[[sa.Connection, Sequence[object]], None]


def upsert_into(
    table: TableName,
    names: Sequence[str],
    *,
    key: str,
    keep: bool,
    dialect: TableDialect,
    always: Mapping[str, sa.ColumnElement[Any]] | None = None,
) -> Upsert:
    """Return a function that upserts rows on a connection, without committing.

    Args:
        table: to write to.
        names: of the columns; a row's parameters are named by `parameter_names`.
        key: the column that identifies a row.
        keep: leave a column as it is where the row has NULL.
        dialect: of the database; one without an INSERT that upserts gets three statements that every database knows.
        always: further columns, each with the constant that every row gets.
    """
    statement = UpsertStatement(table, names, key=key, keep=keep, always=always or {})
    insert = statement.one(dialect)
    if insert is None:
        return statement.three
    return lambda connection, rows: _execute(connection, insert, rows)


def delete_from(table: TableName, *, key: str) -> Removal:
    """Return a function that deletes the rows with some keys on a connection, without committing."""
    column: sa.ColumnClause[object] = sa.column(quoted(key))
    statement = sa.delete(_table(table, column))
    return lambda connection, keys: _executed_by_keys(connection, statement, column, keys)


def mark_in(table: TableName, *, key: str, mark: str, moment: object | None, emptied: Sequence[str]) -> Removal:
    """Return a function that marks the rows with some keys on a connection, without committing.

    Args:
        table: to write to.
        key: the column that identifies a row.
        mark: the column to set.
        moment: the time to set it to, where it is still NULL; None sets a boolean to true.
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
    statement = sa.select(one).select_from(_table(table, column)).where(_is_one_of(column, [value]))
    return connection.execute(statement).first() is not None


def parameter_names(names: Sequence[str]) -> list[str]:
    """Return the parameter's name for each column: letters, digits and `_` only, and never the name of a column."""
    prefix = "value"
    while any(name.startswith(prefix) for name in names):
        prefix += "_"
    return [f"{prefix}{position}" for position in range(len(names))]


def quoted(name: str) -> quoted_name:
    """Return a name that SQLAlchemy always quotes, so that its case counts."""
    return quoted_name(name, quote=True)


def quoted_or_none(name: str | None) -> quoted_name | None:
    """Return a name that SQLAlchemy always quotes; None for None."""
    return None if name is None else quoted(name)


class UpsertStatement:
    """The columns and the statements of an upsert. Arguments are those of `upsert_into`."""

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
        self.always: dict[sa.ColumnClause[object], sa.ColumnElement[Any]] = {
            sa.column(quoted(name)): value for name, value in always.items()
        }
        self.table = _table(table, *columns, *self.always)
        parameters = parameter_names(names)
        self._bound: dict[Any, sa.BindParameter[object]] = {
            column: sa.bindparam(parameter, type_=sa.types.NullType())
            for column, parameter in zip(columns, parameters, strict=True)
        }
        self._inserted: dict[Any, sa.ColumnElement[Any]] = {**self._bound, **self.always}
        self.key = columns[list(names).index(key)]
        self._key_parameter = parameters[list(names).index(key)]
        self.columns = columns
        self._others = [column for column in columns if column is not self.key]
        self._keep = keep

    def one(self, dialect: TableDialect) -> sa.Insert | None:
        """Return the one statement that upserts; None where the database has none."""
        if dialect.insert is None:
            return None
        insert = dialect.insert(self.table).values(self._inserted)
        if dialect.upsert == "on_conflict":
            return self.on_conflict(insert)
        changes = self._changes(insert.inserted) or {self.key.name: self.key}
        updated: sa.Insert = insert.on_duplicate_key_update(changes)
        return updated

    def on_conflict(self, insert: Any) -> sa.Insert:
        """Return an INSERT with the clause that updates a row whose key is already in the table.

        Args:
            insert: of a dialect that has `on_conflict_do_update`.
        """
        resolved: sa.Insert
        if changes := self._changes(insert.excluded):
            resolved = insert.on_conflict_do_update(index_elements=[self.key], set_=changes)
        else:
            resolved = insert.on_conflict_do_nothing(index_elements=[self.key])
        return resolved

    def three(self, connection: sa.Connection, rows: Sequence[Parameters]) -> None:
        """Upsert rows with a SELECT, an UPDATE and an INSERT, without committing."""
        known: set[str] = set()
        for start in range(0, len(rows), _KEYS_AT_ONCE):
            keys = [row[self._key_parameter] for row in rows[start : start + _KEYS_AT_ONCE]]
            found = connection.execute(sa.select(self.key).select_from(self.table).where(self.key.in_(keys)))
            known.update(str(key) for key in found.scalars())
        existing = [row for row in rows if str(row[self._key_parameter]) in known]
        changes: dict[Any, Any] = {column: self._new(self._bound[column], column) for column in self._others}
        changes |= self.always
        if existing and changes:
            update = sa.update(self.table).where(self.key == self._bound[self.key])
            connection.execute(update.values(changes), existing)
        new = [row for row in rows if str(row[self._key_parameter]) not in known]
        if new:
            connection.execute(sa.insert(self.table).values(self._inserted), new)

    def _changes(self, new: Any) -> dict[str, Any]:
        changes = {column.name: self._new(new[column.name], column) for column in self._others}
        return changes | {column.name: value for column, value in self.always.items()}

    def _new(self, new: Any, old: Any) -> Any:
        return sa.func.coalesce(new, old) if self._keep else new


def _execute(connection: sa.Connection, statement: sa.Insert, rows: Sequence[Parameters]) -> None:
    connection.execute(statement, rows)


def _executed_by_keys(
    connection: sa.Connection,
    statement: sa.Delete | sa.Update,
    column: sa.ColumnClause[object],
    keys: Sequence[object],
) -> None:
    for start in range(0, len(keys), _KEYS_AT_ONCE):
        connection.execute(statement.where(_is_one_of(column, keys[start : start + _KEYS_AT_ONCE])))


def _is_one_of(column: sa.ColumnClause[object], keys: Sequence[object]) -> sa.ColumnElement[bool]:
    # Untyped as well: a uuid column equals no key that is cast to text. Without a name: a name could be a column's.
    return column.in_(sa.bindparam(None, keys, expanding=True, type_=sa.types.NullType()))


def _table(table: TableName, *columns: sa.ColumnClause[Any]) -> sa.TableClause:
    return sa.table(quoted(table.name), *columns, schema=quoted_or_none(table.schema))
