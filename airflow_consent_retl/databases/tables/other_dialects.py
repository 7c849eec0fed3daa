"""Declarations for table writers of the databases that have no folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from airflow_consent_retl.databases.tables.dialects import TableDialect
from airflow_consent_retl.databases.tables.failures import refusal
from airflow_consent_retl.databases.tables.writer import BusyError, RowRefusedError

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.writer import Family, TableTarget

# MySQL, SQL Server and Oracle index no text without a length.
_KEY_CHARACTERS = 255
# https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html, read 2026-11-23
_MYSQL_ROW_ERRORS = {
    1048: "not_null",
    1062: "unique",
    1264: "value_out_of_range",
    1292: "datatype",
    1366: "datatype",
    1406: "too_long",
    1452: "foreign_key",
    1644: "trigger",
    3140: "datatype",
    3819: "check",
    4025: "check",
}
_MYSQL_BUSY_ERRORS = {1040, 1203, 1205, 1213}
_MYSQL_NO_DEFAULT = 1364
# Of MySQL and of MariaDB. A value stands before the name, and may contain anything: only the end of a message is read.
_MYSQL_COLUMN = re.compile(
    r"\AColumn '([^']+)' cannot be null\Z|(?:\A| )for column ['`]([^'`]+(?:`\.`[^`]+)*)['`] at row \d+\Z"
)
_MYSQL_KEY = re.compile(r" for key '([^']+)'\Z")


def _failure_of_mysql(error: BaseException) -> Exception | None:
    number = error.args[0] if error.args else None
    if not isinstance(number, int):
        return None
    if number in _MYSQL_ROW_ERRORS:
        return RowRefusedError(_MYSQL_ROW_ERRORS[number])
    if number == _MYSQL_NO_DEFAULT:
        return refusal("a column is NOT NULL, has no default, and no field is mapped to it", f"error {number}")
    return BusyError(f"error_{number}") if number in _MYSQL_BUSY_ERRORS else None


def _refused_by_mysql(error: BaseException, table: str, target: TableTarget) -> str:
    message = str(error.args[1]) if len(error.args) > 1 else ""
    if found := _MYSQL_COLUMN.search(message):
        column = (found[1] or found[2]).rpartition("`.`")[2]
        return column if column in target.columns else ""
    # INVARIANT: the message quotes the value. What it returns is a column of the table, and nothing of the message.
    found = _MYSQL_KEY.search(message)
    return "" if found is None else target.constrained.get(found[1].removeprefix(f"{table}."), "")


def _accepted_by_mysql(kind: sa.types.TypeEngine[Any]) -> frozenset[Family] | None:
    if isinstance(kind, sa.DateTime):
        return frozenset({"timestamp", "timestamptz"})
    if isinstance(kind, sa.Integer):
        return frozenset({"integer", "boolean"})
    return frozenset({"float32"}) if isinstance(kind, mysql.FLOAT) else None


MYSQL = TableDialect(
    case_sensitive=False,
    insert=mysql.insert,
    upsert="on_duplicate_key",
    column_types={
        "null": mysql.LONGTEXT(),
        "text": mysql.LONGTEXT(),
        "binary": mysql.LONGBLOB(),
        "time": mysql.TIME(fsp=6),
        "timestamp": mysql.DATETIME(fsp=6),
        "timestamptz": mysql.DATETIME(fsp=6),
        "nested": sa.JSON(),
    },
    # The default collations compare `a` and `A` as equal; so do those of SQL Server.
    key_text=sa.String(_KEY_CHARACTERS, collation="utf8mb4_bin"),
    accepts=_accepted_by_mysql,
    has_zones=False,
    failure=_failure_of_mysql,
    refused_column=_refused_by_mysql,
)
SQL_SERVER = TableDialect(
    case_sensitive=False, key_text=sa.String(_KEY_CHARACTERS, collation="Latin1_General_100_BIN2")
)
ORACLE = TableDialect(key_text=sa.String(_KEY_CHARACTERS))
