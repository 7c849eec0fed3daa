"""Checks that values of each common kind are read exactly, and NULL as NULL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import ClassVar

import pyarrow as pa
from sqlglot import exp

from airflow_consent_retl.databases.registry import database_of
from airflow_consent_retl.hooks.sql import sql_hook
from airflow_consent_retl.testing.database_reading_checks import read_rows
from airflow_consent_retl.testing.database_stand_in import DatabaseAbilities, DatabaseStandIn

_TEXTS = (' Zoë\'s "🦊" `\\` {x} %s \n e\u0301 ', "", "007", "null", "true")


@dataclass(frozen=True, slots=True)
class Kind:
    """Values of one kind.

    Args:
        is_type: whether an Arrow type is exact for them.
        values: what has to be read, by the text that the database casts.
    """

    is_type: Callable[[pa.DataType], bool]
    values: Mapping[str, object]


KINDS: Mapping[str, Kind] = {
    "integer": Kind(
        pa.types.is_int64,
        {"9007199254740993": 2**53 + 1, "9223372036854775807": 2**63 - 1, "-9223372036854775807": -(2**63) + 1},
    ),
    "decimal": Kind(
        pa.types.is_decimal,
        {text: Decimal(text) for text in ("12345678901234567890.12", "-0.01", "9007199254740993.10")},
    ),
    "float": Kind(pa.types.is_float64, {"0.1": 0.1, "-1e300": -1e300}),
    "text": Kind(pa.types.is_string, {text: text for text in _TEXTS}),
    "boolean": Kind(pa.types.is_boolean, {"true": True, "false": False}),
    "date": Kind(pa.types.is_date32, {text: date.fromisoformat(text) for text in ("0001-01-01", "9999-12-31")}),
    "time": Kind(pa.time64("us").equals, {"23:59:59.999999": time(23, 59, 59, 999_999)}),
    "timestamp": Kind(
        pa.timestamp("us").equals,
        {text: datetime.fromisoformat(text) for text in ("2026-01-01 00:30:00.000007", "9999-12-31 23:59:59.999999")},
    ),
    "timestamp with zone": Kind(
        pa.timestamp("us", "UTC").equals,
        {
            "2026-01-01 00:30:00.123456+05:30": datetime(2025, 12, 31, 19, 0, 0, 123_456, UTC),
            "2026-07-01 00:30:00-08:00": datetime(2026, 7, 1, 8, 30, tzinfo=UTC),
        },
    ),
}
"""The common kinds of values. A database has a type for each, or declares that it lacks the kind."""


class TypeChecks:
    """Checks of types and values."""

    abilities: ClassVar[DatabaseAbilities]

    def test_each_common_kind_has_a_type_or_is_declared_as_lacking(self, database: DatabaseStandIn) -> None:
        """Nothing is left out silently."""
        assert database.types.keys() == KINDS.keys() - self.abilities.lacks

    def test_values_of_each_common_kind_are_read_exactly(self, database: DatabaseStandIn) -> None:
        """To the last digit and character, times with a zone in UTC, and NULL as NULL."""
        sql = database_of(sql_hook(database.conn_id).conn_type).sql
        cells = [
            _Cell(kind, value, exp.Literal.string(text).sql(dialect=sql))
            for kind in database.types
            for text, value in KINDS[kind].values.items()
        ]
        cells += [_Cell(kind, None, "NULL") for kind in database.types]
        columns = [f"CAST({cell.literal} AS {database.types[cell.kind]}) AS v{n}" for n, cell in enumerate(cells)]

        # One query for all: a server may take a second for each.
        read = read_rows(database, f"SELECT 1 AS id, {', '.join(columns)}")

        found = read.drop_columns(database.key)
        assert list(found.to_pylist()[0].values()) == [cell.value for cell in cells]
        for cell, type_ in zip(cells, found.schema.types, strict=True):
            is_typed = cell.value is not None or self.abilities.types_nulls
            assert KINDS[cell.kind].is_type(type_) if is_typed else pa.types.is_null(type_), (cell, type_)


@dataclass(frozen=True, slots=True)
class _Cell:
    kind: str
    value: object
    literal: str
