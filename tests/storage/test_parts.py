"""Parts are written up to a size, and read from any row on without what lies before."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import Part
from airflow_consent_retl.storage.parts import PartsWriter, full_batches, read_from

SCHEMA = pa.schema([("n", pa.int64()), ("more", pa.struct([("a.b", pa.string()), ("tags", pa.list_(pa.string()))]))])


def rows(start: int, end: int) -> pa.RecordBatch:
    numbers = range(start, end)
    more = [{"a.b": str(number % 2), "tags": [str(number)]} for number in numbers]
    return pa.RecordBatch.from_pylist([{"n": n, "more": m} for n, m in zip(numbers, more, strict=True)], schema=SCHEMA)


def written(folder: Folder, prefix: str, *cuts: int) -> tuple[Part, ...]:
    """Write the numbers between the first and the last cut, a batch between each two of them."""
    writer = PartsWriter(folder, prefix, SCHEMA, row_group_rows=10)
    for start, end in pairwise(cuts):
        writer.write(rows(start, end))
    assert writer.rows == cuts[-1] - cuts[0]
    return writer.close()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder.local(tmp_path / "rows")


def test_parts_hold_full_row_groups_up_to_a_size_whatever_the_batches(folder: Folder) -> None:
    schema = pa.schema([("text", pa.string())])
    texts = [Random(number).randbytes(30_000).hex() for number in range(25)]  # noqa: S311 - the same in every run
    writer = PartsWriter(folder, "texts", schema, row_group_rows=10, part_bytes=1)

    for start, end in pairwise((0, 3, 3, 24, 25)):
        writer.write(pa.record_batch({"text": pa.array(texts[start:end], pa.string())}))
    parts = writer.close()

    names = ["texts-00000.parquet", "texts-00001.parquet", "texts-00002.parquet"]
    assert [(part.name, part.rows) for part in parts] == list(zip(names, (10, 10, 5), strict=True))
    assert [text for _, some in read_from(folder, parts, 0, batch_rows=4) for text in some["text"].to_pylist()] == texts


def test_nothing_written_is_no_part(folder: Folder) -> None:
    parts = written(folder, "rows", 0)

    assert parts == ()
    assert list(read_from(folder, parts, 0, batch_rows=3)) == []


def test_reading_from_a_row_on_yields_the_rest_with_its_positions(folder: Folder) -> None:
    parts = written(folder, "a", 0, 3, 23) + written(folder, "b", 23, 47)

    for start in range(49):
        read = list(read_from(folder, parts, start, batch_rows=4))

        assert [number for _, batch in read for number in batch["n"].to_pylist()] == list(range(start, 47))
        assert all(batch["n"][0].as_py() == position for position, batch in read)


def test_row_groups_that_nobody_wants_are_left_out(folder: Folder) -> None:
    parts = written(folder, "a", 0, 20) + written(folder, "b", 20, 40)
    asked: list[tuple[int, int]] = []

    def skip(start: int, end: int) -> bool:
        asked.append((start, end))
        return start != 20

    read = list(read_from(folder, parts, 0, columns=["n"], batch_rows=100, skip=skip, use_threads=True))

    assert [(position, batch["n"].to_pylist()) for position, batch in read] == [(20, list(range(20, 30)))]
    assert asked == [(0, 10), (10, 20), (20, 30), (30, 40)]


@given(sizes=st.lists(st.integers(0, 12), max_size=8), batch_rows=st.integers(1, 9))
def test_full_batches_hold_the_same_rows_and_only_the_last_is_short(sizes: list[int], batch_rows: int) -> None:
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    batches = [rows(start, start + size) for start, size in zip(starts, sizes, strict=True)]

    found = list(full_batches(batches, batch_rows))

    assert [number for batch in found for number in batch["n"].to_pylist()] == list(range(sum(sizes)))
    assert all(batch.num_rows == batch_rows for batch in found[:-1])
    assert all(0 < batch.num_rows <= batch_rows for batch in found[-1:])
