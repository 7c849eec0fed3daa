"""The migration from Segment: its consent categories as a policy, and its published rules."""

from __future__ import annotations

from airflow_consent_retl.migration.segment_categories import ImportedPolicy, import_segment_categories
from airflow_consent_retl.migration.segment_rules import SegmentAnswer, segment_would_send

__all__ = ["ImportedPolicy", "SegmentAnswer", "import_segment_categories", "segment_would_send"]
