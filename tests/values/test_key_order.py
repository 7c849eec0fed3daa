"""Rows come back in the order of their keys, all of them, however they were added."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_consent_retl.values.key_order import InKeyOrder, cuts_of, has_order

INTEGERS = st.integers(-(2**63), 2**63 - 1)
# A key is one of the values of a database: no text has half of a surrogate pair.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def in_batches(keys: Sequence[Any], type_: pa.DataType, rows: int) -> list[pa.Array]:
    return [pa.array(keys[start : start + rows], type_) for start in range(0, len(keys), rows)]


@given(
    st.data(), st.sampled_from([(pa.int64(), INTEGERS), (pa.string(), TEXTS)]), st.integers(1, 40), st.integers(0, 9)
)
def test_all_rows_are_read_in_ascending_order(
    data: st.DataObject, of_type: tuple[pa.DataType, st.SearchStrategy[Any]], rows: int, cuts: int
) -> None:
    type_, keys_of_type = of_type
    keys = data.draw(st.lists(keys_of_type, unique=True, max_size=120))
    schema = pa.schema([("key", type_), ("n", pa.int64())])
    dividing = pa.array(sorted(data.draw(st.lists(keys_of_type, unique=True, min_size=cuts, max_size=cuts))), type_)

    in_order = InKeyOrder(schema, "key", dividing)
    start = 0
    for some in in_batches(keys, type_, rows):
        numbers = pa.array(range(start, start + len(some)), pa.int64())
        in_order.put(pa.RecordBatch.from_arrays([some, numbers], schema=schema))
        start += len(some)
    found = [row for batch in in_order.batches() for row in batch.to_pylist()]
    in_order.close()

    # Python and Arrow order text in the same way: by code points, which is the order of bytes in UTF-8.
    assert found == sorted(({"key": key, "n": n} for n, key in enumerate(keys)), key=lambda row: row["key"])


@pytest.mark.parametrize("name", ["integers", "texts"])
@pytest.mark.parametrize("order", ["mixed", "descending"])
def test_ranges_have_a_similar_size(name: str, order: str) -> None:
    rows, batch_rows = 600_000, 50_000
    numbers = list(range(rows))
    if order == "mixed":
        random.Random(7).shuffle(numbers)  # noqa: S311 - the same rows in each run
    else:
        numbers.reverse()
    keys, type_ = (numbers, pa.int64()) if name == "integers" else ([f"person-{n:09}" for n in numbers], pa.string())

    cuts = cuts_of(in_batches(keys, type_, batch_rows), rows)

    assert cuts is not None
    ends = [keys_below(cut) for cut in cuts.to_pylist()]
    sizes = [end - start for start, end in zip([0, *ends], [*ends, rows], strict=True)]
    assert len(sizes) == 10
    assert max(sizes) < 2 * rows / len(sizes)


def keys_below(cut: int | str) -> int:
    return cut if isinstance(cut, int) else int(cut.removeprefix("person-"))


@pytest.mark.parametrize("batch_rows", [1, 7, 100])
def test_keys_that_ascend_are_left_as_they_are(batch_rows: int) -> None:
    keys = list(range(-20, 80))

    assert cuts_of(in_batches(keys, pa.int64(), batch_rows), len(keys)) is None


@pytest.mark.parametrize("place", [1, 7, 50, 99])
def test_one_key_out_of_order_is_found(place: int) -> None:
    keys = list(range(100))
    keys[place] = -1

    assert cuts_of(in_batches(keys, pa.int64(), 7), len(keys)) is not None


def test_only_types_that_databases_order_in_the_same_way_have_an_order() -> None:
    ordered = [pa.int8(), pa.int64(), pa.uint64(), pa.string()]

    assert all(map(has_order, ordered))
    assert not any(
        map(has_order, [pa.float64(), pa.bool_(), pa.binary(), pa.decimal128(9), pa.timestamp("us"), pa.null()])
    )
