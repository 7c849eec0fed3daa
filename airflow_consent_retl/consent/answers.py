"""Recorded answers about one category: the time and the notice of each record, and the combination of several records.

Combines statuses, strictly. Never reads a raw value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from airflow_consent_retl.consent.formats.boolean_column import BooleanColumn
from airflow_consent_retl.consent.json_path import type_name
from airflow_consent_retl.consent.signals import (
    CategorySignal,
    ConsentStatus,
    WholeConsent,
    column_problems,
    require,
)
from airflow_consent_retl.errors import Problem

Combining = Literal["first", "most_restrictive"]

_STRICTEST = (
    ConsentStatus.DENIED,
    ConsentStatus.LINKED_NO,
    ConsentStatus.INVALID,
    ConsentStatus.CONFLICT,
    ConsentStatus.LINKED_DOUBT,
    ConsentStatus.EXPIRED,
    ConsentStatus.UNKNOWN,
    ConsentStatus.GRANTED,
)
# Statuses that contain an explicit no.
_REFUSALS = frozenset({ConsentStatus.DENIED, ConsentStatus.CONFLICT})
# Statuses that leave the decision to the next record.
_SILENT = frozenset({ConsentStatus.UNKNOWN, ConsentStatus.EXPIRED})


@dataclass(frozen=True, slots=True, init=False)
class Recorded:
    """One recorded answer, with the columns of its time and of the version of the notice that it refers to.

        Recorded("ads_ok", time="ads_changed_at", notice_version="ads_notice")

    Args:
        signal: a boolean column's name, or another consent format.
        time: a column of timestamps with a zone, or of text in ISO 8601 with an offset.
        notice_version: a column of integers, or of text such as `2.10`.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    signal: CategorySignal
    time: str | None
    notice_version: str | None

    def __init__(
        self, signal: str | CategorySignal, *, time: str | None = None, notice_version: str | None = None
    ) -> None:
        problems: list[Problem] = []
        if isinstance(signal, str) and signal:
            signal = BooleanColumn(signal)
        if isinstance(signal, WholeConsent) or not isinstance(signal, CategorySignal):
            problems.append(
                Problem("Recorded.signal", f"expected a column or a consent format, found {type_name(signal)}")
            )
        for name, column in (("time", time), ("notice_version", notice_version)):
            if column is not None and column_problems(column, "Recorded"):
                problems.append(Problem(f"Recorded.{name}", "expected the name of a column"))
        require(problems)
        object.__setattr__(self, "signal", signal)
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "notice_version", notice_version)

    def where_silence_permits(self) -> Recorded:
        """Return the record for a place where silence permits; see `CategorySignal.where_silence_permits`."""
        return Recorded(self.signal.where_silence_permits(), time=self.time, notice_version=self.notice_version)


class Answers:
    """Several records of one category's consent, in the order of their precedence."""

    __slots__ = ()

    parts: tuple[Recorded, ...]
    combining: Combining


@dataclass(frozen=True, slots=True, init=False)
class FirstOf(Answers):
    """Several records of which the first with an answer decides, even if the answer is no or cannot be read.

    `FirstOf("crm_ads", "web_ads")`: the record of customer service, and the web site's record for people that
    customer service does not know. A yes that is too old, has no time or refers to an older notice is not an answer:
    the next record decides. Where `opt_out` applies, a no in any record denies.
    """

    parts: tuple[Recorded, ...]

    def __init__(self, *parts: str | CategorySignal | Recorded) -> None:
        object.__setattr__(self, "parts", _recorded(parts, "FirstOf"))

    @property
    def combining(self) -> Combining:  # type: ignore[override]  # constant, where a field would be part of the document
        """The first record with an answer."""
        return "first"


@dataclass(frozen=True, slots=True, init=False)
class MostRestrictive(Answers):
    """Several records that must all grant: `MostRestrictive("ads_web", "ads_app")`."""

    parts: tuple[Recorded, ...]

    def __init__(self, *parts: str | CategorySignal | Recorded) -> None:
        object.__setattr__(self, "parts", _recorded(parts, "MostRestrictive"))

    @property
    def combining(self) -> Combining:  # type: ignore[override]  # as above
        """The record that permits least."""
        return "most_restrictive"


def combined(statuses: Sequence[ConsentStatus], combining: Combining, *, any_no_denies: bool) -> ConsentStatus:
    """Return the combined status of several records; without any record, `unknown`.

    INVARIANT: only a yes that is explicit, present and fresh outvotes a no. With `first`, a record that is `unknown` or
    `expired` is no answer, so that a later no counts. `any_no_denies` is for regimes in which silence permits: with it,
    not even an earlier yes outvotes a no, and a `conflict` contains a no as well.
    """
    if combining == "most_restrictive":
        return strictest_status(statuses)
    refusals = [status for status in statuses if status in _REFUSALS]
    if any_no_denies and refusals:
        return strictest_status(refusals)
    # If no record decides, an old yes is a better reason than none.
    return next((status for status in statuses if status not in _SILENT), strictest_status(statuses))


def strictest_status(statuses: Sequence[ConsentStatus]) -> ConsentStatus:
    """Return the status that permits least; without any status, `unknown`."""
    return min(statuses, key=_STRICTEST.index, default=ConsentStatus.UNKNOWN)


def disagree(statuses: Sequence[ConsentStatus]) -> bool:
    """Return whether the records of one category disagree: a yes and a no, or a conflict in one of them."""
    found = set(statuses)
    return ConsentStatus.CONFLICT in found or {ConsentStatus.GRANTED, ConsentStatus.DENIED} <= found


def aged(status: ConsentStatus, *conditions: ConsentStatus) -> ConsentStatus:
    """Return a status under the conditions of its time and its notice, which can only take a grant away."""
    if status is not ConsentStatus.GRANTED:
        return status
    return strictest_status([status, *conditions])


def _recorded(parts: Sequence[object], path: str) -> tuple[Recorded, ...]:
    problems = [] if len(parts) > 1 else [Problem(path, "expected at least two records")]
    recorded: list[Recorded] = []
    for index, part in enumerate(parts):
        if isinstance(part, Recorded):
            recorded.append(part)
        elif (isinstance(part, str) and part) or isinstance(part, CategorySignal):
            recorded.append(Recorded(part))
        else:
            problems.append(
                Problem(f"{path}[{index}]", f"expected a column, a consent format or Recorded, found {type_name(part)}")
            )
    require(problems)
    return tuple(recorded)
