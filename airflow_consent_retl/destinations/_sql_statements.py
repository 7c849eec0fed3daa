"""The upsert, as SQLAlchemy Core writes it for each dialect, with every name quoted and every value bound.

Columns are untyped, so that the driver's own types decide and no cast is written around a value. Executes nothing by
itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.sql.elements import quoted_name

if TYPE_CHECKING:
    from airflow_consent_retl.destinations._sql_target import TableName

# Oracle takes 1,000 values in one list, SQL Server 2,100 parameters in one statement.
_KEYS_AT_ONCE = 500

Parameters = dict[str, object]
Upsert = Callable[[sa.Connection, Sequence[Parameters]], None]


def upsert_into(table: TableName, names: Sequence[str], *, key: str, keep: bool, dialect: str | None) -> Upsert:
    """Return what upserts rows on a connection, without committing.

    Args:
        table: to write to.
        names: of the columns; a row's parameters are named by `parameter_names`.
        key: the column that tells rows apart.
        keep: leave a column as it is where the row has NULL.
        dialect: SQLAlchemy's name of it; None, or one not known here, uses three statements that all understand.
    """
    statement = _Statement(table, names, key=key, keep=keep)
    insert = statement.one(dialect)
    if insert is None:
        return statement.three
    return lambda connection, rows: _executed(connection, insert, rows)


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


class _Statement:
    def __init__(self, table: TableName, names: Sequence[str], *, key: str, keep: bool) -> None:
        columns: list[sa.ColumnClause[object]] = [sa.column(quoted(name)) for name in names]
        self._table = sa.table(quoted(table.name), *columns, schema=quoted_or_none(table.schema))
        parameters = parameter_names(names)
        self._bound: dict[Any, sa.BindParameter[object]] = {
            column: sa.bindparam(parameter, type_=sa.types.NullType())
            for column, parameter in zip(columns, parameters, strict=True)
        }
        self._key = columns[list(names).index(key)]
        self._key_parameter = parameters[list(names).index(key)]
        self._others = [column for column in columns if column is not self._key]
        self._keep = keep

    def one(self, dialect: str | None) -> sa.Insert | None:
        if dialect in {"postgresql", "sqlite"}:
            into = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(self._table).values(self._bound)
            if not self._others:
                return into.on_conflict_do_nothing(index_elements=[self._key])
            return into.on_conflict_do_update(index_elements=[self._key], set_=self._changes(into.excluded))
        if dialect in {"mysql", "mariadb"}:
            mine = mysql.insert(self._table).values(self._bound)
            return mine.on_duplicate_key_update(self._changes(mine.inserted) or {self._key.name: self._key})
        return None

    def three(self, connection: sa.Connection, rows: Sequence[Parameters]) -> None:
        known: set[str] = set()
        for start in range(0, len(rows), _KEYS_AT_ONCE):
            keys = [row[self._key_parameter] for row in rows[start : start + _KEYS_AT_ONCE]]
            found = connection.execute(sa.select(self._key).select_from(self._table).where(self._key.in_(keys)))
            known.update(str(key) for key in found.scalars())
        there = [row for row in rows if str(row[self._key_parameter]) in known]
        if there and self._others:
            update = sa.update(self._table).where(self._key == self._bound[self._key])
            changes = {column: self._new(self._bound[column], column) for column in self._others}
            connection.execute(update.values(changes), there)
        fresh = [row for row in rows if str(row[self._key_parameter]) not in known]
        if fresh:
            connection.execute(sa.insert(self._table).values(self._bound), fresh)

    def _changes(self, new: Any) -> dict[str, Any]:
        return {column.name: self._new(new[column.name], column) for column in self._others}

    def _new(self, new: Any, old: Any) -> Any:
        return sa.func.coalesce(new, old) if self._keep else new


def _executed(connection: sa.Connection, statement: sa.Insert, rows: Sequence[Parameters]) -> None:
    connection.execute(statement, rows)
