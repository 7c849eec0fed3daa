"""The sums of a report over its runs, in one pass: memory for the syncs and the periods, not for the runs. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.delivery.lags import Lags
from airflow_consent_retl.delivery.ledger.run_records import LoadDecision, RunCounts, RunKind, RunState
from airflow_consent_retl.errors import GuardError
from airflow_consent_retl.progress import by_count
from airflow_consent_retl.sight.days import StandingDecisions
from airflow_consent_retl.sight.report_figures import Decided, LeftToDo, PeriodWork, ReportedSync

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.delivery.ledger.run_records import RunRecord
    from airflow_consent_retl.sight.report_periods import ChartPeriods

LATEST: Final = 40
"""The most runs that a report lists one by one."""

_WORK: Final = (
    *("added", "updated", "skipped", "accepted", "rejected", "uncertain", "pending", "withheld", "unsent"),
    *("removed", "not_removed", "cleared", "not_cleared"),
)
_STOPPED: Final = GuardError.__name__


@dataclass(slots=True)
class RunFold:
    """The runs of a report, added one by one, the latest first.

    Args:
        periods: of the time charts.
    """

    periods: ChartPeriods
    runs: int = 0
    latest: list[RunRecord] = field(default_factory=list)
    # By digest, the syncs that were decided under it; the digests of the latest runs first.
    decided_under: dict[str, set[str]] = field(default_factory=dict)
    _syncs: dict[str, _SyncFold] = field(default_factory=dict)
    _work: dict[int, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    # By period and sync, the last load that decided.
    _decided: dict[int, dict[str, RunRecord]] = field(default_factory=lambda: defaultdict(dict))

    def add_all(self, runs: Iterable[RunRecord]) -> None:
        """Add runs, the latest first."""
        for run in runs:
            self._add(run)

    def _add(self, run: RunRecord) -> None:
        self.runs += 1
        if len(self.latest) < LATEST:
            self.latest.append(run)
        if run.policy_digest:
            self.decided_under.setdefault(run.policy_digest, set()).add(run.sync)
        self._syncs.setdefault(run.sync, _SyncFold()).add(run)
        place = self.periods.place_of(run.ended_at)
        if run.decided_at is not None:
            self._decided[place].setdefault(run.sync, run)
        # A later try of the same delivery has these counts too.
        if not run.is_resumed:
            counts, work = run.counts, self._work[place]
            work["accepted"] += counts.accepted
            work["rejected"] += counts.rejected
            work["removed"] += counts.taken_back
            work["not_removed"] += counts.not_taken_back

    def syncs(self) -> Iterator[ReportedSync]:
        """Yield the figures of each sync that had a run, in the order of names."""
        for name in sorted(self._syncs):
            yield self._syncs[name].figures(name)

    def over_time(self, before: Mapping[SyncName, LoadDecision]) -> list[PeriodWork]:
        """Return the figures of each period. A sync without a load in it counts with the last one before.

        Args:
            before: the decision of each sync by the last load before the first period.
        """
        standing = StandingDecisions(before)
        found = []
        for place in range(len(self.periods.starts)):
            for run in self._decided.get(place, {}).values():
                counts = run.counts
                decision = LoadDecision(
                    permitted=counts.permitted, denied=counts.denied, by_reason=run.denied_by_reason
                )
                standing.replace(run.sync, decision)
            found.append(
                PeriodWork(
                    permitted=standing.permitted,
                    denied=standing.denied,
                    by_reason=standing.by_reason,
                    **self._work[place],
                )
            )
        return found


@dataclass(slots=True)
class _SyncFold:
    """The runs of one sync."""

    runs: int = 0
    failed: int = 0
    stopped: int = 0
    last: RunRecord | None = None
    last_load: RunRecord | None = None
    last_removals: RunRecord | None = None
    decided: RunRecord | None = None
    work: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    lags: Lags | None = None

    def add(self, run: RunRecord) -> None:
        """Add an earlier run than those before."""
        self.runs += 1
        self.failed += run.state is RunState.FAILED
        self.stopped += run.failure == _STOPPED
        self.last = self.last or run
        if run.kind is RunKind.LOAD:
            # A load that failed before it found the changes says nothing about who has to go.
            if run.state is not RunState.FAILED or run.delivery is not None:
                self.last_load = self.last_load or run
        else:
            self.last_removals = self.last_removals or run
        if run.decided_at is not None:
            self.decided = self.decided or run
        if run.lags is not None:
            self.lags = Lags.joined([one for one in (self.lags, run.lags) if one is not None])
        if not run.is_resumed:
            self.work.update({name: getattr(run.counts, name) for name in _WORK})
            self.causes.update(run.removals_by_cause)
            self.codes.update(run.codes)

    def figures(self, name: str) -> ReportedSync:
        """Return the figures of the sync."""
        last = self.last
        return ReportedSync(
            sync=name,
            people=0 if last is None else last.people,
            dag="" if last is None else last.task.dag,
            runs=self.runs,
            failed=self.failed,
            stopped=self.stopped,
            decided=None if self.decided is None else _decision(self.decided),
            counts=RunCounts(**self.work),
            causes=dict(self.causes.most_common()),
            codes=dict(self.codes.most_common()),
            lags=self.lags,
            waiting=self._waiting(),
            limits={} if self.decided is None else dict(self.decided.limits),
            last=last,
        )

    def _waiting(self) -> LeftToDo:
        load, removals = self.last_load, self.last_removals
        left = [_not_taken_back(load)]
        # A load finds everyone who has to go. A question about withdrawals does not: it clears nothing of a load.
        if removals is not None and (load is None or removals.ended_at > load.ended_at):
            left.append(_not_taken_back(removals))
        counts = RunCounts() if load is None else load.counts
        return LeftToDo(
            to_take_back=max(left),
            pending=counts.pending,
            uncertain=counts.uncertain,
            unsent=counts.unsent,
            rejected=counts.rejected,
        )


def _not_taken_back(run: RunRecord | None) -> int:
    return 0 if run is None else run.counts.not_taken_back


def _decision(run: RunRecord) -> Decided:
    return Decided(
        at=run.decided_at or run.ended_at,
        data_time=run.data_time,
        policy_digest=run.policy_digest,
        read=run.counts.read,
        permitted=run.counts.permitted,
        denied=run.counts.denied,
        by_reason=dict(by_count(run.denied_by_reason)),
        withheld=dict(run.withheld_fields),
    )
