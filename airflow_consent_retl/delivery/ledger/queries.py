"""Queries of the ledger, for readers with and without a lease."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from airflow_consent_retl.delivery.attempts import Attempt, BatchKind, decoded
from airflow_consent_retl.delivery.ledger.records import DecidedUnder, Delivery, SourceRecord, SyncName, VersionRef
from airflow_consent_retl.delivery.ledger.run_records import RunKind, RunState
from airflow_consent_retl.delivery.ledger.schema import batches, deliveries, runs, sources, syncs, versions
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.manifest import SourceSize
from airflow_consent_retl.storage.sync_folder import base_name

# Runs of loads that did not fail before they began a delivery.
_LOADED = (runs.c.kind == RunKind.LOAD, sa.or_(runs.c.state != RunState.FAILED, runs.c.delivery.is_not(None)))


def current_version(connection: sa.Connection, sync: SyncName) -> VersionRef | None:
    """Return the version that the sync points at."""
    row = connection.execute(
        sa.select(versions)
        .join(syncs, sa.and_(syncs.c.sync == versions.c.sync, syncs.c.version == versions.c.number))
        .where(syncs.c.sync == sync)
    ).one_or_none()
    return None if row is None else version_of(row)


def last_policy(connection: sa.Connection, sync: SyncName) -> DecidedUnder | None:
    """Return the policy of the last load that began a delivery or ended well, from the records of runs."""
    row = connection.execute(
        sa.select(runs.c.policy_digest, runs.c.decided_at)
        .where(runs.c.sync == sync, *_LOADED, runs.c.decided_at.is_not(None))
        # Not by its time: a clock may have been ahead.
        .order_by(runs.c.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else DecidedUnder(row.policy_digest, row.decided_at)


def later_syncs(connection: sa.Connection, sync: SyncName) -> set[SyncName]:
    """Return the syncs that were first loaded in a later run than the last load of a sync."""
    last = connection.execute(
        sa.select(runs.c.id, runs.c.dag, runs.c.run)
        .where(runs.c.sync == sync, *_LOADED)
        .order_by(runs.c.id.desc())
        .limit(1)
    ).one_or_none()
    if last is None:
        return set()
    firsts = sa.select(sa.func.min(runs.c.id)).where(*_LOADED).group_by(runs.c.sync)
    is_of_another_run = sa.or_(runs.c.dag != last.dag, runs.c.run != last.run)
    found = sa.select(runs.c.sync).where(runs.c.id.in_(firsts), runs.c.id > last.id, is_of_another_run)
    return {SyncName(name) for name in connection.scalars(found)}


def all_syncs(
    connection: sa.Connection,
) -> Iterator[tuple[Any, VersionRef | None, Delivery | None]]:
    """Yield the row of each sync, by name, with its present version and its open delivery: one query for all."""
    present = sa.and_(syncs.c.sync == versions.c.sync, syncs.c.version == versions.c.number)
    query = (
        sa.select(syncs, *versions.c, *deliveries.c)
        .outerjoin(versions, present)
        .outerjoin(deliveries, syncs.c.delivery == deliveries.c.id)
        .order_by(syncs.c.sync)
    )
    for row in connection.execute(query):
        found = row._mapping
        version = None if found[versions.c.number] is None else version_of(_RunPart(versions, found))
        delivery = None if found[deliveries.c.id] is None else delivery_of(_RunPart(deliveries, found))
        yield _RunPart(syncs, found), version, delivery


class _RunPart:
    """The columns of one table in a row of several tables."""

    def __init__(self, table: sa.Table, found: sa.RowMapping) -> None:
        self.__dict__.update({column.name: found[column] for column in table.c})


def last_version(connection: sa.Connection, sync: SyncName) -> int:
    """Return the highest number of a sync's versions; 0 without any."""
    return int(connection.scalar(sa.select(sa.func.max(versions.c.number)).where(versions.c.sync == sync)) or 0)


def open_delivery(connection: sa.Connection, sync: SyncName) -> Delivery | None:
    """Return the delivery that is in progress, or was when its worker died."""
    row = connection.execute(
        sa.select(deliveries).join(syncs, syncs.c.delivery == deliveries.c.id).where(syncs.c.sync == sync)
    ).one_or_none()
    return None if row is None else delivery_of(row)


def named_folders(connection: sa.Connection, sync: SyncName) -> set[str]:
    """Return the names of all folders that the ledger ever had as a version or as changes of a sync."""
    of_versions = sa.select(versions.c.uri).where(versions.c.sync == sync)
    of_changes = sa.select(deliveries.c.changes_uri).where(deliveries.c.sync == sync)
    return {base_name(uri) for uri in connection.scalars(of_versions.union_all(of_changes)) if uri}


def newest_source(connection: sa.Connection, sync: SyncName) -> SourceRecord | None:
    """Return what the sync read for the newest data that it delivered."""
    row = connection.execute(sa.select(sources).where(sources.c.sync == sync)).one_or_none()
    return None if row is None else _source_of(row)


def other_sources(connection: sa.Connection, sync: SyncName) -> dict[SyncName, SourceRecord]:
    """Return what each other sync read for the newest data that it delivered."""
    found = connection.execute(sa.select(sources).where(sources.c.sync != sync).order_by(sources.c.sync))
    return {SyncName(row.sync): _source_of(row) for row in found.all()}


def _source_of(row: sa.Row[tuple[object, ...]]) -> SourceRecord:
    return SourceRecord(
        as_of=row.as_of,
        conn_id=row.conn_id,
        hook_params=json.loads(row.hook_params),
        session_time_zone=row.session_time_zone,
        sql_sha256=row.sql_sha256,
        sources_sha256=row.sources_sha256,
        sql_outline=row.sql_outline,
        sources_outline=row.sources_outline,
        sql_shape=row.sql_shape,
        sql_date=row.sql_date,
        is_dated=row.is_dated,
        sizes=tuple(SourceSize.from_json(json.dumps(size)) for size in json.loads(row.sizes or "[]")),
        served_by=row.served_by,
    )


def attempts_at(connection: sa.Connection, delivery: Delivery) -> list[Attempt]:
    """Return all attempts at a delivery's batches, in the order of kind, number and epoch.

    Raises:
        ConfigurationError: something else changed the tables.
    """
    columns = (batches.c.kind, batches.c.number, batches.c.epoch)
    found = connection.execute(sa.select(batches).where(batches.c.delivery == delivery.id).order_by(*columns))
    try:
        return [_attempt_of(row) for row in found]
    except ValueError:
        raise ConfigurationError(f"the ledger's batches of delivery {delivery.id} cannot be read") from None


def version_of(row: Any) -> VersionRef:
    """Return a row of the versions table as a record."""
    return VersionRef(number=row.number, uri=row.uri, sha256=row.sha256, rows=row.rows, decided_at=row.decided_at)


def delivery_of(row: Any) -> Delivery:
    """Return a row of the deliveries table as a record."""
    return Delivery(
        id=row.id,
        sync=SyncName(row.sync),
        key=row.key,
        kind=row.kind,
        changes_uri=row.changes_uri,
        changes_sha256=row.changes_sha256,
        decided_at=row.decided_at,
        send_rows=row.send_rows,
        remove_rows=row.remove_rows,
        base=row.base,
        began_at=row.began_at,
        closed_at=row.closed_at,
        version=row.version,
    )


def _attempt_of(row: sa.Row[tuple[object, ...]]) -> Attempt:
    return Attempt(
        kind=BatchKind(row.kind),
        number=row.number,
        start=row.start,
        rows=row.rows,
        key=row.key,
        epoch=row.epoch,
        intended_at=row.intended_at,
        lost_at=row.lost_at,
        ended_at=row.ended_at,
        outcomes=None if row.outcomes is None else decoded(row.outcomes),
    )
