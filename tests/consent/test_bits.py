"""Tests of the reader of bit fields: the first and the last of what each kind of field can have."""

from __future__ import annotations

import pytest
from support.iab_strings import characters, fibonacci, ranges

from airflow_consent_retl.consent.formats.bits import Bits, MalformedBitsError


def test_a_number_in_fibonacci_coding_may_be_first() -> None:
    assert [Bits(characters(fibonacci(value))).fibonacci() for value in (1, 2, 3, 54)] == [1, 2, 3, 54]


@pytest.mark.parametrize(("filling", "is_end"), [(0, True), (23, True), (24, False)])
def test_a_string_is_filled_up_with_less_than_three_bytes(filling: int, is_end: bool) -> None:
    bits = Bits("A" * 8)
    bits.slice(48 - filling)

    if is_end:
        bits.end()
    else:
        with pytest.raises(MalformedBitsError, match="more bits than its fields have"):
            bits.end()


@pytest.mark.parametrize("first", [1, 2, 40_000, 65_535])
def test_each_bit_of_a_vendors_number_counts(first: int) -> None:
    listed = characters(ranges([first]))

    assert [vendor for vendor in (1, 2, 7_232, 32_767, 40_000, 65_535) if Bits(listed).ranges(vendor)] == [first]
