"""The ledger's own id, the workspaces that belong to it, and its syncs, as readers without a lease see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from airflow_consent_retl.delivery.ledger.queries import current_version, named_folders
from airflow_consent_retl.delivery.ledger.records import SyncName, VersionRef
from airflow_consent_retl.delivery.ledger.schema import archives, identity, syncs, workspaces
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger.ledger_database import LedgerDatabase


@dataclass(frozen=True, slots=True)
class KnownSync:
    """One sync, as the ledger knows it.

    Args:
        epoch: of its newest lease; 0: there never was one.
        workspace: the id of the workspace that has its delivered state, if it is recorded.
        current: the present version of the delivered state.
    """

    epoch: int
    workspace: str | None
    current: VersionRef | None


@dataclass(frozen=True, slots=True)
class SeenArchive:
    """The proofs that an archive of policies was seen with: their number, and the name of the newest."""

    proofs: int
    newest: str


class LedgerIdentity:
    """The ledger's id, its workspaces and its syncs, in an open transaction.

    Args:
        connection: with the transaction.
        database: the ledger's database.
    """

    def __init__(self, connection: sa.Connection, database: LedgerDatabase) -> None:
        self._connection = connection
        self._database = database

    def lock(self) -> None:
        """Have other transactions that lock it wait for the end of this one."""
        self._connection.execute(sa.select(identity).with_for_update()).all()

    @property
    def id(self) -> str:
        """The ledger's id.

        Raises:
            ConfigurationError: something else changed the tables.
        """
        found = self._connection.scalars(sa.select(identity.c.id)).all()
        if len(found) != 1:
            raise ConfigurationError(f"the ledger's table {identity.name} has {len(found)} rows, it needs one")
        return str(found[0])

    def knows(self, workspace: str) -> bool:
        """Return whether a workspace with this id belongs to it."""
        found = self._connection.execute(sa.select(workspaces.c.id).where(workspaces.c.id == workspace))
        return found.first() is not None

    def knows_place(self, uri: str) -> bool:
        """Return whether one of its workspaces was at this URI when it joined."""
        return self._connection.execute(sa.select(workspaces.c.id).where(workspaces.c.uri == uri)).first() is not None

    def add(self, workspace: str, uri: str) -> None:
        """Record a workspace, in a transaction that writes."""
        values = {"id": workspace, "uri": uri, "joined_at": self._database.clock()}
        self._connection.execute(workspaces.insert().values(values))

    def acts(self, workspace: str) -> int:
        """Return the most acts that a workspace's suppression list was seen with."""
        return self._connection.scalar(sa.select(workspaces.c.acts).where(workspaces.c.id == workspace)) or 0

    def note_acts(self, workspace: str, acts: int, *, may_fall: bool = False) -> None:
        """Record the number of acts of a workspace's suppression list, in a transaction that writes.

        Args:
            workspace: its id.
            acts: the number.
            may_fall: a person declared that the list is whole; otherwise a higher number stays.
        """
        changed = workspaces.update().where(workspaces.c.id == workspace)
        if not may_fall:
            changed = changed.where(sa.func.coalesce(workspaces.c.acts, 0) < acts)
        self._connection.execute(changed.values(acts=acts))

    def archive(self, uri: str) -> SeenArchive | None:
        """Return the most proofs that the archive of policies at this URI was seen with; None: it had none."""
        row = self._connection.execute(sa.select(archives).where(archives.c.uri == uri)).one_or_none()
        return None if row is None else SeenArchive(row.proofs, row.newest)

    def note_archive(self, uri: str, seen: SeenArchive, *, may_fall: bool = False) -> None:
        """Record the proofs of an archive, in a transaction that writes.

        Args:
            uri: of the archive.
            seen: its proofs now.
            may_fall: a person declared that the archive is whole; otherwise a higher number stays.
        """
        self.lock()
        before = self.archive(uri)
        if before is not None and before.proofs >= seen.proofs and not may_fall:
            return
        self._connection.execute(archives.delete().where(archives.c.uri == uri))
        if seen.proofs:
            self._connection.execute(archives.insert().values(uri=uri, proofs=seen.proofs, newest=seen.newest))

    def syncs(self) -> list[SyncName]:
        """Return the names of all syncs."""
        return [SyncName(name) for name in self._connection.scalars(sa.select(syncs.c.sync).order_by(syncs.c.sync))]

    def sync(self, name: SyncName) -> KnownSync:
        """Return what the ledger knows of a sync."""
        row = self._connection.execute(sa.select(syncs).where(syncs.c.sync == name)).one_or_none()
        if row is None:
            return KnownSync(0, None, None)
        return KnownSync(row.epoch, row.workspace, current_version(self._connection, name))

    def named(self, name: SyncName) -> set[str]:
        """Return the names of all folders that the ledger ever had as a version or as changes of a sync."""
        return named_folders(self._connection, name)
