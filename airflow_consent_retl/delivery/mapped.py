"""Mapped tasks of one sync: they may bring the same people at several dates, and never several populations."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_consent_retl.delivery.order import source_record
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
) -> None:
    """Refuse a mapped task that reads other rows than the mapped task that delivered last.

    Rows of other dates are rows of the same people: SQL that differs in dates only, or in numbers only where `as_of`
    says that the times differ. A task of the same index may have an edited query, unless that is the query of another
    sync which another index of the same task delivered in the same run.

    Args:
        newest: what was read for the newest data that the sync delivered.
        manifest: of the permitted set that is about to be delivered.
        sync: the sync's name.
        map_index: of the task that delivers it; None: it is not mapped.
        read_others: reads what the other syncs read for their newest data.

    Raises:
        ConfigurationError: the two tasks read different populations, so each would remove the people of the other.
    """
    before = None if newest is None else _MAPPED.search(newest.served_by)
    if newest is None or before is None or map_index is None or not _is_other(newest, manifest):
        return
    if int(before[1]) == map_index:
        _check_order_of_list(newest.served_by[: before.start()], manifest, sync=sync, read_others=read_others)
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
    present = source_record(manifest.source, as_of=manifest.data_time)
    for other, record in read_others().items():
        served = _MAPPED.search(record.served_by)
        if served is None or record.served_by[: served.start()] != task or _rows_of(record) != _rows_of(present):
            continue
        raise ConfigurationError(
            f"the expanded list has another order than in the last run: sync `{sync}` now reads the rows that mapped "
            f"task [{served[1]}] delivered as sync `{other}`, so each would get the people of the other. Name a sync "
            "by its model (`customers_de`), not by its index in the list; until then, restore the order of the list. "
            "`hand_over` gives a sync its new name"
        )


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
