"""What is known of a category's consent where more than one value says it: when it was given, and by whom recorded.

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
    ConsentStatus.INVALID,
    ConsentStatus.CONFLICT,
    ConsentStatus.EXPIRED,
    ConsentStatus.UNKNOWN,
    ConsentStatus.GRANTED,
)
# What holds an explicit no.
_REFUSALS = frozenset({ConsentStatus.DENIED, ConsentStatus.CONFLICT})
# What leaves the decision to the next record.
_SILENT = frozenset({ConsentStatus.UNKNOWN, ConsentStatus.EXPIRED})


@dataclass(frozen=True, slots=True, init=False)
class Recorded:
    """One recorded answer, with the columns that tell when it was given and to which version of the notice.

        Recorded("ads_ok", time="ads_changed_at", notice_version="ads_notice")

    Args:
        signal: a boolean column's name, or another consent format.
        time: a column of timestamps with a zone, or of text in ISO 8601 with an offset.
        notice_version: a column of integers, or of text such as `2.10`.

    Raises:
        PolicyError: with every problem.
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


class Answers:
    """Several records of one category's consent, in the order of their precedence."""

    __slots__ = ()

    parts: tuple[Recorded, ...]
    combining: Combining


@dataclass(frozen=True, slots=True, init=False)
class FirstOf(Answers):
    """The first record that says anything decides, also where it says no or cannot be read.

    `FirstOf("crm_ads", "web_ads")`: the customer service's record, and the web site's for people it does not know. A
    yes that is too old, has no time or was given to an older notice says nothing: the next record decides. Where
    `opt_out` applies, a no in any record denies.
    """

    parts: tuple[Recorded, ...]

    def __init__(self, *parts: str | CategorySignal | Recorded) -> None:
        object.__setattr__(self, "parts", _recorded(parts, "FirstOf"))

    @property
    def combining(self) -> Combining:  # type: ignore[override]  # constant, where a field would be part of the document
        """The first that says something."""
        return "first"


@dataclass(frozen=True, slots=True, init=False)
class MostRestrictive(Answers):
    """Every record has to grant: `MostRestrictive("ads_web", "ads_app")`."""

    parts: tuple[Recorded, ...]

    def __init__(self, *parts: str | CategorySignal | Recorded) -> None:
        object.__setattr__(self, "parts", _recorded(parts, "MostRestrictive"))

    @property
    def combining(self) -> Combining:  # type: ignore[override]  # as above
        """The one that permits least."""
        return "most_restrictive"


def combined(statuses: Sequence[ConsentStatus], combining: Combining, *, any_no_denies: bool) -> ConsentStatus:
    """Return what several records say together; no record at all is `unknown`.

    INVARIANT: nothing but a yes that is explicit, present and fresh outvotes a no. With `first`, a record that is
    `unknown` or `expired` says nothing, so that a later no is heard. With `any_no_denies`, which is for silence that
    permits, not even an earlier yes outvotes a no; a `conflict` holds a no as well.
    """
    if combining == "most_restrictive":
        return strictest_status(statuses)
    refusals = [status for status in statuses if status in _REFUSALS]
    if any_no_denies and refusals:
        return strictest_status(refusals)
    # Where no record decides, an old yes is the better reason than none.
    return next((status for status in statuses if status not in _SILENT), strictest_status(statuses))


def strictest_status(statuses: Sequence[ConsentStatus]) -> ConsentStatus:
    """Return the status that permits least; none at all is `unknown`."""
    return min(statuses, key=_STRICTEST.index, default=ConsentStatus.UNKNOWN)


def disagree(statuses: Sequence[ConsentStatus]) -> bool:
    """Tell whether the records of one category contradict each other: a yes and a no, or a conflict in one of them."""
    said = set(statuses)
    return ConsentStatus.CONFLICT in said or {ConsentStatus.GRANTED, ConsentStatus.DENIED} <= said


def aged(status: ConsentStatus, *conditions: ConsentStatus) -> ConsentStatus:
    """Return a status under the conditions that time and notice put on it: they can only take a grant away."""
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
