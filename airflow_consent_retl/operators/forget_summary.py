"""The summary of one request to forget people: lines for the log, and the counts that the task returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_consent_retl.progress import TaskLog, filled, table
from airflow_consent_retl.storage.forget_requests import worst_statuses

if TYPE_CHECKING:
    from airflow_consent_retl.storage.forget_requests import ForgetRequest, ForgetRequests


def report_request(
    request: ForgetRequest, requests: ForgetRequests, suppressed: int, *, log: TaskLog
) -> dict[str, Any]:
    """Log a table of the people by status at each destination, and return the task's result for one request.

    Args:
        request: whose people were removed.
        requests: where it is noted what became of them.
        suppressed: how many of them were new on the suppression list.
        log: the task's.
    """
    places = requests.destinations(request)
    at_rest = requests.at_rest(request)
    in_all = worst_statuses(places, request.digests)
    statuses = list(dict.fromkeys(status for place in places for status in place.counts))
    rows = [[place.sync, *(place.counts.get(status, 0) for status in statuses)] for place in places]
    shown = filled(["destination", *statuses], rows, always={"destination"})
    is_complete = requests.is_complete(request)
    log.info(
        "request %s: %s people, %s of them newly suppressed; %s\n%s",
        request.id,
        f"{len(request.digests):,}",
        f"{suppressed:,}",
        "nothing is left" if is_complete else "not finished",
        table(*shown),
    )
    return {
        "request": request.id,
        "people": len(request.digests),
        "suppressed": suppressed,
        "statuses": {str(status): number for status, number in sorted(in_all.items())},
        "destinations": {place.sync: place.counts for place in places},
        "erased": {
            "snapshots": 0 if at_rest is None else at_rest.snapshots,
            "permitted": 0 if at_rest is None else at_rest.permitted,
        },
        "complete": is_complete,
    }
