"""Mapped tasks of one sync: they may bring the same people at several dates, and never several populations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.policy import base_of
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.order import source_record
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_consent_retl.delivery.ledger.records import SourceRecord, SyncName
    from airflow_consent_retl.storage.manifest import PermittedManifest

# As `operators.base_operator.holder_of` names a mapped task.
_MAPPED = re.compile(r" \[(\d+)\] try \d+$")


def check_mapped(
    newest: SourceRecord | None,
    manifest: PermittedManifest,
    *,
    sync: str,
    map_index: int | None,
    read_others: Callable[[], Mapping[SyncName, SourceRecord]],
    read_beside: Callable[[], Iterable[PermittedManifest]],
) -> None:
    """Refuse a mapped task that reads other rows than the mapped task that delivered last.

    Rows of other dates are rows of the same people: SQL that differs in dates only, or in numbers only where `as_of`
    says that the times differ. A task of the same index may have an edited query, unless the expanded list has another
    order, or got a new element before this one: then its query is that of another sync, or another task has its query.

    Args:
        newest: what was read for the newest data that the sync delivered.
        manifest: of the permitted set that is about to be delivered.
        sync: the sync's name.
        map_index: of the task that delivers it; None: it is not mapped.
        read_others: reads what the other syncs read for their newest data.
        read_beside: reads the permitted sets of the other tasks of the same mapped filter, in the same run.

    Raises:
        ConfigurationError: the two tasks read different populations, so each would remove the people of the other.
    """
    if map_index is None:
        return
    if newest is None:
        _check_end_of_list(manifest, sync=sync, read_others=read_others, read_beside=read_beside)
        return
    before = _MAPPED.search(newest.served_by)
    if before is None or not _is_other(newest, manifest):
        return
    if int(before[1]) == map_index:
        _check_order_of_list(newest.served_by[: before.start()], manifest, sync=sync, read_others=read_others)
        _check_shifted(newest, sync=sync, others=read_others(), beside=read_beside())
        return
    raise ConfigurationError(
        f"mapped tasks [{before[1]}] and [{map_index}] of sync `{sync}` read different rows, so each would remove the "
        "people of the other. Give each a model of its own (expand `model` at the extraction, too) or a destination "
        "instance of its own (`crm:de`, `crm:fr`), or read all rows with one query. If they deliver to one target, set "
        "shares_target_with. If the queries differ in a date that is written as a number, declare `as_of`"
    )


def _check_order_of_list(
    task: str,
    manifest: PermittedManifest,
    *,
    sync: str,
    read_others: Callable[[], Mapping[SyncName, SourceRecord]],
) -> None:
    """Refuse rows that another mapped task delivered as another sync in the run that served this sync last.

    In that run both queries were there, so this is no edited query: the list has another order.
    """
    present = _rows_in(manifest)
    for other, record in read_others().items():
        served = _MAPPED.search(record.served_by)
        if served is not None and record.served_by[: served.start()] == task and _rows_of(record) == present:
            raise _reordered(
                f"sync `{sync}` now reads the rows that mapped task [{served[1]}] delivered as sync `{other}`, so each "
                "would get the people of the other"
            )


def _check_shifted(
    newest: SourceRecord,
    *,
    sync: str,
    others: Mapping[SyncName, SourceRecord],
    beside: Iterable[PermittedManifest],
) -> None:
    """Refuse other rows than before if another task of this run reads those, which did not read them before."""
    before = _rows_of(newest)
    for sibling in beside:
        names = _syncs_of(sibling, like=sync) - {sync}
        had_them = any(name in others and _rows_of(others[name]) == before for name in names)
        if names and not had_them and _rows_in(sibling) == before:
            raise _reordered(
                f"sync `{sync}` delivered the rows that sync `{min(names)}` reads now, and reads others itself, so it "
                "would get other people"
            )


def _check_end_of_list(
    manifest: PermittedManifest,
    *,
    sync: str,
    read_others: Callable[[], Mapping[SyncName, SourceRecord]],
    read_beside: Callable[[], Iterable[PermittedManifest]],
) -> None:
    """Refuse a new sync with rows that another one delivered, if that one reads others in this run."""
    present = _rows_in(manifest)
    having = {
        name
        for name, record in read_others().items()
        if _MAPPED.search(record.served_by) and _rows_of(record) == present
    }
    if not having:
        return
    for sibling in read_beside():
        for name in _syncs_of(sibling, like=sync) & having:
            if _rows_in(sibling) != present:
                raise _reordered(
                    f"the new sync `{sync}` reads the rows that were delivered as sync `{name}`, which reads others now"
                )


def _reordered(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"the expanded list has another order than in the last run: {what}. Name a sync by its model (`customers_de`), "
        "not by its index in the list; until then, restore the order of the list, and add new elements at its end. "
        "`hand_over` gives a sync its new name"
    )


def _syncs_of(manifest: PermittedManifest, *, like: str) -> set[SyncName]:
    """Return the syncs of a permitted set to the destination of another sync, or to its other instances."""
    base = base_of(like.rpartition("/")[2])
    return {sync_name(manifest.model, one) for one in manifest.destinations if base_of(one) == base}


def _rows_in(manifest: PermittedManifest) -> tuple[object, ...]:
    return _rows_of(source_record(manifest.source, as_of=manifest.data_time))


def _rows_of(record: SourceRecord) -> tuple[object, ...]:
    return record.conn_id, dict(record.hook_params), record.sql_shape


def _is_other(newest: SourceRecord, manifest: PermittedManifest) -> bool:
    present = source_record(manifest.source, as_of=manifest.data_time)
    if (present.conn_id, present.hook_params) != (newest.conn_id, newest.hook_params):
        return True
    if present.sql_outline != newest.sql_outline:
        # Without its dates, since the digits of a date are no part of the outline either.
        return present.sql_shape != newest.sql_shape
    if present.sql_shape == newest.sql_shape:
        return False
    is_of_another_time = manifest.as_of is not None and manifest.as_of != newest.as_of
    # A date that is known does not explain the other numbers.
    return bool(present.sql_date) or not is_of_another_time
