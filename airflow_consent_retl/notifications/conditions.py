"""Conditions on what a task did for a sync. Each answers with a sentence in counts, or that it does not hold.

A condition of your own is a subclass of `Condition`: it gets names, counts, digests and times, and no value of a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Literal

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.progress import by_count, listed, short

if TYPE_CHECKING:
    from airflow_consent_retl.signals.outcome import SyncOutcome

_NOT_DONE = {
    "rejected": "rejected",
    "uncertain": "without a clear answer",
    "unsent": "not sent",
    "not_removed": "not removed",
    "not_cleared": "with a field that was not cleared",
}


class Condition(ABC):
    """A condition on the outcome of a task for one sync."""

    without_counts: ClassVar[bool] = False
    """Whether it is asked too about a task that failed before it counted anything: `numbers` is empty then."""

    @abstractmethod
    def found(self, outcome: SyncOutcome) -> str | None:
        """Return one sentence about what was found, in names, counts and digests; None: the condition does not hold."""


@dataclass(frozen=True, slots=True)
class TaskFailed(Condition):
    """A task of this package failed, whatever it did before."""

    without_counts = True

    def found(self, outcome: SyncOutcome) -> str | None:
        """Return the task, the name of the error's class, and what is known of the work."""
        if not outcome.failure:
            return None
        task = f"task `{outcome.task_id}`" if outcome.task_id else "the task"
        if not outcome.numbers:
            return f"{task} failed before it counted anything: {outcome.failure}"
        accepted, removed = (outcome.numbers.get(name, 0) for name in ("accepted", "removed"))
        return f"{task} failed: {outcome.failure}; {accepted:,} rows were sent and {removed:,} people removed before"


@dataclass(frozen=True, slots=True)
class PartialSuccess(Condition):
    """A load, or the fast lane, did one part of its work and not another: rejected, unclear, unsent, not removed."""

    def found(self, outcome: SyncOutcome) -> str | None:
        """Return how many rows were done, and how many were not, by kind."""
        numbers = outcome.numbers
        done = sum(numbers.get(name, 0) for name in ("accepted", "removed", "cleared"))
        left = {kind: numbers.get(name, 0) for name, kind in _NOT_DONE.items() if numbers.get(name)}
        if outcome.stage == "filter" or not done or not left:
            return None
        kinds = ", ".join(f"{rows:,} {kind}" for kind, rows in left.items())
        return f"only a part was done: {done:,} rows were, and {kinds}{_worst(outcome.not_accepted_by_code)}"


@dataclass(frozen=True, slots=True)
class RejectedRate(Condition):
    """The destination rejected more than a share of the permitted rows.

    Args:
        over: the share, 0 to 1, as `max_rejected_ratio` of the loads.
    """

    over: float

    def __post_init__(self) -> None:
        _check_share("RejectedRate", "over", self.over)

    def found(self, outcome: SyncOutcome) -> str | None:
        """Return the share, and the most frequent codes."""
        ratio = outcome.rejected_ratio
        if ratio is None or ratio <= self.over:
            return None
        rows = outcome.numbers["rejected"]
        codes = _worst(outcome.not_accepted_by_code)
        return f"{rows:,} rows were rejected, {ratio:.1%} of the permitted, and the limit is {self.over:.1%}{codes}"


@dataclass(frozen=True, slots=True)
class LagOver(Condition):
    """People were removed later after their withdrawal than they should be. It needs `withdrawn_at` of the fast lane.

    Args:
        limit_s: seconds.
        of: which of the lags counts.
    """

    limit_s: float
    of: Literal["median", "p95", "oldest"] = "oldest"

    def __post_init__(self) -> None:
        _check_seconds("LagOver", "limit_s", self.limit_s)
        if self.of not in ("median", "p95", "oldest"):
            raise ConfigurationError(f"LagOver.of: expected median, p95 or oldest, got `{self.of}`")

    def found(self, outcome: SyncOutcome) -> str | None:
        """Return the lag and the limit."""
        lag_s = outcome.lag_s.get(self.of)
        if lag_s is None or lag_s <= self.limit_s:
            return None
        return (
            f"the {self.of} lag from a withdrawal to its confirmed removal is {_time(lag_s)}, and the limit is "
            f"{_time(self.limit_s)}"
        )


@dataclass(frozen=True, slots=True)
class DataAgeOver(Condition):
    """The data that a task worked on are too old.

    Args:
        limit_s: seconds.
    """

    limit_s: float

    def __post_init__(self) -> None:
        _check_seconds("DataAgeOver", "limit_s", self.limit_s)

    def found(self, outcome: SyncOutcome) -> str | None:
        """Return the age and the limit."""
        age_s = outcome.data_age_s()
        if age_s is None or age_s <= self.limit_s:
            return None
        return f"the data are {_time(age_s)} old, and the limit is {_time(self.limit_s)}"


@dataclass(frozen=True, slots=True)
class PolicyChanged(Condition):
    """The filter decided under another policy than the last run of this model for this destination."""

    def found(self, outcome: SyncOutcome) -> str | None:
        """Return the digests of both policies."""
        if outcome.previous_policy_digest is None:
            return None
        before, now = short(outcome.previous_policy_digest), short(outcome.policy_digest)
        return f"the policy changed since the last run, from {before} to {now}: it permits {_permitted(outcome)}"


@dataclass(frozen=True, slots=True)
class NothingSent(Condition):
    """A load sent no row, or a whole run had every task of this package skipped.

    Args:
        although_unchanged: whether a load also counts whose people are all at the destination, as they are now.
    """

    although_unchanged: bool = False

    without_counts = True

    def found(self, outcome: SyncOutcome) -> str | None:
        """Return how many rows were read and permitted."""
        if outcome.stage == "skipped":
            return "nothing was sent: every task of this package was skipped"
        numbers = outcome.numbers
        at_destination = 0 if self.although_unchanged else numbers.get("unchanged", 0)
        if outcome.stage != "load" or not numbers or numbers["accepted"] or at_destination:
            return None
        return f"nothing was sent: of {numbers['read']:,} rows read, {numbers['permitted']:,} are permitted"


@dataclass(frozen=True, slots=True)
class AudienceDown(Condition):
    """The people at the destination became fewer in one run, by a share or more.

    Args:
        by: the share of the people before, 0 to 1.
    """

    by: float

    def __post_init__(self) -> None:
        _check_share("AudienceDown", "by", self.by)

    def found(self, outcome: SyncOutcome) -> str | None:
        """Return the people before and after, and why people were removed."""
        before, after = outcome.delivered_before, outcome.delivered
        if not before or after is None or after >= before or (before - after) / before < self.by:
            return None
        causes = listed(outcome.removals_by_cause.items())
        return (
            f"the audience went from {before:,} to {after:,} people, down by {(before - after) / before:.1%}, and the "
            f"limit is {self.by:.1%}{f' ({causes})' if causes else ''}"
        )


def _worst(codes: Mapping[str, int], count: int = 3) -> str:
    return f" ({listed(by_count(codes)[:count])})" if codes else ""


def _permitted(outcome: SyncOutcome) -> str:
    return f"{outcome.numbers['permitted']:,} of {outcome.numbers['read']:,} rows"


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds))) if seconds >= 60 else f"{seconds:,.1f} s"


def _check_share(condition: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ConfigurationError(f"{condition}.{name}: expected a share from 0 to 1, got {value!r}")


def _check_seconds(condition: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ConfigurationError(f"{condition}.{name}: expected seconds, got {value!r}")
