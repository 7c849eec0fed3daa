"""What was delivered seldom seems new, and what is new seldom seems to be known."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest

from airflow_consent_retl.changes.known import KnownHashes


def hashes(start: int, end: int) -> pa.Array:
    digests = [hashlib.md5(str(number).encode(), usedforsecurity=False).digest() for number in range(start, end)]
    return pa.array(digests, pa.binary(16))


@pytest.mark.parametrize("count", [1, 1_000, 60_000])
def test_few_hashes_are_taken_for_what_they_are_not(count: int) -> None:
    known = KnownHashes(count)
    for start in range(0, count, 10_000):
        known.add(hashes(start, min(start + 10_000, count)))

    forgotten = np.count_nonzero(known.are_new(hashes(0, count)))
    mistaken = np.count_nonzero(~known.are_new(hashes(count, count + 60_000)))

    assert forgotten == 0
    assert mistaken <= 120


def test_entries_without_a_hash_are_nobody() -> None:
    known = KnownHashes(2)

    known.add(pa.array([None, b"0123456789abcdef", None], pa.binary(16)))

    assert known.are_new(pa.array([b"0123456789abcdef", b"\0" * 16], pa.binary(16))).tolist() == [False, True]


def test_there_may_be_none() -> None:
    assert KnownHashes(0).are_new(hashes(0, 3)).all()
