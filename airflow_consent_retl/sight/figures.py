"""The figures that the page and the reports show: of all syncs, of one sync, of one run. Counts, times and ids only.

Everything comes from one transaction of the ledger, so that the numbers of one page fit together. Runs are summed up by
the database; the cost depends on the numbers of syncs and days, and on the runs that are shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.delivery.lags import Lags
from airflow_consent_retl.delivery.ledger.records import model_and_destination
from airflow_consent_retl.delivery.ledger.run_records import COUNTS, RunCounts, RunKind, RunState
from airflow_consent_retl.delivery.unserved import is_unserved
from airflow_consent_retl.sight.days import joined_days
from airflow_consent_retl.sight.kept_sums import KeptSums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import Delivery, SyncName, SyncOverview
    from airflow_consent_retl.delivery.ledger.run_history import RunHistory
    from airflow_consent_retl.delivery.ledger.run_records import RunRecord, RunTotals
    from airflow_consent_retl.sight.days import DayFigures, Period

MOST_RUNS: Final = 50
"""The most runs on one page."""

_NOTHING: Final = RunCounts()
_kept: Final[KeptSums[tuple[Mapping[SyncName, RunTotals], Sequence[DayFigures]]]] = KeptSums()


class Health(StrEnum):
    """The state of a sync, the worst that applies."""

    FAILED = "failed"
    UNSERVED = "unserved"
    WAITING = "waiting"
    RUNNING = "running"
    NEVER_RAN = "never ran"
    FINE = "fine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The work that a sync has still to do.

    Args:
        since: when the delivery in progress began; None: none is open.
        is_running: a task has the sync's lease now.
        pending: rows that the destination has, and has not processed, by the last run.
        uncertain: rows whose result is unknown, by the last run.
        not_removed: people who were to be removed, or to lose a field, and were not, by the last run.
    """

    since: datetime | None
    is_running: bool
    pending: int
    uncertain: int
    not_removed: int

    def __bool__(self) -> bool:
        return bool(self.since or self.pending or self.uncertain or self.not_removed)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFigures:
    """One sync, now and in a period.

    Args:
        sync: its name; `model` and `destination` are its parts.
        people: who is, or may be, at the destination now.
        target: where its rows are delivered; empty: unknown.
        dag: the id of the DAG that serves it; empty: unknown.
        served_at: when a run last ended well; None: unknown.
        decided_at: when consent was decided for the newest rows that it delivered.
        data_time: the time that the rows of the last load stand for.
        health: the worst that applies.
        waiting: what it has still to do.
        load: the last load that decided about anyone; None: none is recorded.
        last: the last run of any kind, likewise.
        totals: what its runs did in the period; None: there were none.
    """

    sync: SyncName
    model: str
    destination: str
    people: int
    target: str
    dag: str
    served_at: datetime | None
    decided_at: datetime | None
    data_time: datetime | None
    health: Health
    waiting: Waiting
    load: RunRecord | None
    last: RunRecord | None
    totals: RunTotals | None

    @property
    def counts(self) -> RunCounts:
        """The sums of the period."""
        return _NOTHING if self.totals is None else self.totals.counts

    @property
    def permitted(self) -> int | None:
        """People who are permitted, by the last load; None: unknown."""
        return None if self.load is None else self.load.counts.permitted

    @property
    def denied(self) -> int | None:
        """People who are denied, likewise."""
        return None if self.load is None else self.load.counts.denied


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All syncs of a ledger, now and in a period.

    Args:
        at: the time of the figures.
        period: of the sums.
        syncs: by name.
        days: of all syncs together; people who are at several destinations count at each of them.
        denied_by_reason: by reason code, the people denied by the last load of each sync.
        lags: of all withdrawals in the period.
    """

    at: datetime
    period: Period
    syncs: Sequence[SyncFigures]
    days: Sequence[DayFigures]
    denied_by_reason: Mapping[str, int]
    lags: Lags | None

    @property
    def people(self) -> int:
        """People at all destinations; a person at two of them counts twice."""
        return sum(one.people for one in self.syncs)

    @property
    def counts(self) -> RunCounts:
        """The sums of all syncs in the period."""
        return summed([one.counts for one in self.syncs])

    @property
    def unserved(self) -> list[SyncFigures]:
        """Syncs with people that no run has served for some days."""
        return [one for one in self.syncs if one.health is Health.UNSERVED]

    @property
    def waiting(self) -> list[SyncFigures]:
        """Syncs that have still something to do."""
        return [one for one in self.syncs if one.waiting]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncHistory:
    """One sync, with its days and its runs in a period.

    Args:
        figures: the sync.
        period: of days, runs and sums.
        days: of the period.
        runs: the latest first, at most `MOST_RUNS`, or as many as were asked for.
        number: of all runs in the period.
        removals_by_cause: by cause, the people of the runs shown who were to be taken back.
        codes: the destination's codes, with the people of the runs shown who were not accepted.
    """

    figures: SyncFigures
    period: Period
    days: Sequence[DayFigures]
    runs: Sequence[RunRecord]
    number: int
    removals_by_cause: Mapping[str, int]
    codes: Mapping[str, int]


def overview(
    ledger: Ledger, period: Period, *, at: datetime, unserved_days: float, shows: Callable[[SyncOverview], bool]
) -> Overview:
    """Return the figures of all syncs.

    Args:
        ledger: open.
        period: of the sums.
        at: the present time.
        unserved_days: after how many days without a run a sync with people counts as unserved; 0: never.
        shows: returns whether a sync is among those to show.
    """
    known = [one for one in ledger.syncs() if shows(one)]
    names = [str(one.sync) for one in known]
    with ledger.history() as history:
        # Everything on which the sums depend: a part of a day, and the time within it, is not.
        key = (history.state(period.until), period.since, period.together, len(period.days), tuple(names))
        totals, days = _kept.get(key, lambda: (_totals(history, period, names), _days(history, period, names)))
        syncs = _figures(history, known, totals, at=at, unserved_days=unserved_days, names=names)
    return Overview(
        at=at,
        period=period,
        syncs=syncs,
        days=days,
        denied_by_reason=_joined([one.load.denied_by_reason for one in syncs if one.load is not None]),
        lags=Lags.joined([one.totals.lags for one in syncs if one.totals is not None and one.totals.lags is not None]),
    )


def sync_history(
    ledger: Ledger,
    sync: str,
    period: Period,
    *,
    at: datetime,
    unserved_days: float,
    shows: Callable[[SyncOverview], bool],
    limit: int | None = MOST_RUNS,
    offset: int = 0,
) -> SyncHistory | None:
    """Return the figures of one sync; None: the ledger does not know it, or it is not to be shown.

    Args:
        ledger, period, at, unserved_days, shows: as for `overview`.
        sync: its name.
        limit: the most runs to return; None: all of the period.
        offset: how many of the latest runs to leave out.
    """
    known = [one for one in ledger.syncs() if one.sync == sync and shows(one)]
    if not known:
        return None
    with ledger.history() as history:
        totals = _totals(history, period, [sync])
        (figures,) = _figures(history, known, totals, at=at, unserved_days=unserved_days, names=[sync])
        days = _days(history, period, [sync])
        runs = history.runs([sync], since=period.since, until=period.until, limit=limit, offset=offset)
        number = history.count([sync], since=period.since, until=period.until)
    counted = [run for run in runs if not run.is_resumed]
    return SyncHistory(
        figures=figures,
        period=period,
        days=days,
        runs=runs,
        number=number,
        removals_by_cause=_joined([run.removals_by_cause for run in counted]),
        codes=_joined([run.codes for run in counted]),
    )


def summed(counts: Sequence[RunCounts]) -> RunCounts:
    """Return the sum of counts."""
    return RunCounts(**{name: sum(getattr(one, name) for one in counts) for name in COUNTS})


def _figures(
    history: RunHistory,
    known: Sequence[SyncOverview],
    totals: Mapping[SyncName, RunTotals],
    *,
    at: datetime,
    unserved_days: float,
    names: Sequence[str],
) -> list[SyncFigures]:
    last = history.last(syncs=names)
    loads = history.last(RunKind.LOAD, syncs=names)
    return [
        _figures_of(
            one,
            last=last.get(one.sync),
            load=loads.get(one.sync),
            totals=totals.get(one.sync),
            is_late=is_unserved(one, days=unserved_days, now=at),
        )
        for one in known
    ]


def _totals(history: RunHistory, period: Period, names: Sequence[str]) -> Mapping[SyncName, RunTotals]:
    return history.totals(since=period.since, until=period.until, syncs=names)


def _days(history: RunHistory, period: Period, names: Sequence[str]) -> list[DayFigures]:
    since, until, together = period.since, period.until, period.together
    return joined_days(
        period,
        before=history.decided_before(since, syncs=names),
        decisions=history.decisions(since=since, until=until, syncs=names, together=together),
        work=history.work(since=since, until=until, syncs=names, together=together),
    )


def _figures_of(
    one: SyncOverview, *, last: RunRecord | None, load: RunRecord | None, totals: RunTotals | None, is_late: bool
) -> SyncFigures:
    model, destination = model_and_destination(one.sync)
    waiting = _waiting(one.open_delivery, last, is_running=one.holder is not None)
    return SyncFigures(
        sync=one.sync,
        model=model,
        destination=destination,
        people=one.people,
        target=one.target,
        dag=one.dag or ("" if last is None else last.task.dag),
        served_at=one.served_at,
        decided_at=one.decided_at,
        data_time=None if load is None else load.data_time,
        health=_health(one, last, waiting, is_late=is_late),
        waiting=waiting,
        load=load,
        last=last,
        totals=totals,
    )


def _waiting(delivery: Delivery | None, last: RunRecord | None, *, is_running: bool) -> Waiting:
    counts = _NOTHING if last is None else last.counts
    return Waiting(
        since=None if delivery is None else delivery.began_at,
        is_running=is_running,
        pending=counts.pending,
        uncertain=counts.uncertain,
        not_removed=counts.not_taken_back,
    )


def _health(one: SyncOverview, last: RunRecord | None, waiting: Waiting, *, is_late: bool) -> Health:
    if is_late:
        return Health.UNSERVED
    if last is not None and last.state is RunState.FAILED and not waiting.is_running:
        return Health.FAILED
    if waiting.is_running:
        return Health.RUNNING
    if waiting:
        return Health.WAITING
    return Health.NEVER_RAN if one.current is None and last is None else Health.FINE


def _joined(found: Sequence[Mapping[str, int]]) -> dict[str, int]:
    counted: Counter[str] = Counter()
    for one in found:
        counted.update(one)
    return dict(counted.most_common())
