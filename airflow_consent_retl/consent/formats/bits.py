"""A strict reader of bit fields in web-safe Base64, the form of the IAB's consent strings.

A string is read from its first bit to its last. An incomplete field, a set bit after the last field and a character of
another alphabet are errors. Missing bits are never filled with zeros, because a missing bit is not an answer.
"""

from __future__ import annotations

import re
from binascii import a2b_base64

_ALPHABET = re.compile(r"[A-Za-z0-9_-]+")
_CHARACTER_BITS = 6
# Zeros that fill up the last byte. They are cut off again.
_FILLING = ("", "AAA", "AA", "A")
# Encoders pad to whole characters, or to whole bytes and then to whole characters.
_MOST_FILLING_BITS = 23
# The width of a vendor's number, and of the number of entries in a list.
_VENDOR_BITS, _ENTRIES_BITS = 16, 12


class MalformedBitsError(ValueError):
    """The text is not such a string, or is incomplete. The message contains no part of it."""


class Bits:
    """The unread bits of one string.

    Args:
        text: the characters, without a separator.

    Raises:
        MalformedBitsError: the text is empty, or contains other characters.
    """

    __slots__ = ("_bits", "_place")

    def __init__(self, text: str) -> None:
        if _ALPHABET.fullmatch(text) is None:
            raise MalformedBitsError("other characters")
        content = a2b_base64(text.replace("-", "+").replace("_", "/") + _FILLING[len(text) % 4])
        # Bits as text, so that a field is a slice: shifting a long number would copy it for each field. The added first
        # byte keeps leading zeros.
        self._bits = bin(int.from_bytes(b"\x01" + content))[3 : 3 + _CHARACTER_BITS * len(text)]
        self._place = 0

    @property
    def left(self) -> int:
        """The number of unread bits."""
        return len(self._bits) - self._place

    def number(self, bits: int) -> int:
        """Read an unsigned number that has this number of bits."""
        return int(self.slice(bits), 2)

    def flag(self) -> bool:
        """Read one bit."""
        return self.slice(1) == "1"

    def slice(self, bits: int) -> str:
        """Read this number of bits, as text of `0` and `1`.

        Raises:
            MalformedBitsError: fewer bits are left.
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
        """Check that only padding is left.

        Raises:
            MalformedBitsError: something else is left.
        """
        rest = self._bits[self._place :]
        if len(rest) > _MOST_FILLING_BITS or "1" in rest:
            raise MalformedBitsError("more than its fields")

    def vendors(self, vendor: int) -> bool:
        """Read a list of vendors, a bit field or ranges, and return whether it contains a vendor.

        Raises:
            MalformedBitsError: the list is cut off, or a range is invalid.
        """
        head = self.slice(_VENDOR_BITS + 1)
        highest = int(head[:_VENDOR_BITS], 2)
        if head[_VENDOR_BITS] == "1":
            return self.ranges(vendor, highest=highest)
        listed = self.slice(highest)
        return vendor <= highest and listed[vendor - 1] == "1"

    def ranges(self, vendor: int, *, highest: int = (1 << _VENDOR_BITS) - 1) -> bool:
        """Read ranges of vendors, and return whether they contain a vendor. Raises as `vendors`."""
        found = False
        entries = self.number(_ENTRIES_BITS)
        bits, place = self._bits, self._place
        # Written out for speed: a string may contain hundreds of ranges.
        for _ in range(entries):
            middle = place + 1 + _VENDOR_BITS
            end = middle + _VENDOR_BITS if bits[place : place + 1] == "1" else middle
            if end > len(bits):
                raise MalformedBitsError("cut off")
            first = int(bits[place + 1 : middle], 2)
            last = int(bits[middle:end], 2) if end > middle else first
            if not 1 <= first <= last <= highest:
                raise MalformedBitsError("an invalid range")
            found = found or first <= vendor <= last
            place = end
        self._place = place
        return found
