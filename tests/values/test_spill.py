"""Rows are read partition by partition, in their order, from memory or from a private file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.values.spill import Spill, partitions_for

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.dictionary(pa.int32(), pa.string()))])


def batch(start: int, rows: int) -> pa.RecordBatch:
    texts = pa.array([f"text {number}" for number in range(start, start + rows)]).dictionary_encode()
    return pa.RecordBatch.from_arrays([pa.array(np.arange(start, start + rows)), texts], schema=SCHEMA)


@given(
    sizes=st.lists(st.integers(0, 40), max_size=8),
    partitions=st.sampled_from([1, 2, 7, 64]),
    buffer_bytes=st.sampled_from([0, 600, 1 << 20]),
)
def test_every_row_is_in_its_partition_in_the_order_in_which_it_was_put(
    sizes: list[int], partitions: int, buffer_bytes: int
) -> None:
    with Spill(SCHEMA, partitions, buffer_bytes=buffer_bytes) as spill:
        start = 0
        for size in sizes:
            spill.put(batch(start, size), np.arange(start, start + size) * 3 % partitions)
            start += size

        found = [spill.take(partition) for partition in range(partitions)]

        assert spill.rows == start
    for partition, rows in enumerate(found):
        expected = [number for number in range(start) if number * 3 % partitions == partition]
        assert rows.schema == SCHEMA
        assert rows.to_pylist() == [{"n": number, "text": f"text {number}"} for number in expected]


def test_the_file_has_no_name_and_is_gone_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = open_files()

    with Spill(SCHEMA, 4, buffer_bytes=0) as spill:
        spill.put(batch(0, 100), np.arange(100) % 4)
        spill.put(batch(100, 100), np.arange(100) % 4)
        during = open_files()

        assert not any(path.is_file() for path in tmp_path.rglob("*"))
        assert spill.take(3).num_rows == 50
        assert len(during) > len(before)

    assert open_files() == before


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize(("rows", "partitions"), [(0, 1), (10, 1), (11, 2), (20, 2), (21, 4), (10**9, 64)])
def test_there_are_enough_partitions_and_not_too_many(rows: int, partitions: int) -> None:
    assert partitions_for(rows, partition_rows=10, at_most=64) == partitions
