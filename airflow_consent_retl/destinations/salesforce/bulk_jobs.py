"""Jobs of Bulk API 2.0: Salesforce's words for them, and the codes in their tables of results.

https://developer.salesforce.com/docs/atlas.en-us.api_asynch.meta/api_asynch/bulk_api_2_0_ingest.htm, read 2026-11-29
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from airflow_consent_retl.contract.outcomes import UNNAMED_CODE, Outcome, RowStatus, vendor_code
from airflow_consent_retl.destinations.http.line_jobs import LineJobs

# `CODE:words of the vendor, which may quote the row:FieldName --`.
_ERROR = re.compile(r"([A-Z][A-Z0-9_]{2,79}):.*?(?::([A-Za-z0-9_.]+)(?: [A-Za-z0-9_.]+)* --)?\s*", re.DOTALL)
# The record was not written, and another try helps.
_AGAIN = frozenset({"UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "ALREADY_IN_PROCESS"})


def _refusal(line: Mapping[str, str]) -> Outcome:
    found = _ERROR.fullmatch(line["sf__Error"])
    values = [value for column, value in line.items() if column != "sf__Error"]
    code = vendor_code(found[1], row_values=values) if found else UNNAMED_CODE
    if code in _AGAIN:
        return Outcome(RowStatus.UNSENT, code)
    return Outcome(RowStatus.REJECTED, code, (found[2] or "") if found else "")


JOBS: Final = LineJobs(
    path="jobs/ingest",
    id_pattern=r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?",
    fill="batches",
    start={"state": "UploadComplete"},
    give_up={"state": "Aborted"},
    opened="Open",
    started=("UploadComplete", "InProgress"),
    complete="JobComplete",
    broken=("Failed", "Aborted"),
    fields={
        "kind": "object",
        "error": "errorMessage",
        "processed": "numberRecordsProcessed",
        "failed": "numberRecordsFailed",
    },
    done="successfulResults",
    failed="failedResults",
    left="unprocessedrecords",
    done_id="sf__Id",
    refusal=_refusal,
    refused_file=r"(InvalidBatch|ClientInputError)\b",
)
