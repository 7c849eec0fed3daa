"""SQLite's declaration for the table writer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from airflow_consent_retl.databases.tables.column_types import shown
from airflow_consent_retl.databases.tables.dialects import TableDialect
from airflow_consent_retl.databases.tables.failures import refusal
from airflow_consent_retl.databases.tables.writer import ALL_FAMILIES, BusyError, RowRefusedError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.writer import Family, TableTarget

# https://www.sqlite.org/rescode.html, read 2026-11-23
_ROW_CODES = {
    "SQLITE_CONSTRAINT_NOTNULL": "not_null",
    "SQLITE_CONSTRAINT_UNIQUE": "unique",
    "SQLITE_CONSTRAINT_PRIMARYKEY": "unique",
    "SQLITE_CONSTRAINT_CHECK": "check",
    "SQLITE_CONSTRAINT_FOREIGNKEY": "foreign_key",
    "SQLITE_CONSTRAINT_TRIGGER": "trigger",
    "SQLITE_CONSTRAINT_DATATYPE": "datatype",
    "SQLITE_MISMATCH": "datatype",
    "SQLITE_TOOBIG": "too_long",
}
_NAMES_COLUMN = ("unique constraint failed: ", "not null constraint failed: ")
_BUSY_CODES = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_PROTOCOL")


def _failure(error: BaseException) -> Exception | None:
    name = getattr(error, "sqlite_errorname", None)
    if not isinstance(name, str):
        return None
    if name in _ROW_CODES or name.startswith("SQLITE_CONSTRAINT"):
        return RowRefusedError(_ROW_CODES.get(name, "constraint"))
    if name.startswith(_BUSY_CODES):
        return BusyError(name.lower())
    meanings = {"SQLITE_READONLY": "the database is read-only", "SQLITE_CANTOPEN": "the file cannot be opened"}
    return refusal(next((text for code, text in meanings.items() if name.startswith(code)), None), name)


def _refused_column(error: BaseException, table: str, target: TableTarget) -> str:
    # https://www.sqlite.org/src/file?name=src/insert.c, sqlite3UniqueConstraint, read 2026-11-29: the message has the
    # names of table and columns, and no value. It is compared as a whole, so one of several columns names none.
    message = str(error).casefold()
    named = {f"{table}.{column}".casefold(): column for column in target.columns}
    return next((named[end] for start in _NAMES_COLUMN if (end := message.removeprefix(start)) in named), "")


def _accepted_by(kind: sa.types.TypeEngine[Any]) -> frozenset[Family]:
    # https://www.sqlite.org/datatype3.html, section 3.1, read 2026-11-23: a column's affinity would turn the text `2`
    # into the number 2, and a decimal into a float.
    declared = "" if isinstance(kind, sa.types.NullType) else shown(kind).upper()
    if "INT" in declared:
        return frozenset({"integer", "boolean"})
    if re.search("CHAR|CLOB|TEXT", declared):
        return frozenset({"text", "decimal", "date", "time", "timestamp", "timestamptz", "nested"})
    if not declared or "BLOB" in declared:
        return ALL_FAMILIES
    if re.search("REAL|FLOA|DOUB", declared):
        return frozenset({"float32", "float"})
    return frozenset({"integer", "boolean", "date", "time", "timestamp", "timestamptz", "nested"})


DIALECT = TableDialect(
    case_sensitive=False,
    insert=sqlite.insert,
    column_types={"decimal": sa.Text()},
    accepts=_accepted_by,
    # A lone INTEGER PRIMARY KEY is the row's number.
    fills_integer_key=True,
    # SQLite stores NaN as NULL, without an error.
    floats="all_but_nan",
    # It has neither decimals nor timestamps; text is how its own functions write them.
    as_text=frozenset({"decimal", "date", "time", "timestamp", "timestamptz"}),
    failure=_failure,
    refused_column=_refused_column,
)
