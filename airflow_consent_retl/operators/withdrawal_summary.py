"""The summary of the fast lane: lines for the log, and the counts that the task returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.progress import Log, TaskLog, filled, listed, table

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.report import LoadReport

# A run warns if more than this share of the people delivered is not in the answer.
_MANY_ABSENT = 0.2


def log_found(log: TaskLog, destination: str, report: LoadReport) -> None:
    """Log how many of the people delivered the answer contains."""
    delivered = report.found + report.absent
    say = log.warning if report.absent > _MANY_ABSENT * delivered else log.info
    say("`%s`: the answer contains %s of %s people delivered", destination, f"{report.found:,}", f"{delivered:,}")


def log_withdrawals(log: Log, model: str, served: Mapping[str, Mapping[str, Any]]) -> None:
    """Log a table of what was done at each destination, from the counts of `counts_of`."""
    headers = ["destination", "found", "removed", "not removed", "cleared", "may be there", "because"]
    headers += ["lag median", "p95", "oldest"]
    rows = [
        [
            name,
            counts["found"],
            counts["removed"],
            counts["not_removed"],
            counts["cleared"],
            counts["delivered"],
            listed(counts["removals_by_cause"].items()),
            *(f"{counts['lag_s'][key]:,.0f} s" if counts["lag_s"] else "" for key in ("median", "p95", "oldest")),
        ]
        for name, counts in served.items()
    ]
    shown = filled(headers, rows, always={"destination", "removed", "may be there"})
    log.info("withdrawals of model `%s`\n%s", model, table(*shown))


def counts_of(delivered: int, report: LoadReport) -> dict[str, Any]:
    """Return what the task returns for one destination.

    Args:
        delivered: how many people may be there after it.
        report: of what was removed.
    """
    from airflow_consent_retl.delivery.lags import Lags

    numbers, lags = report.as_counts(), Lags.of(report.lags_s)
    return {
        "delivered": delivered,
        "found": report.found,
        "absent": report.absent,
        "removed": numbers["removed"],
        "not_removed": numbers["not_removed"],
        "cleared": numbers["cleared"],
        "not_cleared": numbers["not_cleared"],
        "removals_by_cause": dict(report.removals_by_cause),
        "lag_s": {} if lags is None else {"median": lags.median_s, "p95": lags.p95_s, "oldest": lags.oldest_s},
    }
