"""Declarations for table writers of the databases that have no folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from airflow_consent_retl.databases.tables.dialects import TableDialect

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.target import Family

# All three index no text without a length.
_KEY_CHARACTERS = 255


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
)
SQL_SERVER = TableDialect(
    case_sensitive=False, key_text=sa.String(_KEY_CHARACTERS, collation="Latin1_General_100_BIN2")
)
ORACLE = TableDialect(key_text=sa.String(_KEY_CHARACTERS))
