"""Mapped tasks of one sync: they may bring the same people at several dates, and never several populations."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_consent_retl.consent.policy import base_of
from airflow_consent_retl.delivery.ledger.records import sync_name
from airflow_consent_retl.delivery.order import source_record
from airflow_consent_retl.errors import ConfigurationError, SyncBusyError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import SourceRecord, SyncName
    from airflow_consent_retl.storage.manifest import PermittedManifest

# As `operators.base_operator.holder_of` names a mapped task.
_MAPPED = re.compile(r" \[(\d+)\] try \d+$")


@dataclass(frozen=True, slots=True)
class MappedList:
    """The list over which tasks are expanded, as far as the present run and the ledger have it.

    Args:
        index: of the task that delivers.
        size: the number of its tasks in this run; None: unknown, or the filter is not mapped.
        others: reads what the other syncs read for their newest data.
        later: reads the syncs that were first loaded after the last load of the sync.
        beside: reads the permitted sets of the other tasks of the same mapped filter, in the same run.
    """

    index: int
    size: Callable[[], int | None]
    others: Callable[[], Mapping[SyncName, SourceRecord]]
    later: Callable[[], Collection[SyncName]]
    beside: Callable[[], Iterable[PermittedManifest]]


def check_mapped(
    newest: SourceRecord | None, manifest: PermittedManifest, *, sync: SyncName, expanded: MappedList | None
) -> None:
    """Refuse a mapped task that reads other rows than the mapped task that delivered last.

    Rows of other dates are rows of the same people: SQL that differs in dates only, or in numbers only where `as_of`
    says that the times differ. A task of the same index may have an edited query, if that is all that changed: where
    the list has another order or another length, its query may be that of another sync.

    Args:
        newest: what was read for the newest data that the sync delivered.
        manifest: of the permitted set that is about to be delivered.
        sync: the sync's name.
        expanded: the list of the task that delivers it; None: it is not mapped.

    Raises:
        ConfigurationError: the two tasks read different populations, so each would remove the people of the other; or
            one of them would get the people of the other.
        SyncBusyError: that is not known before the other tasks of this run have filtered.
    """
    if expanded is None:
        return
    before = None if newest is None else _MAPPED.search(newest.served_by)
    if newest is not None and (before is None or not _is_other(newest, manifest)):
        return
    if before is not None and int(before[1]) != expanded.index:
        raise ConfigurationError(
            f"mapped tasks [{before[1]}] and [{expanded.index}] of sync `{sync}` read different rows, so each would "
            "remove the people of the other. Give each a model of its own (expand `model` at the extraction, too) or a "
            "destination instance of its own (`crm:de`, `crm:fr`), or read all rows with one query. If they deliver to "
            "one target, set shares_target_with. If the queries differ in a date that is written as a number, declare "
            "`as_of`"
        )
    others = {name: one for name, one in expanded.others().items() if _MAPPED.search(one.served_by)}
    if newest is not None:
        _check_order_of_list(newest, manifest, sync=sync, others=others)
    elif not any(_rows_of(one) == _rows_in(manifest) for one in others.values()):
        return
    beside = _all_beside(manifest, expanded)
    elements = [_Element(sync, newest, manifest), *_elements(beside, sync, others)]
    _check_moved(elements, manifest, sync=sync)
    if newest is not None:
        # Without the sets of the others, a sync that is not there may be one of them.
        gone = _gone(elements, newest, others) if beside or expanded.size() is not None else set()
        _check_one_change(elements, sync=sync, later=expanded.later(), gone=gone)


@dataclass(frozen=True, slots=True)
class _Element:
    """One element of the list: what its sync read last, and what it reads now."""

    sync: SyncName
    last: SourceRecord | None
    present: PermittedManifest

    @property
    def is_edited(self) -> bool:
        """True if the sync read other rows before."""
        return self.last is not None and _is_other(self.last, self.present)

    @property
    def rows(self) -> tuple[object, ...]:
        """The rows that the sync reads now."""
        return _rows_in(self.present)


def _elements(
    beside: Iterable[PermittedManifest], sync: SyncName, others: Mapping[SyncName, SourceRecord]
) -> Iterator[_Element]:
    for manifest in beside:
        names = _syncs_of(manifest, like=sync) - {sync}
        # A filter may decide for more instances than the loads deliver to.
        for name in sorted(names.intersection(others)) or sorted(names)[:1]:
            yield _Element(name, others.get(name), manifest)


def _all_beside(manifest: PermittedManifest, expanded: MappedList) -> list[PermittedManifest]:
    """Return the permitted sets of all other tasks of the list.

    Raises:
        SyncBusyError: some of them have not filtered yet.
    """
    beside, size = list(expanded.beside()), expanded.size()
    if size is not None and len(beside) + 1 < size:
        raise SyncBusyError(
            f"the query of model `{manifest.model}` is not the one that its mapped task [{expanded.index}] delivered "
            f"before, and {size - 1 - len(beside)} of {size} mapped tasks of this run have not filtered yet: only "
            "their queries tell whether the expanded list has another order. The next try looks again"
        )
    return beside


def _check_order_of_list(
    newest: SourceRecord,
    manifest: PermittedManifest,
    *,
    sync: str,
    others: Mapping[SyncName, SourceRecord],
) -> None:
    """Refuse rows that another mapped task delivered as another sync in the run that served this sync last.

    In that run both queries were there, so this is no edited query: the list has another order.
    """
    present = _rows_in(manifest)
    for other, record in others.items():
        if _task_of(record) == _task_of(newest) and _rows_of(record) == present:
            index = _MAPPED.search(record.served_by)
            raise _reordered(
                f"sync `{sync}` now reads the rows that mapped task [{index and index[1]}] delivered as sync "
                f"`{other}`, so each would get the people of the other"
            )


def _check_moved(elements: Sequence[_Element], manifest: PermittedManifest, *, sync: SyncName) -> None:
    """Refuse a changed or new element if any query of the list belongs to another sync than before."""
    own, *siblings = elements
    present = _rows_in(manifest)
    for one in siblings:
        had_them = one.last is not None and not one.is_edited
        if own.last is not None and one.rows == _rows_of(own.last) and not had_them:
            raise _reordered(
                f"sync `{sync}` delivered the rows that sync `{one.sync}` reads now, and reads others itself, so it "
                "would get other people"
            )
        if own.last is None and one.is_edited and one.last is not None and _rows_of(one.last) == present:
            raise _reordered(
                f"the new sync `{sync}` reads the rows that were delivered as sync `{one.sync}`, which reads others now"
            )
    left = {one.sync: _rows_of(one.last) for one in elements if one.is_edited and one.last is not None}
    for one in siblings:
        if one.last is not None and not one.is_edited:
            continue
        for name, rows in left.items():
            if name != one.sync and rows == one.rows:
                raise _reordered(
                    f"sync `{one.sync}` reads the rows that were delivered as sync `{name}`, so the query of sync "
                    f"`{sync}`, which is another one too, may belong to another sync"
                )


def _check_one_change(
    elements: Sequence[_Element], *, sync: SyncName, later: Collection[SyncName], gone: Collection[SyncName]
) -> None:
    """Refuse an edited query if the list also got longer or shorter since the sync's last load.

    A query that was edited and moved is like none of before: it cannot be told from two that were edited.
    """
    new = {one.sync for one in elements[1:] if one.last is None or one.sync in later}
    if not new and not gone:
        return
    listed = [f"new: {', '.join(sorted(new))}" if new else "", f"gone: {', '.join(sorted(gone))}" if gone else ""]
    raise ConfigurationError(
        f"the expanded list has other elements than in the last run of sync `{sync}` "
        f"({'; '.join(filter(None, listed))}), and the query of this sync is another one too: it may be that of "
        "another sync. Do one after the other: with the query of before, have every task of the list load once; then "
        "edit it"
    )


def _gone(elements: Sequence[_Element], newest: SourceRecord, others: Mapping[SyncName, SourceRecord]) -> set[SyncName]:
    """Return the syncs that the run of the last load delivered to, and that are in the list no more."""
    task = _task_of(newest)
    return {name for name, record in others.items() if _task_of(record) == task} - {one.sync for one in elements}


def _task_of(record: SourceRecord) -> str:
    """Return DAG, run and task of a mapped task, without its index."""
    return _MAPPED.sub("", record.served_by)


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


def is_edited(newest: SourceRecord | None, manifest: PermittedManifest) -> bool:
    """Return whether a sync reads other rows than for its newest data."""
    return newest is not None and _is_other(newest, manifest)


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
