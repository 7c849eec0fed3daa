"""The names of this package, for type checkers: `__init__.py` finds them as they are asked for."""

from airflow_consent_retl.reports.evidence_bundle import evidence as evidence
from airflow_consent_retl.reports.explanation import DestinationExplanation as DestinationExplanation
from airflow_consent_retl.reports.explanation import Explanation as Explanation
from airflow_consent_retl.reports.explanation import SignalExplanation as SignalExplanation
from airflow_consent_retl.reports.explanation import explain as explain
from airflow_consent_retl.reports.history_of_person import PersonHistory as PersonHistory
from airflow_consent_retl.reports.history_of_person import person_history as person_history
from airflow_consent_retl.reports.policy_changes import diff_policies as diff_policies
from airflow_consent_retl.reports.policy_review import lint as lint
from airflow_consent_retl.reports.recorded_decisions import DecisionEvent as DecisionEvent
from airflow_consent_retl.reports.recorded_decisions import RecordedRuns as RecordedRuns
from airflow_consent_retl.reports.recorded_deliveries import DeliveryEvent as DeliveryEvent
from airflow_consent_retl.reports.recorded_requests import ForgottenPlace as ForgottenPlace
from airflow_consent_retl.reports.recorded_requests import RecordedRequest as RecordedRequest
from airflow_consent_retl.reports.recorded_requests import SuppressionEvent as SuppressionEvent
from airflow_consent_retl.reports.rejected_rows import RejectedRow as RejectedRow
from airflow_consent_retl.reports.rejected_rows import RejectedRows as RejectedRows
from airflow_consent_retl.reports.rejected_rows import RejectedRun as RejectedRun
from airflow_consent_retl.reports.rejected_rows import rejected as rejected
from airflow_consent_retl.reports.rejected_rows import rejected_runs as rejected_runs
from airflow_consent_retl.reports.segment_comparison import SegmentComparison as SegmentComparison
from airflow_consent_retl.reports.segment_comparison import compare_with_segment as compare_with_segment
from airflow_consent_retl.reports.signature_check import CheckedManifest as CheckedManifest
from airflow_consent_retl.reports.signature_check import verify as verify

MODULES: dict[str, str]
__all__: list[str]
