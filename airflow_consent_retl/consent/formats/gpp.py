"""Strings of the IAB's Global Privacy Platform: the header, and the sections with a subject's choices.

https://github.com/InteractiveAdvertisingBureau/Global-Privacy-Platform, `Core/Consent String Specification.md` (read
2026-11-29). A string that does not decode exactly is invalid; a section that is not in the string is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from airflow_consent_retl.consent.formats.bits import Bits, CodedSignal, MalformedBitsError
from airflow_consent_retl.consent.formats.gpp_sections import SECTIONS, TCF_EU, US_PRIVACY, Layout, Section
from airflow_consent_retl.consent.formats.tcf import TcfString
from airflow_consent_retl.consent.signals import ConsentStatus, column_problems, require
from airflow_consent_retl.errors import PolicyError, Problem
from airflow_consent_retl.near import suggestion

_HEADER_TYPE, _HEADER_VERSION = 3, 1
_GPC_SEGMENT = "01"
_US_PRIVACY = re.compile(r"1[YN-]{3}")
_US_PRIVACY_ANSWERS = {"Y": ConsentStatus.DENIED, "N": ConsentStatus.GRANTED, "-": ConsentStatus.UNKNOWN}
# Two bits for each question: not applicable, opted out or no consent, did not opt out or consent.
_ANSWERS = {"00": ConsentStatus.UNKNOWN, "01": ConsentStatus.DENIED, "10": ConsentStatus.GRANTED}
# The bits of a question that a version of a section does not ask, or whose subsection is missing: not answered.
_NOT_ASKED = "00"
# A section's own list of its subsections, a Range (Fibonacci): the codes, by the number of subsections, the number of
# entries and whether the entry is a group. The core's id is 0, for which the specification's procedure of Fibonacci
# coding writes only the final 1. Subsection 1 is one more: in its own entry (bit 0), or in one group with the core.
_LISTED = {(1, 1, "0"): "1", (2, 2, "0"): "1011", (2, 1, "1"): "111"}
# The order in which one of several answers counts.
_STRICTEST = (ConsentStatus.DENIED, ConsentStatus.UNKNOWN)


@dataclass(frozen=True, slots=True, init=False)
class GppTcf(TcfString):
    """A column of GPP strings, whose section 2 is read: a TC string. The arguments are those of `TcfString`."""

    def answer(self, text: str) -> ConsentStatus:
        """Return the status that the section contains. Raises `MalformedBitsError` if it is invalid."""
        section = section_of(text, TCF_EU)
        return ConsentStatus.UNKNOWN if section is None else TcfString.answer(self, section)


@dataclass(frozen=True, slots=True, init=False)
class GppUs(CodedSignal):
    """A column of GPP strings, of which one section of the United States is read.

    The status is denied if one of the questions is answered with an opt-out or without consent, or if the section sets
    Global Privacy Control. It is granted if every question is answered with neither. It is unknown if a question does
    not apply, if the string has no such section, or if the section's version or its subsections lack the question.

    Args:
        column: the column with the strings.
        section: `usnat`, `usca` or another prefix of the specification, or `uspv1`.
        opt_outs: the questions that the category stands for: `SaleOptOut`, `SharingOptOut`,
            `TargetedAdvertisingOptOut`.
        sensitive: the numbers of the kinds of sensitive data, counted from 1 as in the section. The kinds 13 to 16 of
            `usnat` exist since its version 2.
        gpc: `"denies"` or `"ignored"`.
        encoding: `"specification"`, or `"iab_library"` for `usmd`, `usin`, `usky` and `usri` as the IAB's own libraries
            write them: without the header that the specification requires. Each of them is invalid for the other.

    Raises:
        PolicyError: a parameter is wrong.
    """

    is_standard: ClassVar[bool] = True

    column: str
    section: str
    opt_outs: tuple[str, ...]
    sensitive: tuple[int, ...]
    gpc: str
    encoding: str = field(metadata={"omit": "specification"})

    def __init__(
        self,
        column: str,
        *,
        section: str,
        opt_outs: tuple[str, ...] | list[str],
        sensitive: tuple[int, ...] | list[int] = (),
        gpc: str = "denies",
        encoding: str = "specification",
    ) -> None:
        problems = column_problems(column, "GppUs")
        if section not in SECTIONS and section != US_PRIVACY[1]:
            names = [*SECTIONS, US_PRIVACY[1]]
            near = suggestion(section, names) if isinstance(section, str) else ""
            raise PolicyError([*problems, Problem("GppUs.section", f"there is no section `{section}`{near}")])
        layouts = SECTIONS[section].layouts if section in SECTIONS else ()
        problems += _question_problems(layouts, opt_outs, sensitive, gpc)
        with_header = [name for name, known in SECTIONS.items() if known.has_header]
        require([*problems, *encoding_problems(encoding, "GppUs", section, with_header)])
        object.__setattr__(self, "column", column)
        object.__setattr__(self, "section", section)
        object.__setattr__(self, "opt_outs", tuple(opt_outs))
        object.__setattr__(self, "sensitive", tuple(sensitive))
        object.__setattr__(self, "gpc", gpc)
        object.__setattr__(self, "encoding", encoding)

    def answer(self, text: str) -> ConsentStatus:
        """Return the status that the section contains. Raises `MalformedBitsError` if it is invalid."""
        known = SECTIONS.get(self.section)
        section = section_of(text, known.id if known else US_PRIVACY[0])
        if section is None:
            return ConsentStatus.UNKNOWN
        if known is None:
            if _US_PRIVACY.fullmatch(section) is None:
                raise MalformedBitsError("other characters than those of a US Privacy string")
            return _US_PRIVACY_ANSWERS[section[2]]
        segments = section.split(".")
        if known.has_header and self.encoding == "specification":
            header, *segments = segments
            check_header(Bits(header), known, len(segments))
        fields, has_gpc = _read_segments(segments, known)
        asked = [fields[name] for name in self.opt_outs]
        kinds = fields.get("SensitiveDataProcessing", "")
        asked += [kinds[2 * kind - 2 : 2 * kind] or _NOT_ASKED for kind in self.sensitive]
        if not _ANSWERS.keys() >= set(asked):
            raise MalformedBitsError("an answer that the specification does not have")
        answers = {_ANSWERS[bits] for bits in asked}
        if has_gpc and self.gpc == "denies":
            answers.add(ConsentStatus.DENIED)
        return next((status for status in _STRICTEST if status in answers), ConsentStatus.GRANTED)


def section_of(text: str, id_: int) -> str | None:
    """Return the text of a section; None if the string has no such section.

    Raises:
        MalformedBitsError: the header is invalid, or lists another number of sections than there are.
    """
    header, *sections = text.split("~")
    ids = _section_ids(Bits(header))
    if len(ids) != len(sections):
        raise MalformedBitsError("another number of sections than its header lists")
    return sections[ids.index(id_)] if id_ in ids else None


def _section_ids(header: Bits) -> list[int]:
    if header.number(6) != _HEADER_TYPE or header.number(6) != _HEADER_VERSION:
        raise MalformedBitsError("another header than that of the Global Privacy Platform, version 1")
    ids: list[int] = []
    last = 0
    for _ in range(header.number(12)):
        is_group = header.flag()
        first = last + header.fibonacci()
        last = first + header.fibonacci() if is_group else first
        if last > _HIGHEST_SECTION:
            raise MalformedBitsError("a section with an impossible number")
        ids += range(first, last + 1)
    header.end()
    return ids


# More than all existing sections, and few enough for a list of a sensible length.
_HIGHEST_SECTION = 4_095


def check_header(header: Bits, known: Section, subsections: int) -> None:
    """Check the header of a section against the section and its number of subsections: the core, and perhaps one more.

    Raises:
        MalformedBitsError: it is the header of another section or version, or lists other subsections.
    """
    if header.number(6) != known.id:
        raise MalformedBitsError("no header of this section, which its specification requires")
    if header.number(6) not in known.layouts[0].versions:
        raise MalformedBitsError("another version of the section")
    codes = _LISTED.get((subsections, header.number(12), header.slice(1)))
    if codes is None or header.slice(len(codes)) != codes:
        raise MalformedBitsError("other subsections than the section's header lists")
    header.end()


def _read_segments(segments: Sequence[str], known: Section) -> tuple[dict[str, str], bool]:
    """Return the fields of a core and its subsection, and whether the subsection sets Global Privacy Control."""
    core, *others = segments
    if len(others) > 1:
        raise MalformedBitsError("more segments than the section has")
    fields, layout = _core_fields(core, known)
    for text in others:
        segment = Bits(text)
        if layout.subsection:
            fields |= {name: segment.slice(bits) for name, bits in layout.subsection}
        elif segment.slice(2) != _GPC_SEGMENT:
            raise MalformedBitsError("a segment of another kind than Global Privacy Control")
        is_set = not layout.subsection and segment.flag()
        segment.end()
        return fields, is_set
    return fields, False


def _core_fields(text: str, known: Section) -> tuple[dict[str, str], Layout]:
    """Return the bits of each field of a core segment, and the layout that fits."""
    for layout in known.layouts:
        core = Bits(text)
        if core.left >= layout.bits:
            fields = {name: core.slice(bits) for name, bits in layout.fields}
            if known.has_header or int(fields["Version"], 2) in layout.versions:
                core.end()
                return fields, layout
    raise MalformedBitsError("too few fields for a version of the section that is known")


def _question_problems(layouts: Sequence[Layout], opt_outs: object, sensitive: object, gpc: object) -> list[Problem]:
    names = [name for name, _ in layouts[0].fields if name.endswith("OptOut")] if layouts else ["SaleOptOut"]
    kinds = max((layout.sensitive for layout in layouts), default=0)
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


def encoding_problems(encoding: object, format_: str, section: str, differing: Sequence[str]) -> list[Problem]:
    """Return the problems of an encoding, which can be chosen where the IAB's libraries contradict a specification."""
    if encoding not in ("specification", "iab_library"):
        return [Problem(f"{format_}.encoding", "expected `specification` or `iab_library`")]
    if encoding == "iab_library" and section not in differing:
        return [Problem(f"{format_}.encoding", f"the IAB's libraries write `{section}` as its specification says")]
    return []
