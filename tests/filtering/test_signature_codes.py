"""Tests of the codes that are kept between the passes of a filter run."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.filtering.signature_codes import CodeCounts, SignatureCodes

HIGHEST = [0, 255, 256, 70_000, 1 << 40, (1 << 63) - 1]


@pytest.mark.parametrize("highest", HIGHEST)
def test_rows_have_the_codes_that_were_added_in_batches_of_any_size(highest: int) -> None:
    added = [0, highest, highest // 2, highest, 0]
    with SignatureCodes(highest) as codes:
        codes.add(np.array(added[:2], dtype=np.int64))
        codes.add(np.array(added[2:], dtype=np.int64))

        codes.rewind()

        assert codes.take(4).tolist() == added[:4]
        assert codes.take(1).tolist() == added[4:]


def test_more_rows_than_were_counted_are_refused() -> None:
    with SignatureCodes(9) as codes:
        codes.add(np.array([1, 2, 3], dtype=np.int64))
        codes.rewind()

        with pytest.raises(RefusedError, match="it has more rows than were counted"):
            codes.take(4)


def test_rows_without_any_counted_are_refused() -> None:
    with SignatureCodes(9) as codes:
        codes.rewind()

        with pytest.raises(RefusedError, match="it has more rows than were counted"):
            codes.take(1)


@given(batches=st.lists(st.lists(st.integers(0, 700_000), max_size=20), max_size=5))
def test_codes_are_counted_alike_with_a_table_and_without(batches: list[list[int]]) -> None:
    few, many = CodeCounts(99), CodeCounts(700_000)
    for batch in batches:
        few.add(np.array([code % 100 for code in batch], dtype=np.int64))
        many.add(np.array(batch, dtype=np.int64))

    assert few.histogram() == Counter(code % 100 for batch in batches for code in batch)
    assert many.histogram() == Counter(code for batch in batches for code in batch)
