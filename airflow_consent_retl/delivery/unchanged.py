"""Loads that have nothing to send or to take back, found by a comparison or by the digest of their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from airflow_consent_retl.delivery.looking import look_at_target
from airflow_consent_retl.delivery.precedence import source_of
from airflow_consent_retl.storage.sync_mode import SyncMode

if TYPE_CHECKING:
    import pyarrow as pa

    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.report import LoadReport
    from airflow_consent_retl.filtering.permitted import PermittedRows

_COMPARING: Final = {SyncMode.MIRROR, SyncMode.UPSERT, SyncMode.INSERT}


def comparable_content(
    context: SyncContext, destination: Destination, permitted: PermittedRows, *, adds: bool
) -> str | None:
    """Return the digest of a load's rows.

    None if the load does not compare every permitted person with the delivered state, or does not send all that differ.

    Args:
        context: of the sync.
        destination: of the sync.
        permitted: the rows.
        adds: whether the load may add people.
    """
    compares_all = adds and not destination.replaces and context.settings.mode in _COMPARING
    return permitted.content_digest if compares_all else None


def end_unchanged(context: SyncContext, permitted: PermittedRows, report: LoadReport) -> None:
    """End a load whose rows are, byte for byte, those that an earlier comparison found delivered as they are."""
    state = context.state()
    _end(context, permitted, schema=None if state is None else state.shape.load_schema)
    context.log.info("the permitted rows are those of the last load, byte for byte: nothing to send")
    report.unchanged = permitted.rows
    context.sweep()


def end_without_changes(
    context: SyncContext, permitted: PermittedRows, report: LoadReport, *, schema: pa.Schema, content: str | None
) -> None:
    """End a load whose comparison found no change.

    Args:
        context: of the sync.
        permitted: the rows.
        report: with the counts of the comparison.
        schema: of the load's rows.
        content: the result of `comparable_content`.
    """
    _end(context, permitted, schema=schema)
    state = context.state()
    if content is not None and state is not None and report.unchanged == permitted.rows == state.rows:
        # INVARIANT: only what a whole comparison has found: nothing to send or to take back, no one left.
        context.lease.note_exact(content)
    context.sweep()


def _end(context: SyncContext, permitted: PermittedRows, *, schema: pa.Schema | None) -> None:
    # The columns of a load that sends rows are checked when the destination is opened, after the removals.
    look_at_target(context, context.state(), schema=schema)
    context.lease.note_decision(permitted.manifest.decided_at, source_of(context, permitted))
