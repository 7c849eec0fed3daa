"""Tests of repeated ids: they are found exactly, in little memory."""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_consent_retl.values.keys import KeyFingerprints, find_duplicate_ids, repeated_ids

TYPES = {
    pa.string(): st.text(max_size=3),
    pa.binary(): st.binary(max_size=2),
    pa.int8(): st.integers(-3, 3),
    pa.int64(): st.sampled_from([2**63 - 1, -(2**63), 0, -1, 2**53, 2**53 + 1]),
    pa.uint64(): st.sampled_from([2**64 - 1, 0, 2**63]),
    pa.decimal128(38, 2): st.sampled_from([Decimal("1.00"), Decimal("-1.00"), Decimal(10**35) + Decimal("0.01")]),
    pa.date32(): st.integers(-3, 3),
}


def in_batches(ids: pa.Array, *, batch_rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, max(1, len(ids)), batch_rows):
        yield pa.record_batch({"id": ids[start : start + batch_rows]})


@settings(deadline=None)
@given(data=st.data())
def test_finds_the_same_duplicates_as_counting(data: st.DataObject) -> None:
    type_ = data.draw(st.sampled_from(list(TYPES)))
    ids = pa.array(data.draw(st.lists(st.none() | TYPES[type_], max_size=12)), type_)

    duplicates, null_count = find_duplicate_ids(lambda: in_batches(ids, batch_rows=4))

    counts = Counter(value for value in ids.to_pylist() if value is not None)
    assert Counter(duplicates.to_pylist()) == Counter(value for value, count in counts.items() if count > 1)
    assert null_count == ids.null_count
    assert duplicates.type == type_


def test_no_rows_have_no_duplicates() -> None:
    duplicates, null_count = find_duplicate_ids(lambda: iter([]))

    assert (len(duplicates), null_count) == (0, 0)


@pytest.mark.parametrize("as_text", [False, True])
def test_finds_duplicates_across_spilled_runs(as_text: bool) -> None:
    numbers = list(range(60_000))
    numbers += [5, 59_999, 5]
    random.Random(7).shuffle(numbers)  # noqa: S311 - nothing secret
    ids = pa.array([f"{n:06}" for n in numbers] if as_text else numbers)

    with KeyFingerprints(memory_limit_bytes=1) as fingerprints:
        for batch in in_batches(ids, batch_rows=1_000):
            fingerprints.add(batch.column(0))
        repeated = fingerprints.repeated()

    assert len(repeated) == 2
    found = repeated_ids(lambda: in_batches(ids, batch_rows=1_000), repeated)
    assert sorted(found.to_pylist()) == (["000005", "059999"] if as_text else [5, 59_999])


def test_different_ids_with_one_fingerprint_are_no_duplicates() -> None:
    ids = pa.array(["a", "b", "c", "b"])
    with KeyFingerprints() as fingerprints:
        for text in ids.to_pylist():
            fingerprints.add(pa.array([text, text]))
        suspects = fingerprints.repeated()

    found = repeated_ids(lambda: in_batches(ids, batch_rows=2), suspects)

    assert found.to_pylist() == ["b"]


@pytest.mark.parametrize("conn_id", ["duck", "lite"])
def test_unchecked_ids_are_left_to_the_filter(conn_id: str, workspace: Any, run_duckdb: Any, run_sqlite: Any) -> None:
    extracted = workspace.extract(
        "SELECT 1 AS id UNION ALL SELECT 1 UNION ALL SELECT NULL", conn_id=conn_id, check_primary_key=False
    )

    assert sorted(extracted.column("id"), key=str) == [1, 1, None]
    assert extracted.manifest.primary_key_checked is False


def test_ids_that_become_equal_in_the_wider_type_are_found(workspace: Any, run_sqlite: Any) -> None:
    # 5 as an integer and 5 as a decimal: equal only after the parts have a common type.
    run_sqlite("CREATE TABLE people (id); INSERT INTO people VALUES (5), ('5')")

    with pytest.raises(Exception, match="1 id occurs more than once"):
        workspace.extract("SELECT id FROM people", conn_id="lite", column_types={"id": "string"}, batch_rows=1)


def test_ids_whose_type_widened_are_compared_in_the_wide_type(workspace: Any, postgres_driver: Any) -> None:
    sql = "SELECT * FROM (VALUES (1.0), (1.00), (2.5)) AS t(id)"

    with pytest.raises(Exception, match="1 id occurs more than once"):
        workspace.extract(sql, conn_id="pg", batch_rows=1)


def test_no_temporary_file_is_left(workspace: Any, run_duckdb: Any, tmp_path: Path, monkeypatch: Any) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with pytest.raises(Exception, match="not unique"):
        workspace.extract("SELECT (i % 5)::VARCHAR AS id FROM range(1000) AS r(i) ORDER BY 1", conn_id="duck")

    workspace.extract("SELECT i::VARCHAR AS id FROM range(1000) AS r(i) ORDER BY 1", conn_id="duck")

    (private,) = scratch.iterdir()
    assert list(private.iterdir()) == []
