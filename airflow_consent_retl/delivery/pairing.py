"""The pair of a ledger and a workspace: each carries the other's id, and a stranger is refused before a lease is taken.

The ledger says which version of a delivered state is current; the workspace has its files. One of them alone, restored
from a backup or replaced by another one, would forget people at a destination.
"""

from __future__ import annotations

import json
import uuid
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.delivery.ledger.identity import SeenArchive
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.manifest import MANIFEST_NAME
from airflow_consent_retl.storage.policy_archive import proofs_in
from airflow_consent_retl.storage.suppression import FOLDER, acts_in
from airflow_consent_retl.storage.sync_folder import SYNCS, SyncFolder, base_name, epoch_of, is_delivered, own_names

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.identity import KnownSync, LedgerIdentity
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.folder import Folder

IDENTITY_NAME: Final = "workspace.json"
REMEDY: Final = (
    "restore ledger and workspace from backups of the same time, or correct `ledger_conn_id` and `workspace`. If that "
    "is impossible, adopt what the workspace has with AdoptDeliveredStateOperator or "
    "`consent-retl adopt`"
)


@dataclass(frozen=True, slots=True)
class WorkspaceIdentity:
    """The ids that a workspace carries: its own, and its ledger's."""

    workspace: str
    ledger: str

    @classmethod
    def read(cls, root: Folder) -> WorkspaceIdentity | None:
        """Return the ids of the workspace with this root; None if it has none.

        Raises:
            ConfigurationError: its file was changed.
        """
        if not root.exists(IDENTITY_NAME):
            return None
        try:
            document = json.loads(root.read(IDENTITY_NAME))
            return cls(workspace=str(document["workspace"]), ledger=str(document["ledger"]))
        except (ValueError, TypeError, KeyError):
            raise ConfigurationError(f"{root.uri}/{IDENTITY_NAME} cannot be read: {REMEDY}") from None

    def write(self, root: Folder) -> None:
        """Write the ids into a workspace."""
        root.replace(IDENTITY_NAME, json.dumps(asdict(self)).encode())


def pair(ledger: Ledger, root: Folder, *, joins: bool = True) -> str:
    """Check that a ledger and a workspace belong together, or join two that are new, and return the workspace's id.

    A workspace without an id joins the ledger if it has no people, or people that the ledger knows.

    Args:
        ledger: open.
        root: of the workspace.
        joins: whether the workspace gets the id; False where the ledger is a copy.

    Raises:
        ConfigurationError: they do not belong together.
    """
    found = WorkspaceIdentity.read(root)
    with ledger.identity() as known:
        if found is not None and found.ledger == known.id and known.knows(found.workspace):
            return found.workspace
    with ledger.identity(writing=True) as known:
        # Read again: another process may have joined them.
        found = WorkspaceIdentity.read(root)
        if found is not None and found.ledger != known.id:
            raise ConfigurationError(
                f"the workspace {root.uri} belongs to ledger {found.ledger}, this one is ledger {known.id}, which "
                f"knows {len(known.syncs())} syncs; the workspace has the delivered people of "
                f"{len(folders_of_syncs(root))} syncs: {REMEDY}"
            )
        if found is not None and known.knows(found.workspace):
            return found.workspace
        _check_unpaired(root, known, has_id=found is not None)
        joined = WorkspaceIdentity(found.workspace if found else uuid.uuid4().hex, known.id)
        # The file first: a file that names this ledger, without an entry in it, is joined by the next try.
        if joins:
            joined.write(root)
        known.add(joined.workspace, root.uri)
        return joined.workspace


def check_acts(ledger: Ledger, root: Folder) -> None:
    """Check that the suppression list of a workspace has every act that the ledger saw, and note new ones.

    The list knows its own files, but not that it was replaced by an older one as a whole.

    Args:
        ledger: open, and paired with the workspace.
        root: of the workspace.

    Raises:
        ConfigurationError: acts are gone: people who were forgotten would be sent again.
    """
    workspace = ledger.workspace or ""
    with ledger.identity() as known:
        seen = known.acts(workspace)
    # Listed after the ledger was read: acts are only added, so there are at least as many.
    there = acts_in(root)
    if there < seen:
        raise ConfigurationError(
            f"the suppression list {(root / FOLDER).uri} has {there:,} acts, and the ledger saw {seen:,}: it was "
            "restored from an older backup, and people who were forgotten since would be sent again. Restore its "
            "newest backup. If there is none, forget again who asked for it since, and declare the list whole: "
            "`consent-retl adopt`"
        )
    if there > seen:
        with ledger.identity(writing=True) as known:
            known.note_acts(workspace, there)


def check_archive(ledger: Ledger, archive: Folder, *, approves: bool, log: TaskLog) -> None:
    """Check that the archive of policies has every proof that the ledger saw, and note new ones.

    Runs fill an archive that is lost again, so its newest proof has to be there too, with as many before it.

    Args:
        ledger: open.
        archive: the folder of the deployment's archive.
        approves: policies need an approval: the archive says which one is in force.
        log: gets a warning where proofs are gone and no policy needs an approval.

    Raises:
        ConfigurationError: proofs are gone, and a policy that was replaced since could be in force again.
    """
    with ledger.identity() as known:
        seen = known.archive(archive.uri)
    # Listed after the ledger was read: proofs are only added.
    there = proofs_in(archive)
    kept = 0 if seen is None else bisect_right(there, seen.newest)
    if seen is not None and (kept < seen.proofs or there[kept - 1 : kept] != [seen.newest]):
        gone = (
            f"the policy archive {archive.uri} lacks records that the ledger saw: it was emptied, or restored from an "
            "older backup, and what is gone of the policy's history and approvals is proved by nothing else. Restore "
            "its newest backup. If there is none, declare it whole: `consent-retl adopt`"
        )
        if approves:
            raise ConfigurationError(f"{gone}, and approve again what has to be in force")
        log.warning("%s", gone)
    elif there and (seen is None or len(there) > seen.proofs):
        with ledger.identity(writing=True) as known:
            known.note_archive(archive.uri, SeenArchive(len(there), there[-1]))


def _check_unpaired(root: Folder, known: LedgerIdentity, *, has_id: bool) -> None:
    unknown = unknown_syncs(root, known)
    if unknown:
        raise ConfigurationError(
            f"the workspace {root.uri} has the delivered people of {len(unknown)} syncs that ledger {known.id} does "
            f"not know ({', '.join(unknown[:5])}); it knows {len(known.syncs())} syncs: {REMEDY}"
        )
    if not has_id and known.knows_place(root.uri):
        raise ConfigurationError(
            f"the workspace {root.uri} belongs to ledger {known.id}, but its file {IDENTITY_NAME} is gone: the "
            f"workspace was emptied or replaced: {REMEDY}"
        )


def folders_of_syncs(root: Folder) -> list[str]:
    """Return the names of the folders of syncs that have changes or a delivered state, in a workspace."""
    syncs = root / SYNCS
    return [name for name in sorted(syncs.names()) if own_names(syncs / name)]


def unknown_syncs(root: Folder, known: LedgerIdentity) -> list[str]:
    """Return the folders of syncs whose delivered state the ledger does not have."""
    names = {SyncFolder(root, sync).root.uri: sync for sync in known.syncs()}
    unknown = []
    for folder in folders_of_syncs(root):
        sync = names.get((root / SYNCS / folder).uri)
        states = [name for name in own_names(root / SYNCS / folder) if is_delivered(name)]
        if sync is None or (states and not known.named(sync).intersection(states)):
            unknown.append(folder)
    return unknown


def check_sync(ledger: Ledger, folder: SyncFolder, sync: SyncName) -> KnownSync:
    """Check, before a lease is taken, that the ledger knows everything that a sync's folder has, and return it.

    Raises:
        ConfigurationError: the folder has what the ledger does not know, or lacks the version that the ledger names.
    """
    # Listed first: every folder in the list was made under a lease that the ledger has when it is read.
    names = folder.names()
    with ledger.identity() as known:
        sync_known = known.sync(sync)
        if sync_known.workspace not in (None, ledger.workspace):
            raise ConfigurationError(
                f"sync `{sync}` has its delivered state in workspace {sync_known.workspace}, and {folder.root.uri} is "
                f"in workspace {ledger.workspace}: give the load the workspace that it had, or move the whole workspace"
            )
        newest = max((epoch_of(name) or 0 for name in names), default=0)
        if newest > sync_known.epoch:
            raise ConfigurationError(
                f"sync `{sync}`: the workspace {folder.root.uri} has work of lease {newest}, the ledger knows leases "
                f"up to {sync_known.epoch}: the ledger was restored from an older backup, or is another one; {REMEDY}"
            )
        without_epoch = [name for name in names if is_delivered(name) and epoch_of(name) is None]
        if without_epoch and sync_known.current is None and not known.named(sync).intersection(without_epoch):
            raise ConfigurationError(
                f"sync `{sync}`: the workspace {folder.root.uri} has {len(without_epoch)} delivered states, and the "
                f"ledger knows none; {REMEDY}"
            )
    _check_current(ledger, folder, sync, sync_known, names)
    return sync_known


def _check_current(ledger: Ledger, folder: SyncFolder, sync: SyncName, known: KnownSync, names: list[str]) -> None:
    current = known.current
    if current is None or base_name(current.uri) in names or folder.open(current.uri).exists(MANIFEST_NAME):
        return
    # A running load may have replaced it since.
    if ledger.current(sync) != current:
        return
    states = sum(map(is_delivered, names))
    raise ConfigurationError(
        f"sync `{sync}`: the ledger names version {current.number} with {current.rows:,} people at {current.uri}, "
        f"and the workspace does not have it; it has {states} other delivered states: the workspace was restored from "
        f"an older backup, or is another one; {REMEDY}"
    )


@contextmanager
def leased(
    ledger: Ledger,
    root: Folder,
    sync: SyncName,
    *,
    holder: str,
    ttl_s: float,
    wait_s: float,
    shares: Sequence[str] = (),
) -> Iterator[Lease]:
    """Yield the lease of a sync whose folder the ledger knows: see `check_sync` and `Ledger.acquire`.

    The leases of the syncs that share its target are held too, taken in one order by all: of two syncs that let go of
    one person at the same time, each would leave the removal to the other.

    Args:
        ledger: opened for the workspace.
        root: of the workspace.
        sync: the sync's name.
        holder, ttl_s, wait_s: as for `Ledger.acquire`.
        shares: the names of the syncs that share its target.
    """
    known = check_sync(ledger, SyncFolder(root, sync), sync)
    with ledger.identity() as present:
        others = set(present.syncs()).intersection(shares)
    with ExitStack() as leases:
        taken = {
            name: leases.enter_context(ledger.acquire(name, holder=holder, ttl_s=ttl_s, wait_s=wait_s))
            for name in sorted({sync, *others})
        }
        own = taken[sync]
        if ledger.workspace is not None and known.workspace is None:
            own.keep_in(ledger.workspace)
        yield own
