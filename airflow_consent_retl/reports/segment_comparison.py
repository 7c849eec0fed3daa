"""The comparison of a snapshot's recipients under Segment's rules and here, with the reason for each difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import Denied, plan_consent
from airflow_consent_retl.hooks.policies import read_policy
from airflow_consent_retl.migration.segment_rules import segment_would_send
from airflow_consent_retl.migration.segment_view import SegmentView
from airflow_consent_retl.reports.counted_snapshot import counted, mapping_of
from airflow_consent_retl.storage import open_snapshot

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ColumnKind, ConsentMappingLike, ConsentPlan
    from airflow_consent_retl.hooks.central_policy import PolicySource
    from airflow_consent_retl.migration.segment_view import SegmentRules


@dataclass(frozen=True, slots=True)
class DestinationComparison:
    """Rows of one destination. `both + only_segment + only_here + neither` are all rows.

    `differences` has the number of rows by Segment's rule and the reasons here, where the two decide differently.
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
    rules: SegmentRules
    destinations: Mapping[str, DestinationComparison]

    def to_markdown(self) -> str:
        """Return the comparison as Markdown, for people."""
        lines = [
            f"{self.rows:,} rows, under {self.policy_digest}, compared with {_RULES[self.rules]}",
            "",
            "| destination | both send | Segment alone | here alone | neither |",
            "|---|---:|---:|---:|---:|",
            *(
                f"| `{name}` | {found.both:,} | {found.only_segment:,} | {found.only_here:,} | {found.neither:,} |"
                for name, found in self.destinations.items()
            ),
        ]
        differences = [
            f"| `{name}` | {_cell(theirs)} | {_cell(ours)} | {rows:,} |"
            for name, found in self.destinations.items()
            for (theirs, ours), rows in found.differences.items()
        ]
        if differences:
            lines += ["", "| destination | Segment | here | rows |", "|---|---|---|---:|", *differences]
        return "\n".join(lines)


def compare_with_segment(
    *,
    snapshot: object,
    policy: PolicySource,
    consent: ConsentMappingLike,
    destinations: Sequence[str],
    rules: SegmentRules = "reverse_etl",
    unenforced: Collection[str] = (),
    at: datetime | None = None,
) -> SegmentComparison:
    """Compare, with one pass over the snapshot's consent columns; nothing is sent or published.

    Segment reads one column or key for each category, and declared values of it grant; it knows no regimes, ages,
    notices or lists. `rules` names the one of Segment's two sets of rules that the rows were under, since the two
    differ where a row has no consent at all.

    Args:
        snapshot: the output of an `ExtractModelOperator`.
        policy: as for the filter.
        consent: as for the filter.
        destinations: to compare for.
        rules: `reverse_etl`: a column for each category, where a missing value is a no. `connections`: the consent
            object of events and the integrations object; an event without consent object is sent everywhere. For it,
            `consent` is a `ConsentObject`, alone or in `RowConsent` with the `IntegrationsObject`.
        unenforced: the destinations for which Segment enforces nothing: AWS S3 and Engage.
        at: the time of the decision, with a zone; None: now.

    Raises:
        PolicyError: the policy does not fit the mapping or the columns, or the rules do not fit the mapping.
    """
    decided_at = at or datetime.now(UTC)
    opened = open_snapshot(snapshot)
    mapping, loaded = mapping_of(opened, consent), read_policy(policy).policy
    views: list[SegmentView] = []

    def plan_for(kinds: Mapping[str, ColumnKind]) -> ConsentPlan:
        plan = plan_consent(loaded, destinations=destinations, mapping=mapping, columns=kinds, at=decided_at)
        views.append(SegmentView.of(plan, mapping, rules=rules))
        return views[-1].plan

    with counted(opened, plan_for, at=decided_at) as decided:
        view = views[-1]
        plan = view.plan
        counts: dict[str, Counter[str]] = {str(name): Counter() for name in plan.destinations}
        differences: dict[str, Counter[tuple[str, str]]] = {str(name): Counter() for name in plan.destinations}
        for subject, tokens, rows in decided.signatures():
            preferences, integrations = view.preferences(tokens), view.integrations(tokens)
            for name, answer in plan.decide_signature(tokens, subject, at=decided_at).decisions.items():
                theirs = segment_would_send(loaded, name, preferences, integrations=integrations, unenforced=unenforced)
                sends = not isinstance(answer, Denied)
                counts[name][_KINDS[theirs.sends, sends]] += rows
                if theirs.sends != sends:
                    ours = ", ".join(map(str, answer.reasons)) if isinstance(answer, Denied) else str(answer.ground)
                    differences[name][theirs.rule, ours] += rows
        total = decided.counts.read
    return SegmentComparison(
        total,
        loaded.digest,
        rules,
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

_RULES = {
    "reverse_etl": "Segment's rules for Reverse ETL",
    "connections": "Segment's rules for events",
}


def _cell(text: str) -> str:
    # The id of a category may contain the character that ends a cell.
    return text.replace("|", "\\|")
