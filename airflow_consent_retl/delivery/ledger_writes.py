"""What is written to the ledger, in a transaction that has locked the sync's row for the lease."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from airflow_consent_retl.delivery import outcome_runs
from airflow_consent_retl.delivery.ledger_schema import batches, deliveries, syncs, versions

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.attempts import EndedBatch, IntendedBatch
    from airflow_consent_retl.delivery.ledger_database import LedgerDatabase
    from airflow_consent_retl.delivery.ledger_records import Delivery, SyncName, VersionRef


def update_sync(connection: sa.Connection, sync: SyncName, **values: object) -> None:
    """Change columns of a sync's row."""
    connection.execute(syncs.update().where(syncs.c.sync == sync).values(values))


def note_intents(
    connection: sa.Connection,
    database: LedgerDatabase,
    delivery: Delivery,
    intended: Sequence[IntendedBatch],
    *,
    epoch: int,
) -> None:
    """Note attempts before their first request. Those that are noted and have not ended stay as they are."""
    rows = [
        {
            "delivery": delivery.id,
            "kind": batch.kind,
            "number": batch.number,
            "epoch": epoch,
            "start": batch.start,
            "rows": batch.rows,
            "key": batch.key,
            "intended_at": database.clock(),
        }
        for batch in intended
    ]
    insertion = database.insert(batches).values(rows)
    new = insertion.excluded
    same = sa.and_(
        batches.c.start == new.start,
        batches.c.rows == new.rows,
        batches.c.key == new.key,
        batches.c.ended_at.is_(None),
    )
    noted = connection.execute(
        insertion.on_conflict_do_update(
            index_elements=list(batches.primary_key), set_={"intended_at": batches.c.intended_at}, where=same
        ),
        execution_options={"preserve_rowcount": True},
    )
    if noted.rowcount != len(rows):
        raise ValueError(f"a batch of delivery {delivery.id} has ended under this lease, or was intended otherwise")


def end_of_attempt(database: LedgerDatabase, delivery: Delivery, *, only_first: bool) -> sa.Update:
    """Return the statement that notes how an attempt at a batch of a delivery ended: see `note_end`.

    Built once for many batches, since building it takes longer than running it.

    Args:
        database: the ledger's.
        delivery: that the attempts belong to.
        only_first: leave an attempt as it is where an end was noted before.
    """
    own = [
        batches.c.delivery == delivery.id,
        batches.c.kind == sa.bindparam("of_kind"),
        batches.c.number == sa.bindparam("of_number"),
        batches.c.epoch == sa.bindparam("of_epoch"),
        batches.c.rows == sa.bindparam("of_rows"),
    ]
    if only_first:
        own.append(batches.c.ended_at.is_(None))
    noted = {"ended_at": database.clock(), "outcomes": sa.bindparam("noted_outcomes")}
    return batches.update().where(*own).values(noted)


def note_end(connection: sa.Connection, statement: sa.Update, batch: EndedBatch, *, epoch: int) -> bool:
    """Note how an attempt ended, and return whether it was found: intended, with as many rows.

    Args:
        connection: with the transaction.
        statement: from `end_of_attempt`.
        batch: how it ended.
        epoch: of the attempt.
    """
    parameters = {
        "of_kind": batch.kind,
        "of_number": batch.number,
        "of_epoch": epoch,
        "of_rows": batch.outcomes.rows,
        "noted_outcomes": outcome_runs.encoded(batch.outcomes),
    }
    return connection.execute(statement, parameters).rowcount == 1


def note_lost(connection: sa.Connection, delivery_id: int, *, lost_at: datetime) -> None:
    """Note, for attempts that have not ended as the next lease begins, when their own was over."""
    unended = sa.and_(batches.c.delivery == delivery_id, batches.c.ended_at.is_(None), batches.c.lost_at.is_(None))
    connection.execute(batches.update().where(unended).values(lost_at=lost_at))


def has_attempts(connection: sa.Connection, delivery: Delivery) -> bool:
    """Return whether anything was ever intended for a delivery."""
    found = sa.select(sa.literal(1)).where(batches.c.delivery == delivery.id).limit(1)
    return connection.execute(found).first() is not None


def close_delivery(
    connection: sa.Connection, database: LedgerDatabase, delivery: Delivery, *, version: int | None
) -> None:
    """Close a delivery, with the version it led to."""
    update_sync(connection, delivery.sync, delivery=None)
    closed = deliveries.update().where(deliveries.c.id == delivery.id)
    connection.execute(closed.values(closed_at=database.clock(), version=version))


def add_version(connection: sa.Connection, sync: SyncName, version: VersionRef) -> None:
    """Add a version, and let the sync point at it."""
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


def forget_uris(connection: sa.Connection, sync: SyncName, uris: Collection[str], *, version: int) -> None:
    """Delete what points at these folders, unless it is the current version or an open delivery."""
    connection.execute(
        versions.delete().where(versions.c.sync == sync, versions.c.number < version, versions.c.uri.in_(uris))
    )
    closed = sa.and_(deliveries.c.sync == sync, deliveries.c.closed_at.is_not(None))
    connection.execute(deliveries.update().where(closed, deliveries.c.changes_uri.in_(uris)).values(changes_uri=None))


def prune_deliveries(connection: sa.Connection, sync: SyncName, *, keep: int) -> None:
    """Delete the batches of all but the latest closed deliveries, and those whose folder is forgotten altogether."""
    closed = sa.and_(deliveries.c.sync == sync, deliveries.c.closed_at.is_not(None))
    old = sa.select(deliveries.c.id).where(closed).order_by(deliveries.c.id.desc()).offset(keep)
    connection.execute(batches.delete().where(batches.c.delivery.in_(old)))
    connection.execute(deliveries.delete().where(deliveries.c.id.in_(old), deliveries.c.changes_uri.is_(None)))
