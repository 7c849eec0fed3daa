"""Records of runs: what each try of a task did at one sync, in counts. No person and no value of a row is in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.lags import Lags
    from airflow_consent_retl.delivery.ledger.records import SyncName


class RunKind(StrEnum):
    """The kinds of runs: a load, and three that only remove people."""

    LOAD = "load"
    WITHDRAWALS = "withdrawals"
    FORGET = "forget"
    RETIRE = "retire"


class RunState(StrEnum):
    """The end of a try. `WAITING`: the destination still processes requests; the next try asks for their results."""

    DONE = "done"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTask:
    """The task that a run is part of, by Airflow's ids; empty outside of a DAG.

    Args:
        dag, run, task: the ids.
        map_index: the index among mapped tasks; None: it is not mapped.
        attempt: the number of the try, from 1.
    """

    dag: str = ""
    run: str = ""
    task: str = ""
    map_index: int | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """The counts of one run, or of several together, in people.

    For a load, `read = permitted + denied`, and `permitted = added + updated + unchanged + skipped`. The planned rows
    are `accepted + rejected + uncertain + pending + withheld + unsent`. `found` and `absent` are the delivered people
    that the answer to a question about withdrawals contained, and did not contain.
    """

    read: int = 0
    permitted: int = 0
    denied: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    accepted: int = 0
    rejected: int = 0
    uncertain: int = 0
    pending: int = 0
    withheld: int = 0
    unsent: int = 0
    removed: int = 0
    not_removed: int = 0
    cleared: int = 0
    not_cleared: int = 0
    found: int = 0
    absent: int = 0

    @property
    def taken_back(self) -> int:
        """People who were removed, or lost fields."""
        return self.removed + self.cleared

    @property
    def not_taken_back(self) -> int:
        """People who were to be removed, or to lose fields, and were not."""
        return self.not_removed + self.not_cleared


COUNTS = tuple(one.name for one in fields(RunCounts))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One try of a task at one sync.

    Args:
        sync: the sync's name.
        kind: a load, or a run that only removes.
        state: how it ended.
        failure: the name of the error's class; empty: none.
        task: the task of it.
        began_at, ended_at: by the ledger's clock.
        policy_digest: of the policy under which it was decided; empty: the run only removes.
        decided_at: when consent was decided; None: the run only removes.
        data_time: the time that the model's rows stand for, likewise.
        people: who is, or may be, at the destination after it.
        counts: what it did.
        denied_by_reason: by reason code, the denied people; a person may have several.
        removals_by_cause: by cause, the people who were to be removed or to lose fields.
        withheld_fields: by field, the permitted people who are sent without it, since they did not consent to it.
        limits: by parameter, the limits that would have stopped the run; None: there was no limit.
        codes: the destination's codes, such as `rejected:invalid_email`, with the people who were not accepted.
        lags: of the withdrawals that it carried out; None: none, or the model has no time of withdrawal.
        delivery: the ledger's number of the delivery that a load carried out; None: none.
        is_resumed: a later try resumed the same delivery, and its counts contain those of this one.
        id: the number of the record; 0: not written yet.
    """

    sync: SyncName
    kind: RunKind
    state: RunState
    failure: str = ""
    task: RunningTask = field(default_factory=RunningTask)
    began_at: datetime
    ended_at: datetime
    policy_digest: str = ""
    decided_at: datetime | None = None
    data_time: datetime | None = None
    people: int
    counts: RunCounts
    denied_by_reason: Mapping[str, int] = field(default_factory=dict)
    removals_by_cause: Mapping[str, int] = field(default_factory=dict)
    withheld_fields: Mapping[str, int] = field(default_factory=dict)
    limits: Mapping[str, float | None] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    lags: Lags | None = None
    delivery: int | None = None
    is_resumed: bool = False
    id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTotals:
    """The work of the runs of one sync in a period. Decisions are not summed: see `RunHistory.decisions`.

    Args:
        sync: the sync's name.
        runs: their number.
        failed: how many of them failed.
        counts: sums over runs that no later try resumed; `read`, `permitted`, `denied`, `unchanged`, `found` and
            `absent`, which count the same people in each run, are 0.
        lags: of all withdrawals together.
    """

    sync: SyncName
    runs: int
    failed: int
    counts: RunCounts
    lags: Lags | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadDecision:
    """The decisions of a load about everyone in the model.

    Args:
        permitted, denied: people.
        by_reason: by reason code, the denied people; a person may have several.
    """

    permitted: int
    denied: int
    by_reason: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class DayOfWork:
    """The figures of the runs of one day, or of several days together.

    Args:
        day: its first second.
        sent: people who were accepted on this day.
        removed: people who were removed, or lost fields.
        rejected: rows that were rejected.
    """

    day: datetime
    sent: int
    removed: int
    rejected: int
