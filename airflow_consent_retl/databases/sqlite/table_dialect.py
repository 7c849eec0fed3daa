"""SQLite's declaration for the table writer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from airflow_consent_retl.databases.tables.dialects import TableDialect
from airflow_consent_retl.databases.tables.shape import shown
from airflow_consent_retl.databases.tables.target import ALL_FAMILIES

if TYPE_CHECKING:
    from airflow_consent_retl.databases.tables.target import Family


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
)
