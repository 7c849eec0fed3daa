"""Ids of people: the type in which ids of two runs are compared, and the bucket of an id.

A bucket only collects ids that may be equal. Whether they are equal is decided by the ids themselves, exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from airflow_consent_retl.errors import ModelError, RefusedError
from airflow_consent_retl.values.buffers import integers_of, words_in_texts, words_of
from airflow_consent_retl.values.canonical import plain, plain_type
from airflow_consent_retl.values.columns import cast, common_type

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Identifies the function that computes buckets. A state in the order of another function is sorted again.
ORDER_TAG = "b1"
BUCKET_BITS = 12
BUCKETS = 1 << BUCKET_BITS
# Odd, so that multiplication by it is a bijection of 64-bit numbers; its irregular bits spread neighbours.
_SPREAD = np.uint64(0x9E37_79B9_7F4A_7C15)


def meeting_type(before: pa.DataType | None, now: pa.DataType | None, *, primary_key: str) -> pa.DataType:
    """Return the type in which ids of both types are compared exactly.

    Args:
        before: the type of the delivered ids; None if no one was delivered.
        now: the type of the model's ids; None if it is not known, because there are no rows.
        primary_key: the column of the ids.

    Raises:
        RefusedError: there is no such type: everyone would seem to be another person.
    """
    types = [plain_type(type_) for type_ in (before, now) if type_ is not None]
    if len(types) < 2:
        return types[0] if types else pa.null()
    try:
        return common_type(types[0], types[1], column=primary_key, is_key=True)
    except ModelError:
        raise RefusedError(
            f"primary key `{primary_key}` was {before} when people were delivered and is {now} now: everyone would be "
            f"removed and sent again as another person. Cast it to {before} in the model's SQL"
        ) from None


def as_type(ids: pa.Array, type_: pa.DataType, *, primary_key: str) -> pa.Array:
    """Return ids in the type in which they are compared."""
    return cast(plain(ids), type_, column=primary_key)


def buckets(ids: pa.Array) -> NDArray[np.uint16]:
    """Return the bucket of each id; no id is NULL. Equal ids of one type always have the same bucket."""
    return (id_hashes(ids) >> np.uint64(64 - BUCKET_BITS)).astype(np.uint16)


def id_hashes(ids: pa.Array) -> NDArray[np.uint64]:
    """Return 64 bits for each id; no id is NULL. Equal ids of one type always have the same bits.

    The hash of an integer, a date or a time is computed from its 64 bits, so that different ids have different hashes.
    That of any other id is computed from its length and its bytes: 8 at a time, in little-endian order, the last ones
    padded with zeros.
    """
    if pt.is_boolean(ids.type):
        ids = ids.cast(pa.uint8())
    elif pt.is_temporal(ids.type):
        ids = ids.view(pa.int32() if ids.type.bit_width == 32 else pa.int64())
    if pt.is_integer(ids.type):
        spread: NDArray[np.uint64] = integers_of(ids).view(np.uint64) * _SPREAD
    elif pt.is_decimal(ids.type):
        words = words_of(ids)
        spread = np.full(len(ids), words.shape[1] * 8, np.uint64) * _SPREAD
        for word in range(words.shape[1]):
            spread = _mixed(spread, words[:, word])
    else:
        spread = _spread_bytes(ids.cast(pa.binary()))
    return spread


def _spread_bytes(texts: pa.Array) -> NDArray[np.uint64]:
    words = words_in_texts(texts)
    spread = words.lengths.astype(np.uint64) * _SPREAD
    rows = np.flatnonzero(words.lengths)
    for start in range(0, int(words.lengths.max(initial=0)), 8):
        spread[rows] = _mixed(spread[rows], words.at(rows, start))
        rows = rows[words.lengths[rows] > start + 8]
    return spread


def _mixed(spread: NDArray[np.uint64], word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    mixed: NDArray[np.uint64] = (spread ^ word ^ (spread >> np.uint64(32))) * _SPREAD
    return mixed
