"""IAB Europe's Transparency and Consent strings, version 2, as of TCF 2.2 and 2.3.

https://github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework, `TCFv2/IAB Tech Lab - Consent
string and vendor list formats v2.md` (read 2026-11-24). Whatever does not decode exactly is invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_consent_retl.consent.formats.bits import Bits, MalformedBitsError
from airflow_consent_retl.consent.signals import ConsentStatus, DocumentSignal, column_problems, require
from airflow_consent_retl.errors import Problem

# Places in the core segment: its fields up to the vendors have fixed widths.
_VERSION = format(2, "06b")
_POLICY = slice(132, 138)
_SERVICE_SPECIFIC = 138
_CONSENTED, _ESTABLISHED = slice(152, 176), slice(176, 200)
# The language of the texts, and the publisher's country.
_LETTERS = (108, 114, 201, 207)
_HEADER_BITS = 213
# Strings of earlier policies that were made after 30 September 2023 are invalid, and older ones are older than consent
# may get.
_OLDEST_POLICY = 4
_PURPOSES = 24
_HIGHEST_VENDOR, _HIGHEST_POLICY = (1 << 16) - 1, (1 << 6) - 1
# Purposes that may never rest on legitimate interest: 1 by the policies, 3 to 6 since TCF 2.2.
_CONSENT_ONLY = frozenset({1, 3, 4, 5, 6})
# Letters are counted from 0 to 25.
_NO_LETTER = format(26, "06b")
_DISCLOSED, _ALLOWED, _PUBLISHER = 1, 2, 3
_KINDS = {"001": _DISCLOSED, "010": _ALLOWED, "011": _PUBLISHER}
# A publisher's restrictions; 0 forbids the purpose.
_REQUIRE_CONSENT, _REQUIRE_INTEREST = 1, 2


@dataclass(frozen=True, slots=True, init=False)
class TcfString(DocumentSignal):
    """A column of TC strings: what they say of one vendor and of the purposes that a category stands for.

    Granted where every purpose in `purposes` has consent and so has the vendor, every purpose in
    `legitimate_interest` is established and not objected to for both, and the publisher restricts none of them.
    Denied where one of it is not so, or the vendor was not disclosed. Invalid is a string that does not decode exactly:
    another version, a global scope, a policy before TCF 2.2, cut off, with bits left over, with a legal basis that its
    purpose cannot have. NULL is unknown.

    Args:
        column: that holds the strings.
        purposes: 1 to 24, that need consent.
        vendor: its number in the Global Vendor List; Google is 755.
        legitimate_interest: purposes that rest on it, neither 1 nor 3 to 6.
        disclosed: `"required"`, as in TCF 2.3: a string without the segment of disclosed vendors is invalid.
            `"if_present"` takes strings of TCF 2.2.
        oldest_policy: version of the policies that a string was made under, at least; 4 is TCF 2.2.

    Raises:
        PolicyError: the declaration is none.
    """

    column: str
    purposes: tuple[int, ...]
    vendor: int
    legitimate_interest: tuple[int, ...]
    disclosed: str
    oldest_policy: int

    def __init__(
        self,
        column: str,
        *,
        purposes: tuple[int, ...] | list[int],
        vendor: int,
        legitimate_interest: tuple[int, ...] | list[int] = (),
        disclosed: str = "required",
        oldest_policy: int = _OLDEST_POLICY,
    ) -> None:
        require(
            [
                *column_problems(column, "TcfString"),
                *_purpose_problems(purposes, legitimate_interest),
                *_vendor_problems(vendor),
                *_strictness_problems(disclosed, oldest_policy),
            ]
        )
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "purposes", tuple(purposes))
        object.__setattr__(self, "vendor", vendor)
        object.__setattr__(self, "legitimate_interest", tuple(legitimate_interest))
        object.__setattr__(self, "disclosed", disclosed)
        object.__setattr__(self, "oldest_policy", oldest_policy)

    def read(self, text: str) -> ConsentStatus:
        """Return what the string says."""
        try:
            is_granted = self._is_granted(text.split("."))
        except MalformedBitsError:
            return ConsentStatus.INVALID
        return ConsentStatus.GRANTED if is_granted else ConsentStatus.DENIED

    def _is_granted(self, segments: list[str]) -> bool:
        is_disclosed = _disclosed(segments[1:], self.vendor)
        if is_disclosed is None and self.disclosed == "required":
            raise MalformedBitsError("no disclosed vendors")
        core = Bits(segments[0])
        # One slice for what has a fixed place: strings are many, and seldom alike.
        header = core.slice(_HEADER_BITS)
        if header[:6] != _VERSION:
            raise MalformedBitsError("another version")
        if int(header[_POLICY], 2) < self.oldest_policy:
            raise MalformedBitsError("an older policy")
        if header[_SERVICE_SPECIFIC] != "1":
            raise MalformedBitsError("global scope")
        if any(header[letter : letter + 6] >= _NO_LETTER for letter in _LETTERS):
            raise MalformedBitsError("no letter")
        consented, established = header[_CONSENTED], header[_ESTABLISHED]
        if "1" in established[0] + established[2:6]:
            raise MalformedBitsError("legitimate interest where there is none")
        has_consent, has_interest = core.vendors(self.vendor), core.vendors(self.vendor)
        restricted = _restrictions(core, self.vendor)
        core.end()
        return (
            is_disclosed is not False
            and (has_consent or not self.purposes)
            and (has_interest or not self.legitimate_interest)
            and all(consented[purpose - 1] == "1" for purpose in self.purposes)
            and all(established[purpose - 1] == "1" for purpose in self.legitimate_interest)
            and not any(restricted.get(purpose, set()) - {_REQUIRE_CONSENT} for purpose in self.purposes)
            and not any(restricted.get(purpose, set()) - {_REQUIRE_INTEREST} for purpose in self.legitimate_interest)
        )


def _disclosed(segments: list[str], vendor: int) -> bool | None:
    """Return whether the vendor was disclosed; None where no segment tells."""
    found: dict[int, bool] = {}
    for text in segments:
        segment = Bits(text)
        kind = _KINDS.get(segment.slice(3), 0)
        if kind in found:
            raise MalformedBitsError("a segment that is there twice")
        if kind in (_DISCLOSED, _ALLOWED):
            found[kind] = segment.vendors(vendor)
        elif kind == _PUBLISHER:
            segment.slice(2 * _PURPOSES)
            segment.slice(2 * segment.number(6))
            found[kind] = True
        else:
            raise MalformedBitsError("a segment of another kind")
        segment.end()
    return found.get(_DISCLOSED)


def _restrictions(core: Bits, vendor: int) -> dict[int, set[int]]:
    """Return the kinds of restriction that the publisher puts on the vendor, by purpose."""
    found: dict[int, set[int]] = {}
    for _ in range(core.number(12)):
        purpose, kind = core.number(6), core.number(2)
        if kind > _REQUIRE_INTEREST:
            raise MalformedBitsError("a restriction of another kind")
        if core.ranges(vendor):
            found.setdefault(purpose, set()).add(kind)
    return found


def _purpose_problems(purposes: Any, legitimate_interest: Any) -> list[Problem]:
    problems = []
    for name, numbers in (("purposes", purposes), ("legitimate_interest", legitimate_interest)):
        path = f"TcfString.{name}"
        # The exact type: `True` is an integer to isinstance.
        if not isinstance(numbers, tuple | list) or not all(type(n) is int and 1 <= n <= _PURPOSES for n in numbers):
            problems.append(Problem(path, f"expected a tuple of purposes, 1 to {_PURPOSES}"))
        elif len(set(numbers)) < len(numbers):
            problems.append(Problem(path, "a purpose is declared twice"))
    if problems:
        return problems
    if not purposes and not legitimate_interest:
        problems.append(Problem("TcfString.purposes", "at least one purpose has to be declared"))
    if set(purposes) & set(legitimate_interest):
        problems.append(Problem("TcfString", "a purpose has one legal basis"))
    if _CONSENT_ONLY.intersection(legitimate_interest):
        problems.append(Problem("TcfString.legitimate_interest", "purposes 1 and 3 to 6 need consent"))
    return problems


def _vendor_problems(vendor: object) -> list[Problem]:
    if type(vendor) is int and 1 <= vendor <= _HIGHEST_VENDOR:
        return []
    return [Problem("TcfString.vendor", f"expected the number of a vendor, 1 to {_HIGHEST_VENDOR}")]


def _strictness_problems(disclosed: object, oldest_policy: object) -> list[Problem]:
    problems = []
    if disclosed not in ("required", "if_present"):
        problems.append(Problem("TcfString.disclosed", "expected `required` or `if_present`"))
    if type(oldest_policy) is not int or not 0 <= oldest_policy <= _HIGHEST_POLICY:
        problems.append(Problem("TcfString.oldest_policy", f"expected a number from 0 to {_HIGHEST_POLICY}"))
    return problems
