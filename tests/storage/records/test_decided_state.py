"""The changes between two runs are exactly the people whose decision differs, however the numbers are sliced."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.part_writer import PartWriter
from airflow_consent_retl.storage.records.decided_state import NO_CLASS, StateWriter, changes, read_state
from airflow_consent_retl.values.sorted_numbers import SortedNumbers

People = dict[int, int]
# Subjects that lie close together and far apart.
SUBJECTS = st.integers(0, 40).map(lambda n: (n % 8) << 61 | (n // 8) << 12)
RUNS = st.dictionaries(SUBJECTS, st.integers(0, 3), max_size=30)


def numbers(run: People) -> np.ndarray:
    return np.array(sorted(subject | class_ for subject, class_ in run.items()), np.uint64)


def cut(values: np.ndarray, places: list[int]) -> list[np.ndarray]:
    cuts = sorted({0, len(values), *(place for place in places if place < len(values))})
    return [values[start:end] for start, end in pairwise(cuts)] or [values]


@given(RUNS, RUNS, st.lists(st.integers(0, 30), max_size=4), st.lists(st.integers(0, 30), max_size=4))
def test_changes_are_the_differences_of_two_runs(
    before: People, now: People, cuts_before: list[int], cuts_now: list[int]
) -> None:
    expected = {
        (subject, now.get(subject, NO_CLASS), before.get(subject, NO_CLASS))
        for subject in before.keys() | now.keys()
        if now.get(subject) != before.get(subject)
    }

    found: list[tuple[int, int, int]] = []
    written: list[int] = []
    for values, changed in changes(cut(numbers(before), cuts_before), cut(numbers(now), cuts_now)):
        written += values.tolist()
        found += zip(changed.subjects.tolist(), changed.now.tolist(), changed.before.tolist(), strict=True)

    assert len(found) == len(expected)
    assert set(found) == expected
    assert written == numbers(now).tolist()


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path)
    writer = StateWriter(folder, "state.numbers")
    writer.write(np.array([1, 5], np.uint64))
    writer.write(np.array([2**63, 2**64 - 1], np.uint64))

    part = writer.close()

    assert [value for values in read_state(folder, part) for value in values.tolist()] == [1, 5, 2**63, 2**64 - 1]
    assert list(read_state(folder, None)) == []


def test_a_state_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path)
    schema = pa.schema([("value", pa.uint64())])
    with PartWriter(folder, "state.parquet", schema, row_group_rows=10) as writer:
        writer.write(pa.table([pa.array([1, 2**64 - 1], pa.uint64())], schema=schema))
        part = writer.close()

    assert [value for values in read_state(folder, part) for value in values.tolist()] == [1, 2**64 - 1]


def test_a_state_with_another_number_or_a_longer_one_is_refused(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path)
    writer = StateWriter(folder, "state.numbers")
    writer.write(np.array([1, 5], np.uint64))
    part = writer.close()
    written = folder.read(part.name)

    for content, why in [(b"\x02" + written[1:], "SHA-256 differs"), (written + b"\x00", "has 17 bytes")]:
        folder.replace(part.name, content)
        with pytest.raises(RefusedError, match=why):
            list(read_state(folder, part))


@pytest.mark.parametrize("memory_limit_bytes", [1, 1 << 20])
def test_numbers_are_sorted_in_little_memory_and_can_be_read_twice(memory_limit_bytes: int) -> None:
    values = np.random.default_rng(14).integers(0, 2**64, 30_000, dtype=np.uint64)
    with SortedNumbers(memory_limit_bytes=memory_limit_bytes) as numbers_:
        for start in range(0, len(values), 777):
            numbers_.add(values[start : start + 777].copy())

        first, second = (np.concatenate(list(numbers_.slices())) for _ in range(2))

    assert np.array_equal(first, np.sort(values))
    assert np.array_equal(second, first)
