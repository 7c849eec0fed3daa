"""What people ask before and after a run: who gains by a policy, why somebody was not sent, what Segment would do.

Reads snapshots, sends nothing, and prints no value of a row.
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
