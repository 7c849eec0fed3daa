"""Metrics of tasks, sent through Airflow's own metrics: to StatsD, Datadog or OpenTelemetry, as Airflow is set up.

Tags and names contain names of DAGs, tasks, models, destinations and reasons; values are counts, seconds and shares.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_consent_retl.compat import conf, metrics_backend

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import SyncOverview
    from airflow_consent_retl.signals.outcome import SyncOutcome

PREFIX = "consent_retl"
# By the name of a metric, the count that it reports.
COUNTERS = {
    "read": "read",
    "permitted": "permitted",
    "denied": "denied",
    "sent": "accepted",
    "rejected": "rejected",
    "uncertain": "uncertain",
    "removed": "removed",
    "not_removed": "not_removed",
    "cleared": "cleared",
    "not_cleared": "not_cleared",
}
# A filter decides for each destination; its loads would count the same rows again.
_OF_FILTER = frozenset({"read", "permitted", "denied"})
# https://docs.airflow.apache.org/apache-airflow/stable/administration-and-deployment/logging-monitoring/metrics.html
# (read 2026-11-29): the characters of names. A colon in a tag would end the name of a StatsD line.
_REFUSED = re.compile(r"[^a-zA-Z0-9_.-]")


class Metric(NamedTuple):
    """One metric of a sync: its name without the prefix, its value, and a tag that it has besides those of its sync."""

    name: str
    value: float
    reason: str | None = None
    is_counter: bool = False


def metrics_of(outcome: SyncOutcome) -> Iterator[Metric]:
    """Yield the metrics of what a task did for a sync."""
    for name, count in COUNTERS.items():
        if count in outcome.numbers and (count in _OF_FILTER) == (outcome.stage == "filter"):
            yield Metric(name, outcome.numbers[count], is_counter=True)
    if outcome.stage == "filter":
        for reason, rows in outcome.denied_by_reason.items():
            yield Metric("denied_because", rows, reason, is_counter=True)
    for cause, people in outcome.removals_by_cause.items():
        yield Metric("removals_because", people, cause, is_counter=True)
    gauges = {
        "rejected_ratio": outcome.rejected_ratio,
        "data_age_s": outcome.data_age_s(),
        "people": outcome.delivered,
        **{f"lag_{name}_s": seconds for name, seconds in outcome.lag_s.items()},
    }
    yield from (Metric(name, value) for name, value in gauges.items() if value is not None)


def emit_outcomes(outcomes: Iterable[SyncOutcome], context: Mapping[str, Any]) -> None:
    """Send the metrics of what a task did.

    Args:
        outcomes: one for each sync.
        context: of the running task, which names DAG and task.
    """
    ti = context.get("ti")
    task = {} if ti is None else {"dag_id": ti.dag_id, "task_id": ti.task_id}
    for outcome in outcomes:
        sync = {"model": outcome.model, "destination": outcome.destination}
        for metric in metrics_of(outcome):
            reason = {} if metric.reason is None else {"reason": metric.reason}
            _send(metric, {**task, **sync, **reason}, within=[*sync.values(), *reason.values()])


def emit_unserved(syncs: Sequence[SyncOverview], *, days: float) -> None:
    """Send how many syncs no run has served for some days, and how many people are in them.

    Args:
        syncs: all syncs of a ledger.
        days: after how many; 0: nothing is sent.
    """
    from airflow_consent_retl.delivery.unserved import is_unserved

    if days:
        now = datetime.now(UTC)
        late = [one.people for one in syncs if is_unserved(one, days=days, now=now)]
        _send(Metric("unserved_syncs", len(late)), {}, within=())
        _send(Metric("unserved_people", sum(late)), {}, within=())


def _send(metric: Metric, tags: Mapping[str, str], *, within: Sequence[str]) -> None:
    """Send a metric.

    Args:
        metric: what is sent.
        tags: where the backend has tags.
        within: where it has none, the parts of the name that keep the values of syncs apart.
    """
    name = f"{PREFIX}.{metric.name}"
    if not _has_tags():
        name = ".".join([PREFIX, *(_plain(part).replace(".", "__") for part in within), metric.name])
        tags = {}
    send = metrics_backend()
    known = {key: _plain(value) for key, value in tags.items()}
    if metric.is_counter:
        send.incr(name, int(metric.value), tags=known)
    else:
        send.gauge(name, metric.value, tags=known)


def _has_tags() -> bool:
    """Return whether Airflow's backend has tags: of all, only StatsD in its first form has none."""

    def is_on(option: str) -> bool:
        return bool(conf.getboolean("metrics", option, fallback=False))

    return is_on("statsd_datadog_enabled") or is_on("statsd_influxdb_enabled") or not is_on("statsd_on")


def _plain(text: str) -> str:
    return _REFUSED.sub("_", text.replace(":", "__"))
