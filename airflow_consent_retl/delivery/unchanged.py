"""Loads that have nothing to send or to take back, found by a comparison or by the digest of their rows."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.delivery.looking import look_at_target
from airflow_consent_retl.delivery.precedence import source_of
from airflow_consent_retl.errors import LeaseLostError, LedgerUnavailableError
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.filtering.permitted import PermittedRows

# Those that compare every permitted person with the delivered state, and send all that differ.
_COMPARING: Final = {SyncMode.MIRROR, SyncMode.UPSERT, SyncMode.INSERT}


def is_delivered(context: SyncContext, destination: Destination, permitted: PermittedRows) -> bool:
    """Return whether the destination has a load's rows, byte for byte, and a load has nothing to do there.

    Args:
        context: of the sync.
        destination: of the sync.
        permitted: the rows.
    """
    content = _content(context, permitted)
    if content is None or content != context.lease.exact_rows():
        return False
    state = context.state()
    return state is not None and (
        not destination.replaces or destination.may_stay(permitted.load_of(state.shape.load_schema))
    )


def end_unchanged(context: SyncContext, permitted: PermittedRows, report: LoadReport) -> None:
    """End a load whose rows are, byte for byte, those that were found delivered as they are."""
    state = context.state()
    _end(context, permitted, schema=None if state is None else state.shape.load_schema)
    context.log.info("the permitted rows are those of the last load, byte for byte: nothing to send")
    report.unchanged = permitted.rows
    context.sweep()


def end_without_changes(
    context: SyncContext, permitted: PermittedRows, report: LoadReport, *, schema: pa.Schema
) -> None:
    """End a load whose comparison found no change.

    Args:
        context: of the sync.
        permitted: the rows.
        report: with the counts of the comparison.
        schema: of the load's rows.
    """
    _end(context, permitted, schema=schema)
    # INVARIANT: only what a whole comparison has found: nothing to send or to take back, no one left.
    if report.unchanged == permitted.rows:
        _note(context, permitted)
    context.sweep()


def note_delivered(context: SyncContext, permitted: PermittedRows, report: LoadReport) -> None:
    """Note that the destination has exactly the rows of a load that ended, if each of them certainly arrived."""
    state = context.state()
    # INVARIANT: every row that differed was accepted, every person who left is gone, and no old request may undo it.
    if (
        not report.skipped
        and report.sent.accepted == report.sent.planned
        and not (report.not_taken_back or report.unremovable)
        and state is not None
        and state.manifest.unconfirmed_rows == 0
    ):
        # The load is over, and the next one compares what was not noted.
        with suppress(LeaseLostError, LedgerUnavailableError):
            _note(context, permitted)


def _note(context: SyncContext, permitted: PermittedRows) -> None:
    content, state = _content(context, permitted), context.state()
    if content is not None and state is not None and state.rows == permitted.rows:
        context.lease.note_exact(content)


def _content(context: SyncContext, permitted: PermittedRows) -> str | None:
    """Return the digest of a load's rows; None where the mode does not compare all, or where there is none."""
    return permitted.content_digest if context.settings.mode in _COMPARING else None


def _end(context: SyncContext, permitted: PermittedRows, *, schema: pa.Schema | None) -> None:
    # The columns of a load that sends rows are checked when the destination is opened, after the removals.
    look_at_target(context, context.state(), schema=schema)
    context.lease.note_decision(permitted.manifest.decided_at, source_of(context, permitted))
