"""The figures of a report: what it shows of each sync, of the policy, and of all together. No value of a row.

Each count is of people at one destination: a person at two destinations counts twice. Counts of a decision are those of
the last load that decided; counts of work are sums over all runs of the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.delivery.ledger.run_records import RunCounts

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.lags import Lags
    from airflow_consent_retl.delivery.ledger.run_records import RunRecord
    from airflow_consent_retl.sight.report_periods import ChartPeriods


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportScope:
    """The runs that a report is about.

    Args:
        since: the first time of its period.
        until: the first time after it.
        syncs: the names of its syncs; empty: all.
        dag, run: the ids of one run of a DAG; empty: every run of the period.
    """

    since: datetime
    until: datetime
    syncs: tuple[str, ...] = ()
    dag: str = ""
    run: str = ""

    @property
    def is_run(self) -> bool:
        """True if the report is about one run of a DAG."""
        return bool(self.run)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The decision of the last load of a sync. `read = permitted + denied`.

    Args:
        at: when consent was decided.
        data_time: the time that the model's rows stand for.
        policy_digest: of the policy.
        by_reason: by reason code, the denied people; a person may have several reasons.
        withheld: by field, the permitted people who are sent without it.
    """

    at: datetime
    data_time: datetime | None
    policy_digest: str
    read: int
    permitted: int
    denied: int
    by_reason: Mapping[str, int]
    withheld: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftToDo:
    """The people of a sync with something left to do, after its last runs.

    Args:
        to_take_back: should have been removed, or have lost fields, and were not.
        pending: the destination took their rows, and processes them later.
        uncertain: the destination gave no clear answer.
        unsent: permitted, and not sent.
        rejected: the destination refused their rows; each run tries them again.
    """

    to_take_back: int = 0
    pending: int = 0
    uncertain: int = 0
    unsent: int = 0
    rejected: int = 0

    @property
    def total(self) -> int:
        """All who wait for a destination or for the next run; not those that a destination rejected."""
        return self.to_take_back + self.pending + self.uncertain + self.unsent

    def __add__(self, other: LeftToDo) -> LeftToDo:
        return LeftToDo(**{one.name: getattr(self, one.name) + getattr(other, one.name) for one in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedSync:
    """One sync of a report.

    Args:
        sync: its name.
        target: where its rows are delivered; empty: unknown.
        dag: the id of the DAG that serves it; empty: unknown.
        people: who is, or may be, at the destination after its last run.
        runs, failed, stopped: its runs, those that failed, and of these the ones that a limit stopped.
        decided: by its last load; None: no load of the report decided.
        counts: of the work, sums over its runs; counts of decisions are 0.
        causes: by cause, the people to take back, in each run that had to.
        codes: by status and the destination's code, the rows that were not accepted.
        lags: of the withdrawals that were carried out.
        waiting: after its last runs.
        last: its last run; None: no run is in the report.
        served_at: when a run last ended well; None: unknown.
        is_unserved: no run has served it for some days, so withdrawals are not seen there.
        open_since: when the delivery began that is unfinished; None: there is none.
        needs: the requirement of the policy, in words.
        guards: what the policy guards at the destination, in sentences.
        limits: the limits of its last load, by the name of the parameter.
    """

    sync: str
    target: str = ""
    dag: str = ""
    people: int = 0
    runs: int = 0
    failed: int = 0
    stopped: int = 0
    decided: Decided | None = None
    counts: RunCounts = field(default_factory=RunCounts)
    causes: Mapping[str, int] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    lags: Lags | None = None
    waiting: LeftToDo = field(default_factory=LeftToDo)
    last: RunRecord | None = None
    served_at: datetime | None = None
    is_unserved: bool = False
    open_since: datetime | None = None
    needs: str = ""
    guards: Sequence[str] = ()
    limits: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodWork:
    """One period of the time charts, over all syncs.

    Args:
        permitted, denied: by the last load of each sync up to the end of the period.
        by_reason: by reason code, the denied people, likewise.
        accepted, rejected: rows that were sent in the period.
        removed: people who were removed, or lost fields; `not_removed`: who should have.
    """

    permitted: int = 0
    denied: int = 0
    by_reason: Mapping[str, int] = field(default_factory=dict)
    accepted: int = 0
    rejected: int = 0
    removed: int = 0
    not_removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedPolicy:
    """One policy that was in force, or that runs decided under.

    Args:
        digest: the policy's.
        place: where it is, such as `variable:consent_policy`; empty: in the DAG itself, or not recorded.
        since, until: when runs saw it there; None: unknown, and for `until`: it is in force.
        changed_by: who changed the place to it; empty: unknown.
        approvals: who approved it, and when.
        differences: a sentence for each part that differs from the policy before it.
        opens: a sentence for each way in which it may permit more than the policy before it.
        used_by: the names of the syncs of the report that were decided under it.
    """

    digest: str
    place: str = ""
    since: datetime | None = None
    until: datetime | None = None
    changed_by: str = ""
    approvals: Sequence[str] = ()
    differences: Sequence[str] = ()
    opens: Sequence[str] = ()
    used_by: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFigures:
    """Everything that a report shows.

    Args:
        scope: of the report.
        periods: of its time charts, from the first run on, each with its figures in `over_time`.
        syncs: in the order of their names.
        policies: the newest first.
        categories: the names of the policies' categories, by id.
        latest: the latest runs, the newest first; `runs` is the number of all.
    """

    scope: ReportScope
    periods: ChartPeriods
    over_time: Sequence[PeriodWork]
    syncs: Sequence[ReportedSync]
    policies: Sequence[ReportedPolicy]
    categories: Mapping[str, str]
    latest: Sequence[RunRecord]
    runs: int
