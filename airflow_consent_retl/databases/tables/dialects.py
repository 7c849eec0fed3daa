"""The differences between databases that matter to a table writer, as each database declares them.

A database without a declaration gets `STANDARD`. This file imports no SQLAlchemy, and names no database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_consent_retl.databases.registry import database_in_sqlalchemy

if TYPE_CHECKING:
    import sqlalchemy as sa

    from airflow_consent_retl.databases.tables.writer import Family, TableTarget

    ColumnType = sa.types.TypeEngine[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDialect:
    """One database as the target of a load. The defaults fit any database with an SQLAlchemy dialect.

    Args:
        case_sensitive: whether two columns of a table may differ in case only.
        insert: SQLAlchemy's function for an INSERT that can upsert; None where the database has none. An upsert then
            takes three statements.
        upsert: the clause of that INSERT. `"on_conflict"` names the key. `"on_duplicate_key"` names no key, so a
            conflict in any unique column updates a row.
        column_types: types of new columns that differ from the standard's, by family of values.
        key_text: type of a new text column that is the key, where it differs from that of other text.
        accepts: returns the families of values that a column of a type holds exactly; None for a type that is as in
            the standard.
        fills_integer_key: whether the database fills a primary key of one INTEGER column.
        floats: the floats that a column can hold.
        as_text: families of values that are bound as text.
        has_zones: whether a timestamp can keep its zone.
        failure: returns the error to raise for an exception of the driver; None if its SQLSTATE or class decides.
        refused_column: returns the column whose value was refused, by a driver's exception, the table's name and the
            table; empty where the driver names none. It returns nothing but the name of a column of that table.
    """

    case_sensitive: bool = True
    insert: Callable[[sa.TableClause], Any] | None = None
    upsert: Literal["on_conflict", "on_duplicate_key"] = "on_conflict"
    column_types: Mapping[Family, ColumnType] = field(default_factory=dict)
    key_text: ColumnType | None = None
    accepts: Callable[[ColumnType], frozenset[Family] | None] = lambda _: None
    fills_integer_key: bool = False
    floats: Literal["all", "all_but_nan", "finite"] = "finite"
    as_text: frozenset[Family] = frozenset()
    has_zones: bool = True
    failure: Callable[[BaseException], Exception | None] = lambda _: None
    refused_column: Callable[[BaseException, str, TableTarget], str] = lambda *_: ""


STANDARD = TableDialect()


def table_dialect(name: str) -> TableDialect:
    """Return what the database declares whose dialect has this name in SQLAlchemy; `STANDARD` where none does."""
    database = database_in_sqlalchemy(name)
    dialect: TableDialect = database.load(database.table_dialect)
    return dialect
