"""Computing of changes: permitted rows and the delivered state give the rows to send and the entries to remove."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.changes.causes import Causes
from airflow_consent_retl.changes.classes import PeopleCounts
from airflow_consent_retl.changes.comparison import Comparison
from airflow_consent_retl.consent.removal import CauseRank, RemovalCause
from airflow_consent_retl.contract.destination import Destination
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.changes_writer import ChangesWriter
from airflow_consent_retl.storage.shape import Shape
from airflow_consent_retl.storage.sync_manifests import ChangesCounts
from airflow_consent_retl.storage.sync_mode import SyncMode
from airflow_consent_retl.values.ids import ORDER_TAG, as_type, buckets, meeting_type
from airflow_consent_retl.values.key_order import cuts_of, has_order
from airflow_consent_retl.values.payload_hash import HASH_TAG, Digests, PayloadHash
from airflow_consent_retl.values.pipeline import lean_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from airflow_consent_retl.consent.removal import Required
    from airflow_consent_retl.contract.destination import Load
    from airflow_consent_retl.filtering.files import Progress
    from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.delivered import DeliveredState
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.records.rejections import RejectedPeople

_READ_ROWS = 131_072
# Rows of fewer batches are not worth a temporary file.
_ORDERED_BATCHES = 3


def compute_changes(
    permitted: FilePermittedRows,
    state: DeliveredState | None,
    folder: Folder,
    *,
    sync: str,
    mode: SyncMode,
    load: Load,
    destination: Destination,
    subject_key: SubjectKey,
    progress: Progress = lambda rows: None,
    unchanged: int = 0,
    adds: bool = True,
    only: RejectedPeople | None = None,
    absent: RemovalCause = RemovalCause.LEFT_MODEL,
    required_before: Required | None = None,
    may_leave_rows: bool = False,
) -> Changes:
    """Compare the permitted rows of one destination with its delivered state, and publish the changes.

    Args:
        permitted: the verified rows.
        state: the present version; None before the first load.
        folder: a new folder for these changes only; the caller removes it if this raises.
        sync: the sync's name, for the manifest.
        mode: which changes of the model the destination follows.
        load: its `schema` and `key_field` are used, and what `destination` reads of it.
        destination: only asked what a removal needs (`can_remove`, `removal_schema`, `removal_rows`), and for
            `orders_rows` and `limits`.
        subject_key: the key of the filter's decision log.
        progress: called with numbers of permitted rows when they are read for the first time.
        adds: whether new people are sent; otherwise they count as skipped.
        only: the people who may be sent, the others count as skipped; None: everyone.
        unchanged: the number of permitted, delivered people who certainly did not change; `permitted` and `state` do
            not contain them.
        absent: the cause for people who are not in the model any more.
        required_before: the categories that the destination required at the last load; None: not known.
        may_leave_rows: whether the permitted set is kept while the changes are: then a load of all rows does not copy
            them into the changes.

    Raises:
        RefusedError: the state belongs to another sync, its ids are of another kind, a file was changed, or the
            permitted set and its decision log contradict each other.
        GuardError: this version does not know the tag of the state's payload hashes.
        ConfigurationError: the decision log was written with another key, or a field that removal needs is missing.
    """
    if state is not None:
        _check_same_sync(permitted, state, sync)
    shape = Shape(
        fields=dict(permitted.fields),
        load_schema=load.schema,
        removal_schema=destination.removal_schema(load) if destination.can_remove else pa.schema([]),
        hash_tag=HASH_TAG if state is None else state.shape.hash_tag,
    )
    primary_key = permitted.manifest.primary_key
    id_type = meeting_type(None if state is None else state.id_type, permitted.id_type, primary_key=primary_key)
    is_first = state is None or not state.rows
    sends_all = adds and only is None and (is_first or mode is SyncMode.FULL)
    # A destination that names rows by their values asks for them later, when the permitted set may be gone. Slices of
    # a load read the changes alone.
    keeps_rows = type(destination).confirm_rows is not Destination.confirm_rows or destination.takes_slices
    cuts = _cuts(permitted, id_type, destination) if sends_all and is_first else None
    leaves_rows = may_leave_rows and sends_all and not keeps_rows and cuts is None
    writer = ChangesWriter(folder, id_type, shape, rows_are_permitted=leaves_rows, cuts=cuts)
    with ExitStack() as resources:
        resources.callback(writer.abort)
        resources.enter_context(lean_memory())
        digests = resources.enter_context(Digests())
        tally = Comparison(
            permitted=permitted,
            state=state,
            id_type=id_type,
            shape=shape,
            mode=mode,
            adds=adds,
            only=only,
            load=load,
            destination=destination,
            causes=Causes(permitted, subject_key, absent=absent, required_before=required_before),
            payload_hash=PayloadHash(list(permitted.fields), digests, tag=shape.hash_tag),
            writer=writer,
            leaves_rows=leaves_rows,
            progress=progress,
        ).run()
        tally += PeopleCounts(permitted=unchanged, unchanged=unchanged, delivered=unchanged)
        fields_changed = state is not None and dict(state.shape.fields) != dict(permitted.fields)
        return writer.publish(
            sync=sync,
            model=permitted.manifest.model,
            destination=permitted.destination,
            primary_key=primary_key,
            mode=mode,
            order_tag=ORDER_TAG,
            decided_at=permitted.manifest.decided_at,
            permitted_sha256=permitted.manifest_sha256,
            delivered_sha256=None if state is None else state.sha256,
            counts=_counts(tally, writer, fields_changed=fields_changed),
            cleared=load.cleared,
            policy_digest=permitted.manifest.policy_digest,
        )


def _cuts(permitted: FilePermittedRows, id_type: pa.DataType, destination: Destination) -> pa.Array | None:
    """Return what divides the rows into ranges of ids; None where they are sent in any order, or are in order."""
    if not destination.orders_rows or not has_order(id_type):
        return None
    if permitted.rows <= (_ORDERED_BATCHES - 1) * destination.limits.batch_rows:
        return None
    primary_key = permitted.manifest.primary_key
    ids = (as_type(some, id_type, primary_key=primary_key) for some in permitted.ids(_READ_ROWS))
    return cuts_of(ids, permitted.rows)


def removals_of(
    state: DeliveredState,
    entries: Mapping[RemovalCause, NDArray[np.int64]],
    folder: Folder,
    *,
    sync: str,
    decided_at: datetime | None = None,
    delivered: int | None = None,
    policy_digest: str = "",
    clears: Mapping[tuple[str, ...], NDArray[np.int64]] | None = None,
) -> Changes:
    """Publish the removal of some entries of the delivered state, the clearing of fields of others, and nothing else.

    Args:
        state: the delivered state.
        entries: entry numbers by cause, in the order of `DeliveredState.ids`; an entry with two causes is removed for
            the stronger one.
        folder: a new folder for these changes only; the caller removes it if this raises.
        sync: the sync's name.
        decided_at: when they were found; None: the state's own time.
        delivered: how many people are delivered, if the state contains only some of them.
        policy_digest: of the policy under which they were found; empty: of none.
        clears: entry numbers by the fields to clear; entries that are removed are not among them.

    Raises:
        RefusedError: a file was changed.
        ValueError: an entry number does not exist.
    """
    ranks = np.zeros(state.rows, dtype=np.int8)
    for rank in sorted(CauseRank):
        found = entries.get(rank.cause, np.empty(0, np.int64))
        if len(found) and not 0 <= found.min() <= found.max() < state.rows:
            raise ValueError("no entry of the delivered state has this number")
        ranks[found] = rank
    by_fields = sorted((clears or {}).items())
    groups = np.full(state.rows, -1, dtype=np.int64)
    for number, (_, some_entries) in enumerate(by_fields):
        groups[some_entries] = number
    state.verify()
    writer = ChangesWriter(folder, state.id_type or pa.null(), state.shape)
    with ExitStack() as resources:
        resources.callback(writer.abort)
        resources.enter_context(lean_memory())
        start = 0
        for rows in state.entries(_READ_ROWS):
            some = ranks[start : start + rows.num_rows]
            for rank in np.unique(some[some > 0]).tolist():
                writer.remove(CauseRank(rank).cause, **_written(state, rows, np.flatnonzero(some == rank), start))
            of_fields = groups[start : start + rows.num_rows]
            for number in np.unique(of_fields[of_fields >= 0]).tolist():
                writer.clear(by_fields[number][0], **_written(state, rows, np.flatnonzero(of_fields == number), start))
            start += rows.num_rows
        return writer.publish(
            sync=sync,
            model=state.manifest.model,
            destination=state.manifest.destination,
            primary_key=state.manifest.primary_key,
            mode=SyncMode.MIRROR,
            order_tag=ORDER_TAG,
            decided_at=decided_at or state.manifest.decided_at,
            permitted_sha256=None,
            delivered_sha256=state.sha256,
            counts=_counts(
                PeopleCounts(delivered=state.rows if delivered is None else delivered), writer, fields_changed=False
            ),
            policy_digest=policy_digest,
        )


def _written(
    state: DeliveredState, rows: pa.RecordBatch, chosen: NDArray[np.int64], start: int
) -> dict[str, pa.Array | None]:
    """Return what `ChangesWriter` needs of some entries, the first of which has the number `start`."""
    found = rows.take(pa.array(chosen))
    has_buckets = state.manifest.order_tag == ORDER_TAG
    return {
        "ids": found["id"],
        "buckets": found["bucket"] if has_buckets else pa.array(buckets(found["id"])),
        "entries": pa.array(chosen + start),
        "removal": found["removal"] if state.shape.removal_schema.names else None,
    }


def _counts(tally: PeopleCounts, writer: ChangesWriter, *, fields_changed: bool) -> ChangesCounts:
    return ChangesCounts(
        permitted=tally.permitted,
        added=tally.added,
        updated=tally.updated,
        unconfirmed=tally.unconfirmed,
        unchanged=tally.unchanged,
        skipped=tally.skipped,
        removed=writer.removed(),
        kept_left_model=tally.kept_left_model,
        delivered=tally.delivered,
        fields_changed=fields_changed,
        cleared=writer.cleared(),
    )


def _check_same_sync(permitted: FilePermittedRows, state: DeliveredState, sync: str) -> None:
    delivered, manifest = state.manifest, permitted.manifest
    before = (delivered.sync, delivered.model, delivered.destination, delivered.primary_key)
    now = (sync, manifest.model, permitted.destination, manifest.primary_key)
    names = ("sync", "model", "destination", "primary key")
    for name, was, is_ in zip(names, before, now, strict=True):
        if was != is_:
            raise RefusedError(
                f"people were delivered with {name} `{was}`, now it is `{is_}`: they would count as other people"
            )
