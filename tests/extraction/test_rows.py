"""Tests of rows of any DB-API cursor: they become Arrow without guesses."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import pyarrow as pa
import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_consent_retl.databases.cursor_rows import column_array
from airflow_consent_retl.databases.source import ModelQuery, read_model
from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.values.columns import cast, common_type

SECRET = 987654321987654321

EXACT = [
    ([True, None], pa.bool_(), [True, None]),
    ([1, None], pa.int64(), [1, None]),
    ([2**63, 1], pa.decimal128(19, 0), [Decimal(2**63), Decimal(1)]),
    ([1, Decimal("1.50")], pa.decimal128(3, 2), [Decimal("1.00"), Decimal("1.50")]),
    ([1, 0.5], pa.float64(), [1.0, 0.5]),
    ([bytearray(b"a"), None], pa.binary(), [b"a", None]),
    ([memoryview(b"a")], pa.binary(), [b"a"]),
    ([date(2026, 1, 2)], pa.date32(), [date(2026, 1, 2)]),
    ([time(1, 2, 3, 4)], pa.time64("us"), [time(1, 2, 3, 4)]),
    ([time(1, 2, tzinfo=UTC)], pa.string(), ["01:02:00+00:00"]),
    ([timedelta(days=1, microseconds=1)], pa.string(), ["P1DT0.000001S"]),
    ([timedelta(seconds=-1)], pa.string(), ["-P0DT1.000000S"]),
    ([UUID(int=255)], pa.string(), ["00000000-0000-0000-0000-0000000000ff"]),
    (
        [datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))],
        pa.timestamp("us", "UTC"),
        [datetime(2026, 1, 1, tzinfo=UTC)],
    ),
    (
        [{"a": [Decimal("9007199254740993.10"), 2**70, None, True], "ü": {}}],
        pa.string(),
        ['{"a":[9007199254740993.10,1180591620717411303424,null,true],"ü":{}}'],
    ),
    ([None, None], pa.null(), [None, None]),
]
REFUSED = [
    [1, True],
    [1, "1"],
    [0.5, Decimal("0.5")],
    [0.5, SECRET],
    [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)],  # noqa: DTZ001
    [date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC)],
    [b"a", "a"],
    [Decimal("NaN")],
    [Decimal(SECRET) ** 5],
    [{"a": float("nan")}],
    ["\ud800"],
    [object()],
]


@pytest.mark.parametrize(("values", "type_", "expected"), EXACT)
def test_values_keep_their_type(values: list[object], type_: pa.DataType, expected: list[object]) -> None:
    array = column_array("x", values, is_key=False)

    assert (array.type, array.to_pylist()) == (type_, expected)


@pytest.mark.parametrize("values", REFUSED)
def test_values_without_an_exact_common_type_are_refused(values: list[object]) -> None:
    with pytest.raises(ModelError, match="column `x` holds") as refusal:
        cast(column_array("x", values, is_key=False), pa.decimal128(38, 0), column="x")

    assert str(SECRET) not in str(refusal.value)
    assert refusal.value.__context__ is None


def test_ids_and_floats_have_no_common_type() -> None:
    with pytest.raises(ModelError, match="no common type"):
        column_array("id", [1, 0.5], is_key=True)
    with pytest.raises(ModelError, match="no common type"):
        common_type(pa.int64(), pa.float64(), column="id", is_key=True)


@settings(deadline=None)
@given(
    first=st.lists(st.decimals(allow_nan=False, allow_infinity=False, places=3, max_value=10**12, min_value=-(10**12))),
    second=st.lists(st.integers(-(2**63), 2**63 - 1)),
)
def test_widening_keeps_every_number(first: list[Decimal], second: list[int]) -> None:
    arrays = [column_array("x", values, is_key=True) for values in (first, second)]

    wide = common_type(arrays[0].type, arrays[1].type, column="x", is_key=True)

    assert [value for array in arrays for value in cast(array, wide, column="x").to_pylist()] == [*first, *second]


class OtherHook(DbApiHook):
    """A hook of a kind without a source class of its own."""

    conn_name_attr = "other_conn_id"
    conn_type = "other"
    path: ClassVar[Path]

    def get_conn(self) -> Any:
        return sqlite3.connect(self.path)


def test_any_dbapi_hook_can_be_a_source(tmp_path: Path) -> None:
    OtherHook.path = tmp_path / "other.sqlite"
    query = ModelQuery(conn_id="other", sql="SELECT '007' AS id, 1.5 AS x", primary_key="id")

    with read_model(OtherHook(), query) as rows:
        batches = list(rows.batches)

    assert pa.Table.from_batches(batches).to_pylist() == [{"id": "007", "x": 1.5}]


def test_an_unknown_driver_is_not_quoted(tmp_path: Path) -> None:
    OtherHook.path = tmp_path / "other.sqlite"
    query = ModelQuery(conn_id="other", sql=f"SELECT x'ff' || '{SECRET}' AS id, nope", primary_key="id")

    source = read_model(OtherHook(), query)
    with pytest.raises(ModelError, match="the query failed on connection `other`: OperationalError") as failure, source:
        pass

    assert str(failure.value).endswith("OperationalError")
