"""Reports for before and after a run: the effects of a policy, the reasons of a decision, a comparison with Segment.

They read snapshots, send nothing, and print no value of a row.
"""

from __future__ import annotations

from airflow_consent_retl.reports.explanation import DestinationExplanation, Explanation, SignalExplanation, explain
from airflow_consent_retl.reports.policy_changes import diff_policies
from airflow_consent_retl.reports.segment_comparison import SegmentComparison, compare_with_segment

__all__ = [
    "DestinationExplanation",
    "Explanation",
    "SegmentComparison",
    "SignalExplanation",
    "compare_with_segment",
    "diff_policies",
    "explain",
]
