"""Bit fields in web-safe Base64, as the IAB's consent strings are written, read strictly.

A string is read from its first bit to its last: a field that is not all there, a bit that is left over and set, a
character of another alphabet are errors. Nothing is filled up with zeros, since a missing bit is no answer.
"""

from __future__ import annotations

import re
from binascii import a2b_base64

_ALPHABET = re.compile(r"[A-Za-z0-9_-]+")
_CHARACTER_BITS = 6
# Zeros to whole octets, which are cut off again.
_FILLING = ("", "AAA", "AA", "A")
# Encoders fill up to whole characters, or to whole octets and then characters.
_MOST_FILLING_BITS = 23
# Vendors in one list, as its numbers have 16 bits, and entries, as their number has 12.
_VENDOR_BITS, _ENTRIES_BITS = 16, 12


class MalformedBitsError(ValueError):
    """The text is no such string, or not all of it. The message names no part of it."""


class Bits:
    """What is left to read of one string.

    Args:
        text: the characters, without a separator.

    Raises:
        MalformedBitsError: the text is empty, or has other characters.
    """

    __slots__ = ("_bits", "_place")

    def __init__(self, text: str) -> None:
        if _ALPHABET.fullmatch(text) is None:
            raise MalformedBitsError("other characters")
        octets = a2b_base64(text.replace("-", "+").replace("_", "/") + _FILLING[len(text) % 4])
        # In text, so that a field is a slice: shifting a long number would copy it for each field. The first bit keeps
        # the zeros behind it.
        self._bits = bin(int.from_bytes(b"\x01" + octets))[3 : 3 + _CHARACTER_BITS * len(text)]
        self._place = 0

    @property
    def left(self) -> int:
        """How many bits are left to read."""
        return len(self._bits) - self._place

    def number(self, bits: int) -> int:
        """Read an unsigned number of so many bits."""
        return int(self.slice(bits), 2)

    def flag(self) -> bool:
        """Read one bit."""
        return self.slice(1) == "1"

    def slice(self, bits: int) -> str:
        """Read so many bits, as text of `0` and `1`.

        Raises:
            MalformedBitsError: there are fewer.
        """
        end = self._place + bits
        if end > len(self._bits):
            raise MalformedBitsError("cut off")
        taken = self._bits[self._place : end]
        self._place = end
        return taken

    def fibonacci(self) -> int:
        """Read a number in Fibonacci coding, which ends with two bits that are set."""
        end = self._bits.find("11", self._place)
        if end < 0:
            raise MalformedBitsError("cut off")
        total, this, following = 0, 1, 2
        for bit in self._bits[self._place : end + 1]:
            total += this * (bit == "1")
            this, following = following, this + following
        self._place = end + 2
        return total

    def end(self) -> None:
        """Check that nothing is left but what fills up.

        Raises:
            MalformedBitsError: there is.
        """
        rest = self._bits[self._place :]
        if len(rest) > _MOST_FILLING_BITS or "1" in rest:
            raise MalformedBitsError("more than its fields")

    def vendors(self, vendor: int) -> bool:
        """Read a list of vendors, a bit field or ranges, and return whether one is among them.

        Raises:
            MalformedBitsError: it is cut off, or a range is none.
        """
        head = self.slice(_VENDOR_BITS + 1)
        highest = int(head[:_VENDOR_BITS], 2)
        if head[_VENDOR_BITS] == "1":
            return self.ranges(vendor, highest=highest)
        listed = self.slice(highest)
        return vendor <= highest and listed[vendor - 1] == "1"

    def ranges(self, vendor: int, *, highest: int = (1 << _VENDOR_BITS) - 1) -> bool:
        """Read ranges of vendors, and return whether one is within them. Raises as `vendors`."""
        found = False
        entries = self.number(_ENTRIES_BITS)
        bits, place = self._bits, self._place
        # Written out: there may be hundreds of them in a string.
        for _ in range(entries):
            middle = place + 1 + _VENDOR_BITS
            end = middle + _VENDOR_BITS if bits[place : place + 1] == "1" else middle
            if end > len(bits):
                raise MalformedBitsError("cut off")
            first = int(bits[place + 1 : middle], 2)
            last = int(bits[middle:end], 2) if end > middle else first
            if not 1 <= first <= last <= highest:
                raise MalformedBitsError("a range that is none")
            found = found or first <= vendor <= last
            place = end
        self._place = place
        return found
