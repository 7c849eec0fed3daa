"""PostgreSQL's values at the edges of its types: those that Arrow holds are read exactly, the others are named.

An offset of a time zone may have seconds (`+00:09:21`). A snapshot holds no infinite date, no year outside 1 to 9999,
no time 24:00, and no decimal that is not a number. Never quotes a value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from airflow_consent_retl.databases.postgres.copy_in import quote
from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.values.columns import cast

_SECONDS_IN_OFFSET = r"[+-]\d\d:\d\d:\d\d$"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A kind of values that a snapshot cannot hold.

    Args:
        name: of the kind.
        pattern: of the values' text.
        without: SQL that has NULL in their place; `{0}` stands for the column.
        types: the beginnings of the names of the types that have such values.
        where: SQL that is true for them.
    """

    name: str
    pattern: str
    without: str
    types: tuple[str, ...]
    where: str


INFINITE = Edge(
    name="an infinite date",
    pattern=r"^-?infinity$",
    without="CASE WHEN isfinite({0}) THEN {0} END",
    types=("date", "timestamp"),
    where="NOT isfinite({0})",
)
FAR = Edge(
    name="a year outside 1 to 9999",
    pattern=r" BC$|^\d{5,}-",
    without="CASE WHEN {0} BETWEEN '0001-01-01' AND '9999-12-31' THEN {0} END",
    types=("date", "timestamp"),
    where="isfinite({0}) AND ({0} < '0001-01-01' OR {0} >= '10000-01-01')",
)
MIDNIGHT = Edge(
    name="the time 24:00",
    pattern=r"^24:00",
    without="NULLIF({0}, '24:00')",
    types=("time without", "time("),
    where="{0} = '24:00'",
)
NOT_A_NUMBER = Edge(
    name="NaN or infinity as numeric",
    pattern=r"^(NaN|-?Infinity)$",
    without="CASE WHEN {0}::text NOT IN ('NaN', 'Infinity', '-Infinity') THEN {0} END",
    types=("numeric",),
    # Servers before release 14 do not know infinity as numeric.
    where="{0} - {0} <> 0",
)
_EDGES = (INFINITE, FAR, MIDNIGHT, NOT_A_NUMBER)


def edges_of(native_types: Mapping[str, str]) -> list[tuple[str, Edge, str]]:
    """Return each column and kind of value that it may have, with the SQL that counts these values.

    Args:
        native_types: the server's name of each column's type.
    """
    return [
        (column, edge, f"count(*) FILTER (WHERE {edge.where.format(quote(column))})")
        for column, type_ in native_types.items()
        for edge in _EDGES
        if type_.startswith(edge.types) and not type_.endswith("]")
    ]


def edge_error(column: str, edge: Edge, rows: int) -> ModelError:
    """Return the error for values of a kind in a column."""
    counted = "1 row" if rows == 1 else f"{rows:,} rows"
    return ModelError(
        f"column `{column}` holds {edge.name} in {counted}, which a snapshot cannot hold: leave the rows out, or "
        f"select {edge.without.format(quote(column))}"
    )


def exact(array: pa.Array, type_: pa.DataType, *, column: str) -> pa.Array:
    """Cast to a type without changing any value; texts are read as PostgreSQL writes them.

    Raises:
        ModelError: a value cannot be represented; the message names column, kind of value and the number of its rows.
    """
    if not pt.is_string(array.type):
        return cast(array, type_, column=column)
    for edge in _EDGES if pt.is_temporal(type_) or pt.is_decimal(type_) else ():
        rows = pc.sum(pc.match_substring_regex(array, edge.pattern), min_count=0).as_py()
        if rows:
            raise edge_error(column, edge, rows)
    if pt.is_timestamp(type_) and type_.tz is not None:
        return _instants(array, type_, column=column)
    if pt.is_time(type_):
        return pa.array([None if text is None else time.fromisoformat(text) for text in array.to_pylist()], type_)
    return cast(array, type_, column=column)


def _instants(texts: pa.Array, type_: pa.TimestampType, *, column: str) -> pa.Array:
    has_seconds = pc.fill_null(pc.match_substring_regex(texts, _SECONDS_IN_OFFSET), False)
    if not pc.any(has_seconds, min_count=0).as_py():
        return cast(texts, type_, column=column)
    found: list[datetime | None] = []
    outside = 0
    for text in texts.filter(has_seconds).to_pylist():
        try:
            found.append(datetime.fromisoformat(text).astimezone(UTC))
        except OverflowError:
            outside += 1
    if outside:
        raise edge_error(column, FAR, outside)
    others = cast(pc.if_else(has_seconds, pa.scalar(None, texts.type), texts), type_, column=column)
    return pc.replace_with_mask(others, has_seconds, pa.array(found, type_))
