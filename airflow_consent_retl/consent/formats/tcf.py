"""IAB Europe's Transparency and Consent strings, version 2, as of TCF 2.2 and 2.3.

https://github.com/InteractiveAdvertisingBureau/GDPR-Transparency-and-Consent-Framework, `TCFv2/IAB Tech Lab - Consent
string and vendor list formats v2.md` (read 2026-11-29). A string that does not decode exactly is invalid.

TCF 2.3 made the segment of disclosed vendors mandatory. Its specification gives no date. It has applied to strings that
were created since 1 March 2026: https://www.cookietrust.io/iab-tcf-2-2-vs-tcf-2-3-compliance-guide (read 2026-11-29).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from airflow_consent_retl.consent.formats.bits import Bits, CodedSignal, MalformedBitsError
from airflow_consent_retl.consent.signals import ConsentStatus, TcQuestion, column_problems, require
from airflow_consent_retl.errors import Problem

# Positions in the core segment: its fields before the vendors have fixed widths.
_VERSION = format(2, "06b")
_TIMES = (slice(6, 42), slice(42, 78))
_POLICY = slice(132, 138)
_SERVICE_SPECIFIC = 138
_CONSENTED, _ESTABLISHED = slice(152, 176), slice(176, 200)
# The language of the texts, and the publisher's country.
_LETTERS = tuple(slice(letter, letter + 6) for letter in (108, 114, 201, 207))
_HEADER_BITS = 213
# Strings of earlier policies that were made after 30 September 2023 are invalid. Older strings exceed the maximum age
# of consent.
_OLDEST_POLICY = 4
# Strings of this time and later need the segment of disclosed vendors: in tenths of a second, and as bits to compare.
DISCLOSED_SINCE = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp()) * 10
_DISCLOSED_SINCE_BITS = format(DISCLOSED_SINCE, "036b")
PURPOSES = 24
_HIGHEST_VENDOR, _HIGHEST_POLICY = (1 << 16) - 1, (1 << 6) - 1
# Purposes that must never rest on legitimate interest: 1 by all policies, 3 to 6 since version 4 of them, TCF 2.2.
_CONSENT_ONLY = frozenset({1, 3, 4, 5, 6})
_CONSENT_ONLY_SINCE = 4
# Letters are numbered from 0 to 25.
NO_LETTER = format(26, "06b")
_DISCLOSED, _ALLOWED, _PUBLISHER = 1, 2, 3
_KINDS = {"001": _DISCLOSED, "010": _ALLOWED, "011": _PUBLISHER}
# A publisher's restrictions: consent, or the second legal basis, is required; 0 forbids the purpose.
_REQUIRE_CONSENT, _REQUIRE_SECOND = 1, 2

ContainsVendor = Callable[[Bits], bool]
LegalBasis = tuple[tuple[int, ...], str, bool]


@dataclass(frozen=True, slots=True, init=False)
class TcfString(CodedSignal):
    """A column of TC strings, read for one vendor and for the purposes that a category stands for.

    The status is granted if every purpose in `purposes` and the vendor have consent, every purpose in
    `legitimate_interest` is established and not objected to for both, and the publisher restricts none of them. It is
    denied if one of these conditions is not met, or if the vendor was not disclosed. It is invalid if the string does
    not decode exactly: another version, a global scope, a policy before TCF 2.2, a string that is cut off or has bits
    left over, or a legal basis that the purpose cannot have under the string's own policy. NULL is unknown.

    Args:
        column: the column with the strings.
        purposes: the purposes, 1 to 24, that need consent.
        vendor: the vendor's number in the Global Vendor List; Google is 755.
        legitimate_interest: the purposes that rest on legitimate interest, neither 1 nor 3 to 6.
        disclosed: `"by_date"` (default): a string that was created or updated since 1 March 2026 is invalid without the
            segment of disclosed vendors, as in TCF 2.3. `"required"`: every string without it is invalid.
            `"if_present"`: no string is invalid because of this.
        oldest_policy: the oldest accepted version of the policies under which a string was made; 4 is TCF 2.2. Under
            older versions, purposes 3 to 6 could rest on legitimate interest.

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
        disclosed: str = "by_date",
        oldest_policy: int = _OLDEST_POLICY,
    ) -> None:
        require(
            [
                *column_problems(column, "TcfString"),
                *purpose_problems("TcfString", purposes=purposes, legitimate_interest=legitimate_interest),
                *_interest_problems(legitimate_interest),
                *vendor_problems(vendor, "TcfString"),
                *_strictness_problems(disclosed, oldest_policy),
            ]
        )
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "purposes", tuple(purposes))
        object.__setattr__(self, "vendor", vendor)
        object.__setattr__(self, "legitimate_interest", tuple(legitimate_interest))
        object.__setattr__(self, "disclosed", disclosed)
        object.__setattr__(self, "oldest_policy", oldest_policy)

    @property
    def tc_question(self) -> TcQuestion | None:
        """The question, for engines that read many strings at once."""
        # INVARIANT: no engine answers for a class that derives from this one, which may read its values otherwise.
        if type(self) is not TcfString:
            return None
        return TcQuestion(self.purposes, self.vendor, self.legitimate_interest, self.disclosed, self.oldest_policy)

    def answer(self, text: str) -> ConsentStatus:
        """Return the status that the string contains. Raises `MalformedBitsError` if it is invalid."""
        segments = text.split(".")
        is_disclosed = disclosed_in(segments[1:], lambda bits: bits.vendors(self.vendor))
        core = Bits(segments[0])
        # One slice for all fields with a fixed position, for speed: there are many strings, and most of them differ.
        header = core.slice(_HEADER_BITS)
        if header[:6] != _VERSION:
            raise MalformedBitsError("another version of the format than 2")
        if is_disclosed is None and _needs_disclosed(header, self.disclosed):
            raise MalformedBitsError("no segment of disclosed vendors, which TCF 2.3 requires")
        policy = int(header[_POLICY], 2)
        if policy < self.oldest_policy:
            raise MalformedBitsError("a version of the policies before the oldest accepted one")
        if header[_SERVICE_SPECIFIC] != "1":
            raise MalformedBitsError("global scope, which no longer exists")
        if any(header[letter] >= NO_LETTER for letter in _LETTERS):
            raise MalformedBitsError("a language or a country that has no letters")
        consented, established = header[_CONSENTED], header[_ESTABLISHED]
        if established[0] == "1" or (policy >= _CONSENT_ONLY_SINCE and "1" in established[2:6]):
            raise MalformedBitsError("legitimate interest for a purpose that its policy does not allow this for")
        has_consent, has_interest = core.vendors(self.vendor), core.vendors(self.vendor)
        restricted = restrictions(core, lambda bits: bits.ranges(self.vendor))
        core.end()
        return status_of_bases(
            ((self.purposes, consented, has_consent), (self.legitimate_interest, established, has_interest)),
            restricted,
            is_disclosed=is_disclosed,
        )


def status_of_bases(
    bases: tuple[LegalBasis, LegalBasis], restricted: Mapping[int, set[int]], *, is_disclosed: bool | None
) -> ConsentStatus:
    """Return granted if both legal bases exist for all purposes that rest on them, and denied otherwise.

    Args:
        bases: consent, and the second legal basis: the purposes that rest on it, a string's bits of all purposes, and
            whether the vendor has it.
        restricted: the publisher's restrictions of the vendor, by purpose. It may require the purpose's own basis.
        is_disclosed: whether the vendor was disclosed; None if the string does not contain this.
    """
    is_granted = is_disclosed is not False and all(
        not purposes
        or (
            has_vendor
            and all(bits[purpose - 1] == "1" for purpose in purposes)
            and not any(restricted.get(purpose, set()) - {required} for purpose in purposes)
        )
        for (purposes, bits, has_vendor), required in zip(bases, (_REQUIRE_CONSENT, _REQUIRE_SECOND), strict=True)
    )
    return ConsentStatus.GRANTED if is_granted else ConsentStatus.DENIED


def _needs_disclosed(header: str, rule: str) -> bool:
    # Both times are the time of the last update. If they differ, the later one counts.
    return rule == "required" or (rule == "by_date" and any(header[time] >= _DISCLOSED_SINCE_BITS for time in _TIMES))


def disclosed_in(segments: Sequence[str], contains: ContainsVendor, kinds: Mapping[str, int] = _KINDS) -> bool | None:
    """Return whether a vendor was disclosed; None if no segment contains this.

    Raises:
        MalformedBitsError: a segment is invalid, repeated, or of none of these kinds.
    """
    seen: list[int | None] = []
    is_disclosed: bool | None = None
    for text in segments:
        segment = Bits(text)
        kind = kinds.get(segment.slice(3))
        if kind in seen:
            raise MalformedBitsError("a repeated segment")
        seen.append(kind)
        if kind == _DISCLOSED:
            is_disclosed = contains(segment)
        elif kind == _ALLOWED:
            contains(segment)
        elif kind == _PUBLISHER:
            segment.slice(2 * PURPOSES)
            segment.slice(2 * segment.number(6))
        else:
            raise MalformedBitsError("a segment of another kind")
        segment.end()
    return is_disclosed


def restrictions(core: Bits, contains: ContainsVendor) -> dict[int, set[int]]:
    """Read the publisher's restrictions, and return those of a vendor, by purpose. Raises as `disclosed_in`."""
    found: dict[int, set[int]] = {}
    for _ in range(core.number(12)):
        purpose, kind = core.number(6), core.number(2)
        if kind > _REQUIRE_SECOND:
            raise MalformedBitsError("a restriction of another kind")
        if contains(core):
            found.setdefault(purpose, set()).add(kind)
    return found


def purpose_problems(format_: str, *, first: int = 1, **bases: Any) -> list[Problem]:
    """Return the problems of the purposes that were declared for two legal bases, by the parameters' names.

    `first` is the lowest purpose that exists.
    """
    problems = []
    for name, numbers in bases.items():
        path = f"{format_}.{name}"
        # The exact type: `isinstance` takes `True` for an integer.
        if not isinstance(numbers, tuple | list) or not all(type(n) is int and first <= n <= PURPOSES for n in numbers):
            problems.append(Problem(path, f"expected a tuple of purposes, {first} to {PURPOSES}"))
        elif len(set(numbers)) < len(numbers):
            problems.append(Problem(path, "a purpose is declared twice"))
    if problems:
        return problems
    one, other = bases.values()
    if not one and not other:
        problems.append(Problem(f"{format_}.{next(iter(bases))}", "expected at least one purpose"))
    if set(one) & set(other):
        problems.append(Problem(format_, "a purpose cannot have two legal bases"))
    return problems


def _interest_problems(legitimate_interest: Any) -> list[Problem]:
    if isinstance(legitimate_interest, tuple | list) and _CONSENT_ONLY & {
        n for n in legitimate_interest if type(n) is int
    }:
        return [Problem("TcfString.legitimate_interest", "purposes 1 and 3 to 6 need consent")]
    return []


def vendor_problems(vendor: object, format_: str) -> list[Problem]:
    """Return the problems of a vendor's number."""
    if type(vendor) is int and 1 <= vendor <= _HIGHEST_VENDOR:
        return []
    return [Problem(f"{format_}.vendor", f"expected the number of a vendor, 1 to {_HIGHEST_VENDOR}")]


def _strictness_problems(disclosed: object, oldest_policy: object) -> list[Problem]:
    problems = []
    if disclosed not in ("by_date", "required", "if_present"):
        problems.append(Problem("TcfString.disclosed", "expected `by_date`, `required` or `if_present`"))
    if type(oldest_policy) is not int or not 0 <= oldest_policy <= _HIGHEST_POLICY:
        problems.append(Problem("TcfString.oldest_policy", f"expected a number from 0 to {_HIGHEST_POLICY}"))
    return problems
