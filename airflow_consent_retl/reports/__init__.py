"""Reports for before and after a run: the effects of a policy, the reasons of a decision, the history of one person.

They read snapshots and records, send nothing, and print no value of a row.
"""

from __future__ import annotations

from airflow_consent_retl.reports.evidence import evidence
from airflow_consent_retl.reports.explanation import DestinationExplanation, Explanation, SignalExplanation, explain
from airflow_consent_retl.reports.person_history import PersonHistory, person_history
from airflow_consent_retl.reports.policy_changes import diff_policies
from airflow_consent_retl.reports.policy_review import lint
from airflow_consent_retl.reports.recorded_decisions import DecisionEvent, RecordedRuns
from airflow_consent_retl.reports.recorded_deliveries import DeliveryEvent
from airflow_consent_retl.reports.recorded_requests import ForgottenPlace, RecordedRequest, SuppressionEvent
from airflow_consent_retl.reports.rejected_rows import RejectedRow, RejectedRows, RejectedRun, rejected, rejected_runs
from airflow_consent_retl.reports.segment_comparison import SegmentComparison, compare_with_segment
from airflow_consent_retl.reports.signature_check import CheckedManifest, verify

__all__ = [
    "CheckedManifest",
    "DecisionEvent",
    "DeliveryEvent",
    "DestinationExplanation",
    "Explanation",
    "ForgottenPlace",
    "PersonHistory",
    "RecordedRequest",
    "RecordedRuns",
    "RejectedRow",
    "RejectedRows",
    "RejectedRun",
    "SegmentComparison",
    "SignalExplanation",
    "SuppressionEvent",
    "compare_with_segment",
    "diff_policies",
    "evidence",
    "explain",
    "lint",
    "person_history",
    "rejected",
    "rejected_runs",
    "verify",
]
