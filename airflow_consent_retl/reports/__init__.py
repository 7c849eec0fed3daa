"""Reports for before and after a run: the effects of a policy, the reasons of a decision, the history of one person.

They read snapshots and records, send nothing, and print no value of a row.

A name's module is imported when the name is first used: the page in Airflow needs few of them, and most load an engine.
"""

from __future__ import annotations

from airflow_consent_retl.late_names import late_names

# The names of each module, with the path of the module inside this package.
_NAMES = {
    "evidence_bundle": ("evidence",),
    "explanation": ("DestinationExplanation", "Explanation", "SignalExplanation", "explain"),
    "history_of_person": ("PersonHistory", "person_history"),
    "policy_changes": ("diff_policies",),
    "policy_review": ("lint",),
    "recorded_decisions": ("DecisionEvent", "RecordedRuns"),
    "recorded_deliveries": ("DeliveryEvent",),
    "recorded_requests": ("ForgottenPlace", "RecordedRequest", "SuppressionEvent"),
    "rejected_rows": ("RejectedRow", "RejectedRows", "RejectedRun", "rejected", "rejected_runs"),
    "segment_comparison": ("SegmentComparison", "compare_with_segment"),
    "signature_check": ("CheckedManifest", "verify"),
}
MODULES = {name: f"{__name__}.{module}" for module, names in _NAMES.items() for name in names}

__all__ = sorted(MODULES)  # noqa: PLE0605 - computed from the one list
__getattr__, __dir__ = late_names(__name__, MODULES)
