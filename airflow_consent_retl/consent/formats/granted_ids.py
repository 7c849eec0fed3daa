"""Consent as a list of the granted category ids: a JSON array, or text with separators."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from airflow_consent_retl.consent.formats.key_lookup import KeyLookup
from airflow_consent_retl.consent.signals import (
    ColumnKind,
    ConsentStatus,
    WholeConsent,
    column_problems,
    require,
)
from airflow_consent_retl.consent.strict_json import MalformedJsonError, read_json
from airflow_consent_retl.errors import Problem
from airflow_consent_retl.near import differs_in_form_only

Unlisted = Literal["denied", "unknown"]
_UNLISTED = {"denied": ConsentStatus.DENIED, "unknown": ConsentStatus.UNKNOWN}


@dataclass(frozen=True, slots=True)
class GrantedId(KeyLookup):
    """One id in the list of granted ids: a listed id is granted, any other id is denied.

    With `unlisted="unknown"`, an id that is not listed is unknown: for a list beside which another one contains the
    denied ids.

    Without a `separator`, the value is JSON, an array of text: `["C0002", "C0004"]`; `[]` denies. With a separator, it
    is text, `C0002,C0004`, with or without a separator at either end, such as OneTrust's `,C0002,C0004,`: one separator
    at each end is taken off. `,` denies. Blank text is invalid, because missing values are often written as blank text.
    Ids are compared exactly. NULL is unknown. An empty id, an id with space around it, and an array entry that is not
    text are invalid. Under `opt_out`, an id that differs from a missing one only in form is invalid too.

    If the `id` is an integer, the value is a JSON array of integers, `[12, 45]`, and any other entry is invalid.
    """

    column: str
    id: str | int
    separator: str | None = None
    unlisted: Unlisted = field(default="denied", metadata={"omit": "denied"})

    def __post_init__(self) -> None:
        require(
            [
                *_problems(self.column, self.separator, self.unlisted, "GrantedId"),
                *([] if _is_id(self.id) else [_NO_ID]),
                *([_TORN_ID] if self.separator and isinstance(self.id, str) and self.separator in self.id else []),
                *([_NUMBER_IN_TEXT] if self.separator and not isinstance(self.id, str) else []),
            ]
        )

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """Text that contains a list, or JSON."""
        return frozenset({ColumnKind.TEXT} if self.separator else {ColumnKind.TEXT, ColumnKind.JSON})

    def read(self, text: str) -> ConsentStatus:
        """Return whether the id is listed."""
        ids = self._ids(text)
        if ids is None:
            return ConsentStatus.INVALID
        return ConsentStatus.GRANTED if self.id in ids else _UNLISTED[self.unlisted]

    @property
    def named_after(self) -> tuple[str, ...]:
        """The column."""
        return (self.column,)

    def has_near_key(self, text: str) -> bool:
        """Return whether the id is not listed, but one that differs only in form is."""
        ids = self._ids(text) or frozenset()
        # A number has one form.
        return self.id not in ids and any(differs_in_form_only(str(self.id), str(listed)) for listed in ids)

    def _ids(self, text: str) -> frozenset[object] | None:
        if self.separator is not None:
            return _text_ids(text, self.separator)
        return _json_ids(text, _is_plain if isinstance(self.id, str) else _is_whole)


@dataclass(frozen=True, slots=True)
class GrantedIds(WholeConsent):
    """The list for all categories: `GrantedIds("active_groups", separator=",")`. Parameters as in `GrantedId`."""

    column: str
    separator: str | None = None
    unlisted: Unlisted = field(default="denied", metadata={"omit": "denied"})

    def __post_init__(self) -> None:
        require(_problems(self.column, self.separator, self.unlisted, "GrantedIds"))

    def for_category(self, category_id: str, name: str) -> GrantedId:
        """Return the signal of one category."""
        return GrantedId(self.column, category_id, self.separator, self.unlisted)


# From here on, JSON readers may take two numbers for one.
_NUMBERS_END = 2**53
_NO_ID = Problem("GrantedId.id", "expected an id that is not blank, or a whole number below 2**53")
_NUMBER_IN_TEXT = Problem("GrantedId.id", "expected text: a list with separators contains text")
_TORN_ID = Problem("GrantedId.id", "the id contains the separator")


def _problems(column: object, separator: object, unlisted: object, path: str) -> list[Problem]:
    problems = column_problems(column, path)
    if separator is not None and not (isinstance(separator, str) and separator):
        problems.append(Problem(f"{path}.separator", "expected text that is not empty, or None for JSON"))
    if unlisted not in tuple(_UNLISTED):
        problems.append(Problem(f"{path}.unlisted", "expected `denied` or `unknown`"))
    return problems


def _is_id(id_: object) -> bool:
    # The exact type: `isinstance` takes `True` for an integer.
    return bool(id_.strip()) if isinstance(id_, str) else type(id_) is int and 0 <= id_ < _NUMBERS_END


def _json_ids(text: str, is_sound: Callable[[object], bool]) -> frozenset[object] | None:
    try:
        found = read_json(text)
    except MalformedJsonError:
        return None
    if not isinstance(found, list) or not all(map(is_sound, found)):
        return None
    return frozenset(found)


def _text_ids(text: str, separator: str) -> frozenset[object] | None:
    if not text:
        return None
    listed = text.removeprefix(separator).removesuffix(separator)
    ids = listed.split(separator) if listed else []
    return frozenset(ids) if all(map(_is_plain, ids)) else None


def _is_plain(id_: object) -> bool:
    return isinstance(id_, str) and bool(id_) and id_ == id_.strip()


def _is_whole(id_: object) -> bool:
    # The reader of JSON returns every number as a float.
    return type(id_) is float and id_.is_integer() and 0 <= id_ < _NUMBERS_END
