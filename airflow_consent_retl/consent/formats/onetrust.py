"""OneTrust's `OptanonConsent` cookie, recorded by a web site's server or tag manager.

    isGpcEnabled=0&datestamp=Mon+Nov+23+2026&version=202407.1.0&groups=C0001%3A1%2CC0002%3A0%2CC0004%3A1

For the list of active groups that OneTrust's script offers (`,C0001,C0002,`), use `GrantedIds(column, separator=",")`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qs

from airflow_consent_retl.consent.formats.key_lookup import KeyLookup
from airflow_consent_retl.consent.signals import (
    ConsentStatus,
    WholeConsent,
    column_problems,
    require,
)
from airflow_consent_retl.errors import Problem
from airflow_consent_retl.near import differs_in_form_only

# Strictly necessary: it needs no consent, so none can be withdrawn.
_NECESSARY = "C0001"
# Global Privacy Control: as OneTrust applied it, and as the browser sent it.
_GPC = ("isGpcEnabled", "browserGpcFlag")
_GROUP_STATES = {"1": ConsentStatus.GRANTED, "0": ConsentStatus.DENIED}


@dataclass(frozen=True, slots=True)
class OptanonConsentGroup(KeyLookup):
    """One group of the cookie: `1` grants, `0` denies, a group that is not listed is unknown.

    With `gpc="denies"` (default), Global Privacy Control in the cookie denies every group but the strictly necessary
    one, `C0001`. It is `isGpcEnabled=1`, or `browserGpcFlag=1`, which the browser sent even if OneTrust was not set up
    to honour it. With `gpc="ignored"`, only the groups count, which OneTrust may have set according to Global Privacy
    Control. A cookie that is cut off, lists a group twice or contains another state is invalid. Under `opt_out`, a
    group or a field that differs from a missing one only in form is invalid too.
    """

    is_standard: ClassVar[bool] = True
    may_overrule_yes: ClassVar[bool] = True

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
        fields = _fields(text)
        if fields is None:
            return ConsentStatus.INVALID
        groups = _listed_groups(fields.get("groups", []))
        objections = [fields.get(name, []) for name in _GPC]
        if groups is None or any(found not in ([], ["0"], ["1"]) for found in objections):
            return ConsentStatus.INVALID
        if ["1"] in objections and self.gpc == "denies" and self.group != _NECESSARY:
            return ConsentStatus.DENIED
        return groups.get(self.group, ConsentStatus.UNKNOWN)

    def has_near_key(self, text: str) -> bool:
        """Return whether the group or a field of the cookie is missing, and one that differs only in form is there."""
        fields = _fields(text) or {}
        groups = _listed_groups(fields.get("groups", [])) or {}
        wanted = [*(_GPC if self.gpc == "denies" else ()), "groups"]
        return (self.group not in groups and any(differs_in_form_only(self.group, other) for other in groups)) or any(
            name not in fields and differs_in_form_only(name, other) for name in wanted for other in fields
        )


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


def _fields(text: str) -> dict[str, list[str]] | None:
    """Return the values of each field of a cookie, or None if it is no cookie."""
    try:
        # Bytes that are not UTF-8 are an error, not a replacement character.
        return parse_qs(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError:
        return None


def _listed_groups(values: list[str]) -> dict[str, ConsentStatus] | None:
    """Return the state of each group of the field `groups`, or None if it cannot be read."""
    if len(values) != 1:
        return None
    states: dict[str, ConsentStatus] = {}
    for entry in values[0].split(","):
        group, _, state = entry.rpartition(":")
        if not group or group in states or state not in _GROUP_STATES:
            return None
        states[group] = _GROUP_STATES[state]
    return states


_NO_GROUP = Problem("OptanonConsentGroup.group", "expected the id of a group")


def _problems(column: object, gpc: object, path: str) -> list[Problem]:
    problems = column_problems(column, path)
    if gpc not in ("denies", "ignored"):
        problems.append(Problem(f"{path}.gpc", "expected `denies` or `ignored`"))
    return problems
