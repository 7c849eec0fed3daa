"""Distinct numbers and places: as NumPy finds them by sorting, for small numbers and for large ones."""

from __future__ import annotations

import numpy as np
import pytest

from airflow_consent_retl.values.numbered import numbered


@pytest.mark.parametrize("highest", [0, 1, 7, (1 << 17) - 1, 1 << 17, 1 << 40])
@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_distinct_numbers_and_their_places_are_those_of_a_sort(count: int, highest: int) -> None:
    numbers = np.random.default_rng(1).integers(0, highest, size=count, endpoint=True)
    numbers[:1] = highest

    distinct, places = numbered(numbers)

    expected, expected_places = np.unique(numbers, return_inverse=True)
    assert np.array_equal(distinct, expected)
    assert np.array_equal(places, expected_places)
    assert np.array_equal(distinct[places], numbers)
