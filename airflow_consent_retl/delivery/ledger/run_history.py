"""The records of runs in the ledger: how one is written, and the queries that sum them up for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from airflow_consent_retl.delivery.lags import Lags
from airflow_consent_retl.delivery.ledger.records import SyncName
from airflow_consent_retl.delivery.ledger.run_records import (
    COUNTS,
    DayOfSync,
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

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MICROS: Final = 86_400_000_000
# Each run counts the same people again.
_NOT_SUMMED: Final = frozenset({"read", "permitted", "denied", "unchanged", "found", "absent"})
_SUMMED: Final = tuple(name for name in COUNTS if name not in _NOT_SUMMED)


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
        wanted = [] if kind is None else [runs.c.kind == kind]
        newest = sa.select(sa.func.max(runs.c.id)).where(*wanted, *_in(syncs, None, None)).group_by(runs.c.sync)
        found = self._connection.execute(sa.select(runs).where(runs.c.id.in_(newest)))
        return {SyncName(row.sync): _run_of(row) for row in found}

    def totals(
        self, *, since: datetime, until: datetime, syncs: Sequence[str] | None = None
    ) -> dict[SyncName, RunTotals]:
        """Return what the runs of each sync did in a period; arguments as for `runs`."""
        counted = [sa.func.sum(sa.case((runs.c.is_resumed, 0), else_=runs.c[name])).label(name) for name in _SUMMED]
        failed = sa.func.sum(sa.case((runs.c.state == RunState.FAILED, 1), else_=0)).label("failed")
        wanted = _in(syncs, since, until)
        query = sa.select(runs.c.sync, sa.func.count().label("runs"), failed, *counted)
        with_lags = sa.select(runs.c.sync, runs.c.lags).where(*wanted, runs.c.lags.is_not(None))
        lags: dict[str, list[Lags]] = {}
        for sync, text in self._connection.execute(with_lags):
            lags.setdefault(sync, []).append(Lags.read(text))
        return {
            SyncName(row.sync): RunTotals(
                sync=SyncName(row.sync),
                runs=int(row.runs),
                failed=int(row.failed),
                counts=RunCounts(**{name: int(row._mapping[name]) for name in _SUMMED}),
                lags=Lags.joined(lags.get(row.sync, [])),
            )
            for row in self._connection.execute(query.where(*wanted).group_by(runs.c.sync))
        }

    def decided_before(self, at: datetime, *, syncs: Sequence[str] | None = None) -> dict[SyncName, tuple[int, int]]:
        """Return the permitted and the denied people of each sync by its last load that ended before a time."""
        wanted = (runs.c.decided_at.is_not(None), *_in(syncs, None, at))
        newest = sa.select(sa.func.max(runs.c.id)).where(*wanted).group_by(runs.c.sync)
        query = sa.select(runs.c.sync, runs.c.permitted, runs.c.denied).where(runs.c.id.in_(newest))
        return {SyncName(row.sync): (row.permitted, row.denied) for row in self._connection.execute(query)}

    def days(
        self, *, since: datetime, until: datetime, syncs: Sequence[str] | None = None, together: int = 1
    ) -> list[DayOfSync]:
        """Return each day of each sync that had runs in a period, in the order of time.

        Args:
            since, until, syncs: as for `runs`; days begin at `since`.
            together: how many days count as one.
        """
        wanted = _in(syncs, since, until)
        first, width = (since - _EPOCH) // timedelta(microseconds=1), together * _DAY_MICROS
        after = sa.type_coerce(runs.c.ended_at, sa.BigInteger) - first
        day = (after - after % width + first).label("day")
        # A load that failed before it found the changes has decided about the same people.
        decided = sa.case((runs.c.decided_at.is_not(None), runs.c.id))
        summed = [
            sa.func.sum(sa.case((runs.c.is_resumed, 0), else_=column)).label(name)
            for name, column in (
                ("sent", runs.c.accepted),
                ("removed", runs.c.removed + runs.c.cleared),
                ("rejected", runs.c.rejected),
            )
        ]
        by_day = (
            sa.select(runs.c.sync, day, sa.func.max(decided).label("last"), *summed)
            .where(*wanted)
            .group_by(runs.c.sync, day)
            .subquery()
        )
        query = (
            sa.select(by_day, runs.c.permitted, runs.c.denied)
            .outerjoin(runs, runs.c.id == by_day.c["last"])
            .order_by(by_day.c.day, by_day.c.sync)
        )
        return [
            DayOfSync(
                day=_EPOCH + timedelta(microseconds=int(row.day)),
                sync=SyncName(row.sync),
                permitted=row.permitted,
                denied=row.denied,
                sent=int(row.sent),
                removed=int(row.removed),
                rejected=int(row.rejected),
            )
            for row in self._connection.execute(query)
        ]


def _in(syncs: Sequence[str] | None, since: datetime | None, until: datetime | None) -> list[sa.ColumnElement[bool]]:
    wanted: list[sa.ColumnElement[bool]] = []
    if syncs is not None:
        wanted.append(runs.c.sync.in_(syncs))
    if since is not None:
        wanted.append(runs.c.ended_at >= sa.literal(since, Timestamp))
    if until is not None:
        wanted.append(runs.c.ended_at < sa.literal(until, Timestamp))
    return wanted


def _run_of(row: sa.Row[tuple[object, ...]]) -> RunRecord:
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
        counts=RunCounts(**{name: row._mapping[name] for name in COUNTS}),
        denied_by_reason=json.loads(row.denied_by_reason),
        removals_by_cause=json.loads(row.removals_by_cause),
        withheld_fields=json.loads(row.withheld_fields),
        limits=json.loads(row.limits),
        codes=json.loads(row.codes),
        lags=None if row.lags is None else Lags.read(row.lags),
        delivery=row.delivery,
        is_resumed=bool(row.is_resumed),
    )


def _json(counts: Mapping[str, int] | Mapping[str, float | None]) -> str:
    return json.dumps(dict(counts), separators=(",", ":"))
