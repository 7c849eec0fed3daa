"""SQLAlchemy's types: which one to make for a field, and what an existing column holds exactly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql

from airflow_consent_retl.databases.tables.target import ALL_FAMILIES, Family, Target, TargetColumn, family

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import quoted_name

_WITHOUT_ZONES = {"mysql", "mariadb"}
# What makes a text a key: MySQL, SQL Server and Oracle index no text without a length.
_WITH_KEY_LENGTH = {"mysql", "mariadb", "mssql", "oracle"}
_KEY_CHARACTERS = 255


def column_type(kind: pa.DataType, *, dialect: str, is_key: bool) -> sa.types.TypeEngine[Any]:
    """Return the type of a new column that holds every value of the Arrow type exactly."""
    group = family(kind)
    without_zones = dialect in _WITHOUT_ZONES
    text = mysql.LONGTEXT() if without_zones else sa.Text()
    kinds: dict[Family | None, sa.types.TypeEngine[Any]] = {
        "null": text,
        "boolean": sa.Boolean(),
        "float": sa.Double(),
        "float32": sa.Double(),
        "text": _key_text(dialect) if is_key and dialect in _WITH_KEY_LENGTH else text,
        "binary": mysql.LONGBLOB() if without_zones else sa.LargeBinary(),
        "date": sa.Date(),
        "time": mysql.TIME(fsp=6) if without_zones else sa.Time(),
        "timestamp": mysql.DATETIME(fsp=6) if without_zones else sa.DateTime(),
        "timestamptz": mysql.DATETIME(fsp=6) if without_zones else sa.DateTime(timezone=True),
        "nested": sa.JSON() if without_zones else postgresql.JSONB() if dialect == "postgresql" else text,
    }
    if group == "integer":
        return _integer(pa.types.is_signed_integer(kind), kind.bit_width)
    if group == "decimal":
        scale = max(kind.scale, 0)
        return text if dialect == "sqlite" else sa.Numeric(kind.precision - min(kind.scale, 0), scale)
    return kinds[group]


def reflected(inspector: sa.Inspector, name: quoted_name, schema: quoted_name | None) -> Target:
    """Return what an existing table is like."""
    dialect = inspector.dialect.name
    primary = frozenset(inspector.get_pk_constraint(name, schema=schema)["constrained_columns"])
    unique = {primary} if primary else set()
    unique.update(frozenset(found["column_names"]) for found in inspector.get_unique_constraints(name, schema=schema))
    for index in inspector.get_indexes(name, schema=schema):
        partial = any(option.endswith("_where") for option in index.get("dialect_options", {}))
        if index["unique"] and not partial and None not in index["column_names"]:
            unique.add(frozenset(column for column in index["column_names"] if column is not None))
    columns = {}
    for column in inspector.get_columns(name, schema=schema):
        kind, identity = column["type"], column.get("identity")
        # SQLite fills a lone INTEGER PRIMARY KEY by itself.
        rowid = dialect == "sqlite" and primary == {column["name"]} and str(kind).upper() == "INTEGER"
        columns[column["name"]] = TargetColumn(
            shown=_shown(kind),
            accepts=_sqlite_accepts(kind) if dialect == "sqlite" else _accepts(kind, dialect),
            scale=kind.scale if isinstance(kind, sa.Numeric) else None,
            nullable=bool(column["nullable"]) and column["name"] not in primary,
            filled=column.get("default") is not None or column.get("autoincrement") is True or bool(identity) or rowid,
            generated=bool(column.get("computed")) or bool(identity and identity.get("always")),
        )
    return Target(columns, frozenset(unique))


def _integer(signed: bool, bits: int) -> sa.types.TypeEngine[Any]:
    needed = bits if signed else bits + 1
    if needed > 64:
        return sa.Numeric(20, 0)
    return sa.SmallInteger() if needed <= 16 else sa.Integer() if needed <= 32 else sa.BigInteger()


def _key_text(dialect: str) -> sa.types.TypeEngine[Any]:
    # The default collations hold `a` and `A` for the same key.
    collation = {"mysql": "utf8mb4_bin", "mariadb": "utf8mb4_bin", "mssql": "Latin1_General_100_BIN2"}.get(dialect)
    return sa.String(_KEY_CHARACTERS, collation=collation)


def _shown(kind: sa.types.TypeEngine[Any]) -> str:
    try:
        return str(kind)
    except sa.exc.CompileError:
        return type(kind).__name__


def _accepts(kind: sa.types.TypeEngine[Any], dialect: str) -> frozenset[Family]:
    if isinstance(kind, sa.DateTime):
        if dialect in _WITHOUT_ZONES:
            return frozenset({"timestamp", "timestamptz"})
        return frozenset({"timestamptz"}) if kind.timezone else frozenset({"timestamp"})
    if isinstance(kind, sa.Integer) and dialect in _WITHOUT_ZONES:
        return frozenset({"integer", "boolean"})
    if isinstance(kind, sa.REAL | mysql.FLOAT):
        return frozenset({"float32"})
    return next((families for known, families in _ACCEPTED if isinstance(kind, known)), frozenset())


# Before the types that they derive from.
_ACCEPTED: tuple[tuple[type[sa.types.TypeEngine[Any]], frozenset[Family]], ...] = (
    (sa.Boolean, frozenset({"boolean"})),
    (sa.Integer, frozenset({"integer"})),
    (sa.Float, frozenset({"float32", "float"})),
    (sa.Numeric, frozenset({"integer", "decimal"})),
    (sa.String, frozenset({"text"})),
    (sa.LargeBinary, frozenset({"binary"})),
    (sa.Date, frozenset({"date"})),
    (sa.Time, frozenset({"time"})),
    (sa.JSON, frozenset({"text", "nested"})),
    (sa.ARRAY, frozenset()),
    # Types of the database's own, such as inet or uuid: it parses text.
    (sa.types.TypeEngine, frozenset({"text"})),
)


def _sqlite_accepts(kind: sa.types.TypeEngine[Any]) -> frozenset[Family]:
    # https://www.sqlite.org/datatype3.html, section 3.1, read 2026-11-23: a column's affinity would turn the text `2`
    # into the number 2, and a decimal into a float.
    declared = "" if isinstance(kind, sa.types.NullType) else _shown(kind).upper()
    if "INT" in declared:
        return frozenset({"integer", "boolean"})
    if re.search("CHAR|CLOB|TEXT", declared):
        return frozenset({"text", "decimal", "date", "time", "timestamp", "timestamptz", "nested"})
    if not declared or "BLOB" in declared:
        return ALL_FAMILIES
    if re.search("REAL|FLOA|DOUB", declared):
        return frozenset({"float32", "float"})
    return frozenset({"integer", "boolean", "date", "time", "timestamp", "timestamptz", "nested"})
