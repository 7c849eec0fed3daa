"""The check of a permitted set against the newest that was delivered, and the record of what it read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from airflow_consent_retl.delivery.mapped import MappedList, check_mapped
from airflow_consent_retl.delivery.order import check_order, check_place, check_time_zone, other_source, source_record
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.mapped_sets import sets_beside

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.context import SyncContext
    from airflow_consent_retl.delivery.ledger.records import SourceRecord
    from airflow_consent_retl.filtering.permitted import PermittedRows


def may_add(context: SyncContext, permitted: PermittedRows, *, asks_again: bool) -> bool:
    """Check a permitted set against the newest that was delivered, and return whether it may add people.

    Args:
        context: of the sync.
        permitted: the rows.
        asks_again: whether the source is asked for consent before anything is sent.

    Raises:
        OvertakenError: a newer decision was delivered before.
        RefusedError: newer data were delivered before, or withdrawals since the decision.
        ConfigurationError: the sessions' time zone or the model's place changed, or mapped runs share the sync.
    """
    lease, log = context.lease, context.log
    newest, settings, manifest = lease.newest(), context.settings, permitted.manifest
    check_time_zone(
        newest.source,
        manifest.source.session_time_zone,
        sync=lease.sync,
        accepted=settings.accept_time_zone,
    )
    check_mapped(
        newest.source,
        manifest,
        sync=lease.sync,
        expanded=None if context.map_index is None else _expanded(context, permitted, context.map_index),
    )
    check_place(newest.source, manifest.source, sync=lease.sync, accepted=settings.accept_source)
    if changed := other_source(manifest.source, newest.source):
        log.warning(
            "sync `%s` reads another source than when it last delivered (%s): a person who is not in it "
            "counts as having left the model. If this is another model, give it another name",
            lease.sync,
            changed,
        )
    adds = check_order(newest, manifest, destination=permitted.destination, allow_older=settings.allow_older)
    if newest.is_ahead and not asks_again:
        raise RefusedError(
            f"the newest decision for `{permitted.destination}` is recorded for {newest.decided_at:%F %T %Z}, "
            "which is in the future: a clock was ahead, and the source is not asked again. Reset the ledger's "
            "times with ResetLedgerTimesOperator, then run the filter again"
        )
    if newest.is_ahead:
        log.warning(
            "the newest decision is recorded for %s, which is in the future: a clock was ahead, and this decision "
            "replaces it",
            f"{newest.decided_at:%F %T %Z}",
        )
    if not adds:
        log.warning("allow_older: these data are older than those delivered, so no one is added")
    withdrawn = lease.withdrawn_at()
    if not asks_again and withdrawn is not None and withdrawn > manifest.decided_at:
        raise RefusedError(
            f"withdrawals were carried out after consent for `{permitted.destination}` was decided "
            f"({withdrawn:%F %T %Z}), and the source is not asked again: run the filter again"
        )
    return adds


def source_of(context: SyncContext, permitted: PermittedRows) -> SourceRecord:
    """Return what a permitted set read, for the ledger."""
    manifest = permitted.manifest
    record = source_record(manifest.source, as_of=manifest.data_time, newest=context.lease.newest().source)
    return replace(record, sizes=tuple(size.model_copy(update={"chain": ()}) for size in manifest.source_sizes))


def _expanded(context: SyncContext, permitted: PermittedRows, index: int) -> MappedList:
    return MappedList(
        index=index,
        size=lambda: context.list_size(permitted.folder),
        others=context.lease.other_sources,
        later=context.lease.later_syncs,
        beside=lambda: sets_beside(permitted.folder, index),
    )
