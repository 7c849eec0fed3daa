"""The time that a snapshot's rows stand for: declared as a time or as a column, otherwise the time of the query."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from airflow_consent_retl.errors import ConfigurationError, ModelError

_REMEDY = "cast it in the SQL, or declare its type with column_types"


@dataclass(frozen=True, slots=True)
class DeclaredTime:
    """What a model says about the time of its rows. At most one of both is set.

    Args:
        time: the time.
        column: the column that contains the time, the same in every row.
    """

    time: datetime | None = None
    column: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> DeclaredTime:
        """Read an operator's `as_of`: an ISO 8601 time with an offset, a date (its beginning in UTC), or a column.

        Raises:
            ConfigurationError: it is a time without an offset, or no date that exists.
        """
        if text is None:
            return cls()
        text = text.strip()
        if not text or text == "None":
            raise ConfigurationError("as_of is empty: its template has no value in this run, which may have no date")
        if not text[:4].isdecimal():
            return cls(column=text)
        try:
            time = datetime.fromisoformat(text)
        except ValueError:
            raise ConfigurationError(
                f"as_of: `{text}` is neither a time in ISO 8601 nor the name of a column"
            ) from None
        if time.tzinfo is not None:
            return cls(time=time.astimezone(UTC))
        if len(text) <= len("2026-11-28"):
            return cls(time=time.replace(tzinfo=UTC))
        raise ConfigurationError(f"as_of: `{text}` has no offset from UTC, such as `+00:00`")


@dataclass(slots=True)
class DataTime:
    """The time of the rows of one extraction, found while they are read.

    Args:
        declared: what the model says.
    """

    declared: DeclaredTime
    _found: set[datetime] = field(default_factory=set)

    def see(self, rows: pa.RecordBatch) -> None:
        """Look at some rows.

        Raises:
            ModelError: the column is missing, is no time, is NULL, or holds several times.
        """
        name = self.declared.column
        if name is None or not rows.num_rows:
            return
        if name not in rows.schema.names:
            raise ModelError(f"as_of: there is no column `{name}`")
        values = rows.column(name)
        if values.null_count:
            raise ModelError(f"as_of: column `{name}` is NULL in some rows")
        if not pt.is_date32(values.type) and not (pt.is_timestamp(values.type) and values.type.tz is not None):
            raise ModelError(
                f"as_of: column `{name}` is {values.type}, expected a date or a time with a zone: {_REMEDY}"
            )
        self._found.update(map(_as_time, pc.unique(values.cast(_as_micros(values.type))).to_pylist()))
        if len(self._found) > 1:
            raise ModelError(
                f"as_of: column `{name}` holds more than one time: it has to contain the one time for which all rows "
                f"stand, such as `max({name}) OVER ()`"
            )

    def of(self, read_at: datetime) -> datetime | None:
        """Return the time of the rows, which is never later than the query; None where nothing is declared.

        Raises:
            ModelError: a column was declared, and there is no row.
        """
        if self.declared.time is not None:
            return min(self.declared.time, read_at)
        if self.declared.column is None:
            return None
        if not self._found:
            raise ModelError(f"as_of: the model has no row, so column `{self.declared.column}` tells no time")
        return min(next(iter(self._found)), read_at)


def _as_micros(type_: pa.DataType) -> pa.DataType:
    return type_ if pt.is_date32(type_) else pa.timestamp("us", tz="UTC")


def _as_time(value: date | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)
