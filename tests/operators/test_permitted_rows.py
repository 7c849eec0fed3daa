"""A DAG author's own task gets the permitted rows with their exact types, after the checks of a load."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pytest
from support.permitting import CONSENT, DESTINATIONS, POLICY, customers, snapshot_of

from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.operators import ConsentFilterOperator, permitted_batches, permitted_dataframes
from airflow_consent_retl.storage.folder import Folder

BIG = 2**53 + 1
INSTANT = datetime(2026, 11, 23, 18, 5, 9, 123_456, tzinfo=UTC)


def permitted(tmp_path: Path, rows: pa.Table | None = None) -> dict[str, Any]:
    _, ref = snapshot_of(Folder.local(tmp_path / "snapshot"), customers() if rows is None else rows)
    output: dict[str, Any] = ConsentFilterOperator(
        task_id="consent",
        snapshot=ref.to_xcom(),
        policy=POLICY,
        consent=CONSENT,
        destinations=DESTINATIONS,
        workspace=f"file://{tmp_path}/workspace",
    ).execute({})
    return output


def typed() -> pa.Table:
    """Two customers who may go to the lake (rows 0 and 2), the second with NULL in every further column."""
    rows = customers()
    for name, type_, value in (
        ("big", pa.int64(), BIG),
        ("unsigned", pa.uint64(), 2**64 - 1),
        ("small", pa.int8(), -7),
        ("flag", pa.bool_(), True),
        ("decimal", pa.decimal128(20, 4), Decimal("1234567890123456.0001")),
        ("instant", pa.timestamp("us", tz="UTC"), INSTANT),
        ("day", pa.date32(), date(2026, 11, 23)),
        ("float", pa.float64(), 0.1),
        ("text", pa.string(), "é"),
    ):
        rows = rows.append_column(name, pa.array([value, None, None, None, None], type_))
    return rows


def frame_of(tmp_path: Path, backend: Literal["pyarrow", "numpy_nullable"]) -> pd.DataFrame:
    (frame,) = permitted_dataframes(
        permitted(tmp_path, typed()), destination="lake", policy=POLICY, dtype_backend=backend
    )
    return frame


def test_batches_hold_the_permitted_rows_only_with_the_names_asked_for(tmp_path: Path) -> None:
    batches = permitted_batches(
        permitted(tmp_path), destination="ads", policy=POLICY, fields={"user": "id"}, batch_rows=1
    )

    assert [rows.to_pylist() for rows in batches] == [[{"user": 2}], [{"user": 1}]]


def test_frames_on_arrow_keep_every_type_and_every_digit(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, "pyarrow")

    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "id": "int64[pyarrow]",
        "email": "string[pyarrow]",
        "analytics_ok": "bool[pyarrow]",
        "ads_ok": "bool[pyarrow]",
        "big": "int64[pyarrow]",
        "unsigned": "uint64[pyarrow]",
        "small": "int8[pyarrow]",
        "flag": "bool[pyarrow]",
        "decimal": "decimal128(20, 4)[pyarrow]",
        "instant": "timestamp[us, tz=UTC][pyarrow]",
        "day": "date32[day][pyarrow]",
        "float": "double[pyarrow]",
        "text": "string[pyarrow]",
    }
    assert frame.loc[0, "big"] == BIG
    assert frame.loc[0, "decimal"] == Decimal("1234567890123456.0001")
    assert frame.loc[0, "instant"] == INSTANT
    assert frame.loc[1, "big":].isna().all()


def test_nullable_frames_keep_integers_and_booleans_with_null_what_they_are(tmp_path: Path) -> None:
    frame = frame_of(tmp_path, "numpy_nullable")

    dtypes = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    assert {name: dtypes[name] for name in ("id", "big", "unsigned", "small", "flag", "ads_ok", "float")} == {
        "id": "Int64",
        "big": "Int64",
        "unsigned": "UInt64",
        "small": "Int8",
        "flag": "boolean",
        "ads_ok": "boolean",
        "float": "Float64",
    }
    assert isinstance(frame["text"].dtype, pd.StringDtype)
    assert isinstance(frame["instant"].dtype, pd.DatetimeTZDtype)
    assert (frame.loc[0, "big"], frame.loc[0, "unsigned"]) == (BIG, 2**64 - 1)
    assert frame.loc[0, "decimal"] == Decimal("1234567890123456.0001")
    assert frame.loc[0, "instant"] == pd.Timestamp(INSTANT)
    assert frame.loc[1, ["big", "unsigned", "small", "flag", "float", "text", "instant"]].isna().all()


Reader = Callable[..., Iterator[Any]]


@pytest.mark.parametrize("read", [permitted_batches, permitted_dataframes])
@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"destination": "Lake"}, RefusedError, "did you mean `lake`"),
        ({"policy": {**POLICY, "unmapped_destinations": "deny"}}, RefusedError, "the policy changed since"),
        ({"policy": None}, ConfigurationError, "the filter's policy is written in its DAG"),
        ({"max_age_s": -1}, RefusedError, "run the filter again"),
        ({"fields": {"x": "nothing"}}, ConfigurationError, "column `nothing` is not in the model"),
    ],
)
def test_what_a_load_would_refuse_is_refused_before_the_first_row_is_asked_for(
    tmp_path: Path, read: Reader, parameters: dict[str, Any], error: type[Exception], message: str
) -> None:
    output = permitted(tmp_path)

    with pytest.raises(error, match=message):
        read(output, **{"destination": "lake", "policy": POLICY, **parameters})


@pytest.mark.parametrize("read", [permitted_batches, permitted_dataframes])
def test_a_changed_file_is_refused_before_the_first_row_is_asked_for(tmp_path: Path, read: Reader) -> None:
    output = permitted(tmp_path)
    for path in (tmp_path / "workspace" / "permitted").rglob("group-*.parquet"):
        path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(RefusedError, match="its manifest says"):
        read(output, destination="lake", policy=POLICY)


def test_a_set_of_no_rows_is_no_batch(tmp_path: Path) -> None:
    output = permitted(tmp_path, customers().slice(3))

    assert list(permitted_dataframes(output, destination="lake", policy=POLICY)) == []


def test_without_pandas_the_message_names_the_extra() -> None:
    script = """
import sys
sys.modules["pandas"] = None
from airflow_consent_retl.operators import permitted_dataframes
permitted_dataframes({}, destination="lake")
"""

    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False, capture_output=True, text=True)

    assert ended.returncode == 1
    assert "permitted_dataframes needs pandas: `pip install 'airflow-consent-retl[pandas]'`" in ended.stderr
