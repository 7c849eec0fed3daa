"""A reader of many TC strings at once, with numpy: it answers for whole strings of a common form, and leaves the rest.

`consent.formats.tcf` is the law. This reader gives an answer only for a string whose every bit it has checked: all
others, among them every invalid string and every string with a publisher's restrictions, are left to the law. Tests
compare both for random, turned and truncated strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from airflow_consent_retl.consent.formats.tcf import DISCLOSED_SINCE
from airflow_consent_retl.values.buffers import content_of, offsets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from airflow_consent_retl.consent.signals import TcQuestion

    Numbers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

GRANTED, DENIED, LEFT_TO_THE_LAW = 1, 2, -1
# The memory of a block stays in the processor's cache.
_BLOCK_BYTES = 1 << 20
# Codes whose lower bits are 0.
_DOT, _NO_CHARACTER = 64, 128
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_CHARACTER_BITS, _PURPOSES = 6, 24
# Positions in the core segment, in characters if they begin with one, otherwise in bits: see `consent.formats.tcf`.
_CREATED, _UPDATED = 1, 7
_LANGUAGE, _POLICY, _SCOPE, _COUNTRY_BITS = (18, 19), 22, 23, (201, 207)
_CONSENTED, _ESTABLISHED = 25, 29
_HEADER_BITS, _LIST_HEAD_BITS, _COUNT_BITS, _VENDOR_BITS = 213, 17, 12, 16
_SHORTEST_CORE_BITS = _HEADER_BITS + 2 * _LIST_HEAD_BITS + _COUNT_BITS
_MOST_FILLING_BITS, _HIGHEST_VENDOR = 23, (1 << 16) - 1
_LETTERS = 26
# Purpose 1, and purposes 3 to 6 since version 4 of the policies.
_CONSENT_ONLY, _CONSENT_ONLY_SINCE_4 = 1 << 23, 0b1111 << 18
# Longer lists of ranges are rare; the law reads them.
_MOST_RANGES = 1_000
_DISCLOSED, _PUBLISHER = 1, 3
_KIND_BITS, _CUSTOM_BITS = 3, 6


def answers(texts: pa.Array, asked: TcQuestion) -> Numbers:
    """Return for each text 1 (granted), 2 (denied) or -1 (not read here).

    `texts` is a string array without NULLs.
    """
    found = np.full(len(texts), LEFT_TO_THE_LAW, dtype=np.int64)
    content, offsets = content_of(texts), offsets_of(texts)
    for first, last in _blocks(offsets):
        begin = offsets[first]
        codes = np.frombuffer(content[begin : offsets[last]].tobytes().translate(_CODES), dtype=np.uint8)
        block = _Block(codes, offsets[first : last + 1] - begin)
        found[first:last] = block.answers(asked)
    return found


def _blocks(offsets: Numbers) -> Iterator[tuple[int, int]]:
    """Yield the first text and the end of each block of texts."""
    first, count = 0, len(offsets) - 1
    while first < count:
        last = int(np.searchsorted(offsets, offsets[first] + _BLOCK_BYTES, side="right")) - 1
        last = min(max(last, first + 1), count)
        yield first, last
        first = last


def _table() -> bytes:
    """Return the code of each byte: a number from 0 to 63, or the code of a dot or of another character."""
    codes = bytearray([_NO_CHARACTER]) * 256
    for number, character in enumerate(_ALPHABET):
        codes[character] = number
    codes[ord(".")] = _DOT
    return bytes(codes)


_CODES = _table()


@dataclass(frozen=True, slots=True)
class _Segments:
    """Segments of strings: the string of each, and its first and its last bit (exclusive) in the block."""

    owner: Numbers
    begin: Numbers
    end: Numbers


class _Block:
    """The strings of one block. Bits are counted from its first character."""

    def __init__(self, codes: NDArray[np.uint8], offsets: Numbers) -> None:
        self._strings = len(offsets) - 1
        # Four characters at a time, also at the end.
        numbers = np.concatenate([codes & (_DOT - 1), np.zeros(4, dtype=np.uint8)])
        self._fours = np.ndarray(len(codes) + 1, dtype=">u4", buffer=numbers, strides=(1,))
        foreign = np.flatnonzero(codes == _NO_CHARACTER)
        self._is_text = np.ones(self._strings, dtype=bool)
        self._is_text[np.searchsorted(offsets, foreign, side="right") - 1] = False
        # A segment begins with each string and after each dot.
        dots = np.flatnonzero(codes == _DOT)
        begins = np.concatenate([offsets[:-1], dots + 1])
        ends = np.concatenate([offsets[1:], dots])
        owners = np.concatenate([np.arange(self._strings), np.searchsorted(offsets, dots, side="right") - 1])
        order = np.lexsort((begins, owners))
        begins, owners = begins[order], owners[order]
        # Each segment ends at the next dot of its string, or at the string's end.
        ends = np.sort(ends)
        is_core = np.concatenate([[True], owners[1:] != owners[:-1]]) if len(owners) else np.zeros(0, dtype=bool)
        bits = np.int64(_CHARACTER_BITS)
        self._cores = _Segments(owners[is_core], begins[is_core] * bits, ends[is_core] * bits)
        self._others = _Segments(owners[~is_core], begins[~is_core] * bits, ends[~is_core] * bits)

    def answers(self, asked: TcQuestion) -> Numbers:
        """Return for each string 1 (granted), 2 (denied) or -1 (not read here)."""
        cores = self._cores
        has_disclosed, is_disclosed, is_valid = self._read_others(asked.vendor)
        is_valid &= self._is_text & (cores.end - cores.begin >= _SHORTEST_CORE_BITS)
        first = cores.begin // _CHARACTER_BITS
        policy = self._character(first + _POLICY)
        is_valid &= (self._character(first) == 2) & (policy >= asked.oldest_policy)
        is_valid &= self._character(first + _SCOPE) >> 5 == 1
        for letter in _LANGUAGE:
            is_valid &= self._character(first + letter) < _LETTERS
        for letter in _COUNTRY_BITS:
            is_valid &= self._field(cores.begin + letter, _CHARACTER_BITS) < _LETTERS
        is_valid &= has_disclosed | ~self._needs_disclosed(first, asked.disclosed)
        consented, established = self._purposes(first + _CONSENTED), self._purposes(first + _ESTABLISHED)
        is_valid &= (established & _CONSENT_ONLY == 0) & ((policy < 4) | (established & _CONSENT_ONLY_SINCE_4 == 0))
        has_consent, place, is_list = self._vendors(cores.begin + _HEADER_BITS, cores.end, asked.vendor)
        has_interest, place, is_second_list = self._vendors(place, cores.end, asked.vendor)
        is_valid &= is_list & is_second_list & (place + _COUNT_BITS <= cores.end)
        is_valid &= self._field(place, _COUNT_BITS) == 0
        is_valid &= self._is_end(place + _COUNT_BITS, cores.end)
        granted = is_disclosed | ~has_disclosed
        for purposes, bits, has_vendor in (
            (asked.purposes, consented, has_consent),
            (asked.legitimate_interest, established, has_interest),
        ):
            if purposes:
                wanted = sum(1 << (_PURPOSES - purpose) for purpose in purposes)
                granted &= has_vendor & (bits & wanted == wanted)
        return np.where(is_valid, np.where(granted, GRANTED, DENIED), LEFT_TO_THE_LAW)

    def _read_others(self, vendor: int) -> tuple[Flags, Flags, Flags]:
        """Read the segments after the core: whether a string lists disclosed vendors, with this one, and is valid."""
        others = self._others
        kinds = self._field(others.begin, _KIND_BITS)
        contains, place, is_valid = self._vendors(others.begin + _KIND_BITS, others.end, vendor)
        custom = others.begin + _KIND_BITS + 2 * _PURPOSES
        is_publisher = kinds == _PUBLISHER
        place = np.where(is_publisher, custom + _CUSTOM_BITS + 2 * self._field(custom, _CUSTOM_BITS), place)
        is_valid = np.where(is_publisher, (custom + _CUSTOM_BITS <= others.end) & (place <= others.end), is_valid)
        is_valid &= (kinds >= _DISCLOSED) & (kinds <= _PUBLISHER) & self._is_end(place, others.end)
        counts = np.bincount(others.owner * 4 + np.minimum(kinds, 3), minlength=4 * self._strings)
        per_string = counts.reshape(self._strings, 4)
        all_valid: Flags = per_string.max(axis=1) <= 1
        all_valid[others.owner[~is_valid]] = False
        has_disclosed, is_disclosed = per_string[:, _DISCLOSED] > 0, np.zeros(self._strings, dtype=bool)
        is_disclosed[others.owner[(kinds == _DISCLOSED) & contains]] = True
        return has_disclosed, is_disclosed, all_valid

    def _needs_disclosed(self, first: Numbers, rule: str) -> Flags:
        if rule != "by_date":
            return np.full(self._strings, rule == "required")
        return (self._time(first + _CREATED) >= DISCLOSED_SINCE) | (self._time(first + _UPDATED) >= DISCLOSED_SINCE)

    def _vendors(self, place: Numbers, end: Numbers, vendor: int) -> tuple[Flags, Numbers, Flags]:
        """Read a list of vendors at each place: whether it contains the vendor, its end, and whether it is valid."""
        is_valid: Flags = place + _LIST_HEAD_BITS <= end
        head = self._field(place, _LIST_HEAD_BITS)
        highest, has_ranges = head >> 1, head & 1 == 1
        listed = place + _LIST_HEAD_BITS
        after = listed + highest
        is_valid &= has_ranges | (after <= end)
        contains: Flags = (vendor <= highest) & (self._field(listed + vendor - 1, 1) == 1) & is_valid & ~has_ranges
        rows = np.flatnonzero(has_ranges & is_valid)
        if len(rows):
            contains[rows], after[rows], is_valid[rows] = self._ranges(listed[rows], end[rows], highest[rows], vendor)
        return contains, after, is_valid

    def _ranges(self, place: Numbers, end: Numbers, highest: Numbers, vendor: int) -> tuple[Flags, Numbers, Flags]:
        """Read lists of ranges, one range of every list at a time. Returns as `_vendors`."""
        contains = np.zeros(len(place), dtype=bool)
        left = np.where(place + _COUNT_BITS <= end, self._field(place, _COUNT_BITS), _MOST_RANGES)
        is_valid = left < _MOST_RANGES
        place = place + _COUNT_BITS
        rows = np.flatnonzero(is_valid & (left > 0))
        while len(rows):
            here = place[rows]
            head = self._field(here, 1 + _VENDOR_BITS)
            is_group, first = head >> _VENDOR_BITS == 1, head & _HIGHEST_VENDOR
            last = np.where(is_group, self._field(here + 1 + _VENDOR_BITS, _VENDOR_BITS), first)
            after = here + 1 + _VENDOR_BITS + _VENDOR_BITS * is_group
            is_range = (after <= end[rows]) & (first >= 1) & (first <= last) & (last <= highest[rows])
            contains[rows] |= is_range & (first <= vendor) & (vendor <= last)
            place[rows] = after
            is_valid[rows[~is_range]] = False
            left[rows] -= 1
            rows = rows[is_range & (left[rows] > 0)]
        return contains, place, is_valid

    def _is_end(self, place: Numbers, end: Numbers) -> Flags:
        """Return whether only zeros are left, and not more of them than fill up a string."""
        left = end - place
        is_short = (left >= 0) & (left <= _MOST_FILLING_BITS)
        last = self._field(np.maximum(end - 24, 0), 24)
        is_end: Flags = is_short & (last & ((np.int64(1) << np.where(is_short, left, 0)) - 1) == 0)
        return is_end

    def _character(self, place: Numbers) -> Numbers:
        return self._four(place) >> 18

    def _four(self, character: Numbers) -> Numbers:
        """Return the 24 bits of four characters. Past the block's end, they can be any."""
        four: Numbers = self._fours[np.minimum(character, len(self._fours) - 1)].astype(np.int64)
        four = (four & 0x3F003F) | (four & 0x3F003F00) >> 2
        return (four & 0xFFF) | (four >> 4 & 0xFFF000)

    def _field(self, place: Numbers, bits: int) -> Numbers:
        """Return the number in these bits: at most 19, or 24 from a character's first bit."""
        character = place // _CHARACTER_BITS
        shift = (24 - bits) - (place - character * _CHARACTER_BITS)
        number: Numbers = self._four(character) >> shift & ((1 << bits) - 1)
        return number

    def _purposes(self, first: Numbers) -> Numbers:
        """Return 24 bits that begin two bits after a character's first one."""
        return (self._four(first) << 2 & 0xFFFFFF) | self._character(first + 4) >> 4

    def _time(self, first: Numbers) -> Numbers:
        return self._four(first) << 12 | self._four(first + 4) >> 12
