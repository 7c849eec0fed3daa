"""Periods, and what happened on each of their days, of one sync or of several together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.delivery.ledger.run_records import DayOfSync

_WEEK: Final = 7
# A chart with more columns cannot be read.
_MOST_DAYS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A period of time.

    Args:
        since: its first time.
        until: the first time after it.
        together: how many days count as one in charts.
    """

    since: datetime
    until: datetime
    together: int = 1

    @classmethod
    def of_days(cls, days: int, *, until: datetime) -> Period:
        """Return the last days, today included, in whole days of UTC; many days are shown as weeks."""
        together = 1 if days <= _MOST_DAYS else _WEEK
        today = until.replace(hour=0, minute=0, second=0, microsecond=0)
        # The last week is a whole one.
        first = today - timedelta(days=-(-days // together) * together - 1)
        return cls(since=first, until=until + timedelta(microseconds=1), together=together)

    @property
    def days(self) -> list[datetime]:
        """The first second of each of its days, or weeks."""
        number = -(-(self.until - self.since) // timedelta(days=self.together))
        return [self.since + timedelta(days=self.together * place) for place in range(number)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayFigures:
    """One day, of one sync or of several together.

    Args:
        day: its first second, in UTC.
        permitted, denied: by the last load up to the end of the day of each sync; None: there was none yet.
        sent: people who were accepted on this day.
        removed: people who were removed, or lost fields.
        rejected: rows that were rejected.
    """

    day: datetime
    permitted: int | None
    denied: int | None
    sent: int
    removed: int
    rejected: int


def joined_days(
    days: Sequence[DayOfSync], period: Period, *, before: Mapping[SyncName, tuple[int, int]]
) -> list[DayFigures]:
    """Return each day of a period, of all syncs together.

    A sync without a load on a day counts with the last one before: its people are decided all the same.

    Args:
        days: of each sync.
        period: whose days are returned.
        before: permitted and denied of each sync by the last load before the period.
    """
    decided = dict(before)
    by_day: dict[datetime, list[DayOfSync]] = {}
    for one in days:
        by_day.setdefault(one.day, []).append(one)
    found = []
    for day in period.days:
        of_day = by_day.get(day, [])
        for one in of_day:
            if one.permitted is not None and one.denied is not None:
                decided[one.sync] = (one.permitted, one.denied)
        found.append(
            DayFigures(
                day=day,
                permitted=sum(permitted for permitted, _ in decided.values()) if decided else None,
                denied=sum(denied for _, denied in decided.values()) if decided else None,
                sent=sum(one.sent for one in of_day),
                removed=sum(one.removed for one in of_day),
                rejected=sum(one.rejected for one in of_day),
            )
        )
    return found
