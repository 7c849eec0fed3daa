"""The freshness of consent: its maximum age, and the oldest accepted version of the notice.

Times are put into bands between declared timestamps, only by comparison. Never looks at a clock.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from airflow_consent_retl.consent.signals import (
    NULL_TOKEN,
    ColumnKind,
    ConsentStatus,
    Signal,
    column_problems,
    require,
)
from airflow_consent_retl.errors import Problem

AgeUnit = Literal["days", "months", "years"]

# The largest difference between the clocks that record consent and the clock that decides.
CLOCK_SKEW = timedelta(minutes=5)
_AGE = re.compile(r"([1-9][0-9]{0,2}) (day|month|year)s?")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,7}")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class MaxAge:
    """The maximum age of a consent, in days, or in calendar months or years."""

    count: int
    unit: AgeUnit

    def before(self, at: datetime) -> datetime:
        """Return the oldest timestamp that is fresh at a time. A shorter month ends at its last day."""
        # Slow to import, and only this function needs it.
        import pendulum

        decided = pendulum.instance(at.astimezone(UTC))
        # A plain datetime again: the difference of two pendulum datetimes is not a `timedelta`.
        return datetime.fromisoformat(decided.subtract(**{self.unit: self.count}).isoformat())

    def __str__(self) -> str:
        return f"{self.count} {self.unit}"


def parse_max_age(text: object) -> MaxAge:
    """Read text such as `13 months`, `90 days` or `1 year`; the number is at most 999. Raises `ValueError`."""
    found = _AGE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("expected a number of days, months or years, such as `13 months`")
    units: dict[str, AgeUnit] = {"day": "days", "month": "months", "year": "years"}
    return MaxAge(int(found[1]), units[found[2]])


NoticeNumber = tuple[int, ...]


def parse_notice_number(version: object) -> NoticeNumber:
    """Read the version number of a notice: an integer, or text such as `2.10`, which is newer than `2.9`.

    Raises `ValueError` for anything else. A number with a fraction is refused: it may have been `2.1` or `2.10`.
    """
    if type(version) is int and version >= 0:
        return _shortest((version,))
    if isinstance(version, str) and _VERSION.fullmatch(version):
        return _shortest(tuple(map(int, version.split("."))))
    raise ValueError("expected an integer, or text of numbers with dots between them, such as `2.10`")


def _shortest(number: NoticeNumber) -> NoticeNumber:
    # `2.0` is `2`.
    end = next((place for place in range(len(number), 0, -1) if number[place - 1]), 0)
    return number[:end]


@dataclass(frozen=True, slots=True)
class ConsentTime(Signal):
    """The time of a consent, as a band between bounds: token i + 1 is at or after `bounds[i - 1]` and before the next.

    The column contains timestamps with a zone, or text in ISO 8601 with an offset or `Z`. Text without an offset, and
    text that is not a time, has the highest token.

    Args:
        column: the model's column.
        bounds: timestamps with a zone, ascending.
    """

    column: str
    bounds: tuple[datetime, ...]

    def __post_init__(self) -> None:
        problems = column_problems(self.column, "ConsentTime")
        aware = all(isinstance(bound, datetime) and bound.utcoffset() is not None for bound in self.bounds)
        if not aware or list(self.bounds) != sorted(self.bounds):
            problems.append(Problem("ConsentTime.bounds", "expected timestamps with a zone, ascending"))
        require(problems)

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """A timestamp, or text that contains one."""
        return frozenset({ColumnKind.MOMENT, ColumnKind.TEXT})

    @property
    def unlisted_token(self) -> int:
        """The token of a value that is not a time."""
        return len(self.bounds) + 2

    @property
    def time_bounds(self) -> tuple[datetime, ...]:
        """The bounds."""
        return self.bounds

    def token(self, raw: object) -> int:
        """Return the band of a timestamp, or of a text that contains one."""
        if raw is None:
            return NULL_TOKEN
        time = _time(raw) if isinstance(raw, str) else raw
        if not isinstance(time, datetime) or time.utcoffset() is None:
            return self.unlisted_token
        return bisect_right(self.bounds, time) + 1


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def consent_time(column: str, max_age: MaxAge, *, at: datetime) -> ConsentTime:
    """Return the signal of a consent's time, which must not be older than `max_age` at a given time."""
    return ConsentTime(column, (max_age.before(at), at + CLOCK_SKEW + _MICROSECOND))


def time_status(token: int) -> ConsentStatus:
    """Return the status of a granted consent with a token of `consent_time`."""
    statuses = (
        ConsentStatus.UNKNOWN,
        ConsentStatus.EXPIRED,
        ConsentStatus.GRANTED,
        # In the future, or not a time.
        ConsentStatus.INVALID,
        ConsentStatus.INVALID,
    )
    return statuses[token]


@dataclass(frozen=True, slots=True)
class NoticeVersion(Signal):
    """The version of the notice that a consent refers to.

    Token 1: new enough, 2: too old, 3: not a version, 0: missing. The column contains integers, or text as in
    `parse_notice_number`.
    """

    column: str
    at_least: NoticeNumber

    def __post_init__(self) -> None:
        require(column_problems(self.column, "NoticeVersion"))

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """Integers, or text."""
        return frozenset({ColumnKind.INTEGER, ColumnKind.TEXT})

    @property
    def unlisted_token(self) -> int:
        """The token of a value that is not a version."""
        return 3

    def token(self, raw: object) -> int:
        """Return the token of a version."""
        if raw is None:
            return NULL_TOKEN
        try:
            version = parse_notice_number(raw)
        except ValueError:
            return self.unlisted_token
        return 1 if version >= self.at_least else 2


def notice_status(token: int) -> ConsentStatus:
    """Return the status of a granted consent with a token of `NoticeVersion`."""
    return (ConsentStatus.UNKNOWN, ConsentStatus.GRANTED, ConsentStatus.EXPIRED, ConsentStatus.INVALID)[token]
