"""What Segment's rules would have sent of a snapshot, beside what is sent here, with the reason for each difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import CategorySignal, ConsentStatus, Denied, plan_consent
from airflow_consent_retl.hooks.policy import read_policy
from airflow_consent_retl.migration.segment_rules import segment_would_send
from airflow_consent_retl.reports.counted_snapshot import OpenedSnapshot

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ColumnKind, ConsentMappingLike, ConsentPlan, Signature
    from airflow_consent_retl.hooks.policy import PolicySource


@dataclass(frozen=True, slots=True)
class DestinationComparison:
    """Rows of one destination. `both + only_segment + only_here + neither` are all rows.

    `differences` holds, by what Segment's rule says and what is said here, the rows for which the two differ.
    """

    both: int
    only_segment: int
    only_here: int
    neither: int
    differences: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class SegmentComparison:
    """The comparison for a snapshot, by destination."""

    rows: int
    policy_digest: str
    destinations: Mapping[str, DestinationComparison]

    def to_markdown(self) -> str:
        """Return it for people."""
        lines = [
            f"{self.rows:,} rows, under {self.policy_digest}",
            "",
            "| destination | both send | Segment alone | here alone | neither |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| `{name}` | {found.both:,} | {found.only_segment:,} | {found.only_here:,} | {found.neither:,} |"
                for name, found in self.destinations.items()
            ),
            "",
            "| destination | Segment | here | rows |",
            "|---|---|---|---:|",
        ]
        for name, found in self.destinations.items():
            lines += [
                f"| `{name}` | {theirs} | {ours} | {rows:,} |" for (theirs, ours), rows in found.differences.items()
            ]
        return "\n".join(lines)


def compare_with_segment(
    *,
    snapshot: object,
    policy: PolicySource,
    consent: ConsentMappingLike,
    destinations: Sequence[str],
    at: datetime | None = None,
) -> SegmentComparison:
    """Compare, with one pass over the snapshot's consent columns; nothing is sent or published.

    Segment sees of each category one column, which grants where its value is declared to; it knows no regimes, ages,
    notices or lists.

    Args:
        snapshot: the output of an `ExtractModelOperator`.
        policy: as for the filter.
        consent: as for the filter.
        destinations: to compare for.
        at: the time of the decision, with a zone; None: now.

    Raises:
        PolicyError: the policy does not fit the mapping or the columns.
    """
    moment = at or datetime.now(UTC)
    opened = OpenedSnapshot.of(snapshot)
    mapping, loaded = opened.mapping(consent), read_policy(policy).policy
    plans: list[ConsentPlan] = []

    def plan_for(kinds: Mapping[str, ColumnKind]) -> ConsentPlan:
        plans.append(plan_consent(loaded, destinations=destinations, mapping=mapping, columns=kinds, at=moment))
        return plans[-1]

    with opened.counted(plan_for, at=moment) as decided:
        plan = plans[-1]
        counts: dict[str, Counter[str]] = {str(name): Counter() for name in plan.destinations}
        differences: dict[str, Counter[tuple[str, str]]] = {str(name): Counter() for name in plan.destinations}
        for subject, tokens, rows in decided.signatures():
            preferences = _preferences(plan, tokens)
            for name, answer in plan.decide_signature(tokens, subject, at=moment).decisions.items():
                theirs = segment_would_send(loaded, name, preferences)
                sends = not isinstance(answer, Denied)
                counts[name][_KINDS[theirs.sends, sends]] += rows
                if theirs.sends != sends:
                    ours = ", ".join(map(str, answer.reasons)) if isinstance(answer, Denied) else str(answer.ground)
                    differences[name][theirs.rule, ours] += rows
        total = decided.counts.read
    return SegmentComparison(
        total,
        loaded.digest,
        {
            name: DestinationComparison(
                both=found["both"],
                only_segment=found["only_segment"],
                only_here=found["only_here"],
                neither=found["neither"],
                differences=dict(differences[name].most_common()),
            )
            for name, found in counts.items()
        },
    )


_KINDS = {(True, True): "both", (True, False): "only_segment", (False, True): "only_here", (False, False): "neither"}


def _preferences(plan: ConsentPlan, tokens: Signature) -> dict[str, bool | None]:
    """Return what a category's first column says by itself."""
    said: dict[str, bool | None] = {}
    for place, category in enumerate(plan.categories):
        signal = plan.signals[place]
        status = signal.status(tokens[place]) if isinstance(signal, CategorySignal) else ConsentStatus.UNKNOWN
        said[category] = None if status is ConsentStatus.UNKNOWN else status is ConsentStatus.GRANTED
    return said
