"""Section 5 of GPP strings: the Transparency and Consent Framework of IAB Canada, `tcfcav1`.

https://github.com/InteractiveAdvertisingBureau/Global-Privacy-Platform, `Sections/Canada/GPPExtension: IAB Canada
TCF.md` (read 2026-11-29). The only version of the section is 1. A string that does not decode exactly is
invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.consent.formats.bits import Bits, CodedSignal, MalformedBitsError
from airflow_consent_retl.consent.formats.gpp import encoding_problems, section_of
from airflow_consent_retl.consent.formats.gpp_sections import TCF_CANADA
from airflow_consent_retl.consent.formats.tcf import (
    NO_LETTER,
    PURPOSES,
    disclosed_in,
    purpose_problems,
    restrictions,
    status_of_bases,
    vendor_problems,
)
from airflow_consent_retl.consent.signals import ConsentStatus, column_problems, require

_SECTION = "tcfcav1"
# Positions in the core segment, as in TCF strings of Europe, but without the bit for the scope.
_VERSION = format(1, "06b")
_LETTERS = (slice(108, 114), slice(114, 120))
_EXPRESS, _IMPLIED = slice(151, 151 + PURPOSES), slice(151 + PURPOSES, 151 + 2 * PURPOSES)
_HEADER_BITS = 151 + 2 * PURPOSES
# Disclosed vendors, and the publisher's own purposes.
_KINDS = {"001": 1, "011": 3}


@dataclass(frozen=True, slots=True, init=False)
class GppTcfCanada(CodedSignal):
    """A column of GPP strings, whose section 5 is read for one vendor and for the purposes of a category.

    The status is granted if every purpose in `purposes` and the vendor have express consent, every purpose in `implied`
    and the vendor have implied consent without an objection, and the publisher restricts none of them. It is denied if
    one of these conditions is not met, or if the string lists the disclosed vendors without this one. It is unknown if
    the string has no such section. NULL is unknown.

    Args:
        column: the column with the strings.
        purposes: the purposes, 2 to 24, that need express consent. The framework does not use purpose 1.
        vendor: the vendor's number in the Global Vendor List.
        implied: the purposes that rest on implied consent.
        encoding: `"specification"`, or `"iab_library"` for strings of the IAB's own libraries, which write the highest
            vendor before each list of vendors. Nearly every string of one of them is invalid for the other.

    Raises:
        PolicyError: a parameter is wrong.
    """

    is_standard: ClassVar[bool] = True

    column: str
    purposes: tuple[int, ...]
    vendor: int
    implied: tuple[int, ...]
    encoding: str

    def __init__(
        self,
        column: str,
        *,
        purposes: tuple[int, ...] | list[int],
        vendor: int,
        implied: tuple[int, ...] | list[int] = (),
        encoding: str = "specification",
    ) -> None:
        require(
            [
                *column_problems(column, "GppTcfCanada"),
                *purpose_problems("GppTcfCanada", first=2, purposes=purposes, implied=implied),
                *vendor_problems(vendor, "GppTcfCanada"),
                *encoding_problems(encoding, "GppTcfCanada", _SECTION, [_SECTION]),
            ]
        )
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "purposes", tuple(purposes))
        object.__setattr__(self, "vendor", vendor)
        object.__setattr__(self, "implied", tuple(implied))
        object.__setattr__(self, "encoding", encoding)

    def answer(self, text: str) -> ConsentStatus:
        """Return the status that the section contains. Raises `MalformedBitsError` if it is invalid."""
        section = section_of(text, TCF_CANADA)
        if section is None:
            return ConsentStatus.UNKNOWN
        segments = section.split(".")
        is_disclosed = disclosed_in(segments[1:], self._contains, _KINDS)
        core = Bits(segments[0])
        header = core.slice(_HEADER_BITS)
        if header[:6] != _VERSION:
            raise MalformedBitsError("another version of the section than 1")
        if any(header[letter] >= NO_LETTER for letter in _LETTERS):
            raise MalformedBitsError("a language that has no letters")
        has_express, has_implied = self._contains(core), self._contains(core)
        restricted = restrictions(core, self._contains)
        core.end()
        return status_of_bases(
            ((self.purposes, header[_EXPRESS], has_express), (self.implied, header[_IMPLIED], has_implied)),
            restricted,
            is_disclosed=is_disclosed,
        )

    def _contains(self, bits: Bits) -> bool:
        """Read a list of vendors, and return whether it contains the vendor."""
        if self.encoding == "iab_library":
            return bits.optimized_range_of_library(self.vendor)
        return bits.optimized_range(self.vendor)
