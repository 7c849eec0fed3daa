"""Numbers by position: the same answers as a dictionary, or the honest word that they do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.values.number_table import NumberTable

_MOST = 64
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


@given(
    # Around zero, and at both ends of 64 bits, where a difference overflows.
    origin=st.sampled_from([0, -30, 10**12, _LOWEST, _HIGHEST - 40]),
    chunks=st.lists(st.lists(st.integers(0, 40), max_size=6), max_size=6),
    far=st.lists(st.sampled_from([_LOWEST, _LOWEST + 5, -1, 0, 77, _HIGHEST - 3, _HIGHEST]), max_size=3),
)
def test_numbers_are_found_at_their_positions(origin: int, chunks: list[list[int]], far: list[int]) -> None:
    table = NumberTable(_MOST)
    plain: dict[int, int] = {}
    for offsets in chunks:
        numbers = [origin + offset for offset in offsets]
        added = table.add(np.array(numbers, np.int64), len(plain))
        assert added == (len(set(numbers)) == len(numbers) and not plain.keys() & set(numbers))
        plain |= {number: len(plain) + place for place, number in enumerate(numbers)} if added else {}

    asked = [*plain, *far, origin, *(origin + offset for offset in range(41))]
    assert table.positions(np.array(asked, np.int64)).tolist() == [plain.get(number, -1) for number in asked]
    assert [number for some in table.numbers() for number in some.tolist()] == list(plain)


@pytest.mark.parametrize(("first", "then"), [(0, _MOST), (0, -_MOST), (_LOWEST, _HIGHEST), (_HIGHEST, _LOWEST)])
def test_numbers_that_are_too_far_apart_are_not_added(first: int, then: int) -> None:
    table = NumberTable(_MOST)

    assert table.add(np.array([first], np.int64), 0)
    assert not table.add(np.array([then], np.int64), 1)

    assert table.positions(np.array([first, then], np.int64)).tolist() == [0, -1]
    assert table.add(np.array([first + 1 if first < _HIGHEST else first - 1], np.int64), 1)


def test_many_numbers_come_in_the_order_of_their_positions() -> None:
    table = NumberTable(1 << 20)
    numbers = np.random.default_rng(1).permutation(300_000) - 7

    assert table.add(numbers, 0)

    assert np.concatenate([*table.numbers()]).tolist() == numbers.tolist()


def test_a_table_may_be_full() -> None:
    table = NumberTable(_MOST)

    assert all(table.add(np.array([number], np.int64), place) for place, number in enumerate(range(_MOST - 1, -1, -1)))

    assert table.positions(np.arange(_MOST)).tolist() == list(range(_MOST - 1, -1, -1))
