"""Statements for a bulk upsert in PostgreSQL, through a temporary table, and for reading back what it did.

Executes nothing by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles

from airflow_consent_retl.databases.tables.statements import UpsertStatement, quoted

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import DDLCompiler

    from airflow_consent_retl.databases.tables.table_name import TableName
    from airflow_consent_retl.databases.tables.write_rules import WriteRules

_TABLE = "consent_retl_batch"


@dataclass(frozen=True, slots=True)
class BulkUpsert:
    """A temporary table for the rows of a batch, and the statements that make it, upsert its rows and read them back.

    Args:
        table: the temporary table, dropped at the end of the transaction. Its columns are in the order of the rows'
            values; then comes the position of the row in its batch; then, for a key that is text, the key as it was
            sent, which the key's own column may change.
        creation: makes the table.
        upsert: upserts the rows of the table; of several rows with one key, the last. Where it updates rows, it returns
            the positions of the rows that it did not touch.
        unchanged: returns those of the `positions` whose row is in the target as it was sent.
        unstored: returns the position of each row of which the target does not show exactly the key, and whether it
            shows a key that the database takes for equal.
    """

    table: sa.TableClause
    creation: sa.Executable
    upsert: sa.Executable
    unchanged: sa.Select[Any]
    unstored: sa.Select[Any]


def bulk_upsert_into(
    table: TableName,
    names: Sequence[str],
    *,
    key: str,
    is_text: bool,
    rules: WriteRules,
    always: Mapping[str, sa.ColumnElement[Any]],
) -> BulkUpsert:
    """Return the statements of a bulk upsert. Arguments are those of `Upsert`, and whether the key is sent as text."""
    statement = UpsertStatement(table, names, key=key, rules=rules, always=always)
    position, sent = _unlike("position", names), _unlike("sent", names)
    further = [position, sent] if is_text else [position]
    waiting = sa.table(quoted(_TABLE), *(sa.column(quoted(name)) for name in [*names, *further]))
    # The types of the target, but not its NOT NULL, which holds for the result only.
    place: sa.Label[Any] = sa.literal_column("CAST(0 AS bigint)").label(quoted(position))
    like: sa.Select[Any] = sa.select(*statement.columns).add_columns(place).select_from(statement.table)
    if is_text:
        like = like.add_columns(sa.literal_column("CAST('' AS text)").label(quoted(sent)))
    # The newest of the rows with one key is the first.
    order = sa.func.row_number().over(partition_by=waiting.c[key], order_by=waiting.c[position].desc())
    ordered = sa.select(*(waiting.c[name] for name in names), order.label(quoted(position))).subquery()
    newest: sa.Select[Any] = sa.select(*(ordered.c[name] for name in names), *statement.always.values()).where(
        ordered.c[position] == sa.literal_column("1")
    )
    insert = postgresql.insert(statement.table).from_select([*statement.columns, *statement.always], newest)
    upsert: sa.Executable = statement.on_conflict(insert)
    if statement.changes_rows:
        upsert = _untouched(statement.on_conflict(insert), statement.key, waiting, waiting.c[key], waiting.c[position])
    is_same = [statement.key == waiting.c[key]]
    found = sa.exists().select_from(statement.table).where(*is_same)
    # The column's own collation may take different texts for equal.
    exact = [_as_text(statement.key).collate("C") == waiting.c[sent]] if is_text else []
    values = {column: statement.new(waiting.c[column.name], column) for column in statement.columns}
    stored = [
        sa.cast(column, sa.Text()).is_not_distinct_from(sa.cast(value, sa.Text()))
        for column, value in (values | statement.always).items()
    ]
    wanted = waiting.c[position] == sa.any_(sa.bindparam("positions", type_=postgresql.ARRAY(sa.BigInteger())))
    return BulkUpsert(
        table=waiting,
        creation=_TemporaryTable(waiting, like),
        upsert=upsert,
        unchanged=sa.select(waiting.c[position]).where(wanted, found.where(*stored)),
        unstored=sa.select(waiting.c[position], found).where(~found.where(*exact)),
    )


def _untouched(
    upsert: sa.Insert,
    key: sa.ColumnClause[Any],
    waiting: sa.TableClause,
    waiting_key: sa.ColumnElement[Any],
    position: sa.ColumnElement[Any],
) -> sa.Select[Any]:
    touched = upsert.returning(key).cte("touched")
    has_touched = sa.exists().select_from(touched).where(touched.c[key.name] == waiting_key)
    return sa.select(position).select_from(waiting).where(~has_touched)


def _as_text(value: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    # As a client would see it: a cast of `inet` adds a netmask, and one of `char` takes spaces away.
    return sa.func.concat(value)


class _TemporaryTable(sa.schema.ExecutableDDLElement):
    """CREATE TABLE AS, which SQLAlchemy has from 2.1 on."""

    def __init__(self, table: sa.TableClause, like: sa.Select[Any]) -> None:
        self.table = table
        self.like = like


@compiles(_TemporaryTable, "postgresql")
def _creation(element: _TemporaryTable, compiler: DDLCompiler, **_: object) -> str:
    name = compiler.preparer.format_table(element.table)
    query = compiler.sql_compiler.process(element.like, literal_binds=True)
    return f"CREATE TEMPORARY TABLE {name} ON COMMIT DROP AS {query} WITH NO DATA"


def _unlike(name: str, names: Sequence[str]) -> str:
    while name in names:
        name += "_"
    return name
