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
    from airflow_consent_retl.databases.tables.table_name import TableName
    from airflow_consent_retl.databases.tables.write_rules import WriteRules

# Oracle accepts at most 1,000 values in one list, SQL Server 2,100 parameters in one statement.
KEYS_AT_ONCE = 500

Parameters = dict[str, object]
Removal = Callable[[sa.Connection, Sequence[object]], None]


class Upsert:
    """Upserts rows on a connection, without committing.

    Args:
        table: to write to.
        names: of the columns; a row's parameters are named by `parameter_names`.
        key: the column that identifies a row.
        rules: how a row meets a row of the table.
        dialect: of the database; one without an INSERT that upserts gets three statements that every database knows.
        always: further columns, each with the constant that every row gets.

    Attributes:
        one: the one statement that upserts a row; None where there is none.
        is_counted: whether the number of rows that it touches is the number of rows inserted or updated.
    """

    def __init__(
        self,
        table: TableName,
        names: Sequence[str],
        *,
        key: str,
        rules: WriteRules,
        dialect: TableDialect,
        always: Mapping[str, sa.ColumnElement[Any]] | None = None,
    ) -> None:
        self._statement = UpsertStatement(table, names, key=key, rules=rules, always=always or {})
        self.one: sa.Insert | None = self._statement.one(dialect)
        # MySQL counts a row that is as it was as none, and one that is updated as two.
        self.is_counted = dialect.upsert == "on_conflict" and self._statement.changes_rows

    def __call__(self, connection: sa.Connection, rows: Sequence[Parameters]) -> int | None:
        """Return the number of rows that were inserted or updated; None where the database does not count them."""
        if self.one is None:
            return self._statement.three(connection, rows)
        if self.is_counted:
            return touched_by(connection, self.one, rows)
        connection.execute(self.one, rows)
        return None

    def untouched(self, connection: sa.Connection, rows: Sequence[Parameters]) -> list[int]:
        """Upsert rows one by one, undo it, and return the places of those that were swallowed.

        A row that is in the table as it was sent is not swallowed: a trigger may leave out updates that change nothing.
        """
        swallowed = []
        undone = connection.begin_nested()
        for place, row in enumerate(rows):
            if self(connection, [row]) == 0 and not self._statement.is_stored(connection, row):
                swallowed.append(place)
        undone.rollback()
        return swallowed


def delete_from(table: TableName, *, key: str) -> Removal:
    """Return a function that deletes the rows with some keys on a connection, without committing."""
    column: sa.ColumnClause[object] = sa.column(quoted(key))
    statement = sa.delete(table_clause(table, column))
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
    statement = sa.update(table_clause(table, column, marked, *others)).values(changes)
    return lambda connection, keys: _executed_by_keys(connection, statement, column, keys)


def empty_in(table: TableName, *, key: str, emptied: Sequence[str]) -> Removal:
    """Return a function that sets columns of the rows with some keys to NULL on a connection, without committing.

    Args:
        table: to write to.
        key: the column that identifies a row.
        emptied: the columns.
    """
    column: sa.ColumnClause[object] = sa.column(quoted(key))
    others: list[sa.ColumnClause[object]] = [sa.column(quoted(name)) for name in emptied]
    statement = sa.update(table_clause(table, column, *others)).values(dict.fromkeys(others, sa.null()))
    return lambda connection, keys: _executed_by_keys(connection, statement, column, keys)


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


def is_one_of(column: sa.ColumnClause[object], keys: Sequence[object]) -> sa.ColumnElement[bool]:
    """Return the condition that a column is one of some keys."""
    # Untyped as well: a uuid column equals no key that is cast to text. Without a name: a name could be a column's.
    return column.in_(sa.bindparam(None, keys, expanding=True, type_=sa.types.NullType()))


def table_clause(table: TableName, *columns: sa.ColumnClause[Any]) -> sa.TableClause:
    """Return a table with some of its columns, for statements."""
    return sa.table(quoted(table.name), *columns, schema=quoted_or_none(table.schema))


class UpsertStatement:
    """The columns and the statements of an upsert. Arguments are those of `Upsert`."""

    def __init__(
        self,
        table: TableName,
        names: Sequence[str],
        *,
        key: str,
        rules: WriteRules,
        always: Mapping[str, sa.ColumnElement[Any]],
    ) -> None:
        columns: list[sa.ColumnClause[object]] = [sa.column(quoted(name)) for name in names]
        self.always: dict[sa.ColumnClause[object], sa.ColumnElement[Any]] = {
            sa.column(quoted(name)): value for name, value in always.items()
        }
        self.table = table_clause(table, *columns, *self.always)
        parameters = parameter_names(names)
        self._bound: dict[Any, sa.BindParameter[object]] = {
            column: sa.bindparam(parameter, type_=sa.types.NullType())
            for column, parameter in zip(columns, parameters, strict=True)
        }
        self._inserted: dict[Any, sa.ColumnElement[Any]] = {**self._bound, **self.always}
        self.key = columns[list(names).index(key)]
        self._parameters = parameters
        self._key_parameter = parameters[list(names).index(key)]
        self.columns = columns
        self._others = [column for column in columns if column is not self.key]
        self._rules = rules
        self._changed = [column for column in self._others if rules.of_column(column.name) != "stay"]

    @property
    def changes_rows(self) -> bool:
        """True if a row whose key is already in the table is updated: there are columns that may change."""
        return bool(self._changed or self.always)

    def one(self, dialect: TableDialect) -> sa.Insert | None:
        """Return the one statement that upserts; None where the database has none, or nothing is inserted."""
        if dialect.insert is None or not self._rules.inserts:
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

    def three(self, connection: sa.Connection, rows: Sequence[Parameters]) -> int:
        """Upsert rows with a SELECT, an UPDATE and an INSERT, without committing; return how many were touched."""
        known: set[str] = set()
        for start in range(0, len(rows), KEYS_AT_ONCE):
            keys = [row[self._key_parameter] for row in rows[start : start + KEYS_AT_ONCE]]
            found = connection.execute(sa.select(self.key).select_from(self.table).where(self.key.in_(keys)))
            known.update(str(key) for key in found.scalars())
        existing = [row for row in rows if str(row[self._key_parameter]) in known]
        changes: dict[Any, Any] = {column: self.new(self._bound[column], column) for column in self._changed}
        changes |= self.always
        touched = len(existing)
        if existing and changes:
            update = sa.update(self.table).where(self.key == self._bound[self.key])
            touched = touched_by(connection, update.values(changes), existing)
        new = [row for row in rows if str(row[self._key_parameter]) not in known]
        if new and self._rules.inserts:
            touched += touched_by(connection, sa.insert(self.table).values(self._inserted), new)
        return touched

    def is_stored(self, connection: sa.Connection, row: Parameters) -> bool:
        """Return whether the table has the row's values under its key."""
        query = sa.select(*self.columns, *self.always).select_from(self.table)
        found = connection.execute(query.where(is_one_of(self.key, [row[self._key_parameter]]))).first()
        if found is None:
            return False
        sent = [row[name] for name in self._parameters]
        is_unmarked = not any(found[len(sent) :])
        return is_unmarked and all(
            old == new if column is self.key else self._rules.holds(column.name, new=new, old=old)
            for old, new, column in zip(found, sent, self.columns, strict=False)
        )

    def _changes(self, new: Any) -> dict[str, Any]:
        changes = {column.name: self.new(new[column.name], column) for column in self._changed}
        return changes | {column.name: value for column, value in self.always.items()}

    def new(self, new: Any, old: sa.ColumnClause[object]) -> Any:
        """Return the value of an updated column, for its new and its old value."""
        rule = "new" if old.name == self.key.name else self._rules.of_column(old.name)
        if rule == "keep":
            return sa.func.coalesce(new, old)
        if rule in {"new", "stay"}:
            return new if rule == "new" else old
        value = old if rule == "clear" else sa.func.coalesce(old, new)
        return value if rule == "fill" else sa.case((new.is_not(None), value))


def touched_by(connection: sa.Connection, statement: sa.Insert | sa.Update, rows: Sequence[Parameters]) -> int:
    """Execute a statement for some rows, and return how many rows it inserted or updated."""
    dialect, statement = connection.dialect, statement.execution_options(preserve_rowcount=True)
    # Some drivers count the last row only, and SQLAlchemy counts nothing where it sends many rows as one statement.
    if dialect.supports_sane_multi_rowcount and not dialect.use_insertmanyvalues_wo_returning:
        return connection.execute(statement, rows).rowcount
    return sum(connection.execute(statement, row).rowcount for row in rows)


def _executed_by_keys(
    connection: sa.Connection,
    statement: sa.Delete | sa.Update,
    column: sa.ColumnClause[object],
    keys: Sequence[object],
) -> None:
    for start in range(0, len(keys), KEYS_AT_ONCE):
        connection.execute(statement.where(is_one_of(column, keys[start : start + KEYS_AT_ONCE])))
