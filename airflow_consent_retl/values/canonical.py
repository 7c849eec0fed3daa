"""The canonical form: Arrow values as bytes, where equal values of any type have equal bytes, and different ones not.

An inferred schema may differ from run to run: the same number comes as `int32`, `int64` or a decimal, the same text as
`string` or a dictionary. Each value is a tag and its content, little-endian, and contains its own length:

    N  NULL, of any type            T, F  booleans
    i  a whole number: int64        s  text of up to 255 bytes: length as uint8, UTF-8; `S`: longer, length as uint32
    d  a number with decimal places, without trailing zeros: their count as uint8, then the digits as int64
    e  as `d`, also for whole numbers, if int64 is too small: the digits in 16 bytes; `g`: in 32
    f  a float64; there is one NaN, and -0.0 is 0.0
    b  up to 255 bytes, `B` more: as text               D  a date: days as int64
    t  a timestamp without a time zone: seconds as int64, nanoseconds as uint32; `z`: one with a time zone, in UTC
    c  a time of day: nanoseconds as int64          u  a duration, as `t`
    v  a calendar interval: months and days as int32, nanoseconds as int64
    l  a list: its length as uint32, the values     m  a map: its length as uint32, keys and values in turn
    r  a struct: number of fields as uint32; ordered by name, for each the length of its name as uint32, name, value

This form never changes: hashes of these bytes are kept for years.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from airflow_consent_retl.errors import ModelError
from airflow_consent_retl.values.buffers import integers_of, offsets_of, values_of, words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    # Columns of numbers whose bytes are joined, if all values have the same size. Otherwise a binary array.
    Fixed: TypeAlias = list[NDArray[Any]]
    Encoded: TypeAlias = Fixed | pa.Array

_NULL = pa.scalar(b"N")
_EMPTY = pa.scalar(b"")
# Time units, in fractions of a second.
_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_MS_PER_DAY = 86_400_000
_NAN = np.frombuffer(b"\x00\x00\x00\x00\x00\x00\xf8\x7f", "<f8")[0]
_LIMB_BITS = np.uint64(32)
_LIMB = np.uint64(0xFFFF_FFFF)


def canonical(array: pa.Array) -> pa.Array:
    """Return the bytes of each value, as a binary array without NULLs.

    Raises:
        ModelError: values of a type that has no canonical form.
    """
    return joined(pieces(array))


def canonical_rows(heading: bytes, columns: list[pa.Array]) -> pa.Array:
    """Return the bytes of rows: a heading, then all columns without the bytes of texts, then the bytes of texts.

    There is at least one column, and all columns have the same length.
    """
    rows = len(columns[0])
    heads: list[pa.Array] = []
    bodies: list[pa.Array] = []
    # NumPy joins all pieces that have the same size in every row, at once: Arrow's join costs time for each piece.
    fixed: Fixed = [np.broadcast_to(np.frombuffer(heading, f"V{len(heading)}"), rows)]
    for column in columns:
        head, body = _head_and_body(column)
        if isinstance(head, list):
            fixed += head
        else:
            heads += [_binary(fixed), head] if fixed else [head]
            fixed = []
        if body is not None:
            bodies.append(body)
    return joined([*heads, *([_binary(fixed)] if fixed else []), *bodies])


def joined(parts: list[pa.Array | pa.Scalar]) -> pa.Array:
    """Return the joined pieces of each row; NULL adds nothing."""
    if len(parts) == 1:
        return parts[0]
    return pc.binary_join_element_wise(*parts, _EMPTY, null_handling="replace", null_replacement=b"")


def pieces(array: pa.Array) -> list[pa.Array]:
    """Return binary arrays that give the canonical bytes when joined."""
    head, body = _head_and_body(array)
    return [_binary(head)] if body is None else [_binary(head), body]


def _head_and_body(array: pa.Array) -> tuple[Encoded, pa.Array | None]:
    """Return the canonical bytes in two pieces; the second one is long and need not be copied."""
    array = plain(array)
    if pt.is_string(array.type) or pt.is_binary(array.type):
        content = array.cast(pa.binary())
        return _or_null(
            _lengths(b"s" if pt.is_string(array.type) else b"b", np.diff(offsets_of(content))), array
        ), content
    if pt.is_null(array.type):
        return _tagged(b"N", rows=len(array)), None
    return _or_null(_encoder(array.type)(array), array), None


def plain(array: pa.Array) -> pa.Array:
    """Return the same values in the simplest type: no dictionary, view, extension or large offsets."""
    if isinstance(array, pa.ExtensionArray):
        return plain(array.storage)
    if pt.is_dictionary(array.type):
        return plain(array.dictionary_decode())
    if pt.is_run_end_encoded(array.type):
        return plain(pc.run_end_decode(array))
    type_ = plain_type(array.type)
    return array if type_ == array.type else array.cast(type_)


def plain_type(type_: pa.DataType) -> pa.DataType:
    """Return the type that `plain` gives values of this type."""
    if isinstance(type_, pa.BaseExtensionType):
        return plain_type(type_.storage_type)
    if pt.is_dictionary(type_) or pt.is_run_end_encoded(type_):
        return plain_type(type_.value_type)
    if pt.is_large_string(type_) or pt.is_string_view(type_):
        return pa.string()
    if pt.is_large_binary(type_) or pt.is_binary_view(type_) or pt.is_fixed_size_binary(type_):
        return pa.binary()
    if pt.is_large_list(type_) or pt.is_list_view(type_) or pt.is_large_list_view(type_):
        return pa.list_(type_.value_field)
    return type_


def _binary(encoded: Encoded) -> pa.Array:
    """Return encoded values as a binary array."""
    if not isinstance(encoded, list):
        return encoded
    rows = len(encoded[0])
    # A NumPy record has no gaps between its fields.
    records = np.empty(rows, [(f"f{number}", column.dtype) for number, column in enumerate(encoded)])
    for number, column in enumerate(encoded):
        records[f"f{number}"] = column
    width = records.dtype.itemsize
    offsets = np.arange(0, (rows + 1) * width, width, dtype=np.int32)
    return pa.Array.from_buffers(pa.binary(), rows, [None, pa.py_buffer(offsets), pa.py_buffer(records.view(np.uint8))])


def _either(condition: NDArray[np.bool_], first: Encoded, second: Encoded) -> Encoded:
    """Return the first where the condition is true, else the second."""
    if condition.all():
        return first
    return pc.if_else(pa.array(condition), _binary(first), _binary(second)) if condition.any() else second


def _tagged(tag: bytes, *columns: NDArray[Any], rows: int | None = None) -> Fixed:
    first = np.broadcast_to(np.uint8(ord(tag)), len(columns[0]) if rows is None else rows)
    return [first, *columns]


def _lengths(tag: bytes, lengths: NDArray[np.int64]) -> Encoded:
    # Most texts are short, and the cost of hashing grows with each byte.
    is_short = lengths <= 255
    short = _tagged(tag, lengths.astype(np.uint8))
    return short if is_short.all() else _either(is_short, short, _tagged(tag.upper(), lengths.astype("<u4")))


def _or_null(encoded: Encoded, array: pa.Array) -> Encoded:
    return pc.if_else(array.is_valid(), _binary(encoded), _NULL) if array.null_count else encoded


def _encoder(type_: pa.DataType) -> Callable[[pa.Array], Encoded]:
    for is_of, encode in _ENCODERS:
        if is_of(type_):
            return encode
    raise ModelError(f"values of type {type_} cannot be compared from run to run: cast them in the SQL")


def _booleans(array: pa.Array) -> Encoded:
    flags = values_of(array.cast(pa.uint8()), np.uint8)
    return [np.where(flags, np.uint8(ord("T")), np.uint8(ord("F")))]


def _integers(array: pa.Array) -> Encoded:
    if pt.is_uint64(array.type) and (values_of(array, np.uint64) >> np.uint64(63)).any():
        return _decimals(array.cast(pa.decimal256(76, 0)).cast(pa.decimal128(20, 0)))
    return _tagged(b"i", integers_of(array).astype("<i8"))


def _floats(array: pa.Array) -> Encoded:
    # Adding zero makes a negative zero positive.
    values = values_of(array.cast(pa.float64()), np.float64).astype("<f8") + 0.0
    values[np.isnan(values)] = _NAN
    return _tagged(b"f", values)


def _decimals(array: pa.Array) -> Encoded:
    if array.type.scale < 0:
        array = array.cast(pa.decimal256(76, 0))
    if array.type.bit_width < 128:
        array = array.cast(pa.decimal128(38, array.type.scale))
    raw = words_of(array)
    if array.null_count:
        raw = np.where(np.asarray(array.is_valid())[:, None], raw, np.uint64(0))
    lowest = raw[:, 0].view("<i8")
    is_small = (raw[:, 1:] == (lowest >> 63).view("<u8")[:, None]).all(axis=1)
    scale = array.type.scale
    if is_small.all():
        return _small_decimals(lowest.copy(), np.full(len(array), scale, np.uint8))
    small, large = np.flatnonzero(is_small), np.flatnonzero(~is_small)
    encoded = [
        _small_decimals(lowest[small], np.full(len(small), scale, np.uint8)),
        _large_decimals(raw[large], scale),
    ]
    order = np.empty(len(array), np.int64)
    order[small] = np.arange(len(small))
    order[large] = np.arange(len(small), len(array))
    return pa.concat_arrays([_binary(some) for some in encoded]).take(pa.array(order))


def _small_decimals(digits: NDArray[np.int64], scales: NDArray[np.uint8]) -> Encoded:
    for places in (16, 8, 4, 2, 1):
        power = np.int64(10**places)
        ends_in_zeros = (scales >= places) & (digits % power == 0)
        digits = np.where(ends_in_zeros, digits // power, digits)
        scales = scales - ends_in_zeros.astype(np.uint8) * np.uint8(places)
    # Zero has any number of decimal places.
    scales = np.where(digits == 0, np.uint8(0), scales)
    whole, broken = _tagged(b"i", digits.astype("<i8")), _tagged(b"d", scales, digits.astype("<i8"))
    return _either(scales == 0, whole, broken)


def _large_decimals(raw: NDArray[np.uint64], scale: int) -> Encoded:
    """Encode digits that do not fit in int64; some fit after trailing zeros are removed."""
    is_negative = (raw[:, -1] >> np.uint64(63)).astype(bool)
    limbs = np.ascontiguousarray(raw).view("<u4").astype(np.uint64)
    limbs = np.where(is_negative[:, None], _negated(limbs), limbs)
    scales = np.full(len(raw), scale, np.uint8)
    for places in (8, 8, 8, 8, 8, 8, 8, 8, 8, 4, 2, 1):
        quotient, remainder = _divided(limbs, np.uint64(10**places))
        ends_in_zeros = (scales >= places) & (remainder == 0)
        limbs = np.where(ends_in_zeros[:, None], quotient, limbs)
        scales = scales - ends_in_zeros.astype(np.uint8) * np.uint8(places)
    limbs = np.where(is_negative[:, None], _negated(limbs), limbs)
    words = limbs.astype("<u4").view("<u8")
    sign = (words[:, -1].view("<i8") >> 63).view("<u8")
    fits_64 = (words[:, 1:] == (words[:, 0].view("<i8") >> 63).view("<u8")[:, None]).all(axis=1)
    fits_128 = (words[:, 2:] == sign[:, None]).all(axis=1) & (words[:, 1].view("<i8") >> 63 == sign.view("<i8"))
    small = _small_decimals(np.ascontiguousarray(words[:, 0]).view("<i8"), scales)
    medium: Encoded = _tagged(b"e", scales, words[:, 0], words[:, 1])
    if words.shape[1] == 4:
        medium = _either(fits_128, medium, _tagged(b"g", scales, *words.T))
    return _either(fits_64, small, medium)


def _negated(limbs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the two's complement of numbers in limbs of 32 bits."""
    flipped = limbs ^ _LIMB
    carry = np.ones(len(limbs), np.uint64)
    for limb in range(limbs.shape[1]):
        total = flipped[:, limb] + carry
        flipped[:, limb] = total & _LIMB
        carry = total >> _LIMB_BITS
    return flipped


def _divided(limbs: NDArray[np.uint64], divisor: np.uint64) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Divide numbers in limbs of 32 bits by a number that is smaller than a limb."""
    quotient = np.empty_like(limbs)
    remainder = np.zeros(len(limbs), np.uint64)
    for limb in reversed(range(limbs.shape[1])):
        total = (remainder << _LIMB_BITS) | limbs[:, limb]
        quotient[:, limb], remainder = total // divisor, total % divisor
    return quotient, remainder


def _seconds(values: NDArray[np.int64], unit: str) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    per_second = np.int64(_PER_SECOND[unit])
    seconds = values // per_second
    nanoseconds = (values - seconds * per_second) * np.int64(10**9 // _PER_SECOND[unit])
    return seconds.astype("<i8"), nanoseconds.astype("<u4")


def _time_stamps(array: pa.Array) -> Encoded:
    return _tagged(b"t" if array.type.tz is None else b"z", *_seconds(values_of(array, np.int64), array.type.unit))


def _durations(array: pa.Array) -> Encoded:
    return _tagged(b"u", *_seconds(values_of(array, np.int64), array.type.unit))


def _dates(array: pa.Array) -> Encoded:
    if pt.is_date64(array.type):
        return _tagged(b"D", (values_of(array, np.int64) // _MS_PER_DAY).astype("<i8"))
    return _tagged(b"D", values_of(array, np.int32).astype("<i8"))


def _times(array: pa.Array) -> Encoded:
    values = array.view(pa.int32() if pt.is_time32(array.type) else pa.int64())
    values = integers_of(values)
    return _tagged(b"c", values * np.int64(10**9 // _PER_SECOND[array.type.unit]))


def _intervals(array: pa.Array) -> Encoded:
    words = words_of(array)
    return _tagged(b"v", words[:, 0], words[:, 1])


def _lists(array: pa.Array) -> pa.Array:
    if pt.is_fixed_size_list(array.type):
        size = array.type.list_size
        offsets = (array.offset + np.arange(len(array) + 1, dtype=np.int64)) * size
        values = array.values
    else:
        offsets = values_of(array.offsets, np.int32).astype(np.int64)
        values = array.values
    return _counted(b"l", array, canonical(values.slice(offsets[0], offsets[-1] - offsets[0])), offsets - offsets[0])


def _maps(array: pa.Array) -> pa.Array:
    offsets = values_of(array.offsets, np.int32).astype(np.int64)
    first, count = offsets[0], offsets[-1] - offsets[0]
    keys, items = array.keys.slice(first, count), array.items.slice(first, count)
    return _counted(b"m", array, joined([*pieces(keys), *pieces(items)]), offsets - first)


def _counted(tag: bytes, array: pa.Array, values: pa.Array, offsets: NDArray[np.int64]) -> pa.Array:
    """Return the length of each list and the bytes of its values, which are contiguous already."""
    ends = offsets_of(values)[offsets]
    buffers = [None, pa.py_buffer(np.ascontiguousarray(ends.astype(np.int32))), values.buffers()[2]]
    runs = pa.Array.from_buffers(pa.binary(), len(array), buffers)
    return joined([_binary(_tagged(tag, np.diff(offsets).astype("<u4"))), runs])


def _structs(array: pa.Array) -> pa.Array:
    parts = [_binary(_tagged(b"r", np.full(len(array), array.type.num_fields, "<u4")))]
    children = zip((field.name for field in array.type), array.flatten(), strict=True)
    for name, values in sorted(children, key=itemgetter(0)):
        parts += [pa.scalar(name_bytes(name), pa.binary()), *pieces(values)]
    return joined(parts)


def name_bytes(name: str) -> bytes:
    """Return the length of a field's name, then the name."""
    encoded = name.encode()
    return len(encoded).to_bytes(4, "little") + encoded


_ENCODERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], Encoded]], ...] = (
    (pt.is_boolean, _booleans),
    (pt.is_integer, _integers),
    (pt.is_decimal, _decimals),
    (pt.is_floating, _floats),
    (pt.is_timestamp, _time_stamps),
    (pt.is_date, _dates),
    (pt.is_time, _times),
    (pt.is_duration, _durations),
    (pt.is_interval, _intervals),
    (pt.is_map, _maps),
    (pt.is_list, _lists),
    (pt.is_fixed_size_list, _lists),
    (pt.is_struct, _structs),
)
