"""Records of runs for the tests of figures: a load or removals of a sync, at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from airflow_consent_retl.delivery.lags import Lags
from airflow_consent_retl.delivery.ledger.records import parsed_sync_name
from airflow_consent_retl.delivery.ledger.run_records import RunCounts, RunKind, RunningTask, RunRecord, RunState

FIRST_DAY = datetime(2026, 11, 20, tzinfo=UTC)
DIGEST = "sha256:" + "a1" * 32


def a_load(
    sync: str = "customers/webhook",
    *,
    at: datetime = FIRST_DAY,
    state: RunState = RunState.DONE,
    failure: str = "",
    delivery: int | None = None,
    denied: int = 40,
    accepted: int = 10,
    rejected: int = 2,
    attempt: int = 1,
    run: str | None = None,
) -> RunRecord:
    """Return the record of a load that read 100 people, at the end of one minute."""
    counts = RunCounts(
        read=100,
        permitted=100 - denied,
        denied=denied,
        added=accepted + rejected,
        unchanged=100 - denied - accepted - rejected,
        accepted=accepted,
        rejected=rejected,
    )
    return RunRecord(
        sync=parsed_sync_name(sync),
        kind=RunKind.LOAD,
        state=state,
        failure=failure,
        task=RunningTask(dag="customers", run=run or f"scheduled__{at:%FT%T}", task="load", attempt=attempt),
        began_at=at - timedelta(minutes=1),
        ended_at=at,
        policy_digest=DIGEST,
        decided_at=at - timedelta(minutes=2),
        data_time=at - timedelta(minutes=3),
        people=100 - denied,
        counts=counts,
        denied_by_reason={"C0004:denied": denied - 10, "C0004:unknown": 10},
        withheld_fields={"phone": 5},
        limits={"max_removed_ratio": 0.5, "max_added_ratio": None},
        codes={"rejected:invalid_email": rejected} if rejected else {},
        delivery=delivery,
    )


def withdrawals(
    sync: str = "customers/webhook",
    *,
    at: datetime = FIRST_DAY,
    lags_s: Sequence[float] = (90.0, 120.0, 600.0),
    not_removed: int = 0,
) -> RunRecord:
    """Return the record of a run that removed one person for each lag."""
    return RunRecord(
        sync=parsed_sync_name(sync),
        kind=RunKind.WITHDRAWALS,
        state=RunState.FAILED if not_removed else RunState.DONE,
        failure="DestinationError" if not_removed else "",
        task=RunningTask(dag="withdrawals", run=f"scheduled__{at:%FT%T}", task="withdraw"),
        began_at=at - timedelta(seconds=20),
        ended_at=at,
        people=57,
        counts=RunCounts(removed=len(lags_s), not_removed=not_removed, found=60, absent=0),
        removals_by_cause={"consent_withdrawn": len(lags_s) + not_removed},
        lags=Lags.of(lags_s),
    )
