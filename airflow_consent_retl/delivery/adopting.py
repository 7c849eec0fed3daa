"""The adoption of what a workspace has by a ledger that does not know it: a deliberate act after a loss.

The newest delivered state of a sync becomes its current version. Changes that were found against it may have been sent:
they become an open delivery without an answer, which the next run resolves, so that everyone in it counts as possibly
delivered. Or the people are declared gone: then the sync begins anew.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from airflow_consent_retl.delivery.attempts import BatchKind, IntendedBatch
from airflow_consent_retl.delivery.ledger.identity import SeenArchive
from airflow_consent_retl.delivery.ledger.records import SyncName
from airflow_consent_retl.delivery.pairing import WorkspaceIdentity, check_sync, folders_of_syncs
from airflow_consent_retl.delivery.run import LOAD, WITHDRAWALS
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, sha256_hex
from airflow_consent_retl.storage.policy_archive import proofs_in
from airflow_consent_retl.storage.signing import SignatureState, SignedDocument
from airflow_consent_retl.storage.suppression import acts_in
from airflow_consent_retl.storage.sync_folder import SYNCS, SyncFolder, epoch_of, is_delivered, own_names
from airflow_consent_retl.storage.sync_manifests import ChangesManifest, DeliveredManifest

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.identity import LedgerIdentity
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.folder import Folder

_TTL_S: Final = 60.0
_WAIT_S: Final = 30.0
# Of changes whose rows stay in a warehouse: it names the delivered state that they were found against.
_OF_NAME: Final = "of.json"
_DOUBTS: Final = {
    SignatureState.UNSIGNED: "is not signed",
    SignatureState.UNKNOWN_KEY: "was signed with an unknown digest key",
    SignatureState.FALSE: "has a false signature",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """The result for one sync.

    Args:
        sync: its name.
        result: `adopted`, `unchanged` if the ledger knew everything, or `declared gone`.
        rows: the entries of the delivered state.
        unresolved: rows of changes that may have been sent, for the next run to resolve.
    """

    sync: str
    result: Literal["adopted", "unchanged", "declared gone"]
    rows: int = 0
    unresolved: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """A folder with its manifest, and the digest of the manifest's bytes."""

    folder: Folder
    epoch: int
    manifest: DeliveredManifest | ChangesManifest
    sha256: str
    # The digest of the delivered state that changes were found against.
    base: str | None


def adopt_delivered_states(
    ledger: Ledger,
    root: Folder,
    *,
    syncs: Collection[str] | None,
    gone: bool,
    unsigned: bool = False,
    archive: Folder,
    decided_up_to: Callable[[SyncName], datetime | None],
    holder: str,
    log: TaskLog,
) -> list[Adopted]:
    """Have a ledger adopt what a workspace has, or declare people gone, and pair the two.

    The suppression list and the archive of policies count as whole from then on.

    Args:
        ledger: opened without a check of the workspace.
        root: of the workspace.
        syncs: the names of the syncs; None: all that the workspace or the ledger has people of.
        gone: the people of these syncs are at their destinations no more: forget them.
        unsigned: adopt also what an earlier release wrote without a signature, or signed with a secret that is lost.
        archive: the folder of the deployment's archive of policies.
        decided_up_to: returns the time of the newest decision about a sync that the workspace has a record of. A run
            that changed nothing left no delivered state, and no older decision may be delivered after it.
        holder: a description of the caller, for other tasks that wait.
        log: the task's.

    Raises:
        ConfigurationError: a sync is unknown, or the workspace has no delivered state of it.
        SyncBusyError: a task has the lease of a sync.
    """
    identity = WorkspaceIdentity.read(root)
    workspace = uuid.uuid4().hex if identity is None else identity.workspace
    ledger.workspace = workspace
    folders = _folders(ledger, root, unsigned=unsigned or gone)
    unknown = sorted(set(syncs or ()) - folders.keys())
    if unknown:
        raise ConfigurationError(
            f"neither the ledger nor the workspace {root.uri} has people of {', '.join(unknown)}; they have people of "
            f"{', '.join(sorted(folders)) or 'no sync'}"
        )
    adopted = []
    for sync in sorted(folders if syncs is None else syncs):
        name = SyncName(sync)
        adopted.append(
            _declare_gone(ledger, folders[sync], name, holder=holder, workspace=workspace)
            if gone
            else _adopt(
                ledger,
                folders[sync],
                name,
                unsigned=unsigned,
                decided_up_to=decided_up_to(name),
                holder=holder,
                workspace=workspace,
            )
        )
        log.info("%s", adopted[-1])
    with ledger.identity(writing=True) as known:
        paired = WorkspaceIdentity(workspace, known.id)
        # The file first: a file that names this ledger, without an entry in it, is joined by the next opening.
        if identity != paired:
            paired.write(root)
        if not known.knows(workspace):
            known.add(workspace, root.uri)
        there, seen = acts_in(root), known.acts(workspace)
        if there < seen:
            log.warning(
                "the suppression list has %s acts, and had %s: it counts as whole from now on. Whoever was forgotten "
                "since its backup has to be forgotten again",
                f"{there:,}",
                f"{seen:,}",
            )
        known.note_acts(workspace, there, may_fall=True)
        _note_archive(known, archive, log)
    return adopted


def _note_archive(known: LedgerIdentity, archive: Folder, log: TaskLog) -> None:
    proofs, seen = proofs_in(archive), known.archive(archive.uri)
    if seen is not None and seen.newest not in proofs:
        log.warning("the policy archive counts as whole from now on: approve again what has to be in force")
    known.note_archive(archive.uri, SeenArchive(len(proofs), max(proofs, default="")), may_fall=True)


def _folders(ledger: Ledger, root: Folder, *, unsigned: bool) -> dict[str, SyncFolder]:
    """Return the folder of each sync that the workspace or the ledger has people of."""
    with ledger.identity() as known:
        names = {sync for sync in known.syncs() if known.sync(sync).current is not None}
    folders = {str(sync): SyncFolder(root, sync) for sync in names}
    for folder in folders_of_syncs(root):
        newest = _newest(_manifests(root / SYNCS / folder, unsigned=unsigned))
        if newest is not None and newest.manifest.sync not in folders:
            folders[newest.manifest.sync] = SyncFolder(root, newest.manifest.sync)
    return folders


def _adopt(
    ledger: Ledger,
    folder: SyncFolder,
    sync: SyncName,
    *,
    unsigned: bool,
    decided_up_to: datetime | None,
    holder: str,
    workspace: str,
) -> Adopted:
    try:
        known = check_sync(ledger, folder, sync)
    except ConfigurationError:
        pass
    else:
        if known.current is not None:
            return Adopted(sync=sync, result="unchanged", rows=known.current.rows)
    found = list(_manifests(folder.root, unsigned=unsigned))
    states = [one for one in found if isinstance(one.manifest, DeliveredManifest)]
    state = _newest(states)
    changes = _newest(
        one
        for one in found
        if isinstance(one.manifest, ChangesManifest) and one.base == (None if state is None else state.sha256)
    )
    if state is None and changes is None:
        raise ConfigurationError(
            f"sync `{sync}`: {folder.root.uri} has no delivered state that could be adopted: restore the workspace "
            "from a backup, or, if no one of this sync is at its destination any more, declare them gone with gone=True"
        )
    epoch = max(one.epoch for one in found)
    with ledger.acquire(sync, holder=holder, ttl_s=_TTL_S, wait_s=_WAIT_S, after_epoch=epoch) as lease:
        lease.keep_in(workspace)
        rows = 0
        if state is not None and isinstance(state.manifest, DeliveredManifest):
            rows = state.manifest.rows
            lease.adopt(uri=state.folder.uri, sha256=state.sha256, rows=rows, decided_at=state.manifest.decided_at)
        if decided_up_to is not None:
            lease.note_decision(decided_up_to)
        unresolved = 0 if changes is None else _reopen(lease, changes)
    return Adopted(sync=sync, result="adopted", rows=rows, unresolved=unresolved)


def _reopen(lease: Lease, found: _Found) -> int:
    """Open a delivery of changes of which nothing is known, and return the number of their rows."""
    changes = found.manifest
    if not isinstance(changes, ChangesManifest):
        raise TypeError("only changes can be delivered")
    rows = {
        BatchKind.CLEAR: changes.clear_rows,
        BatchKind.REMOVE: changes.removal_rows,
        BatchKind.SEND: changes.upsert_rows,
    }
    sends = changes.upsert_rows
    if not any(rows.values()):
        return 0
    delivery = lease.begin(
        key=f"adopted {found.sha256}",
        kind=LOAD if sends else WITHDRAWALS,
        changes_uri=found.folder.uri,
        changes_sha256=found.sha256,
        decided_at=changes.decided_at,
        send_rows=max(sends, 1),
        remove_rows=max(changes.removal_rows, changes.clear_rows, 1),
    )
    intended = [
        IntendedBatch(kind=kind, number=0, start=0, rows=count, key=f"{kind} of {found.sha256}")
        for kind, count in rows.items()
        if count
    ]
    lease.record(delivery, intended=intended)
    return sum(rows.values())


def _declare_gone(ledger: Ledger, folder: SyncFolder, sync: SyncName, *, holder: str, workspace: str) -> Adopted:
    names = folder.names()
    epoch = max((epoch_of(name) or 0 for name in names), default=0)
    with ledger.acquire(sync, holder=holder, ttl_s=_TTL_S, wait_s=_WAIT_S, after_epoch=epoch) as lease:
        lease.keep_in(workspace)
        lease.forget()
        for name in names:
            (folder.root / name).remove()
    return Adopted(sync=sync, result="declared gone")


def _manifests(folder: Folder, *, unsigned: bool) -> Iterator[_Found]:
    """Yield the complete changes and delivered states in a sync's folder."""
    accepted = {SignatureState.SIGNED, SignatureState.MOVED}
    if unsigned:
        accepted |= {SignatureState.UNSIGNED, SignatureState.UNKNOWN_KEY}
    for name in own_names(folder):
        own = folder / name
        if not own.exists(MANIFEST_NAME):
            continue
        content = own.read(MANIFEST_NAME)
        state = own.signature_state()
        # INVARIANT: no ledger knows its digest, so only its signature says who wrote it.
        if state not in accepted:
            remedy = "" if state is SignatureState.FALSE else ". If you know who wrote it, adopt it with unsigned=True"
            raise ConfigurationError(f"{own.uri}/{MANIFEST_NAME} {_DOUBTS[state]}: nothing was adopted{remedy}")
        manifest: DeliveredManifest | ChangesManifest
        try:
            manifest = (DeliveredManifest if is_delivered(name) else ChangesManifest).from_json(
                SignedDocument.read(content).body
            )
        except RefusedError:
            # A later release may have written it: it must not be taken for one that is complete and known.
            raise ConfigurationError(f"{own.uri}/{MANIFEST_NAME} cannot be read: nothing was adopted") from None
        base = manifest.delivered_sha256 if isinstance(manifest, ChangesManifest) else None
        if own.exists(_OF_NAME):
            base = json.loads(own.read(_OF_NAME))["delivered_sha256"]
        yield _Found(own, epoch_of(name) or 0, manifest, sha256_hex(content), base)


def _newest(found: Iterable[_Found]) -> _Found | None:
    """Return the newest; among changes of one lease, those that send most, so that no one is forgotten."""

    def order(one: _Found) -> tuple[int, datetime, int]:
        sends = one.manifest.upsert_rows if isinstance(one.manifest, ChangesManifest) else 0
        return one.epoch, one.manifest.decided_at, sends

    return max(found, key=order, default=None)
