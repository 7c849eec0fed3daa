"""The records of runs in the ledger: how one is written, and the queries that sum them up for people."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec
import sqlalchemy as sa

from airflow_consent_retl.delivery.lags import Lags
from airflow_consent_retl.delivery.ledger.records import SyncName
from airflow_consent_retl.delivery.ledger.run_records import (
    COUNTS,
    DayOfWork,
    LoadDecision,
    RunCounts,
    RunKind,
    RunningTask,
    RunRecord,
    RunState,
    RunTotals,
)
from airflow_consent_retl.delivery.ledger.schema import Timestamp, runs

if TYPE_CHECKING:
    from collections.abc import Mapping

_COUNTS_BY_CODE: Final = msgspec.json.Decoder(dict[str, int])
_LIMITS: Final = msgspec.json.Decoder(dict[str, float | None])
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MICROS: Final = 86_400_000_000
# Each run counts the same people again.
_NOT_SUMMED: Final = frozenset({"read", "permitted", "denied", "unchanged", "found", "absent"})
_SUMMED: Final = tuple(name for name in COUNTS if name not in _NOT_SUMMED)
# The columns of the counts are one after the other.
_FIRST_COUNT: Final = list(runs.c.keys()).index(COUNTS[0])
_DECIDED: Final = (runs.c.permitted, runs.c.denied, runs.c.denied_by_reason)


def note_run(connection: sa.Connection, run: RunRecord) -> None:
    """Write a record. Records of earlier tries of the same delivery are marked: this one contains their counts."""
    if run.delivery is not None:
        earlier = (runs.c.sync == run.sync, runs.c.kind == run.kind, runs.c.delivery == run.delivery)
        connection.execute(sa.update(runs).where(*earlier).values(is_resumed=True))
    values = {
        "sync": run.sync,
        "kind": run.kind,
        "state": run.state,
        "failure": run.failure,
        **asdict(run.task),
        "began_at": run.began_at,
        "ended_at": run.ended_at,
        "policy_digest": run.policy_digest,
        "decided_at": run.decided_at,
        "data_time": run.data_time,
        "people": run.people,
        **asdict(run.counts),
        "denied_by_reason": _json(run.denied_by_reason),
        "removals_by_cause": _json(run.removals_by_cause),
        "withheld_fields": _json(run.withheld_fields),
        "limits": _json(run.limits),
        "codes": _json(run.codes),
        "lags": None if run.lags is None else run.lags.written(),
        "delivery": run.delivery,
        "is_resumed": run.is_resumed,
    }
    connection.execute(runs.insert().values(values))


def end_runs(connection: sa.Connection, before: datetime) -> None:
    """Delete the records of runs that ended before a time."""
    connection.execute(sa.delete(runs).where(runs.c.ended_at < before))


class RunHistory:
    """The records of runs, in an open transaction.

    Args:
        connection: with the transaction.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def runs(
        self,
        syncs: Sequence[str] | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[RunRecord]:
        """Return runs that ended in a period, the latest first.

        Args:
            syncs: the names of syncs; None: all.
            since: the first time of the period; None: the beginning.
            until: the first time after it; None: the present.
            limit: the most runs to return; None: all.
            offset: how many of the latest ones to leave out.
        """
        query = sa.select(runs).where(*_in(syncs, since, until)).order_by(runs.c.ended_at.desc(), runs.c.id.desc())
        return [_run_of(row) for row in self._connection.execute(query.limit(limit).offset(offset or None))]

    def count(
        self, syncs: Sequence[str] | None = None, *, since: datetime | None = None, until: datetime | None = None
    ) -> int:
        """Return the number of runs that ended in a period; arguments as for `runs`."""
        query = sa.select(sa.func.count()).select_from(runs).where(*_in(syncs, since, until))
        return int(self._connection.scalar(query) or 0)

    def state(self, until: datetime) -> Hashable:
        """Return what is another value as soon as a run was written or deleted, or one of later than `until` counts.

        No record changes without a new one: see `note_run`.
        """
        later = sa.select(sa.func.count()).where(runs.c.ended_at >= sa.literal(until, Timestamp)).scalar_subquery()
        query = sa.select(sa.func.count(), sa.func.max(runs.c.id), later).select_from(runs)
        return (self._connection.engine.url, *self._connection.execute(query).one())

    def of_task(self, dag: str, run: str, task: str | None = None, *, map_index: int | None = None) -> list[RunRecord]:
        """Return what one run of a DAG did, at all of its syncs, the latest first.

        Args:
            dag, run: the ids.
            task: the id of one task; None: all.
            map_index: of a mapped task; None: all.
        """
        wanted = [runs.c.dag == dag, runs.c.run == run]
        wanted += [] if task is None else [runs.c.task == task]
        wanted += [] if map_index is None else [runs.c.map_index == map_index]
        query = sa.select(runs).where(*wanted).order_by(runs.c.ended_at.desc(), runs.c.id.desc())
        return [_run_of(row) for row in self._connection.execute(query)]

    def last(self, kind: RunKind | None = None, *, syncs: Sequence[str] | None = None) -> dict[SyncName, RunRecord]:
        """Return the last run of each sync.

        Args:
            kind: only runs of it; None: of any.
            syncs: the names of syncs; None: all.
        """
        newest = self._newest([] if kind is None else [runs.c.kind == kind], syncs)
        found = self._connection.execute(sa.select(runs).where(runs.c.id.in_(newest)))
        return {SyncName(row.sync): _run_of(row) for row in found}

    def totals(
        self, *, since: datetime, until: datetime, syncs: Sequence[str] | None = None
    ) -> dict[SyncName, RunTotals]:
        """Return what the runs of each sync did in a period; arguments as for `runs`."""
        counted = [sa.func.sum(sa.case((runs.c.is_resumed, 0), else_=runs.c[name])) for name in _SUMMED]
        failed = sa.func.sum(sa.case((runs.c.state == RunState.FAILED, 1), else_=0))
        lags = sa.func.aggregate_strings(runs.c.lags, ",")
        query = sa.select(runs.c.sync, sa.func.count(), failed, lags, *counted).where(*_in(syncs, since, until))
        return {
            SyncName(sync): RunTotals(
                sync=SyncName(sync),
                runs=number,
                failed=int(failures),
                counts=RunCounts(**{name: int(count) for name, count in zip(_SUMMED, counts, strict=True)}),
                lags=None if written is None else Lags.joined(Lags.read_all(written)),
            )
            for sync, number, failures, written, *counts in self._connection.execute(query.group_by(runs.c.sync))
        }

    def decided_before(self, at: datetime, *, syncs: Sequence[str] | None = None) -> dict[SyncName, LoadDecision]:
        """Return the decision of the last load of each sync that ended before a time."""
        newest = self._newest([runs.c.decided_at.is_not(None), *_in(None, None, at)], syncs)
        query = sa.select(runs.c.sync, *_DECIDED).where(runs.c.id.in_(newest))
        return {SyncName(sync): _decision_of(*found) for sync, *found in self._connection.execute(query)}

    def decisions(
        self, *, since: datetime, until: datetime, syncs: Sequence[str] | None = None, together: int = 1
    ) -> Iterator[tuple[datetime, SyncName, LoadDecision]]:
        """Yield the decision of the last load of each sync on each day, in the order of time, with its day.

        Args:
            since, until, syncs: as for `runs`; days begin at `since`.
            together: how many days count as one.
        """
        # A load that failed before it found the changes has decided about the same people.
        wanted = (*_in(syncs, since, until), runs.c.decided_at.is_not(None))
        day = _day_of(since, together)
        last = sa.select(sa.func.max(runs.c.id)).where(*wanted).group_by(runs.c.sync, day)
        query = sa.select(day, runs.c.sync, *_DECIDED).where(runs.c.id.in_(last)).order_by(runs.c.ended_at, runs.c.id)
        for micros, sync, permitted, denied, by_reason in self._connection.execute(query):
            yield _time_of(micros), SyncName(sync), _decision_of(permitted, denied, by_reason)

    def work(
        self, *, since: datetime, until: datetime, syncs: Sequence[str] | None = None, together: int = 1
    ) -> list[DayOfWork]:
        """Return what all the runs of each day did together, of days with runs; arguments as for `decisions`."""
        day = _day_of(since, together)
        counted = (runs.c.accepted, runs.c.removed + runs.c.cleared, runs.c.rejected)
        summed = [sa.func.sum(sa.case((runs.c.is_resumed, 0), else_=column)) for column in counted]
        query = sa.select(day, *summed).where(*_in(syncs, since, until)).group_by(day)
        return [
            DayOfWork(
                day=_time_of(micros),
                sent=int(sent),
                removed=int(removed),
                rejected=int(rejected),
            )
            for micros, sent, removed, rejected in self._connection.execute(query)
        ]

    def _newest(self, wanted: Sequence[sa.ColumnElement[bool]], syncs: Sequence[str] | None) -> list[int]:
        """Return the ids of the last run of each sync; for each, the index of its runs is read from the end.

        They are asked for by themselves: a database that knows little of a table would read all of it to join them.
        """
        named = _names_with_runs()
        latest_first = (runs.c.ended_at.desc(), runs.c.id.desc())
        newest = sa.select(runs.c.id).where(runs.c.sync == named.c.sync, *wanted).order_by(*latest_first).limit(1)
        query = sa.select(newest.correlate(named).scalar_subquery()).where(named.c.sync.is_not(None))
        if syncs is not None:
            query = query.where(named.c.sync.in_(syncs))
        return [number for number in self._connection.scalars(query) if number is not None]


def _names_with_runs() -> sa.CTE:
    """Return the names of syncs with runs, and a NULL after the last: the index has each after the one before."""
    named = sa.select(sa.func.min(runs.c.sync).label("sync")).cte("named", recursive=True)
    following = sa.select(sa.func.min(runs.c.sync)).where(runs.c.sync > named.c.sync).correlate(named)
    return named.union_all(sa.select(following.scalar_subquery()).where(named.c.sync.is_not(None)))


def _decision_of(permitted: int, denied: int, by_reason: str) -> LoadDecision:
    return LoadDecision(permitted=permitted, denied=denied, by_reason=_COUNTS_BY_CODE.decode(by_reason))


@lru_cache(maxsize=1_000)
def _time_of(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(micros))


def _day_of(since: datetime, together: int) -> sa.ColumnElement[int]:
    first, width = (since - _EPOCH) // timedelta(microseconds=1), together * _DAY_MICROS
    after = sa.type_coerce(runs.c.ended_at, sa.BigInteger) - first
    return (after - after % width + first).label("day")


def _in(syncs: Sequence[str] | None, since: datetime | None, until: datetime | None) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if syncs is not None:
        wanted.append(runs.c.sync.in_(syncs))
    if since is not None:
        wanted.append(runs.c.ended_at >= sa.literal(since, Timestamp))
    if until is not None:
        wanted.append(runs.c.ended_at < sa.literal(until, Timestamp))
    return wanted


def _run_of(row: Any) -> RunRecord:
    return RunRecord(
        id=row.id,
        sync=SyncName(row.sync),
        kind=RunKind(row.kind),
        state=RunState(row.state),
        failure=row.failure,
        task=RunningTask(dag=row.dag, run=row.run, task=row.task, map_index=row.map_index, attempt=row.attempt),
        began_at=row.began_at,
        ended_at=row.ended_at,
        policy_digest=row.policy_digest,
        decided_at=row.decided_at,
        data_time=row.data_time,
        people=row.people,
        counts=RunCounts(**dict(zip(COUNTS, row[_FIRST_COUNT:], strict=False))),
        denied_by_reason=_COUNTS_BY_CODE.decode(row.denied_by_reason),
        removals_by_cause=_COUNTS_BY_CODE.decode(row.removals_by_cause),
        withheld_fields=_COUNTS_BY_CODE.decode(row.withheld_fields),
        limits=_LIMITS.decode(row.limits),
        codes=_COUNTS_BY_CODE.decode(row.codes),
        lags=None if row.lags is None else Lags.read(row.lags),
        delivery=row.delivery,
        is_resumed=bool(row.is_resumed),
    )


def _json(counts: Mapping[str, int] | Mapping[str, float | None]) -> str:
    return msgspec.json.encode(dict(counts)).decode()
