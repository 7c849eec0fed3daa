"""Cookiebot's `CookieConsent` cookie, recorded by a web site's server or tag manager.

    {stamp:'…',necessary:true,preferences:false,statistics:true,marketing:false,method:'explicit',ver:1,utc:1738313789122}

The commas and quotes are percent-encoded in the cookie (`%2C`, `%27`). The fields:
https://www.cookiebot.com/en/developer (`consent` and `consent.method`), and public examples of the cookie from 2022 to
2025 (read on 29 November 2026).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import unquote

from airflow_consent_retl.consent.formats.key_lookup import KeyLookup
from airflow_consent_retl.consent.signals import ConsentStatus, WholeConsent, column_problems, require
from airflow_consent_retl.errors import Problem
from airflow_consent_retl.near import differs_in_form_only

CATEGORIES = ("necessary", "preferences", "statistics", "marketing")

_STATES = {"true": ConsentStatus.GRANTED, "false": ConsentStatus.DENIED}
_NO_CONSENT_NEEDED = "-1"
_METHODS = ("'explicit'", "'implied'")
# A field: a name, and a word, an integer or quoted text.
_FIELD = re.compile(r"([A-Za-z]+):('[^',{}]*'|[a-z]+|-?[0-9]+)")


@dataclass(frozen=True, slots=True)
class CookiebotCategory(KeyLookup):
    """One category of the cookie: `true` with the method `explicit` grants, and `false` denies.

    A yes with the method `implied`, or in an old cookie without a method, is unknown: the cookie does not say that the
    person chose it. The stamp `-1`, by which Cookiebot marks people whose region needs no consent, makes a yes unknown
    as well, and so is a cookie that is only `-1`. A category that is missing is unknown. A cookie that is cut off, has
    a field twice or another value is invalid. The column contains the cookie's value, percent-encoded or not. Under
    `opt_out`, a field that differs from a missing one only in form is invalid too.

    Args:
        column: the column with the cookie.
        category: `necessary`, `preferences`, `statistics` or `marketing`.
    """

    is_standard: ClassVar[bool] = True

    column: str
    category: str

    def __post_init__(self) -> None:
        problems = column_problems(self.column, "CookiebotCategory")
        if self.category not in CATEGORIES:
            problems.append(Problem("CookiebotCategory.category", f"expected one of: {', '.join(CATEGORIES)}"))
        require(problems)

    def read(self, text: str) -> ConsentStatus:
        """Return the status of the category in the cookie."""
        if text == _NO_CONSENT_NEEDED:
            return ConsentStatus.UNKNOWN
        fields = _fields(text)
        if fields is None:
            return ConsentStatus.INVALID
        method, state = fields.get("method"), fields.get(self.category)
        if method not in (None, *_METHODS) or (state is not None and state not in _STATES):
            return ConsentStatus.INVALID
        found = ConsentStatus.UNKNOWN if state is None else _STATES[state]
        is_chosen = method == "'explicit'" and fields.get("stamp") != f"'{_NO_CONSENT_NEEDED}'"
        return ConsentStatus.UNKNOWN if found is ConsentStatus.GRANTED and not is_chosen else found

    def has_near_key(self, text: str) -> bool:
        """Return whether the category is missing, and a field that differs from it only in form is there."""
        fields = _fields(text) or {}
        return self.category not in fields and any(differs_in_form_only(self.category, name) for name in fields)


@dataclass(frozen=True, slots=True)
class CookiebotConsent(WholeConsent):
    """The cookie for all categories of the policy, whose ids, or with `key_by="name"` names, are Cookiebot's."""

    column: str
    key_by: str = "id"

    def __post_init__(self) -> None:
        problems = column_problems(self.column, "CookiebotConsent")
        if self.key_by not in ("id", "name"):
            problems.append(Problem("CookiebotConsent.key_by", "expected `id` or `name`"))
        require(problems)

    def for_category(self, category_id: str, name: str) -> CookiebotCategory:
        """Return the signal of one category. Raises `PolicyError` for a category that Cookiebot does not have."""
        return CookiebotCategory(self.column, category_id if self.key_by == "id" else name)


def _fields(text: str) -> dict[str, str] | None:
    """Return the fields of a cookie, or None if it is no cookie."""
    try:
        # Bytes that are not UTF-8 are an error, not a replacement character.
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        return None
    if not (plain.startswith("{") and plain.endswith("}")):
        return None
    fields: dict[str, str] = {}
    for entry in plain[1:-1].split(","):
        found = _FIELD.fullmatch(entry)
        if found is None or found[1] in fields:
            return None
        fields[found[1]] = found[2]
    return fields
