"""Writes to the ledger, in a transaction that has locked the sync's row for the lease."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from airflow_consent_retl.delivery.attempts import encoded
from airflow_consent_retl.delivery.ledger.queries import newest_source, open_delivery
from airflow_consent_retl.delivery.ledger.schema import batches, deliveries, sources, syncs, versions

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.attempts import BatchKind, EndedBatch, IntendedBatch
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase
    from airflow_consent_retl.delivery.ledger.records import Delivery, SourceRecord, SyncName, VersionRef


def update_sync(connection: sa.Connection, sync: SyncName, **values: object) -> None:
    """Update columns of a sync's row."""
    connection.execute(syncs.update().where(syncs.c.sync == sync).values(values))


def note_source(
    connection: sa.Connection, database: LedgerDatabase, sync: SyncName, source: SourceRecord, *, served_by: str
) -> None:
    """Record what was read for the data that are delivered now, unless newer data were delivered before."""
    now = database.now(connection)
    known = newest_source(connection, sync)
    # A time later than the ledger's clock was written by a clock that was ahead.
    if known is not None and source.as_of < known.as_of <= now:
        return
    values = {
        "as_of": min(source.as_of, now),
        "served_by": served_by,
        "conn_id": source.conn_id,
        "hook_params": json.dumps(dict(source.hook_params), sort_keys=True),
        "session_time_zone": source.session_time_zone,
        "sql_sha256": source.sql_sha256,
        "sources_sha256": source.sources_sha256,
        "sql_outline": source.sql_outline,
        "sources_outline": source.sources_outline,
        "sql_shape": source.sql_shape,
        "sql_date": source.sql_date,
        "is_dated": source.is_dated,
        "sizes": json.dumps([size.model_dump(mode="json") for size in source.sizes]),
    }
    inserted = database.insert(sources).values(sync=sync, **values)
    connection.execute(inserted.on_conflict_do_update(index_elements=[sources.c.sync], set_=values))


def note_intents(
    connection: sa.Connection,
    database: LedgerDatabase,
    delivery: Delivery,
    intended: Sequence[IntendedBatch],
    *,
    epoch: int,
) -> None:
    """Record attempts before their first request. Recorded attempts that have not ended stay as they are."""
    # One statement for any number of batches: SQLAlchemy compiles it once. With the values inside, it would not.
    of_all = {"delivery": delivery.id, "epoch": epoch, "intended_at": database.clock()}
    of_each = [
        {"kind": batch.kind, "number": batch.number, "start": batch.start, "rows": batch.rows, "key": batch.key}
        for batch in intended
    ]
    connection.execute(database.insert(batches).values(of_all).on_conflict_do_nothing(), of_each)
    # Read back, because not every driver returns how many of several rows were new.
    numbers = [batch.number for batch in intended]
    noted = connection.execute(
        sa.select(*(batches.c[name] for name in of_each[0])).where(
            batches.c.delivery == delivery.id,
            batches.c.epoch == epoch,
            batches.c.number.between(min(numbers), max(numbers)),
            batches.c.ended_at.is_(None),
        )
    )
    if not {tuple(row.values()) for row in of_each} <= {tuple(row) for row in noted}:
        raise ValueError(f"a batch of delivery {delivery.id} has ended under this lease, or was intended otherwise")


def note_ends(
    connection: sa.Connection,
    database: LedgerDatabase,
    delivery: Delivery,
    ended: Iterable[EndedBatch],
    *,
    epoch: int,
    only_first: bool,
) -> bool:
    """Record how attempts ended, and return whether all of them were found: intended, with the same number of rows.

    Args:
        connection: the connection with the open transaction.
        database: the ledger's database.
        delivery: the delivery of the attempts.
        ended: each attempt once.
        epoch: the epoch of attempts that name none.
        only_first: do not change an attempt whose end was recorded before.
    """
    # Most batches end with equal outcomes: one statement for all of those.
    equal: dict[tuple[BatchKind, int, int, str], list[int]] = {}
    for batch in ended:
        of_epoch = epoch if batch.epoch is None else batch.epoch
        result = (batch.kind, of_epoch, batch.outcomes.rows, encoded(batch.outcomes))
        equal.setdefault(result, []).append(batch.number)
    found = wanted = 0
    for (kind, of_epoch, rows, outcomes), numbers in equal.items():
        own = [
            batches.c.delivery == delivery.id,
            batches.c.kind == kind,
            batches.c.number.in_(numbers),
            batches.c.epoch == of_epoch,
            batches.c.rows == rows,
            *([batches.c.ended_at.is_(None)] if only_first else []),
        ]
        noted = batches.update().where(*own).values(ended_at=database.clock(), outcomes=outcomes)
        found += connection.execute(noted).rowcount
        wanted += len(numbers)
    return found == wanted


def note_lost(
    connection: sa.Connection, delivery_id: int, *, lost_at: datetime, epochs: Collection[int] | None = None
) -> None:
    """Record, for attempts that have not ended when the next lease begins, when their own lease ended.

    Args:
        connection: the connection with the open transaction.
        delivery_id: the delivery's number.
        lost_at: the time.
        epochs: of the leases that ended; None: every earlier one.
    """
    unended = sa.and_(batches.c.delivery == delivery_id, batches.c.ended_at.is_(None), batches.c.lost_at.is_(None))
    if epochs is not None:
        unended = sa.and_(unended, batches.c.epoch.in_(epochs))
    connection.execute(batches.update().where(unended).values(lost_at=lost_at))


def has_attempts(connection: sa.Connection, delivery: Delivery) -> bool:
    """Return whether any batch of a delivery was ever intended."""
    found = sa.select(sa.literal(1)).where(batches.c.delivery == delivery.id).limit(1)
    return connection.execute(found).first() is not None


def close_delivery(
    connection: sa.Connection, database: LedgerDatabase, delivery: Delivery, *, version: int | None
) -> None:
    """Close a delivery, with the version that it produced."""
    update_sync(connection, delivery.sync, delivery=None)
    closed = deliveries.update().where(deliveries.c.id == delivery.id)
    connection.execute(closed.values(closed_at=database.clock(), version=version))


def close_open_delivery(connection: sa.Connection, database: LedgerDatabase, sync: SyncName) -> None:
    """Close the open delivery of a sync without a version, if there is one."""
    delivery = open_delivery(connection, sync)
    if delivery is not None:
        close_delivery(connection, database, delivery, version=None)


def forget_versions(connection: sa.Connection, sync: SyncName) -> None:
    """Delete all versions of a sync, what it read and where it delivered: it begins anew."""
    connection.execute(versions.delete().where(versions.c.sync == sync))
    connection.execute(sources.delete().where(sources.c.sync == sync))
    update_sync(connection, sync, version=0, target="")


def add_version(connection: sa.Connection, sync: SyncName, version: VersionRef) -> None:
    """Add a version and make it the current one."""
    connection.execute(
        versions.insert().values(
            sync=sync,
            number=version.number,
            uri=version.uri,
            sha256=version.sha256,
            rows=version.rows,
            decided_at=version.decided_at,
        )
    )
    update_sync(connection, sync, version=version.number)


def prune_batches(connection: sa.Connection, sync: SyncName, *, keep: int) -> None:
    """Delete the batches of all closed deliveries except the latest ones."""
    closed = sa.and_(deliveries.c.sync == sync, deliveries.c.closed_at.is_not(None))
    old = sa.select(deliveries.c.id).where(closed).order_by(deliveries.c.id.desc()).offset(keep)
    connection.execute(batches.delete().where(batches.c.delivery.in_(old)))
