"""The summary of a load: a table for the log, and the counts that the task returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_consent_retl.progress import Log, filled, table

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.filtering.permitted import PermittedRows

_ALWAYS_SHOWN = frozenset({"destination", "read", "permitted", "accepted", "removed"})


def log_summary(log: Log, permitted: PermittedRows, report: LoadReport) -> dict[str, Any]:
    """Log what a load did, and return its counts."""
    from airflow_consent_retl.filtering.summary import reasons

    decided, manifest, destination = permitted.counts, permitted.manifest, permitted.destination
    numbers = {"read": decided.read, "denied": decided.denied, **report.as_counts()}
    shown = filled(["destination", *numbers], [[destination, *numbers.values()]], always=_ALWAYS_SHOWN)
    codes = ", ".join(filter(None, (report.sent.worst(), report.removed.worst())))
    because = {"denied because": reasons(decided), "not accepted because": codes}
    lines = [table(*shown), *(f"{name} {text}" for name, text in because.items() if text)]
    log.info("load of model `%s`\n%s", manifest.model, "\n".join(lines))
    return {
        "destination": destination,
        "model": manifest.model,
        **numbers,
        "denied_by_reason": decided.denied_by_reason,
        "removals_by_cause": dict(report.removals_by_cause),
        "not_accepted_by_code": dict(report.sent.codes + report.removed.codes),
        "batches": report.sent.batches + report.removed.batches,
        "policy_digest": manifest.policy_digest,
        "decided_at": manifest.decided_at.isoformat(),
        "data_time": manifest.data_time.isoformat(),
    }
