"""Syncs that have people at a destination and that no run has served for some days: their withdrawals are not seen."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import SyncOverview
    from airflow_consent_retl.progress import TaskLog


def warn_of_unserved(syncs: Sequence[SyncOverview], *, days: float, log: TaskLog, now: datetime | None = None) -> None:
    """Write a warning that names the syncs with people that no run has served for some days.

    A sync whose last run is unknown counts from the time of its newest decision.

    Args:
        syncs: all syncs of a ledger.
        days: after how many; 0: no warning.
        log: the task's.
        now: the present time.
    """
    at = now or datetime.now(UTC)
    late = [
        f"`{one.sync}` ({one.current.rows:,} people, last served {one.served_at or one.decided_at:%F})"
        for one in syncs
        if one.current is not None and is_unserved(one, days=days, now=at)
    ]
    if late:
        log.warning(
            "no run has served %s syncs for %s days, so withdrawals are not carried out there: %s. Run their loads "
            "again, or remove their people",
            len(late),
            f"{days:g}",
            ", ".join(late),
        )


def is_unserved(sync: SyncOverview, *, days: float, now: datetime) -> bool:
    """Return whether a sync has people and no run has served it for some days; arguments as for `warn_of_unserved`."""
    served = sync.served_at or sync.decided_at
    has_people = sync.current is not None and sync.current.rows > 0
    return bool(days) and has_people and served is not None and now - served > timedelta(days=days)
