"""The protocol of a delivery: open the destination, remove, send, confirm, commit, and write the next version.

Every step leaves a state from which the next try can continue. What is delivered was found and published before, and
whether it may be delivered is not decided here.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from airflow_consent_retl.contract.outcomes import Outcomes, RowStatus
from airflow_consent_retl.delivery.attempts import BatchKind
from airflow_consent_retl.delivery.confirmation import confirm_pending, wait_for_confirmation
from airflow_consent_retl.delivery.dispatch import clear_all, remove_all, send_all
from airflow_consent_retl.delivery.run import DeliveryResults, result_of_all
from airflow_consent_retl.errors import DestinationError, DestinationUnavailableError, GuardError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.recheck import Recheck
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.delivery.run import DeliveryRun


def carry_out(run: DeliveryRun, report: LoadReport, *, recheck: Recheck | None) -> list[str]:
    """Carry out a delivery from where the last try ended, and count its results in `report`.

    Returns:
        The ids of requests that the destination still processes; if there are any, the delivery stays open.

    Raises:
        GuardError, DestinationError: another try does not help.
        DestinationUnavailableError, LedgerUnavailableError, LeaseLostError, SourceUnavailableError: the delivery
            stays open, and the next try resumes it.
    """
    with run.advancing() as advance:
        waiting: list[str] = []
        try:
            if run.replaces:
                _replace(run, recheck)
            else:
                waiting = _change(run, recheck)
        finally:
            report.sent, report.removed = run.tally(BatchKind.SEND), run.tally(BatchKind.REMOVE)
            report.cleared = run.tally(BatchKind.CLEAR)
        if waiting:
            return waiting
        _check_complete(run, report)
        advance(run.results())
    # Reported together: what was not removed must not hide what was not cleared.
    _check_taken_back(run, report)
    return []


def take_back(run: DeliveryRun, report: LoadReport) -> list[str]:
    """Carry out what a delivery does before its first row is sent, and count it: open the destination, clear, remove.

    Returns:
        The ids of requests that the destination still processes.

    Raises: as `carry_out`. The delivery stays open.
    """
    try:
        with run.opened(key=run.changes.sha256, rows=run.planned_rows(BatchKind.SEND)):
            return _take_back(run)
    finally:
        report.removed, report.cleared = run.tally(BatchKind.REMOVE), run.tally(BatchKind.CLEAR)


def send_slice(run: DeliveryRun, report: LoadReport, *, recheck: Recheck | None) -> None:
    """Send the rows of a slice; rows that the destination processes later stay pending, for the end of the load.

    Args:
        run: of an open delivery whose removals have ended; its changes have the rows of the slice.
        report: counts the rows of the whole delivery, as far as they are sent.
        recheck: as for `send_all`.

    Raises: as `carry_out`. The delivery stays open.
    """
    try:
        with run.opened(key=run.changes.sha256, rows=run.changes.sent_to - run.changes.sent_from):
            send_all(run, recheck=recheck)
            run.commit()
    finally:
        report.sent, report.removed = run.tally(BatchKind.SEND), run.tally(BatchKind.REMOVE)
        report.cleared = run.tally(BatchKind.CLEAR)


def resolve(run: DeliveryRun) -> None:
    """Record in the delivered state what a delivery did that no task will resume, and close it."""
    lease = run.context.lease
    attempts = lease.attempts(run.delivery)
    if not attempts:
        lease.drop(run.delivery)
        return
    run.context.log.info("resolving the delivery that an earlier task began at %s", f"{run.delivery.began_at:%F %T %Z}")
    if run.destination.replaces:
        # It is not known whether it was published.
        rows = run.planned_rows(BatchKind.SEND)
        with run.advancing() as advance:
            advance(DeliveryResults(sends=[result_of_all(Outcomes.uncertain(rows, "never_ended"))] if rows else []))
        return
    if any(o.status is RowStatus.PENDING for a in attempts if a.outcomes for o in a.outcomes.counts()):
        with run.opened(key=run.delivery.key, rows=0):
            confirm_pending(run)
    with run.advancing() as advance:
        advance(run.results())


def _change(run: DeliveryRun, recheck: Recheck | None) -> list[str]:
    """Remove, then send; return the ids of requests that the destination still processes."""
    upsert_rows = run.planned_rows(BatchKind.SEND)
    with run.opened(key=run.changes.sha256, rows=upsert_rows):
        if waiting := _take_back(run):
            return waiting
        if upsert_rows:
            send_all(run, recheck=recheck)
        if waiting := wait_for_confirmation(run, BatchKind.SEND):
            return waiting
        run.check_answered(run.tally(BatchKind.SEND), verb="to send")
        run.commit()
    return []


def _take_back(run: DeliveryRun) -> list[str]:
    """Clear fields, then remove; return the ids of requests that the destination still processes."""
    if run.planned_rows(BatchKind.CLEAR):
        clear_all(run)
        if waiting := wait_for_confirmation(run, BatchKind.CLEAR):
            return waiting
        run.check_answered(run.tally(BatchKind.CLEAR), verb="to clear fields of")
    if run.planned_rows(BatchKind.REMOVE) and run.destination.can_remove:
        if sentence := run.destination.removal_sentence:
            run.context.log.info("people who are removed from `%s`: %s", run.destination_name, sentence)
        remove_all(run)
        # Otherwise the addition of a person could overtake the removal of the same person.
        if waiting := wait_for_confirmation(run, BatchKind.REMOVE):
            return waiting
        run.check_answered(run.tally(BatchKind.REMOVE), verb="to remove")
    return []


def _replace(run: DeliveryRun, recheck: Recheck | None) -> None:
    """Replace what the destination has by the permitted rows."""
    key = run.delivery.key
    withheld = 0
    if recheck is not None:
        recheck.ask_again()
        withheld = len(recheck.withheld)
        key = hashlib.sha256(f"{key}:without:{recheck.withheld.tolist()}".encode()).hexdigest()
    with run.opened(key=key, rows=run.planned_rows(BatchKind.SEND) - withheld):
        send_all(run, recheck=recheck)
        if recheck is not None:
            if recheck.is_due:
                recheck.ask_again()
            if len(recheck.withheld) > withheld:
                raise DestinationUnavailableError(
                    f"consent ended while `{run.destination_name}` was written: the next try leaves these people out"
                )
        run.commit()


def _check_complete(run: DeliveryRun, report: LoadReport) -> None:
    name, sent = run.destination_name, report.sent
    permitted, max_rejected_ratio = run.changes.counts.permitted, run.context.settings.max_rejected_ratio
    if sent.rejected > max_rejected_ratio * permitted:
        raise GuardError(
            f"`{name}` rejected {sent.rejected:,} of {permitted:,} permitted rows ({sent.worst()}), "
            f"max_rejected_ratio is {max_rejected_ratio}: the load is only partly successful. "
            f'`rejected` lists these people, and mode="retry_rejected" tries them alone'
        )
    if sent.unsent:
        raise DestinationError(f"`{name}`: {sent.unsent:,} of {sent.planned:,} rows were never handed over")


def _check_taken_back(run: DeliveryRun, report: LoadReport) -> None:
    left = [sentence for sentence in (_left_of_removals(run, report), _left_of_clears(run, report)) if sentence]
    if left:
        raise DestinationError(f"`{run.destination_name}` {'; it '.join(left)}")


def _left_of_clears(run: DeliveryRun, report: LoadReport) -> str:
    cleared = report.cleared
    if cleared.accepted == cleared.planned:
        return ""
    return (
        f"did not clear withdrawn fields of {cleared.planned - cleared.accepted:,} of {cleared.planned:,} people "
        f"({cleared.worst()}): the next run tries again, and the next load sends their rows without these fields"
    )


def _left_of_removals(run: DeliveryRun, report: LoadReport) -> str:
    """Return what to say about people who were not removed; empty where all were."""
    name, removed = run.destination_name, report.removed
    if not removed.planned:
        return ""
    if run.replaces:
        # They were in the version that was replaced.
        removed.by_status[RowStatus.ACCEPTED] = removed.planned
    elif not run.destination.can_remove:
        report.unremovable, removed.planned = removed.planned, 0
        run.context.log.warning(
            "`%s` cannot remove people: %s who should be removed are still there", name, report.unremovable
        )
    elif removed.accepted < removed.planned:
        return (
            f"did not remove {removed.planned - removed.accepted:,} of {removed.planned:,} people "
            f"({removed.worst()}): the next run tries to remove them again"
        )
    return ""
