"""Periods, and what happened on each of their days, of one sync or of several together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.delivery.ledger.run_records import DayOfWork

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.delivery.ledger.run_records import LoadDecision

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
        by_reason: by reason code, the denied people, likewise; a person may have several.
        sent: people who were accepted on this day.
        removed: people who were removed, or lost fields.
        rejected: rows that were rejected.
    """

    day: datetime
    permitted: int | None
    denied: int | None
    by_reason: Mapping[str, int]
    sent: int
    removed: int
    rejected: int


class StandingDecisions:
    """The decisions of several syncs, each by its last load up to a time, summed up.

    Args:
        before: the decision of each sync by its last load before the first time.
    """

    def __init__(self, before: Mapping[SyncName, LoadDecision]) -> None:
        self._standing: dict[SyncName, LoadDecision] = {}
        self._by_reason: dict[str, int] = {}
        self.permitted = 0
        self.denied = 0
        for sync, decision in before.items():
            self.replace(sync, decision)

    def __bool__(self) -> bool:
        return bool(self._standing)

    def replace(self, sync: SyncName, decision: LoadDecision) -> None:
        """Have a later decision of a sync stand instead of its last one."""
        last = self._standing.get(sync)
        if last is not None:
            self._add(last, -1)
        self._add(decision, 1)
        self._standing[sync] = decision

    @property
    def by_reason(self) -> dict[str, int]:
        """The denied people, by the reasons that someone has now."""
        return {code: people for code, people in self._by_reason.items() if people}

    def _add(self, decision: LoadDecision, sign: int) -> None:
        self.permitted += sign * decision.permitted
        self.denied += sign * decision.denied
        sums = self._by_reason
        for code, people in decision.by_reason.items():
            sums[code] = sums.get(code, 0) + sign * people


def joined_days(
    period: Period,
    *,
    before: Mapping[SyncName, LoadDecision],
    decisions: Iterable[tuple[datetime, SyncName, LoadDecision]],
    work: Sequence[DayOfWork],
) -> list[DayFigures]:
    """Return each day of a period, of all syncs together.

    A sync without a load on a day counts with the last one before: its people are decided all the same.

    Args:
        period: whose days are returned.
        before: the decision of each sync by the last load before the period.
        decisions: of the last load of each sync on each day, in the order of time.
        work: of all runs of a day.
    """
    standing, done = StandingDecisions(before), {one.day: one for one in work}
    found, later = [], iter(decisions)
    following = next(later, None)
    for day in period.days:
        while following is not None and following[0] <= day:
            standing.replace(*following[1:])
            following = next(later, None)
        of_day = done.get(day) or DayOfWork(day=day, sent=0, removed=0, rejected=0)
        found.append(
            DayFigures(
                day=day,
                permitted=standing.permitted if standing else None,
                denied=standing.denied if standing else None,
                by_reason=standing.by_reason,
                sent=of_day.sent,
                removed=of_day.removed,
                rejected=of_day.rejected,
            )
        )
    return found
