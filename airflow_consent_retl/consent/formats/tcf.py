"""IAB Europe's Transparency and Consent strings, version 2, as of TCF 2.2 and 2.3.

https://github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework, `TCFv2/IAB Tech Lab - Consent
string and vendor list formats v2.md` (read 2026-11-24). A string that does not decode exactly is invalid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from airflow_consent_retl.consent.formats.bits import Bits, MalformedBitsError
from airflow_consent_retl.consent.signals import ConsentStatus, DocumentSignal, column_problems, require
from airflow_consent_retl.errors import Problem

# Positions in the core segment: its fields before the vendors have fixed widths.
_VERSION = format(2, "06b")
_POLICY = slice(132, 138)
_SERVICE_SPECIFIC = 138
_CONSENTED, _ESTABLISHED = slice(152, 176), slice(176, 200)
# The language of the texts, and the publisher's country.
_LETTERS = (108, 114, 201, 207)
_HEADER_BITS = 213
# Strings of earlier policies that were made after 30 September 2023 are invalid. Older strings exceed the maximum age
# of consent.
_OLDEST_POLICY = 4
_PURPOSES = 24
_HIGHEST_VENDOR, _HIGHEST_POLICY = (1 << 16) - 1, (1 << 6) - 1
# Purposes that must never rest on legitimate interest: 1 by the policies, 3 to 6 since TCF 2.2.
_CONSENT_ONLY = frozenset({1, 3, 4, 5, 6})
# Letters are numbered from 0 to 25.
_NO_LETTER = format(26, "06b")
_DISCLOSED, _ALLOWED, _PUBLISHER = 1, 2, 3
_KINDS = {"001": _DISCLOSED, "010": _ALLOWED, "011": _PUBLISHER}
# A publisher's restrictions; 0 forbids the purpose.
_REQUIRE_CONSENT, _REQUIRE_INTEREST = 1, 2


@dataclass(frozen=True, slots=True, init=False)
class TcfString(DocumentSignal):
    """A column of TC strings, read for one vendor and for the purposes that a category stands for.

    The status is granted if every purpose in `purposes` and the vendor have consent, every purpose in
    `legitimate_interest` is established and not objected to for both, and the publisher restricts none of them. It is
    denied if one of these conditions is not met, or if the vendor was not disclosed. It is invalid if the string does
    not decode exactly: another version, a global scope, a policy before TCF 2.2, a string that is cut off or has bits
    left over, or a legal basis that its purpose cannot have. NULL is unknown.

    Args:
        column: the column with the strings.
        purposes: the purposes, 1 to 24, that need consent.
        vendor: the vendor's number in the Global Vendor List; Google is 755.
        legitimate_interest: the purposes that rest on legitimate interest, neither 1 nor 3 to 6.
        disclosed: `"required"`, as in TCF 2.3: a string without the segment of disclosed vendors is invalid.
            `"if_present"` also accepts strings of TCF 2.2.
        oldest_policy: the oldest accepted version of the policies under which a string was made; 4 is TCF 2.2.

    Raises:
        PolicyError: a parameter is wrong.
    """

    is_standard: ClassVar[bool] = True

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
        """Return the status that the string contains."""
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
        # One slice for all fields with a fixed position, for speed: there are many strings, and most of them differ.
        header = core.slice(_HEADER_BITS)
        if header[:6] != _VERSION:
            raise MalformedBitsError("another version")
        if int(header[_POLICY], 2) < self.oldest_policy:
            raise MalformedBitsError("an older policy")
        if header[_SERVICE_SPECIFIC] != "1":
            raise MalformedBitsError("global scope")
        if any(header[letter : letter + 6] >= _NO_LETTER for letter in _LETTERS):
            raise MalformedBitsError("not a letter")
        consented, established = header[_CONSENTED], header[_ESTABLISHED]
        if "1" in established[0] + established[2:6]:
            raise MalformedBitsError("legitimate interest for a purpose without it")
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
    """Return whether the vendor was disclosed; None if no segment contains this."""
    found: dict[int, bool] = {}
    for text in segments:
        segment = Bits(text)
        kind = _KINDS.get(segment.slice(3), 0)
        if kind in found:
            raise MalformedBitsError("a repeated segment")
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
    """Return the publisher's restrictions of the vendor, by purpose."""
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
        # The exact type: `isinstance` takes `True` for an integer.
        if not isinstance(numbers, tuple | list) or not all(type(n) is int and 1 <= n <= _PURPOSES for n in numbers):
            problems.append(Problem(path, f"expected a tuple of purposes, 1 to {_PURPOSES}"))
        elif len(set(numbers)) < len(numbers):
            problems.append(Problem(path, "a purpose is declared twice"))
    if problems:
        return problems
    if not purposes and not legitimate_interest:
        problems.append(Problem("TcfString.purposes", "expected at least one purpose"))
    if set(purposes) & set(legitimate_interest):
        problems.append(Problem("TcfString", "a purpose cannot have two legal bases"))
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
