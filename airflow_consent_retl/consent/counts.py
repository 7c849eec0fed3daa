"""Counts of decisions by destination and reason, from the histogram of signatures.

The numbers add up: `read = permitted + denied` for each destination. Never sees a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from airflow_consent_retl.consent.decision import Denied, SubjectStatus
from airflow_consent_retl.consent.linked import status_of
from airflow_consent_retl.consent.signals import ConsentStatus
from airflow_consent_retl.fields.field_values import answer_name

if TYPE_CHECKING:
    from airflow_consent_retl.consent.linked import Subject
    from airflow_consent_retl.consent.plan import ConsentPlan, Signature, SignatureDecision
    from airflow_consent_retl.consent.policy import CategoryId, DestinationName

    SomeSubject = TypeVar("SomeSubject", bound=Subject)


@dataclass(frozen=True, slots=True)
class DestinationCounts:
    """Rows of one destination. A row denied for two reasons counts under both in `denied_by_reason`.

    In `denied_by_reasons` each denied row counts once, under all of its reasons: the values add up to `denied`.
    """

    read: int
    permitted: int
    denied: int
    denied_by_reason: Mapping[str, int]
    denied_by_reasons: Mapping[tuple[str, ...], int]
    # Rows that are sent without a field, by field; and without a yes to a category, by `answer_name`.
    withheld_fields: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DecisionCounts:
    """Rows of one run, by destination and in total.

    `invalid` counts the rows with an invalid status, or a record that cannot be read, in any category of the plan, also
    if another record decides; `for_nobody` the rows that no
    destination receives, `by_subject` all rows by the status of their ids, and `conflicts`, by category, the rows in
    which two records of the category disagree. `always_granted` are the categories that every row grants.
    """

    read: int
    invalid: int
    for_nobody: int
    by_subject: Mapping[SubjectStatus, int]
    destinations: Mapping[DestinationName, DestinationCounts]
    conflicts: Mapping[CategoryId, int] = field(default_factory=dict)
    always_granted: tuple[CategoryId, ...] = ()


def count_decisions(
    histogram: Mapping[tuple[SomeSubject, Signature], int],
    plan: ConsentPlan,
    *,
    at: datetime,
    decided_before: Mapping[tuple[SomeSubject, Signature], SignatureDecision] = MappingProxyType({}),
) -> DecisionCounts:
    """Decide every signature of a histogram (signature to number of rows) and count the rows.

    Args:
        histogram: the number of rows by subject and signature.
        plan: decides them.
        at: the time of the decision.
        decided_before: the plan's decisions at this time, as far as they were made before.
    """
    by_subject = dict.fromkeys(SubjectStatus, 0)
    reasons: dict[DestinationName, Counter[tuple[str, ...]]] = {name: Counter() for name in plan.destinations}
    shared = dict(plan.answers)
    # INVARIANT: an answer that was asked for is named, also if everyone gives it: a load knows by its name that rows
    # without a yes are marked.
    withheld: dict[DestinationName, Counter[str]] = {
        name: Counter(dict.fromkeys(map(answer_name, shared.get(name, ())), 0)) for name in plan.destinations
    }
    conflicts: Counter[CategoryId] = Counter()
    granted: Counter[CategoryId] = Counter()
    read = invalid = for_nobody = 0
    for (subject, tokens), rows in histogram.items():
        if rows < 0:
            raise ValueError("a signature cannot have fewer than 0 rows")
        if rows == 0:
            continue
        decided = decided_before.get((subject, tokens)) or plan.decide_signature(tokens, subject, at=at)
        read += rows
        by_subject[status_of(subject)] += rows
        invalid += rows if decided.unreadable or ConsentStatus.INVALID in decided.statuses else 0
        for_nobody += rows if not decided.recipients else 0
        for category, status in zip(plan.categories, decided.statuses, strict=True):
            granted[category] += rows if status is ConsentStatus.GRANTED else 0
        conflicts.update(dict.fromkeys(decided.conflicts, rows))
        for destination, fields in decided.withheld.items():
            withheld[destination].update(dict.fromkeys(fields, rows))
        for destination, decision in decided.decisions.items():
            if isinstance(decision, Denied):
                reasons[destination][tuple(reason.code for reason in decision.reasons)] += rows
    destinations = {name: _destination_counts(read, counter, withheld[name]) for name, counter in reasons.items()}
    always_granted = tuple(category for category, rows in granted.items() if rows == read)
    return DecisionCounts(
        read, invalid, for_nobody, by_subject, destinations, dict(sorted(conflicts.items())), always_granted
    )


def _destination_counts(read: int, by_reasons: Counter[tuple[str, ...]], withheld: Counter[str]) -> DestinationCounts:
    by_reason: Counter[str] = Counter()
    for codes, rows in by_reasons.items():
        for code in codes:
            by_reason[code] += rows
    denied = by_reasons.total()
    return DestinationCounts(
        read=read,
        permitted=read - denied,
        denied=denied,
        denied_by_reason=dict(sorted(by_reason.items())),
        denied_by_reasons=dict(sorted(by_reasons.items())),
        withheld_fields=dict(sorted(withheld.items())),
    )
