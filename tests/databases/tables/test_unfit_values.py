"""The values that a database cannot hold: those found in whole columns are those found by converting each value."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from airflow_consent_retl.databases.sqlite.table_dialect import DIALECT as SQLITE
from airflow_consent_retl.databases.tables.dialects import STANDARD, TableDialect
from airflow_consent_retl.databases.tables.values import bound_values, unfit_values

_NOT_UTF8 = pa.Array.from_buffers(
    pa.string(),
    3,
    [None, pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0])), pa.py_buffer(b"a\xffb")],
)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_COLUMNS: dict[str, Any] = {
    "integers": pa.array([1, None, -5]),
    "booleans": pa.array([True, None]),
    "bytes": pa.array([b"\xff", None]),
    "texts": pa.array(["a", None, "\0"]),
    "texts in a dictionary": pa.array(["a", None, "a"]).dictionary_encode(),
    "texts that are no UTF-8": _NOT_UTF8,
    "floats": pa.array([1.5, float("nan"), float("inf"), None]),
    "decimals": pa.array([Decimal("1.50"), None]),
    "moments": pa.array([_FIRST, None], pa.timestamp("us", "UTC")),
    "moments before the first year": pa.array([-(10**17), 0], pa.timestamp("us", "UTC")),
    "moments that are too precise": pa.array([1, 1000, None], pa.timestamp("ns", "UTC")),
    "times of day that are too precise": pa.array([1, 1000, None], pa.time64("ns")),
    "structs": pa.array([{"a": 1}, None]),
}


@pytest.mark.parametrize("dialect", [STANDARD, SQLITE], ids=["standard", "sqlite"])
@pytest.mark.parametrize("column", _COLUMNS.values(), ids=_COLUMNS)
def test_whole_columns_have_the_unfit_values_that_converting_finds(column: pa.Array, dialect: TableDialect) -> None:
    assert unfit_values(column, dialect=dialect) == bound_values(column, dialect=dialect)[1]


def test_some_columns_have_unfit_values() -> None:
    found = {name for name, column in _COLUMNS.items() if unfit_values(column, dialect=STANDARD)}
    assert found >= {"texts that are no UTF-8", "moments before the first year", "moments that are too precise"}
