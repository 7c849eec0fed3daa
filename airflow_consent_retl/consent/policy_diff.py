"""The rows that a change of policy releases or withdraws: both policies, applied to the same signatures.

Contains counts. Never sees a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.decision import Denied
from airflow_consent_retl.progress import by_count, listed

if TYPE_CHECKING:
    from airflow_consent_retl.consent.linked import Subject
    from airflow_consent_retl.consent.plan import ConsentPlan, Signature
    from airflow_consent_retl.consent.policy import DestinationName

Counted = Iterable[tuple["Subject", "Signature", int]]


@dataclass(frozen=True, slots=True)
class DestinationDiff:
    """The rows of one destination under the old and the new policy.

    `gained_by_reason` counts the gained rows by the reasons for which the old policy denied them, and `lost_by_reason`
    the lost rows by the reasons for which the new policy denies them. A reason is a category's id and status, such as
    `C0004:unknown`. A row with several reasons counts under each.

    `opened` counts the rows that both policies permit, and that the old one alone sends without some guarded field or
    without an answer; `closed` those that the new one alone does. `opened_fields` counts the former by field.
    """

    permitted_before: int
    permitted_after: int
    gained: int
    lost: int
    gained_by_reason: Mapping[str, int]
    lost_by_reason: Mapping[str, int]
    opened: int = 0
    closed: int = 0
    opened_fields: Mapping[str, int] = field(default_factory=dict)

    @property
    def released(self) -> int:
        """The rows that the new policy newly sends, or sends with more."""
        return self.gained + self.opened

    @property
    def taken(self) -> int:
        """The rows that the new policy no longer sends, or sends with less."""
        return self.lost + self.closed


@dataclass(frozen=True, slots=True)
class PolicyDiff:
    """The gained and lost rows by destination. For each, `permitted_after = permitted_before + gained - lost`."""

    old_digest: str
    new_digest: str
    rows: int
    destinations: Mapping[DestinationName, DestinationDiff]

    def to_markdown(self) -> str:
        """Return a table for people to read."""
        lines = [
            f"Of {self.rows:,} rows, under {self.old_digest} before and {self.new_digest} after:",
            "",
            "| destination | permitted before | after | gain | lose | denied before because | denied now because |",
            "|---|---:|---:|---:|---:|---|---|",
        ]
        lines += [
            f"| `{name}` | {diff.permitted_before:,} | {diff.permitted_after:,} | {diff.gained:,} | {diff.lost:,} | "
            f"{listed(by_count(diff.gained_by_reason))} | {listed(by_count(diff.lost_by_reason))} |"
            for name, diff in self.destinations.items()
        ]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class PlanPair:
    """Two plans that read the same rows.

    Args:
        plan: the new policy's plan, which also reads the signals that only the old policy needs.
        old: the old policy's plan; its destinations are compared.
        places: the place of each signal of the old plan among the signals of the new plan.
    """

    plan: ConsentPlan
    old: ConsentPlan
    places: tuple[int, ...]

    def diff(self, counted: Counted, *, at: datetime) -> PolicyDiff:
        """Decide every signature under both policies, and count the rows.

        Args:
            counted: tuples of the subject's status, the signature under `plan`, and the number of rows.
            at: the time of the decision.
        """
        rows = 0
        names = self.old.destinations
        counts: dict[DestinationName, Counter[str]] = {name: Counter() for name in names}
        gained: dict[DestinationName, Counter[str]] = {name: Counter() for name in names}
        lost: dict[DestinationName, Counter[str]] = {name: Counter() for name in names}
        opened: dict[DestinationName, Counter[str]] = {name: Counter() for name in names}
        for subject, tokens, count in counted:
            rows += count
            after = self.plan.decide_signature(tokens, subject, at=at)
            before = self.old.decide_signature(tuple(tokens[place] for place in self.places), subject, at=at)
            for name in names:
                was, is_ = before.decisions[name], after.decisions[name]
                counts[name]["before"] += 0 if isinstance(was, Denied) else count
                counts[name]["after"] += 0 if isinstance(is_, Denied) else count
                if isinstance(was, Denied) and not isinstance(is_, Denied):
                    counts[name]["gained"] += count
                    gained[name].update({reason.code: count for reason in was.reasons})
                elif isinstance(is_, Denied) and not isinstance(was, Denied):
                    counts[name]["lost"] += count
                    lost[name].update({reason.code: count for reason in is_.reasons})
                elif not isinstance(was, Denied):
                    kept_before, kept_now = set(before.withheld.get(name, ())), set(after.withheld.get(name, ()))
                    counts[name]["opened"] += count if kept_before - kept_now else 0
                    counts[name]["closed"] += count if kept_now - kept_before else 0
                    opened[name].update(dict.fromkeys(kept_before - kept_now, count))
        return PolicyDiff(
            self.old.policy.digest,
            self.plan.policy.digest,
            rows,
            {
                name: DestinationDiff(
                    permitted_before=counts[name]["before"],
                    permitted_after=counts[name]["after"],
                    gained=counts[name]["gained"],
                    lost=counts[name]["lost"],
                    gained_by_reason=dict(sorted(gained[name].items())),
                    lost_by_reason=dict(sorted(lost[name].items())),
                    opened=counts[name]["opened"],
                    closed=counts[name]["closed"],
                    opened_fields=dict(sorted(opened[name].items())),
                )
                for name in names
            },
        )


def pair_plans(old: ConsentPlan, new: ConsentPlan) -> PlanPair:
    """Return two plans for one reading of the rows.

    Raises `ValueError` if the old plan has a destination that the new one has not.
    """
    if not set(old.destinations) <= set(new.destinations):
        raise ValueError("the new plan must have every destination of the old one")
    signals = list(new.signals)
    places = []
    for signal in old.signals:
        if signal not in signals:
            signals.append(signal)
        places.append(signals.index(signal))
    others = (*new.others, (old, tuple(places)))
    return PlanPair(replace(new, signals=tuple(signals), others=others), old, tuple(places))
