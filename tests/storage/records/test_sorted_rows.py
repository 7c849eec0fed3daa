"""Rows of records are found by subject, in parts that many subjects share, and only in the parts that may have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.records.documents import SubjectPart
from airflow_consent_retl.storage.records.sorted_rows import SubjectRows, find_rows

SCHEMA = pa.schema([("subject", pa.uint64()), ("position", pa.int32())])
ROWS = 50_000


@pytest.fixture(scope="module")
def subjects() -> np.ndarray:
    return np.random.default_rng(14).integers(0, 2**64, ROWS, dtype=np.uint64)


def written(folder: Folder, subjects: np.ndarray, *, part_rows: int) -> tuple[SubjectPart, ...]:
    with SubjectRows(SCHEMA, dictionary_columns=[], part_rows=part_rows) as rows:
        for start in range(0, ROWS, 7_000):
            some = subjects[start : start + 7_000]
            rows.add(some, np.arange(start, start + len(some), dtype=np.int32))
        return rows.write(folder, "records")


@pytest.mark.parametrize(("part_rows", "parts"), [(ROWS, 1), (ROWS // 16, 16), (10, 256)])
def test_every_row_is_found_in_the_one_part_that_may_have_it(
    tmp_path: Path, subjects: np.ndarray, part_rows: int, parts: int
) -> None:
    folder = Folder.local(tmp_path)

    made = written(folder, subjects, part_rows=part_rows)

    assert len(made) == parts
    assert sum(part.part.rows for part in made) == ROWS
    for position in (0, 1, ROWS // 2, ROWS - 1):
        wanted = int(subjects[position])
        (part,) = [part for part in made if part.among([wanted])]
        found = find_rows(folder, part.part, [wanted])
        assert found == [{"subject": wanted, "position": position}]


def test_a_person_without_a_row_is_not_found(tmp_path: Path, subjects: np.ndarray) -> None:
    folder = Folder.local(tmp_path)
    missing = sorted({0, 2**64 - 1, int(subjects.max()) - 1} - set(subjects.tolist()))

    (part,) = written(folder, subjects, part_rows=ROWS)

    assert find_rows(folder, part.part, missing) == []


def test_a_person_with_several_rows_has_all_of_them(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path)
    with SubjectRows(SCHEMA, dictionary_columns=[]) as rows:
        rows.add(np.array([5, 9, 5, 7], np.uint64), np.arange(4, dtype=np.int32))
        (part,) = rows.write(folder, "records")

    assert [row["position"] for row in find_rows(folder, part.part, [5, 7])] == [0, 2, 3]


def test_no_rows_make_no_part(tmp_path: Path) -> None:
    with SubjectRows(SCHEMA, dictionary_columns=[]) as rows:
        assert rows.write(Folder.local(tmp_path), "records") == ()


def test_rows_of_one_subject_stay_in_the_order_in_which_they_were_added(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path)
    few = np.arange(40, dtype=np.uint64) << np.uint64(58)
    subjects = np.random.default_rng(3).choice(few, 20_000)

    with SubjectRows(SCHEMA, dictionary_columns=[]) as rows:
        rows.add(subjects, np.arange(len(subjects), dtype=np.int32))
        (part,) = rows.write(folder, "records")

    for one in few[:5].tolist():
        found = [row["position"] for row in find_rows(folder, part.part, [one])]
        assert found == np.flatnonzero(subjects == np.uint64(one)).tolist()
