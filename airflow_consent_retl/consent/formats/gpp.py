"""Strings of the IAB's Global Privacy Platform: the header, and the sections with a subject's choices.

https://github.com/InteractiveAdvertisingBureau/Global-Privacy-Platform, `Core/Consent String Specification.md` (read
2026-11-24). A string that does not decode exactly is invalid; a section that is not in the string is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from airflow_consent_retl.consent.formats.bits import Bits, MalformedBitsError
from airflow_consent_retl.consent.formats.gpp_sections import SECTIONS, TCF_EU, US_PRIVACY, Layout
from airflow_consent_retl.consent.formats.tcf import TcfString
from airflow_consent_retl.consent.signals import ConsentStatus, DocumentSignal, column_problems, require
from airflow_consent_retl.errors import PolicyError, Problem
from airflow_consent_retl.near import suggestion

_HEADER_TYPE, _HEADER_VERSION = 3, 1
_GPC_SEGMENT = "01"
_US_PRIVACY = re.compile(r"1[YN-]{3}")
_US_PRIVACY_ANSWERS = {"Y": ConsentStatus.DENIED, "N": ConsentStatus.GRANTED, "-": ConsentStatus.UNKNOWN}
# Two bits for each question: not applicable, opted out or no consent, did not opt out or consent.
_ANSWERS = {"00": ConsentStatus.UNKNOWN, "01": ConsentStatus.DENIED, "10": ConsentStatus.GRANTED}
# The order in which one of several answers counts.
_STRICTEST = (ConsentStatus.INVALID, ConsentStatus.DENIED, ConsentStatus.UNKNOWN)


@dataclass(frozen=True, slots=True, init=False)
class GppTcf(DocumentSignal):
    """A column of GPP strings, whose section 2 is read: a TC string. The arguments are those of `TcfString`."""

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
        oldest_policy: int = 4,
    ) -> None:
        checked = TcfString(
            column,
            purposes=purposes,
            vendor=vendor,
            legitimate_interest=legitimate_interest,
            disclosed=disclosed,
            oldest_policy=oldest_policy,
        )
        for name in TcfString.__slots__:
            object.__setattr__(self, name, getattr(checked, name))

    def read(self, text: str) -> ConsentStatus:
        """Return the status that the section contains."""
        section = _section(text, TCF_EU)
        if isinstance(section, ConsentStatus):
            return section
        return TcfString(**{name: getattr(self, name) for name in TcfString.__slots__}).read(section)


@dataclass(frozen=True, slots=True, init=False)
class GppUs(DocumentSignal):
    """A column of GPP strings, of which one section of the United States is read.

    The status is denied if one of the questions is answered with an opt-out or without consent, or if the section sets
    Global Privacy Control. It is granted if every question is answered with neither. It is unknown if a question does
    not apply, or if the string has no such section.

    Args:
        column: the column with the strings.
        section: `usnat`, `usca` or another prefix of the specification, or `uspv1`.
        opt_outs: the questions that the category stands for: `SaleOptOut`, `SharingOptOut`,
            `TargetedAdvertisingOptOut`.
        sensitive: the numbers of the kinds of sensitive data, counted from 1 as in the section.
        gpc: `"denies"` or `"ignored"`.

    Raises:
        PolicyError: a parameter is wrong.
    """

    is_standard: ClassVar[bool] = True

    column: str
    section: str
    opt_outs: tuple[str, ...]
    sensitive: tuple[int, ...]
    gpc: str

    def __init__(
        self,
        column: str,
        *,
        section: str,
        opt_outs: tuple[str, ...] | list[str],
        sensitive: tuple[int, ...] | list[int] = (),
        gpc: str = "denies",
    ) -> None:
        require(column_problems(column, "GppUs"))
        if section not in SECTIONS and section != US_PRIVACY[1]:
            names = [*SECTIONS, US_PRIVACY[1]]
            near = suggestion(section, names) if isinstance(section, str) else ""
            raise PolicyError([Problem("GppUs.section", f"there is no section `{section}`{near}")])
        layouts = SECTIONS[section].layouts if section in SECTIONS else ()
        require(_question_problems(layouts, opt_outs, sensitive, gpc))
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "section", section)
        object.__setattr__(self, "opt_outs", tuple(opt_outs))
        object.__setattr__(self, "sensitive", tuple(sensitive))
        object.__setattr__(self, "gpc", gpc)

    def read(self, text: str) -> ConsentStatus:
        """Return the status that the section contains."""
        known = SECTIONS.get(self.section)
        section = _section(text, known.id if known else US_PRIVACY[0])
        if isinstance(section, ConsentStatus):
            return section
        if known is None:
            return _US_PRIVACY_ANSWERS[section[2]] if _US_PRIVACY.fullmatch(section) else ConsentStatus.INVALID
        try:
            return self._answer(section.split("."), known.layouts)
        except MalformedBitsError:
            return ConsentStatus.INVALID

    def _answer(self, segments: list[str], layouts: Sequence[Layout]) -> ConsentStatus:
        fields = _fields(segments[0], layouts)
        has_gpc = _gpc(segments[1:])
        asked = [fields[name] for name in self.opt_outs]
        asked += [fields["SensitiveDataProcessing"][2 * kind - 2 : 2 * kind] for kind in self.sensitive]
        answers = {_ANSWERS.get(bits, ConsentStatus.INVALID) for bits in asked}
        if has_gpc and self.gpc == "denies":
            answers.add(ConsentStatus.DENIED)
        return next((status for status in _STRICTEST if status in answers), ConsentStatus.GRANTED)


def _section(text: str, id_: int) -> str | ConsentStatus:
    """Return a section's text, or the status if it is missing or the header is invalid."""
    header, *sections = text.split("~")
    try:
        ids = _section_ids(Bits(header))
    except MalformedBitsError:
        return ConsentStatus.INVALID
    if len(ids) != len(sections):
        return ConsentStatus.INVALID
    return sections[ids.index(id_)] if id_ in ids else ConsentStatus.UNKNOWN


def _section_ids(header: Bits) -> list[int]:
    if header.number(6) != _HEADER_TYPE or header.number(6) != _HEADER_VERSION:
        raise MalformedBitsError("another header")
    ids: list[int] = []
    last = 0
    for _ in range(header.number(12)):
        is_group = header.flag()
        first = last + header.fibonacci()
        last = first + header.fibonacci() if is_group else first
        if last > _HIGHEST_SECTION:
            raise MalformedBitsError("an invalid section")
        ids += range(first, last + 1)
    header.end()
    return ids


# More than all existing sections, and few enough for a list of a sensible length.
_HIGHEST_SECTION = 4_095


def _fields(text: str, layouts: Sequence[Layout]) -> dict[str, str]:
    """Return the bits of each field of a core segment, in the layout that fits."""
    for layout in layouts:
        core = Bits(text)
        if core.left < layout.bits:
            continue
        fields = {name: core.slice(bits) for name, bits in layout.fields}
        if int(fields["Version"], 2) in layout.versions:
            core.end()
            return fields
    raise MalformedBitsError("no such layout")


def _gpc(segments: list[str]) -> bool:
    if len(segments) > 1:
        raise MalformedBitsError("too many segments")
    for text in segments:
        segment = Bits(text)
        if segment.slice(2) != _GPC_SEGMENT:
            raise MalformedBitsError("a segment of another kind")
        is_set = segment.flag()
        segment.end()
        return is_set
    return False


def _question_problems(layouts: Sequence[Layout], opt_outs: object, sensitive: object, gpc: object) -> list[Problem]:
    names = [name for name, _ in layouts[0].fields if name.endswith("OptOut")] if layouts else ["SaleOptOut"]
    kinds = min((layout.sensitive for layout in layouts), default=0)
    problems = []
    if not isinstance(opt_outs, tuple | list) or not all(name in names for name in opt_outs):
        problems.append(Problem("GppUs.opt_outs", f"expected a tuple of {', '.join(f'`{name}`' for name in names)}"))
    if not isinstance(sensitive, tuple | list) or not all(type(n) is int and 1 <= n <= kinds for n in sensitive):
        problems.append(Problem("GppUs.sensitive", f"expected a tuple of numbers from 1 to {kinds}"))
    if not problems and not opt_outs and not sensitive:
        problems.append(Problem("GppUs.opt_outs", "expected at least one question"))
    if gpc not in ("denies", "ignored"):
        problems.append(Problem("GppUs.gpc", "expected `denies` or `ignored`"))
    return problems
