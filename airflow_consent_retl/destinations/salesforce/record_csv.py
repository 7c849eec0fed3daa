"""The lines of a Bulk API 2.0 job.

An empty value means "leave the field as it is" to Salesforce, and `#N/A` empties a field
(https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/datafiles_prepare_csv.htm, read
2026-11-29). So a NULL and an empty text are sent as `#N/A`, and a text that is exactly `#N/A` is refused.
"""

from __future__ import annotations

from airflow_consent_retl.destinations.http.keyed_lines import LineForm

EMPTY = "#N/A"
# https://developer.salesforce.com/docs/atlas.en-us.api_bulk_v2.meta/api_bulk_v2/bulk_api_2_limits.htm, read 2026-11-29;
# the field's limit is the longest text area's, 131,072.
LINES = LineForm(vendor="Salesforce", empty=EMPTY, max_field_characters=131_072, max_row_characters=400_000)
