"""Removals of a load that failed: they need only the key, so nothing that concerns the other fields delays them.

A load fails before it removes if a field changed its type or its name, if the key changed its type, or if the
destination refuses additions. The people who lost permission are removed all the same. If that is not possible either,
the error says how many people wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.delivery.report import LoadReport
from airflow_consent_retl.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.run import DeliveryRun
    from airflow_consent_retl.delivery.syncing import Sync
    from airflow_consent_retl.filtering.subject_index import Ask


@contextmanager
def removals_first(
    sync: Sync, report: LoadReport, *, ask: Ask | None, run: DeliveryRun | None = None
) -> Iterator[None]:
    """If the block raises a `PermanentError`, carry out the removals and add a sentence about them to the error.

    Args:
        sync: whose lease is valid.
        report: of the load; its removals are replaced by those that were carried out.
        ask: asks the source for the present consent of all people; None: it cannot be asked again.
        run: the delivery that the block carries out; None: the changes are not known.

    Raises:
        TransientError: the removals failed in a way that another try may mend. The message contains both failures.
    """
    try:
        yield
        return
    except PermanentError as error:
        failure = error
    first, again = _removed(sync, report, ask, run)
    sentence = _sentence(sync, report, first, again, is_known=run is not None or first is not None)
    if isinstance(again, TransientError):
        raise type(again)(f"{failure}\n{sentence}", retry_after_s=again.retry_after_s)
    if sentence:
        failure.args = (f"{failure}\n{sentence}",)
    raise failure


def _removed(
    sync: Sync, report: LoadReport, ask: Ask | None, run: DeliveryRun | None
) -> tuple[LoadReport | None, PermanentError | TransientError | None]:
    """Return what was removed, None if nothing was tried; and the error that stopped it."""
    removed = LoadReport(permitted=0)
    try:
        if run is not None and not run.history().batches and run.can_remove:
            # The load did not begin: its own removals are all known, and the guards let them pass.
            sync.remove_only(run.changes, list(RemovalCause), removed)
        elif ask is not None and (run is None or run.replaces):
            sync.withdraw(ask, removed)
        else:
            return None, None
    except (PermanentError, TransientError) as error:
        return removed, error
    finally:
        removed.removed.planned = max(removed.removed.planned, report.removed.planned)
        if removed.removed.planned:
            report.removed = removed.removed
        if removed.removed.planned or removed.cleared.planned:
            report.cleared = removed.cleared
            report.removals_by_cause = report.removals_by_cause or removed.removals_by_cause
    return removed, None


def _sentence(
    sync: Sync,
    report: LoadReport,
    first: LoadReport | None,
    again: PermanentError | TransientError | None,
    *,
    is_known: bool,
) -> str:
    done, waiting = report.removed.accepted, report.removed.planned - report.removed.accepted
    delivered = sync.delivered_rows
    because = "" if again is None else f": {again}"
    would_be = "would be " if sync.is_plan else ""
    sentences = []
    if first is not None and done:
        sentences.append(f"{would_be}removed first, since a removal needs only the key: {_people(done)}")
    if report.cleared.accepted:
        sentences.append(f"withdrawn fields {would_be or 'were '}cleared of {_people(report.cleared.accepted)}")
    if waiting:
        sentences.append(f"still waiting to be removed: {_people(waiting)}{because}")
    elif delivered and (again is not None or not is_known):
        sentences.append(f"those of {_people(delivered)} delivered who withdrew still wait to be removed{because}")
    elif delivered and first is not None and not done and not report.cleared.accepted:
        sentences.append(f"of {_people(delivered)} delivered, none was found to have withdrawn")
    return "; ".join(sentences)


def _people(number: int) -> str:
    return "1 person" if number == 1 else f"{number:,} people"
