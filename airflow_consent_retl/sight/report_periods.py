"""The periods of a report's time charts: days, weeks or months in UTC, never many. Pure."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from airflow_consent_retl.sight.templating import day

_MOST_DAYS: Final = 92
_MOST_WEEKS: Final = 106


@dataclass(frozen=True, slots=True)
class ChartPeriods:
    """Consecutive periods.

    Args:
        unit: `day`, `week` or `month`.
        starts: the first time of each, in ascending order.
    """

    unit: str
    starts: tuple[datetime, ...]

    def place_of(self, at: datetime) -> int:
        """Return the position of the period with a time; the first one for an earlier time."""
        return max(bisect_right(self.starts, at) - 1, 0)

    @property
    def labels(self) -> list[str]:
        """The name of each period: its first day, or its month."""
        if self.unit == "month":
            return [f"{start:%b %Y}" for start in self.starts]
        return [day(start) for start in self.starts]


def chart_periods(since: datetime, until: datetime) -> ChartPeriods:
    """Return the periods that cover a time span: days up to three months, weeks up to two years, otherwise months.

    Args:
        since: the first time.
        until: the first time after it; it is later than `since`.
    """
    first = since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = (until - first) / timedelta(days=1)
    if days <= _MOST_DAYS:
        return ChartPeriods("day", tuple(_steps(first, until, 1)))
    if days <= 7 * _MOST_WEEKS:
        return ChartPeriods("week", tuple(_steps(first - timedelta(days=first.weekday()), until, 7)))
    starts = [first.replace(day=1)]
    while (start := (starts[-1] + timedelta(days=32)).replace(day=1)) < until:
        starts.append(start)
    return ChartPeriods("month", tuple(starts))


def _steps(first: datetime, until: datetime, days: int) -> list[datetime]:
    starts = [first]
    while (start := starts[-1] + timedelta(days=days)) < until:
        starts.append(start)
    return starts
