"""Names of the folders of records and reports in a workspace."""

from __future__ import annotations

from typing import Final

RECORDS: Final = "records"
DELIVERIES: Final = "deliveries"
DECISIONS: Final = "decisions"
REPORTS: Final = "reports"
