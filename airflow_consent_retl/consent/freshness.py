"""The freshness of consent: its age, the time in which it is valid, and the oldest accepted version of the notice.

Times are put into bands between declared timestamps, only by comparison. Never looks at a clock.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from airflow_consent_retl.consent.signals import (
    NULL_TOKEN,
    ColumnKind,
    ConsentStatus,
    Signal,
    column_problems,
    is_column,
    require,
)
from airflow_consent_retl.errors import Problem

AgeUnit = Literal["days", "months", "years"]
EpochUnit = Literal["s", "ms", "us"]

# The largest difference between the clocks that record consent and the clock that decides.
CLOCK_SKEW = timedelta(minutes=5)
_AGE = re.compile(r"([1-9][0-9]{0,2}) (day|month|year)s?")
_VERSION = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,7}")
_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS: Mapping[EpochUnit, int] = {"s": 1_000_000, "ms": 1_000, "us": 1}
# A number outside of these years has another unit than declared: milliseconds as seconds are a year after 40000, and
# seconds as milliseconds are January 1970. It may also stand for a missing time, as 0 does.
_FIRST, _LAST = datetime(1971, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_DIGITS = re.compile(r"[0-9]{1,18}")


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
    while number and number[-1] == 0:
        number = number[:-1]
    return number


@dataclass(frozen=True, slots=True)
class EpochTime:
    """A column with times as numbers since 1970 in UTC: `EpochTime("consented_at", "ms")`.

    The unit is declared and never guessed. A number that is no time between 1971 and 9999 in this unit is invalid: it
    has another unit, or stands for a missing time.

    Args:
        column: a column of integers, or of text that consists of digits.
        unit: `s`, `ms` or `us`.

    Raises:
        PolicyError: a parameter is wrong.
    """

    column: str
    unit: EpochUnit

    def __post_init__(self) -> None:
        problems = column_problems(self.column, "EpochTime")
        if self.unit not in tuple(_MICROSECONDS):
            problems.append(Problem("EpochTime.unit", "expected `s`, `ms` or `us`"))
        require(problems)


def epoch_limits(unit: EpochUnit) -> tuple[int, int, int]:
    """Return the first number that is a time in a unit, the first one after them, and the unit in microseconds."""
    factor = _MICROSECONDS[unit]
    first, last = ((bound - _EPOCH) // _MICROSECOND // factor for bound in (_FIRST, _LAST))
    return first, last, factor


def epoch_time(number: object, unit: EpochUnit) -> datetime | None:
    """Return the time of a number, or None if it is no time in this unit: see `EpochTime`."""
    first, last, factor = epoch_limits(unit)
    if type(number) is not int or not first <= number < last:
        return None
    return _EPOCH + number * factor * _MICROSECOND


def column_of(time: str | EpochTime) -> str:
    """Return the name of a column of times."""
    return time if isinstance(time, str) else time.column


def time_problems(time: object, path: str) -> list[Problem]:
    """Return the problems of a column of times that was passed to `path`; None is none."""
    if time is None or isinstance(time, EpochTime) or is_column(time):
        return []
    return [Problem(path, "expected the name of a column, or EpochTime for numbers")]


@dataclass(frozen=True, slots=True)
class ConsentTime(Signal):
    """The time of a consent, as a band between bounds: token i + 1 is at or after `bounds[i - 1]` and before the next.

    The column contains timestamps with a zone, or text in ISO 8601 with an offset or `Z`. Text without an offset, and
    text that is not a time, has the highest token. With a `unit`, it contains numbers as in `EpochTime`.

    Args:
        column: the model's column.
        bounds: timestamps with a zone, ascending.
        unit: of numbers since 1970.
    """

    column: str
    bounds: tuple[datetime, ...]
    unit: EpochUnit | None = None

    def __post_init__(self) -> None:
        problems = column_problems(self.column, "ConsentTime")
        aware = all(isinstance(bound, datetime) and bound.utcoffset() is not None for bound in self.bounds)
        if not aware or list(self.bounds) != sorted(self.bounds):
            problems.append(Problem("ConsentTime.bounds", "expected timestamps with a zone, ascending"))
        require(problems)

    @property
    def kinds(self) -> frozenset[ColumnKind]:
        """A timestamp, or a number with a unit; or text that contains one."""
        return frozenset({ColumnKind.MOMENT if self.unit is None else ColumnKind.INTEGER, ColumnKind.TEXT})

    @property
    def unlisted_token(self) -> int:
        """The token of a value that is not a time."""
        return len(self.bounds) + 2

    @property
    def time_bounds(self) -> tuple[datetime, ...]:
        """The bounds of timestamps; none with a unit."""
        return self.bounds if self.unit is None else ()

    @property
    def number_bounds(self) -> tuple[int, ...]:
        """The limits of numbers with a unit, and the bounds between them."""
        if self.unit is None:
            return ()
        # A time is at or after a bound if its number is at least the bound's, rounded up.
        return tuple(
            -(-((bound - _EPOCH) // _MICROSECOND) // _MICROSECONDS[self.unit])
            for bound in (_FIRST, *self.bounds, _LAST)
        )

    def token(self, raw: object) -> int:
        """Return the band of a timestamp or number, or of a text that contains one."""
        if raw is None:
            return NULL_TOKEN
        if self.unit is not None:
            number = int(raw) if isinstance(raw, str) and _DIGITS.fullmatch(raw) else raw
            if type(number) is not int:
                return self.unlisted_token
            return bisect_right(self.number_bounds, number) or self.unlisted_token
        time = _time(raw) if isinstance(raw, str) else raw
        if not isinstance(time, datetime) or time.utcoffset() is None:
            return self.unlisted_token
        return bisect_right(self.bounds, time) + 1


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def consent_time(time: str | EpochTime, max_age: MaxAge, *, at: datetime) -> ConsentTime:
    """Return the signal of a consent's time, which must not be older than `max_age` at a given time."""
    return _signal(time, max_age.before(at), at + CLOCK_SKEW + _MICROSECOND)


def validity_time(time: str | EpochTime, *, at: datetime) -> ConsentTime:
    """Return the signal of the beginning or the end of a consent's validity: token 1 is not after `at`, 2 is later."""
    return _signal(time, at + _MICROSECOND)


def _signal(time: str | EpochTime, *bounds: datetime) -> ConsentTime:
    return ConsentTime(column_of(time), bounds, time.unit if isinstance(time, EpochTime) else None)


def valid_from_status(token: int) -> ConsentStatus:
    """Return the status of a granted consent with a token of `validity_time`: NULL means that it always was valid."""
    return (ConsentStatus.GRANTED, ConsentStatus.GRANTED, ConsentStatus.UNKNOWN, ConsentStatus.INVALID)[token]


def valid_until_status(token: int) -> ConsentStatus:
    """Return the status of a granted consent with a token of `validity_time`: NULL means that it has no end."""
    return (ConsentStatus.GRANTED, ConsentStatus.EXPIRED, ConsentStatus.GRANTED, ConsentStatus.INVALID)[token]


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
