"""A strict reader of bit fields in web-safe Base64, the form of the IAB's consent strings.

A string is read from its first bit to its last. An incomplete field, a set bit after the last field and a character of
another alphabet are errors. Missing bits are never filled with zeros, because a missing bit is not an answer.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from binascii import a2b_base64

from airflow_consent_retl.consent.signals import ConsentStatus, DocumentSignal

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


class CodedSignal(DocumentSignal):
    """A format whose texts are such strings. Implement `answer`."""

    __slots__ = ()

    def read(self, text: str) -> ConsentStatus:
        """Return the status that the string contains."""
        try:
            return self.answer(text)
        except MalformedBitsError:
            return ConsentStatus.INVALID

    def why_invalid(self, raw: object) -> str | None:
        """Return why a value is invalid: what contradicts the specification. None for a value that is valid."""
        if raw is None:
            return None
        if type(raw) is not str:
            return "not text"
        try:
            self.answer(raw)
        except MalformedBitsError as error:
            return str(error)
        return None

    @abstractmethod
    def answer(self, text: str) -> ConsentStatus:
        """Return the status that the string contains.

        Raises:
            MalformedBitsError: the string contradicts its specification.
        """


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
            raise MalformedBitsError("characters outside of web-safe Base64")
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
            raise MalformedBitsError("it ends inside of a field")
        taken = self._bits[self._place : end]
        self._place = end
        return taken

    def fibonacci(self) -> int:
        """Read a number in Fibonacci coding, which ends with two bits that are set."""
        end = self._bits.find("11", self._place)
        if end < 0:
            raise MalformedBitsError("it ends inside of a field")
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
            raise MalformedBitsError("more bits than its fields have")

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
                raise MalformedBitsError("it ends inside of a field")
            first = int(bits[place + 1 : middle], 2)
            last = int(bits[middle:end], 2) if end > middle else first
            if not 1 <= first <= last <= highest:
                raise MalformedBitsError("a range of vendors that is not ascending, or ends after the highest vendor")
            found = found or first <= vendor <= last
            place = end
        self._place = place
        return found

    def fibonacci_ranges(self, vendor: int, *, highest: int = (1 << _VENDOR_BITS) - 1) -> bool:
        """Read ranges of vendors whose distances are in Fibonacci coding. Raises as `vendors`."""
        found, last = False, 0
        for _ in range(self.number(_ENTRIES_BITS)):
            is_group = self.flag()
            first = last + self.fibonacci()
            last = first + self.fibonacci() if is_group else first
            if last > highest:
                raise MalformedBitsError("a vendor after the highest one")
            found = found or first <= vendor <= last
        return found

    def optimized_range(self, vendor: int) -> bool:
        """Read the Global Privacy Platform's `OptimizedRange`, and return whether it contains a vendor.

        https://github.com/InteractiveAdvertisingBureau/Global-Privacy-Platform, `Core/Consent String Specification.md`
        (read 2026-11-29): one bit, then ranges in Fibonacci coding, or the length of a bit field and the bit field.
        Raises as `vendors`.
        """
        if self.flag():
            return self.fibonacci_ranges(vendor)
        listed = self.slice(self.number(_VENDOR_BITS))
        return listed[vendor - 1 : vendor] == "1"

    def optimized_range_of_library(self, vendor: int) -> bool:
        """Read an `OptimizedRange` as the IAB's own libraries write it: the highest vendor comes first.

        https://github.com/IABTechLab/iabgpp-es, release 3.2.0, `EncodableOptimizedFibonacciRange`. Raises as `vendors`.
        """
        highest = self.number(_VENDOR_BITS)
        if self.flag():
            return self.fibonacci_ranges(vendor, highest=highest)
        listed = self.slice(highest)
        return listed[vendor - 1 : vendor] == "1"
