"""Tests of the partitioned writer: each row is written once, into its group's files, for any number of groups."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_consent_retl.filtering.partition import PartitionedWriter
from airflow_consent_retl.storage.folder import Folder

if TYPE_CHECKING:
    from airflow_consent_retl.storage.manifest import Part

Batch = tuple[pa.RecordBatch, Sequence[int]]


def partitioned(folder: Folder, batches: Sequence[Batch], *, groups: int) -> dict[int, list[Part]]:
    writer = PartitionedWriter(
        folder,
        batches[0][0].schema,
        {group: f"group-{group:05d}" for group in range(groups)},
        dictionary_columns=[],
    )
    for rows, numbers in batches:
        writer.write(rows, np.array(numbers, dtype=np.int64))
    return writer.close()


def rows_in(folder: Folder, parts: Sequence[Part]) -> list[Any]:
    for part in parts:
        folder.verify(part)
    return [row for rows in folder.read_rows(parts, batch_rows=5_000) for row in rows.column("row").to_pylist()]


@settings(max_examples=30, deadline=None)
@given(batches=st.lists(st.lists(st.integers(-2, 4), max_size=40), min_size=1, max_size=6))
def test_each_row_is_written_once_in_order_into_its_own_group(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[int]]
) -> None:
    folder = Folder.local(tmp_path_factory.mktemp("parts"))
    numbered, first = [], 0
    for groups in batches:
        rows = pa.record_batch({"row": pa.array(range(first, first + len(groups)), pa.int64())})
        numbered.append((rows, groups))
        first += len(groups)

    parts = partitioned(folder, numbered, groups=5)

    flat = [group for groups in batches for group in groups]
    expected = {group: [row for row, of in enumerate(flat) if of == group] for group in range(5)}
    assert {group: rows_in(folder, written) for group, written in parts.items()} == expected
    assert len(list(Path(folder.path).iterdir())) == len([rows for rows in expected.values() if rows])


def wide_batches(*, groups: int, batches: int, rows: int) -> list[Batch]:
    """Return rows of 30 KB each, distributed to the groups in turn."""
    made: list[Batch] = []
    for number in range(batches):
        order = range(number * rows, (number + 1) * rows)
        batch = pa.record_batch({"row": list(order), "text": [f"{row:08d}" * 3_750 for row in order]})
        made.append((batch, [row % groups for row in order]))
    return made


def test_more_groups_than_open_files_continue_in_further_parts(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path)
    batches = wide_batches(groups=200, batches=8, rows=400)

    parts = partitioned(folder, batches, groups=200)

    assert all(rows_in(folder, parts[group]) == list(range(group, 3_200, 200)) for group in range(200))
    assert max(len(written) for written in parts.values()) > 1
    assert len(list(tmp_path.iterdir())) == sum(len(written) for written in parts.values())


def test_many_groups_need_little_more_memory_than_the_rows_that_wait(tmp_path: Path) -> None:
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.system_memory_pool())
    pa.set_memory_pool(pool)
    try:
        # Twelve columns, as usual in a model; each batch has 6 MiB.
        batches = [
            pa.record_batch({f"c{column}": np.arange(65_536) * (column + number + 1) for column in range(12)})
            for number in range(2)
        ]
        writer = PartitionedWriter(
            Folder.local(tmp_path),
            batches[0].schema,
            {group: f"group-{group:05d}" for group in range(256)},
            dictionary_columns=[],
        )
        for number in range(16):
            writer.write(batches[number % 2], np.arange(65_536) % 256)
        parts = writer.close()
    finally:
        pa.set_memory_pool(before)

    assert sum(part.rows for written in parts.values() for part in written) == 16 * 65_536
    # Waiting rows have 24 MiB and a batch more, the largest group's rows are copied, and the open files have 8 MiB.
    assert pool.max_memory() >> 20 < 64


def test_the_same_rows_result_in_the_same_bytes_with_any_number_of_groups(tmp_path: Path) -> None:
    batches = wide_batches(groups=150, batches=4, rows=400)

    first = partitioned(Folder.local(tmp_path / "1"), batches, groups=150)
    second = partitioned(Folder.local(tmp_path / "2"), batches, groups=150)

    assert first == second


def test_a_rare_group_keeps_its_few_rows(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path)
    batches = []
    for start in range(0, 400_000, 50_000):
        groups = np.zeros(50_000, dtype=np.int64)
        groups[7] = 1
        batches.append((pa.record_batch({"row": range(start, start + 50_000)}), groups.tolist()))

    parts = partitioned(folder, batches, groups=3)

    assert rows_in(folder, parts[1]) == [start + 7 for start in range(0, 400_000, 50_000)]
    assert sum(part.rows for part in parts[0]) == 400_000 - 8
    assert parts[2] == []


def test_rows_without_recipients_leave_no_file(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path / "parts")

    parts = partitioned(folder, [(pa.record_batch({"row": [1, 2]}), [-1, -1])], groups=1)

    assert parts == {0: []}
    assert not (tmp_path / "parts").exists()


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Make writes to every file beyond a size fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_often(writer: PartitionedWriter, rows: pa.RecordBatch) -> None:
    for _ in range(10):
        writer.write(rows, np.zeros(rows.num_rows, dtype=np.int64))


def test_a_full_disk_is_an_error_and_closes_every_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).bytes(8_000_000)
    rows = pa.record_batch({"row": [noise[start : start + 1_000] for start in range(0, len(noise), 1_000)]})
    writer = PartitionedWriter(Folder.local(tmp_path), rows.schema, {0: "group-0"}, dictionary_columns=[])

    with files_of_at_most(4_000_000):
        with pytest.raises(OSError, match="File too large"):
            write_often(writer, rows)
        writer.abort()

    assert [
        descriptor for descriptor in Path("/proc/self/fd").iterdir() if "group-0" in str(descriptor.resolve())
    ] == []
