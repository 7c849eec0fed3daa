"""Statements for a bulk upsert in PostgreSQL, through a temporary table. Executes nothing by itself."""

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

    from airflow_consent_retl.databases.tables.target import TableName

_TABLE = "consent_retl_batch"


@dataclass(frozen=True, slots=True)
class BulkUpsert:
    """A temporary table for the rows of a batch, and the statements that make it and that upsert its rows.

    Args:
        table: the temporary table, dropped at the end of the transaction. Its columns are in the order of the rows'
            values; the last one is the position of the row in its batch.
        creation: makes the table.
        upsert: upserts the rows of the table; of several rows with one key, the last.
    """

    table: sa.TableClause
    creation: sa.Executable
    upsert: sa.Executable


def bulk_upsert_into(
    table: TableName, names: Sequence[str], *, key: str, keep: bool, always: Mapping[str, sa.ColumnElement[Any]]
) -> BulkUpsert:
    """Return the statements of a bulk upsert. Arguments are those of `upsert_into`."""
    statement = UpsertStatement(table, names, key=key, keep=keep, always=always)
    position = _unlike("position", names)
    waiting = sa.table(quoted(_TABLE), *(sa.column(quoted(name)) for name in [*names, position]))
    # The types of the target, but not its NOT NULL, which holds for the result only.
    place: sa.Label[Any] = sa.literal_column("CAST(0 AS bigint)").label(quoted(position))
    like: sa.Select[Any] = sa.select(*statement.columns).add_columns(place).select_from(statement.table)
    # The newest of the rows with one key is the first.
    order = sa.func.row_number().over(partition_by=waiting.c[key], order_by=waiting.c[position].desc())
    ordered = sa.select(*(waiting.c[name] for name in names), order.label(quoted(position))).subquery()
    newest: sa.Select[Any] = sa.select(*(ordered.c[name] for name in names), *statement.always.values()).where(
        ordered.c[position] == sa.literal_column("1")
    )
    insert = postgresql.insert(statement.table).from_select([*statement.columns, *statement.always], newest)
    return BulkUpsert(table=waiting, creation=_TemporaryTable(waiting, like), upsert=statement.on_conflict(insert))


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
