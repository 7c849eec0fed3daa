"""SQLAlchemy's types: the one of a new column for a field, and the values that an existing column holds exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from airflow_consent_retl.databases.tables.writer import Family, TableTarget, TargetColumn, family

if TYPE_CHECKING:
    from sqlalchemy.sql.elements import quoted_name

    from airflow_consent_retl.databases.tables.dialects import TableDialect

_STANDARD_TYPES: dict[Family, sa.types.TypeEngine[Any]] = {
    "null": sa.Text(),
    "boolean": sa.Boolean(),
    "float": sa.Double(),
    "float32": sa.Double(),
    "text": sa.Text(),
    "binary": sa.LargeBinary(),
    "date": sa.Date(),
    "time": sa.Time(),
    "timestamp": sa.DateTime(),
    "timestamptz": sa.DateTime(timezone=True),
    "nested": sa.Text(),
}


def column_type(kind: pa.DataType, *, dialect: TableDialect, is_key: bool) -> sa.types.TypeEngine[Any]:
    """Return the type of a new column that holds every value of the Arrow type exactly."""
    group = family(kind)
    if group is None:
        raise ValueError(f"no column can hold {kind}; ask `check_fields` first")
    if is_key and group == "text" and dialect.key_text is not None:
        return dialect.key_text
    if group in dialect.column_types:
        return dialect.column_types[group]
    if group == "integer":
        return _integer(pa.types.is_signed_integer(kind), kind.bit_width)
    if group == "decimal":
        return sa.Numeric(kind.precision - min(kind.scale, 0), max(kind.scale, 0))
    return _STANDARD_TYPES[group]


def reflected(
    inspector: sa.Inspector, name: quoted_name, schema: quoted_name | None, *, dialect: TableDialect
) -> TableTarget:
    """Return the columns and the unique constraints of an existing table."""
    primary = frozenset(inspector.get_pk_constraint(name, schema=schema)["constrained_columns"])
    unique = {primary} if primary else set()
    unique.update(frozenset(found["column_names"]) for found in inspector.get_unique_constraints(name, schema=schema))
    indexes = inspector.get_indexes(name, schema=schema)
    for index in indexes:
        partial = any(option.endswith("_where") for option in index.get("dialect_options", {}))
        if index["unique"] and not partial and None not in index["column_names"]:
            unique.add(frozenset(column for column in index["column_names"] if column is not None))
    # MySQL's primary keys have no name of their own.
    constrained = {found["name"]: found["column_names"] for found in indexes} | {"PRIMARY": list(primary)}
    columns = {}
    for column in inspector.get_columns(name, schema=schema):
        kind, identity = column["type"], column.get("identity")
        is_lone_key = primary == {column["name"]} and str(kind).upper() == "INTEGER"
        default = column.get("default") is not None or column.get("autoincrement") is True or bool(identity)
        columns[column["name"]] = TargetColumn(
            shown=shown(kind),
            accepts=_accepted_by(kind, dialect),
            scale=kind.scale if isinstance(kind, sa.Numeric) else None,
            nullable=bool(column["nullable"]) and column["name"] not in primary,
            filled=default or (is_lone_key and dialect.fills_integer_key),
            generated=bool(column.get("computed")) or bool(identity and identity.get("always")),
        )
    alone = {str(index): str(*names) for index, names in constrained.items() if len(names) == 1 and names[0]}
    return TableTarget(columns, frozenset(unique), constrained=alone)


def _integer(signed: bool, bits: int) -> sa.types.TypeEngine[Any]:
    needed = bits if signed else bits + 1
    if needed > 64:
        return sa.Numeric(20, 0)
    return sa.SmallInteger() if needed <= 16 else sa.Integer() if needed <= 32 else sa.BigInteger()


def shown(kind: sa.types.TypeEngine[Any]) -> str:
    """Return a type as its database writes it."""
    try:
        return str(kind)
    except sa.exc.CompileError:
        return type(kind).__name__


def _accepted_by(kind: sa.types.TypeEngine[Any], dialect: TableDialect) -> frozenset[Family]:
    declared = dialect.accepts(kind)
    if declared is not None:
        return declared
    if isinstance(kind, sa.DateTime):
        return frozenset({"timestamptz"}) if kind.timezone else frozenset({"timestamp"})
    if isinstance(kind, sa.REAL):
        return frozenset({"float32"})
    return next((families for known, families in _ACCEPTED if isinstance(kind, known)), frozenset())


# A type comes before the types that it derives from.
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
    # The database's own types, such as inet or uuid: it parses text.
    (sa.types.TypeEngine, frozenset({"text"})),
)
