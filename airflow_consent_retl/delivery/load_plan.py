"""The plan of a load or of the fast lane: what a run would do, in counts, causes and digests of policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.progress import fitted, table

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.planned_sync import PlannedSync
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.filtering.permitted import PermittedRows

# The counts of a load's report that a plan has, under the names that a run's counts have.
_ALWAYS: Final = ("permitted", "accepted", "removed")
_WORDS: Final = {
    "read": "rows of the model",
    "denied": "denied",
    "permitted": "permitted",
    "added": "would be added",
    "updated": "would be updated",
    "unchanged": "unchanged",
    "skipped": "skipped",
    "withheld": "permitted by the filter, not any more",
    "accepted": "would be sent",
    "removed": "would be removed",
    "not_removed": "should be removed, and cannot be",
    "cleared": "would lose fields",
    "delivered": "delivered before",
}
_OF_PLANS: Final = ("permitted", "added", "updated", "unchanged", "skipped", "accepted", "withheld", "removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """The actions of a run at one destination, in counts. It contains no value of a row.

    Args:
        model, destination: of the sync.
        counts: as the run would return them, if the destination accepted everything.
        denied_by_reason: of the permitted set.
        removals_by_cause: the people who would be removed or lose fields.
        withheld_by_cause: the people that the filter permitted and the source does not permit now.
        stopped_by: a sentence for each limit that would stop the run; the counts are then those of the explicit
            withdrawals, which a run carries out all the same.
        held_back: what these limits would hold back.
        notes: what happens to people who are removed, where that was chosen, and what makes the counts less certain.
        policy_digest, decided_at: of the filter's decision, or of the present policy; empty: none.
    """

    model: str
    destination: str
    counts: Mapping[str, int]
    denied_by_reason: Mapping[str, int] = field(default_factory=dict)
    removals_by_cause: Mapping[str, int] = field(default_factory=dict)
    withheld_by_cause: Mapping[str, int] = field(default_factory=dict)
    stopped_by: Sequence[str] = ()
    held_back: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()
    policy_digest: str = ""
    decided_at: str = ""

    @property
    def is_stopped(self) -> bool:
        """True if a limit would stop the run."""
        return bool(self.stopped_by)

    def as_document(self) -> dict[str, object]:
        """Return the plan for XCom and for JSON: names, counts, causes and digests."""
        document = asdict(self)
        counts = document.pop("counts")
        lists = {name: list(document.pop(name)) for name in ("stopped_by", "notes")}
        return {"dry_run": True, **document, **counts, **lists}

    def lines(self) -> list[str]:
        """Return the plan for the log: lines of at most 110 characters."""
        rows: list[tuple[str, int]] = []
        for name, people in self.counts.items():
            if people or name in _ALWAYS:
                rows.append((_WORDS.get(name, name), people))
            rows += [(f"- {cause}", some) for cause, some in self._causes(name).items() if some]
        found = [f"dry run of `{self.model}` to `{self.destination}`: nothing is sent, nothing is recorded"]
        found += table(["people", "count"], rows).splitlines()
        for name, people in self.held_back.items():
            if people:
                found.append(f"held back: {_WORDS.get(name, name)} {people:,}")
        found += [f"a run would stop: {sentence}" for sentence in self.stopped_by]
        found += self.notes
        return fitted("\n".join(found)).splitlines()

    def _causes(self, name: str) -> Mapping[str, int]:
        by_name = {
            "denied": self.denied_by_reason,
            "withheld": self.withheld_by_cause,
            "removed": self.removals_by_cause,
        }
        return by_name.get(name, {})


def plan_of_load(permitted: PermittedRows, report: LoadReport, sync: PlannedSync, *, delivered: int) -> LoadPlan:
    """Return the plan of a load, after `PlannedSync.load`.

    Args:
        permitted: the verified rows.
        report: of the load.
        sync: that was planned.
        delivered: the number of people delivered before.
    """
    decided, manifest = permitted.counts, permitted.manifest
    return LoadPlan(
        model=manifest.model,
        destination=permitted.destination,
        counts={"read": decided.read, "denied": decided.denied, **_counts(report), "delivered": delivered},
        denied_by_reason=decided.denied_by_reason,
        removals_by_cause=dict(report.removals_by_cause),
        withheld_by_cause=dict(sync.withheld),
        stopped_by=tuple(sync.stopped_by),
        held_back=_held_back(sync),
        notes=tuple(sync.notes),
        policy_digest=manifest.policy_digest,
        decided_at=manifest.decided_at.isoformat(),
    )


def plan_of_withdrawals(
    model: str, destination: str, report: LoadReport, sync: PlannedSync, *, delivered: int, policy_digest: str
) -> LoadPlan:
    """Return the plan of the fast lane at one destination, after `PlannedSync.withdraw`; arguments as `LoadPlan`."""
    numbers = report.as_counts()
    names = ("removed", "not_removed", "cleared", "not_cleared")
    return LoadPlan(
        model=model,
        destination=destination,
        counts={
            "delivered": delivered,
            "found": report.found,
            "absent": report.absent,
            **{name: numbers[name] for name in names},
        },
        removals_by_cause=dict(report.removals_by_cause),
        stopped_by=tuple(sync.stopped_by),
        held_back=_held_back(sync),
        notes=tuple(sync.notes),
        policy_digest=policy_digest,
    )


def _counts(report: LoadReport) -> dict[str, int]:
    numbers = report.as_counts()
    return {name: numbers[name] for name in (*_OF_PLANS, "not_removed", "cleared")}


def _held_back(sync: PlannedSync) -> dict[str, int]:
    counts = sync.held_back
    if counts is None:
        return {}
    return {"added": counts.added, "updated": counts.updated, "removed": sum(counts.removed.values())}
