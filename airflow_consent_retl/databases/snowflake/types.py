"""Conversions from Snowflake's types to Arrow's: the type of a column, and exact values of a chunk in that type.

The connector gives each chunk the type that its values need: an integer of 8 to 128 bits; timestamps in nanoseconds or,
if a year is too far away, in microseconds. Here every chunk gets the column's type, or the query fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from airflow_consent_retl.errors import ModelError

if TYPE_CHECKING:
    from snowflake.connector.cursor import ResultMetadata

_NAIVE, _ZONED = pa.timestamp("us"), pa.timestamp("us", "UTC")
_WIDE = pa.decimal128(38, 0)
_MOST_DIGITS, _EXACT_SCALE = 38, 6
# https://docs.snowflake.com/en/sql-reference/intro-summary-data-types (read 2026-11-24). A NUMBER without decimal
# places starts as int64, because Snowflake declares every integer as NUMBER(38, 0). It widens if a value needs that.
_TYPES = {
    "REAL": pa.float64(),
    "TEXT": pa.string(),
    "DATE": pa.date32(),
    "VARIANT": pa.string(),
    "OBJECT": pa.string(),
    "ARRAY": pa.string(),
    "GEOGRAPHY": pa.string(),
    "GEOMETRY": pa.string(),
    "BINARY": pa.binary(),
    "BOOLEAN": pa.bool_(),
    "TIME": pa.time64("us"),
    "TIMESTAMP_NTZ": _NAIVE,
    "TIMESTAMP_LTZ": _ZONED,
    "TIMESTAMP_TZ": _ZONED,
}


@dataclass(frozen=True, slots=True)
class SnowflakeColumn:
    """A column of a result, as Snowflake describes it."""

    name: str
    kind: str
    precision: int = _MOST_DIGITS
    scale: int = 0

    @classmethod
    def of(cls, described: ResultMetadata) -> SnowflakeColumn:
        """Return the column for an entry of a cursor's description.

        Raises:
            ModelError: the type has no exact counterpart.
        """
        from snowflake.connector.constants import FIELD_ID_TO_NAME

        kind = FIELD_ID_TO_NAME[described.type_code]
        if kind != "FIXED" and kind not in _TYPES:
            raise _inexact(described.name, kind or "of an unknown type")
        return cls(described.name, kind, described.precision or _MOST_DIGITS, described.scale or 0)

    @property
    def type(self) -> pa.DataType:
        """The Arrow type before the first row; integers may need `decimal128(38, 0)` later."""
        if self.kind == "FIXED":
            return pa.decimal128(self.precision, self.scale) if self.scale else pa.int64()
        return _TYPES[self.kind]

    @property
    def has_nanoseconds(self) -> bool:
        """Whether timestamps may have more digits than the Arrow type."""
        return self.kind.startswith("TIMESTAMP") and self.scale > _EXACT_SCALE

    @property
    def exact_sql(self) -> str | None:
        """The SQL type to cast the column to, if the connector would change its values without an error; else None."""
        if self.scale <= _EXACT_SCALE:
            return None
        # The connector cuts times of day at microseconds; timestamps with 7 or 8 decimal places overflow after 2262.
        if self.kind == "TIME":
            return "VARCHAR"
        return f"{self.kind}(9)" if self.kind.startswith("TIMESTAMP") and self.scale < 9 else None

    def array(self, sent: pa.Array, *, nanoseconds: bool = False) -> pa.Array:
        """Return values of a chunk in the column's type.

        Args:
            sent: from the connector.
            nanoseconds: keep them, because a declared type can hold them.

        Raises:
            ModelError: a value has no counterpart, or the chunk's type does not fit the column.
        """
        try:
            converted = self._converted(sent, nanoseconds=nanoseconds)
        except pa.ArrowInvalid:
            # Its message quotes the value.
            converted = None
        if converted is None:
            raise self._unfit(sent.type)
        return converted

    def _converted(self, sent: pa.Array, *, nanoseconds: bool) -> pa.Array | None:
        type_ = self.type
        if sent.type == type_:
            return sent
        if self.kind == "FIXED":
            return self._number(sent)
        if pt.is_timestamp(type_) and pt.is_timestamp(sent.type):
            unit = sent.type.unit if nanoseconds else "us"
            return sent.cast(pa.timestamp(unit, type_.tz))
        if pt.is_time64(type_) and pt.is_string(sent.type):
            timestamps = pc.binary_join_element_wise("1970-01-01T", sent, "").cast(pa.timestamp("ns"))
            return timestamps.cast(pa.time64("ns")).cast(type_)
        if pt.is_time64(type_) and pt.is_time(sent.type):
            return sent.cast(type_)
        return None

    def _number(self, sent: pa.Array) -> pa.Array | None:
        if pt.is_decimal(sent.type):
            if self.scale:
                return sent.cast(self.type)
            try:
                return sent.cast(pa.int64())
            except pa.ArrowInvalid:
                return sent.cast(_WIDE)
        return sent.cast(self.type) if pt.is_integer(sent.type) and not self.scale else None

    def _unfit(self, sent: pa.DataType) -> ModelError:
        if self.has_nanoseconds and pt.is_timestamp(sent):
            return nanoseconds_lost([self])
        if self.kind == "TIME":
            return ModelError(
                f"column `{self.name}` is TIME with nanoseconds, which would be lost: cast it in the SQL, to TIME(6) "
                f"or to text"
            )
        return _inexact(self.name, f"{self.kind}, sent as {sent}")


def nanoseconds_lost(columns: list[SnowflakeColumn]) -> ModelError:
    """Return the error for timestamps that microseconds cannot hold."""
    column = columns[0]
    zone = "" if column.kind == "TIMESTAMP_NTZ" else ", tz=UTC"
    return ModelError(
        f"column `{column.name}` is {column.kind} with nanoseconds, which would be lost: cast it in the SQL to "
        f'{column.kind}(6), or declare column_types={{"{column.name}": "timestamp[ns{zone}]"}}, which holds the years '
        f"1678 to 2261"
    )


def _inexact(name: str, what: str) -> ModelError:
    return ModelError(
        f"column `{name}` is {what}, which a snapshot cannot hold exactly: cast it in the SQL, structured values to "
        f"VARIANT, others to VARCHAR"
    )
