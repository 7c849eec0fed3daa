"""Queries about several syncs of a ledger: those with the same target, those that share it, and the DAG of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from airflow_consent_retl.delivery.ledger.queries import current_version
from airflow_consent_retl.delivery.ledger.records import SyncName, VersionRef, model_and_destination
from airflow_consent_retl.delivery.ledger.schema import syncs

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase


@dataclass(frozen=True, slots=True)
class OtherSync:
    """Another sync with the same target.

    Args:
        sync: its name.
        shares: the syncs with which its last load shared the target.
        current: the present version of its delivered state.
    """

    sync: SyncName
    shares: tuple[str, ...]
    current: VersionRef | None


@dataclass(frozen=True, slots=True)
class Service:
    """The DAG that served a sync last, and the DAGs with which it shared the sync."""

    dag: str | None
    shares: tuple[str, ...]


def others_at(
    connection: sa.Connection, database: LedgerDatabase, sync: SyncName, is_target: Callable[[str], bool]
) -> list[OtherSync]:
    """Return the other syncs at a target that have people there, or may get some now.

    A sync whose lease the same task holds, because it shares the target, gets none now.
    """
    now = database.now(connection)
    own = connection.scalar(sa.select(syncs.c.holder).where(syncs.c.sync == sync))
    placed = sa.select(syncs).where(syncs.c.target != "", syncs.c.sync != sync)
    found = connection.execute(placed.order_by(syncs.c.sync))
    others = []
    for row in found.all():
        if not is_target(str(row.target)):
            continue
        current = current_version(connection, SyncName(row.sync))
        is_running = row.holder not in ("", own) and row.expires_at > now
        if (current is not None and current.rows) or row.delivery is not None or is_running:
            others.append(OtherSync(SyncName(row.sync), _names(row.shares), current))
    return others


def unplaced_beside(connection: sa.Connection, sync: SyncName) -> list[SyncName]:
    """Return the other syncs of the same destination instance that have people and no recorded target.

    They were adopted, and did not run since. Empty where the sync itself has people: it is none that begins.
    """
    own = current_version(connection, sync)
    if own is not None and own.rows:
        return []
    _, destination = model_and_destination(sync)
    names = connection.scalars(sa.select(syncs.c.sync).where(syncs.c.target == "", syncs.c.sync != sync)).all()
    unplaced = []
    for name in sorted(map(SyncName, names)):
        current = current_version(connection, name)
        if model_and_destination(name)[1] == destination and current is not None and current.rows:
            unplaced.append(name)
    return unplaced


def service_of(row: sa.Row[tuple[object, ...]]) -> Service:
    """Return who served a sync last, from its row."""
    return Service(None if row.dag is None else str(row.dag), _names(row.dags))


def _names(text: object) -> tuple[str, ...]:
    return tuple(json.loads(str(text))) if text else ()
