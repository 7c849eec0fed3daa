"""Buckets of ids never change, whatever slice of a column they come from, and spread ids evenly."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.changes.matching import match
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.values.ids import BUCKETS, ORDER_TAG, as_type, buckets, meeting_type

GOLDEN_TEXTS = [0, 259, 507, 3971]
GOLDEN_NUMBERS = [0, 2531, 1564, 1191]
GOLDEN_DECIMALS = [1149, 3278]
GOLDEN_TIMES = [708]
SPREAD, WORD = 0x9E37_79B9_7F4A_7C15, 2**64


def expected_bucket(content: bytes) -> int:
    """Compute the bucket a second time, for one id that is text or bytes."""
    spread = len(content) * SPREAD % WORD
    for start in range(0, len(content), 8):
        spread = (spread ^ int.from_bytes(content[start : start + 8], "little") ^ (spread >> 32)) * SPREAD % WORD
    return spread >> 52


@given(ids=st.lists(st.binary(max_size=40), max_size=20), skipped=st.integers(0, 3))
def test_the_bucket_of_bytes_follows_the_rule(ids: list[bytes], skipped: int) -> None:
    found = buckets(pa.array(ids, pa.binary()).slice(skipped))

    assert found.tolist() == [expected_bucket(content) for content in ids[skipped:]]


@given(ids=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_the_bucket_of_a_number_is_that_of_the_rule(ids: list[int]) -> None:
    assert buckets(pa.array(ids, pa.int64())).tolist() == [(number * SPREAD % WORD) >> 52 for number in ids]


def test_buckets_are_those_of_every_version_before() -> None:
    assert ORDER_TAG == "b1"
    assert buckets(pa.array(["", "a", "customer-0000000001", "é"])).tolist() == GOLDEN_TEXTS
    assert buckets(pa.array([0, 1, -1, 2**40])).tolist() == GOLDEN_NUMBERS
    assert buckets(pa.array([Decimal("1.50"), Decimal("-1.50")], pa.decimal128(20, 2))).tolist() == GOLDEN_DECIMALS
    assert buckets(pa.array([datetime(2026, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC"))).tolist() == GOLDEN_TIMES
    assert buckets(pa.array([True, False])).tolist() == [GOLDEN_NUMBERS[1], GOLDEN_NUMBERS[0]]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array(range(100_000)),
        pa.array([number << 40 for number in range(100_000)]),
        pa.array([f"customer-{number:010d}" for number in range(100_000)]),
        pa.array([str(uuid.UUID(int=number * 2**64 + 7)) for number in range(100_000)]),
        pa.array([f"the-same-beginning-{number}-the-same-end-of-the-id" for number in range(100_000)]),
    ],
    ids=["numbers", "distant numbers", "customers", "uuids", "long"],
)
def test_ids_are_spread_over_all_buckets(ids: pa.Array) -> None:
    sizes = np.bincount(buckets(ids) >> 5, minlength=BUCKETS >> 5)

    assert sizes.min() > 400
    assert sizes.max() < 1_200


def test_types_meet_where_every_id_of_both_has_a_place() -> None:
    def met(before: pa.DataType | None, now: pa.DataType | None) -> pa.DataType:
        return meeting_type(before, now, primary_key="id")

    assert met(None, None) == pa.null()
    assert met(None, pa.large_string()) == met(pa.dictionary(pa.int8(), pa.string()), None) == pa.string()
    assert met(pa.int8(), pa.int64()) == pa.int64()
    assert met(pa.int64(), pa.uint64()) == pa.decimal128(20, 0)
    assert met(pa.string(), pa.null()) == pa.string()
    assert as_type(pa.array(["a"]).dictionary_encode(), pa.string(), primary_key="id").to_pylist() == ["a"]
    for before, now in (
        (pa.int64(), pa.string()),
        (pa.string(), pa.binary()),
        (pa.timestamp("us"), pa.timestamp("ns")),
    ):
        with pytest.raises(RefusedError, match="everyone would be removed and sent again as another person"):
            met(before, now)


def test_rows_that_hold_an_id_twice_or_not_at_all_are_refused() -> None:
    with pytest.raises(RefusedError, match="the permitted rows contain an id more than once"):
        match(pa.array([1, 2, 1]), pa.array([1]))
    with pytest.raises(RefusedError, match="a permitted row has no id"):
        match(pa.array([1, None]), pa.array([1]))


def test_entries_find_their_row_and_people_are_counted_once() -> None:
    found = match(pa.array(["a", "b", "c"]), pa.array(["x", "c", "a", "c", "x", "y"]))

    assert found.owners.tolist() == [-1, 2, 0, 2, -1, -1]
    assert found.people == 4
