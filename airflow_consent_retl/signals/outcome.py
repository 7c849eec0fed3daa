"""The outcome of a task for one sync: counts, digests and times. Metrics, lineage and notices are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.run_records import RunRecord
    from airflow_consent_retl.storage.manifest import PermittedCounts, PermittedManifest

Stage = Literal["filter", "load", "withdrawals", "task", "run", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOutcome:
    """The work of one task for one model at one destination. It never contains a value of a row.

    Args:
        stage: the task that did it: a filter, a load, or the fast lane of withdrawals; `task`: one that failed, whose
            work is not known. Of a whole run: `run`: tasks of which nothing is known, `skipped`: all tasks were.
        model: the model's name; empty if not known.
        destination: the policy's name of the destination; empty if not known.
        numbers: counts of rows or people, by the names of the task's return value; none if its work is not known.
        denied_by_reason: denied rows by reason; a row with two reasons counts under both.
        removals_by_cause: people to remove by cause.
        not_accepted_by_code: rows that the destination rejected or left unclear, by code.
        lag_s: seconds from a withdrawal to its confirmed removal (`median`, `p95`, `oldest`); empty if not known.
        policy_digest: of the policy that decided; empty if not known.
        previous_policy_digest: of the policy of the last run, if it was another one; None otherwise.
        decided_at: when consent was decided.
        data_time: the time that the rows stand for.
        delivered_before: the people who were, or may have been, delivered before the task; None if not known.
        delivered: the people who are, or may be, delivered after it; None if not known.
        task_id: of a task that failed; empty: it ended well, or its id is in the notice.
        failure: the name of the class of the error with which the task failed, or why it is not known; empty: it ended
            well.
    """

    stage: Stage
    model: str
    destination: str
    numbers: Mapping[str, int]
    denied_by_reason: Mapping[str, int] = field(default_factory=dict)
    removals_by_cause: Mapping[str, int] = field(default_factory=dict)
    not_accepted_by_code: Mapping[str, int] = field(default_factory=dict)
    lag_s: Mapping[str, float] = field(default_factory=dict)
    policy_digest: str = ""
    previous_policy_digest: str | None = None
    decided_at: datetime | None = None
    data_time: datetime | None = None
    delivered_before: int | None = None
    delivered: int | None = None
    task_id: str = ""
    failure: str = ""

    @property
    def sync(self) -> str:
        """The name of the sync: `customers/webhook`; empty if not known."""
        return f"{self.model}/{self.destination}" if self.model and self.destination else ""

    @property
    def rejected_ratio(self) -> float | None:
        """The rows that the destination rejected, as a share of the permitted rows; None where nothing was permitted.

        `max_rejected_ratio` of the loads is about the same share.
        """
        permitted = self.numbers.get("permitted", 0)
        return self.numbers["rejected"] / permitted if permitted and "rejected" in self.numbers else None

    def data_age_s(self, at: datetime | None = None) -> float | None:
        """Return the age of the data in seconds; None if their time is not known."""
        if self.data_time is None:
            return None
        return max(0.0, ((at or datetime.now(UTC)) - self.data_time).total_seconds())


def outcomes_of_filter(
    model: str,
    counts: Mapping[str, PermittedCounts],
    *,
    policy_digest: str,
    policy_before: Mapping[str, str],
    decided_at: datetime,
    data_time: datetime,
) -> tuple[SyncOutcome, ...]:
    """Return the outcomes of a filter, one for each destination.

    Args:
        model: the model's name.
        counts: the decisions by destination.
        policy_digest: of the policy in force.
        policy_before: the digest of the last run's policy, by each destination for which it was another one.
        decided_at: when consent was decided.
        data_time: the time that the rows stand for.
    """
    return tuple(
        SyncOutcome(
            stage="filter",
            model=model,
            destination=name,
            numbers={"read": decided.read, "permitted": decided.permitted, "denied": decided.denied},
            denied_by_reason=decided.denied_by_reason,
            policy_digest=policy_digest,
            previous_policy_digest=policy_before.get(name),
            decided_at=decided_at,
            data_time=data_time,
        )
        for name, decided in counts.items()
    )


def outcomes_of_manifest(manifest: PermittedManifest) -> tuple[SyncOutcome, ...]:
    """Return the outcomes of the filter that wrote a permitted set."""
    return outcomes_of_filter(
        manifest.model,
        manifest.destinations,
        policy_digest=manifest.policy_digest,
        policy_before=manifest.policy_before,
        decided_at=manifest.decided_at,
        data_time=manifest.data_time,
    )


def outcome_of_load(counts: Mapping[str, Any]) -> SyncOutcome:
    """Return the outcome of a load, from its return value; `delivered` and `delivered_before` may be missing."""
    return SyncOutcome(
        stage="load",
        model=counts["model"],
        destination=counts["destination"],
        numbers=_numbers(counts),
        denied_by_reason=counts["denied_by_reason"],
        removals_by_cause=counts["removals_by_cause"],
        not_accepted_by_code=counts["not_accepted_by_code"],
        policy_digest=counts["policy_digest"],
        decided_at=datetime.fromisoformat(counts["decided_at"]),
        data_time=datetime.fromisoformat(counts["data_time"]),
        delivered_before=counts.get("delivered_before"),
        delivered=counts.get("delivered"),
    )


def outcome_of_record(record: RunRecord) -> SyncOutcome:
    """Return the outcome of a try that the ledger recorded when it ended. Who was delivered before is not known."""
    # No destination has a `/` in its name.
    model, _, destination = record.sync.rpartition("/")
    lag_s = {} if record.lags is None else record.lags.in_seconds()
    return SyncOutcome(
        stage="load" if record.kind == "load" else "withdrawals",
        model=model,
        destination=destination,
        numbers=asdict(record.counts),
        denied_by_reason=record.denied_by_reason,
        removals_by_cause=record.removals_by_cause,
        not_accepted_by_code=record.codes,
        lag_s={name.removesuffix("_s"): seconds for name, seconds in lag_s.items()},
        policy_digest=record.policy_digest,
        decided_at=record.decided_at,
        data_time=record.data_time,
        delivered=record.people,
        task_id=record.task.task,
        failure=record.failure,
    )


def outcome_of_withdrawals(counts: Mapping[str, Any]) -> SyncOutcome:
    """Return the outcome of the fast lane at one destination, from its part of the return value."""
    return SyncOutcome(
        stage="withdrawals",
        model=counts["model"],
        destination=counts["destination"],
        numbers=_numbers(counts),
        removals_by_cause=counts["removals_by_cause"],
        lag_s=counts["lag_s"],
        delivered_before=counts["delivered_before"],
        delivered=counts["delivered"],
    )


def _numbers(counts: Mapping[str, Any]) -> dict[str, int]:
    people = {"delivered_before", "delivered"}
    return {name: count for name, count in counts.items() if isinstance(count, int) and name not in people}
