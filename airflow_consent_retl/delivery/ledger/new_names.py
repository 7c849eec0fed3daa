"""The transaction that gives everything the ledger has of a sync to another name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from airflow_consent_retl.delivery.ledger.schema import deliveries, runs, sources, syncs, versions
from airflow_consent_retl.delivery.ledger.writes import add_version, forget_versions, update_sync

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.records import SyncName, VersionRef

_OF_THE_LEASE = frozenset({"sync", "epoch", "holder", "expires_at", "lease_s"})


def rename_sync(connection: sa.Connection, old: SyncName, new: SyncName, current: VersionRef | None) -> None:
    """Give deliveries, runs, source, target and times of one sync to another one, and delete the first.

    Args:
        connection: with an open transaction that has locked both rows.
        old: the sync, with a lease and without an open delivery.
        new: a sync without people and without an open delivery, with a lease of its own, which it keeps.
        current: the present version of the delivered state, as it is under the new name.
    """
    row = connection.execute(sa.select(syncs).where(syncs.c.sync == old)).one()
    forget_versions(connection, new)
    connection.execute(versions.delete().where(versions.c.sync == old))
    for table in (deliveries, runs, sources):
        connection.execute(sa.update(table).where(table.c.sync == old).values(sync=new))
    update_sync(connection, new, **{name: value for name, value in row._mapping.items() if name not in _OF_THE_LEASE})
    if current is not None:
        add_version(connection, new, current)
    connection.execute(syncs.delete().where(syncs.c.sync == old))
