"""The changes that a sync found: what a person who reads the task's log learns about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.filtering.silence import refused_silence
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    from collections.abc import Collection

    from airflow_consent_retl.changes.store import WithdrawnRemovals
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.change_set import Changes

_ABSENT_CAUSES = (RemovalCause.LEFT_MODEL, RemovalCause.WITHDRAWN_BY_ABSENCE)
# A run warns if more than this share of the people delivered is not in the model any more.
_MANY_ABSENT = 0.2
_SCAN_ROWS = 65_536


def takes_back(changes: Changes) -> bool:
    """Return whether these changes remove a person or clear a field."""
    return bool(changes.manifest.removal_rows or changes.manifest.clear_rows)


def log_changes(changes: Changes, log: TaskLog, *, replaces: bool) -> None:
    """Log the counts of a comparison, and what is odd about them.

    Args:
        changes: that were found.
        log: the task's.
        replaces: whether the destination is replaced as a whole.
    """
    counts = changes.counts
    if counts.fields_changed:
        log.warning("the mapped fields changed: everyone delivered before counts as updated")
    if counts.unconfirmed:
        log.info(
            "%s of %s updated are sent again because the last request with them got no clear answer, or an earlier "
            "one may still come late",
            f"{counts.unconfirmed:,}",
            f"{counts.updated:,}",
        )
    if counts.unchanged and SyncMode(changes.manifest.mode) is SyncMode.FULL:
        reason = "the destination is replaced as a whole" if replaces else "the mode is `full`"
        log.info("%s unchanged are sent again because %s", f"{counts.unchanged:,}", reason)
    log.info(
        "permitted %s = added %s + updated %s + unchanged %s + skipped %s; delivered before %s, to remove %s (%s)",
        *(f"{n:,}" for n in (counts.permitted, counts.added, counts.updated, counts.unchanged, counts.skipped)),
        f"{counts.delivered:,}",
        f"{changes.manifest.removal_rows:,}",
        ", ".join(f"{cause} {rows:,}" for cause, rows in counts.removed.items() if rows) or "no one",
    )
    gone = counts.kept_left_model + sum(counts.removed.get(str(cause), 0) for cause in _ABSENT_CAUSES)
    if gone > _MANY_ABSENT * counts.delivered:
        log.warning(
            "%s of %s people delivered before are not in the model any more (%s removed, %s kept): if its query "
            'keeps only people who consent, their absence is a withdrawal: set absent="withdrawn"; otherwise check '
            "that the model is complete",
            f"{gone:,}",
            f"{counts.delivered:,}",
            f"{gone - counts.kept_left_model:,}",
            f"{counts.kept_left_model:,}",
        )


def were_delivered(changes: Changes, recheck: Recheck) -> bool:
    """Return whether a person who is withheld may be at the destination already."""
    return any(
        np.asarray(some["was_delivered"])[recheck.withheld_among(start, some.num_rows)].any()
        for start, some in changes.people_to_send(_SCAN_ROWS)
    )


def too_few_found(lost: WithdrawnRemovals, *, least: float, sync: str) -> str:
    """Return a sentence where the answer contains too few of the people delivered; otherwise an empty text.

    Args:
        lost: what the source was asked about.
        least: the share of the people delivered that the answer must contain.
        sync: the sync's name.
    """
    if lost.found >= least * lost.delivered:
        return ""
    return (
        f"`{sync}`: the answer contains only {lost.found:,} of {lost.delivered:,} people delivered, min_found_ratio is "
        f"{least}: check `sql`, `conn_id` and `primary_key`; if the query keeps only people who consent, set "
        'absent="withdrawn"; if it is right that the others are gone, run the load or lower min_found_ratio'
    )


def silent_answers(lost: WithdrawnRemovals, log: TaskLog, *, accept_silence: Collection[str] | None, sync: str) -> str:
    """Return a sentence where no row of the model has an answer to an opt-out category; otherwise an empty text.

    Args:
        lost: what the source was asked about.
        log: gets a warning for each category whose silence is accepted.
        accept_silence: the categories for which no row has to have an answer; None: all.
        sync: the sync's name.
    """
    if accept_silence is None or not lost.delivered:
        return ""
    refused = refused_silence(lost.silent, log, accept_silence=accept_silence)
    return f"`{sync}`: {refused}" if refused else ""
