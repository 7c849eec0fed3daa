"""OneTrust's `OptanonConsent` cookie, recorded by a web site's server or tag manager.

    isGpcEnabled=0&datestamp=Mon+Nov+23+2026&version=202407.1.0&groups=C0001%3A1%2CC0002%3A0%2CC0004%3A1

For the list of active groups that OneTrust's script offers (`,C0001,C0002,`), use `GrantedIds(column, separator=",")`.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl

from airflow_consent_retl.consent.signals import (
    ConsentStatus,
    DocumentSignal,
    WholeConsent,
    column_problems,
    require,
)
from airflow_consent_retl.errors import Problem

# Strictly necessary: it needs no consent, so none can be withdrawn.
_NECESSARY = "C0001"
_GROUP_STATES = {"1": ConsentStatus.GRANTED, "0": ConsentStatus.DENIED}


@dataclass(frozen=True, slots=True)
class OptanonConsentGroup(DocumentSignal):
    """One group of the cookie: `1` grants, `0` denies, a group that is not listed is unknown.

    With `gpc="denies"` (default), Global Privacy Control in the cookie (`isGpcEnabled=1`) denies every group but the
    strictly necessary one, `C0001`. With `gpc="ignored"`, only the groups count, which OneTrust may have set according
    to Global Privacy Control. A cookie that is cut off, lists a group twice or contains another state is invalid.
    """

    column: str
    group: str
    gpc: str = "denies"

    def __post_init__(self) -> None:
        require(
            [
                *_problems(self.column, self.gpc, "OptanonConsentGroup"),
                *([] if isinstance(self.group, str) and self.group else [_NO_GROUP]),
            ]
        )

    def read(self, text: str) -> ConsentStatus:
        """Return the status of the group in the cookie."""
        try:
            # Bytes that are not UTF-8 are an error, not a replacement character.
            fields = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
        except ValueError:
            return ConsentStatus.INVALID
        groups = [value for name, value in fields if name == "groups"]
        gpc = [value for name, value in fields if name == "isGpcEnabled"]
        if len(groups) != 1 or len(gpc) > 1 or not {*gpc} <= {"0", "1"}:
            return ConsentStatus.INVALID
        states: dict[str, ConsentStatus] = {}
        for entry in groups[0].split(","):
            group, _, state = entry.rpartition(":")
            if not group or group in states or state not in _GROUP_STATES:
                return ConsentStatus.INVALID
            states[group] = _GROUP_STATES[state]
        if gpc == ["1"] and self.gpc == "denies" and self.group != _NECESSARY:
            return ConsentStatus.DENIED
        return states.get(self.group, ConsentStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class OptanonConsent(WholeConsent):
    """The cookie for all categories, whose ids are OneTrust's groups. `gpc` as in `OptanonConsentGroup`."""

    column: str
    gpc: str = "denies"

    def __post_init__(self) -> None:
        require(_problems(self.column, self.gpc, "OptanonConsent"))

    def for_category(self, category_id: str, name: str) -> OptanonConsentGroup:
        """Return the signal of one category."""
        return OptanonConsentGroup(self.column, category_id, self.gpc)


_NO_GROUP = Problem("OptanonConsentGroup.group", "expected the id of a group")


def _problems(column: object, gpc: object, path: str) -> list[Problem]:
    problems = column_problems(column, path)
    if gpc not in ("denies", "ignored"):
        problems.append(Problem(f"{path}.gpc", "expected `denies` or `ignored`"))
    return problems
