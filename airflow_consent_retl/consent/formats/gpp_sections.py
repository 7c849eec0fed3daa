"""The sections of GPP strings for the United States, field by field, as in their specifications.

https://github.com/InteractiveAdvertisingBureau/Global-Privacy-Platform, `Sections/US-National` and `Sections/US-States`
(read 2026-11-29). The national section grew from 12 to 16 kinds of sensitive data and from 2 to 3 kinds of children's
data. The sections of Maryland, Indiana, Kentucky and Rhode Island begin with a header of their own, which contains the
version; the core of Indiana and Rhode Island lost its version in October 2025 (commit c436976).
"""

from __future__ import annotations

from dataclasses import dataclass

# Sections with formats of their own: https://…/Sections/Section Information.md
TCF_EU, TCF_CANADA = 2, 5
US_PRIVACY = (6, "uspv1")

Fields = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The fields of a core segment, in order, each with its width in bits.

    Args:
        fields: the name and the width of each field.
        versions: the versions of the section that have this layout.
        subsection: the fields of subsection 1, if it is not Global Privacy Control.
    """

    fields: Fields
    versions: frozenset[int]
    subsection: Fields = ()

    @property
    def bits(self) -> int:
        """The width of all fields."""
        return sum(bits for _, bits in self.fields)

    @property
    def sensitive(self) -> int:
        """The number of kinds of sensitive data."""
        return dict(self.fields + self.subsection).get("SensitiveDataProcessing", 0) // 2


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the United States.

    Args:
        id: its id in the header of the whole string.
        layouts: of its core segment.
        has_header: whether the section begins with a header of its own, which contains the version.
    """

    id: int
    layouts: tuple[Layout, ...]
    has_header: bool = False


_MSPA = ("MspaCoveredTransaction", "MspaOptOutOptionMode", "MspaServiceProviderMode")
_STATE_NOTICES = ("ProcessingNotice", "SaleOptOutNotice", "TargetedAdvertisingOptOutNotice")
_STATE_OPT_OUTS = ("SaleOptOut", "TargetedAdvertisingOptOut")


# The tables are computed at import, where no mutant is seen. Tests compare them with the specification.
# pragma: no mutate start
def _layout(*names: str | tuple[str, int], versions: tuple[int, ...] = (1,)) -> Layout:
    fields = tuple((name, 2) if isinstance(name, str) else (name[0], 2 * name[1]) for name in names)
    return Layout((("Version", 6), *fields), frozenset(versions))


def _national(sensitive: int, children: int, versions: tuple[int, ...]) -> Layout:
    return _layout(
        "SharingNotice",
        "SaleOptOutNotice",
        "SharingOptOutNotice",
        "TargetedAdvertisingOptOutNotice",
        "SensitiveDataProcessingOptOutNotice",
        "SensitiveDataLimitUseNotice",
        "SaleOptOut",
        "SharingOptOut",
        "TargetedAdvertisingOptOut",
        ("SensitiveDataProcessing", sensitive),
        ("KnownChildSensitiveDataConsents", children),
        "PersonalDataConsents",
        *_MSPA,
        versions=versions,
    )


def _state(
    id_: int, sensitive: int, children: int, *, first: str = "ProcessingNotice", additional: bool = True
) -> Section:
    notices = (first, *_STATE_NOTICES[1:])
    more = ("AdditionalDataProcessingConsent",) if additional else ()
    layout = _layout(
        *notices,
        *_STATE_OPT_OUTS,
        ("SensitiveDataProcessing", sensitive),
        ("KnownChildSensitiveDataConsents", children),
        *more,
        *_MSPA,
    )
    return Section(id_, (layout,))


def _state_with_header(id_: int, *, has_children: bool, sensitive: int = 0) -> Section:
    core = (
        ("MspaVersion", 6),
        *((name, 2) for name in ("MspaCoveredTransaction", "MspaMode", *_STATE_NOTICES, *_STATE_OPT_OUTS)),
        *((("KnownChildSensitiveDataConsents", 2),) if has_children else ()),
        ("AdditionalDataProcessingConsent", 2),
    )
    subsection = (("SensitiveDataProcessing", 2 * sensitive),) if sensitive else ()
    return Section(id_, (Layout(core, frozenset({1}), subsection),), has_header=True)


# pragma: no mutate end
SECTIONS: dict[str, Section] = {
    "usnat": Section(7, (_national(12, 2, (1,)), _national(16, 3, (2,)))),
    "usca": Section(
        8,
        (
            _layout(
                "SaleOptOutNotice",
                "SharingOptOutNotice",
                "SensitiveDataLimitUseNotice",
                "SaleOptOut",
                "SharingOptOut",
                ("SensitiveDataProcessing", 9),
                ("KnownChildSensitiveDataConsents", 2),
                "PersonalDataConsents",
                *_MSPA,
            ),
        ),
    ),
    "usva": _state(9, 8, 1, first="SharingNotice", additional=False),
    "usco": _state(10, 7, 1, first="SharingNotice", additional=False),
    "usut": Section(
        11,
        (
            _layout(
                "SharingNotice",
                "SaleOptOutNotice",
                "TargetedAdvertisingOptOutNotice",
                "SensitiveDataProcessingOptOutNotice",
                *_STATE_OPT_OUTS,
                ("SensitiveDataProcessing", 8),
                "KnownChildSensitiveDataConsents",
                *_MSPA,
            ),
        ),
    ),
    "usct": _state(12, 8, 3, first="SharingNotice", additional=False),
    "usfl": _state(13, 8, 3),
    "usmt": _state(14, 8, 3, first="SharingNotice"),
    "usor": _state(15, 11, 3),
    "ustx": _state(16, 8, 1),
    "usde": _state(17, 9, 5),
    "usia": Section(
        18,
        (
            _layout(
                *_STATE_NOTICES,
                "SensitiveDataOptOutNotice",
                *_STATE_OPT_OUTS,
                ("SensitiveDataProcessing", 8),
                "KnownChildSensitiveDataConsents",
                *_MSPA,
            ),
        ),
    ),
    "usne": _state(19, 8, 1),
    "usnh": _state(20, 8, 3),
    "usnj": _state(21, 10, 5),
    "ustn": _state(22, 8, 1),
    "usmn": _state(23, 8, 1),
    "usmd": _state_with_header(24, has_children=False),
    "usin": _state_with_header(25, has_children=True, sensitive=8),
    "usky": _state_with_header(26, has_children=True, sensitive=8),
    "usri": _state_with_header(27, has_children=True, sensitive=8),
}
