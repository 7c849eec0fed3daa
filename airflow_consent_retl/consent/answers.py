"""Recorded answers about one category: the time and the notice of each record, and the combination of several records.

Combines statuses, strictly. Never reads a raw value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from airflow_consent_retl.consent.formats.boolean_column import BooleanColumn
from airflow_consent_retl.consent.freshness import EpochTime, column_of, time_problems
from airflow_consent_retl.consent.json_path import type_name
from airflow_consent_retl.consent.signals import (
    CategorySignal,
    ConsentStatus,
    WholeConsent,
    is_column,
    require,
)
from airflow_consent_retl.errors import Problem

Combining = Literal["first", "most_restrictive", "agreeing"]

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
        Recorded(status, valid_from="effective_from", valid_until=EpochTime("effective_to", "ms"))

    The conditions apply to a yes only: a no never expires.

    Args:
        signal: a boolean column's name, or another consent format.
        time: a column of timestamps with a zone, or of text in ISO 8601 with an offset; or `EpochTime` for numbers.
        notice_version: a column of integers, or of text such as `2.10`.
        valid_from: a column like `time`. Before this time, a yes is `unknown`. NULL: it always was valid.
        valid_until: a column like `time`. From this time on, a yes is `expired`. NULL: it has no end.

    Raises:
        PolicyError: a parameter is wrong. The error contains every problem.
    """

    signal: CategorySignal
    time: str | EpochTime | None
    notice_version: str | None
    valid_from: str | EpochTime | None
    valid_until: str | EpochTime | None

    def __init__(
        self,
        signal: str | CategorySignal,
        *,
        time: str | EpochTime | None = None,
        notice_version: str | None = None,
        valid_from: str | EpochTime | None = None,
        valid_until: str | EpochTime | None = None,
    ) -> None:
        problems: list[Problem] = []
        if isinstance(signal, str) and signal:
            signal = BooleanColumn(signal)
        if isinstance(signal, WholeConsent) or not isinstance(signal, CategorySignal):
            problems.append(
                Problem("Recorded.signal", f"expected a column or a consent format, found {type_name(signal)}")
            )
        if notice_version is not None and not is_column(notice_version):
            problems.append(Problem("Recorded.notice_version", "expected the name of a column"))
        for name, column in (("time", time), ("valid_from", valid_from), ("valid_until", valid_until)):
            problems += time_problems(column, f"Recorded.{name}")
        require(problems)
        object.__setattr__(self, "signal", signal)
        object.__setattr__(self, "time", time)
        object.__setattr__(self, "notice_version", notice_version)
        object.__setattr__(self, "valid_from", valid_from)
        object.__setattr__(self, "valid_until", valid_until)

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column of the record."""
        times = [column_of(time) for time in (self.time, self.valid_from, self.valid_until) if time is not None]
        return (self.signal.column, *times, *([] if self.notice_version is None else [self.notice_version]))

    def where_silence_permits(self) -> Recorded:
        """Return the record for a place where silence permits; see `CategorySignal.where_silence_permits`."""
        return replace(self, signal=self.signal.where_silence_permits())


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
    """Several records that must all grant: `MostRestrictive("ads_web", "ads_app")`.

    The status is the one that permits least, in this order: `denied`, `linked_no`, `invalid`, `conflict`,
    `linked_doubt`, `expired`, `unknown`, `granted`. So a no next to a record that cannot be read is `denied`, and the
    row counts in `max_invalid_ratio` all the same.
    """

    parts: tuple[Recorded, ...]

    def __init__(self, *parts: str | CategorySignal | Recorded) -> None:
        object.__setattr__(self, "parts", _recorded(parts, "MostRestrictive"))

    @property
    def combining(self) -> Combining:  # type: ignore[override]  # as above
        """The record that permits least."""
        return "most_restrictive"


@dataclass(frozen=True, slots=True, init=False)
class Agreeing(Answers):
    """Several records of which those with an answer must agree: `Agreeing("ads_allowed", OptOut("ads_denied"))`.

    A yes in one record and a no in another are `invalid`. A record that is `unknown` is no answer; if no record has
    one, the category is `unknown`. Otherwise, the record that permits least decides.
    """

    parts: tuple[Recorded, ...]

    def __init__(self, *parts: str | CategorySignal | Recorded) -> None:
        object.__setattr__(self, "parts", _recorded(parts, "Agreeing"))

    @property
    def combining(self) -> Combining:  # type: ignore[override]  # as above
        """The records with an answer, if they agree."""
        return "agreeing"


# Every way to combine records, by its name in documents.
WAYS: Mapping[str, Callable[..., Answers]] = {way.__name__: way for way in (FirstOf, MostRestrictive, Agreeing)}


def combined(statuses: Sequence[ConsentStatus], combining: Combining, *, any_no_denies: bool) -> ConsentStatus:
    """Return the combined status of several records; without any record, `unknown`.

    INVARIANT: only a yes that is explicit, present and fresh outvotes a no. With `first`, a record that is `unknown` or
    `expired` is no answer, so that a later no counts. `any_no_denies` is for regimes in which silence permits: with it,
    not even an earlier yes outvotes a no, and a `conflict` contains a no as well.
    """
    if combining == "most_restrictive":
        return strictest_status(statuses)
    if combining == "agreeing":
        if {ConsentStatus.GRANTED, ConsentStatus.DENIED} <= {*statuses}:
            return ConsentStatus.INVALID
        return strictest_status([status for status in statuses if status is not ConsentStatus.UNKNOWN])
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
