"""The hand-over of a sync's people to another name: of its model or of its destination.

Files are copied to the new name's folder before the ledger changes, and deleted from the old one afterwards: whenever
it ends early, one of the two names has everything, and the other one is refused.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from airflow_consent_retl.delivery.ledger.records import model_and_destination
from airflow_consent_retl.delivery.pairing import check_sync
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.delivered import delivered_manifest
from airflow_consent_retl.storage.sync_folder import SyncFolder, base_name

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.delivery.ledger.records import SyncName, VersionRef
    from airflow_consent_retl.storage.folder import Folder

_TTL_S: Final = 60.0


def rename_sync(ledger: Ledger, root: Folder, old: SyncName, new: SyncName, *, holder: str, wait_s: float) -> int:
    """Give a sync's people to another name, and return their number.

    Args:
        ledger: opened for the workspace.
        root: of the workspace.
        old: the sync's name.
        new: its name from now on, which must have no people.
        holder, wait_s: as for `Ledger.acquire`.

    Raises:
        ConfigurationError: the new name has people, the old one has an unfinished delivery, or ledger and workspace do
            not agree about one of the two.
        SyncBusyError: a task has the lease of one of them.
    """
    known = [check_sync(ledger, SyncFolder(root, sync), sync) for sync in (old, new)]
    # Folders have the epoch of their lease in their names: the leases of the new name have to be later ones.
    after = max(one.epoch for one in known)
    with ExitStack() as leases:
        # In one order by all, so that no two tasks wait for each other.
        taken = {
            sync: leases.enter_context(
                ledger.acquire(sync, holder=holder, ttl_s=_TTL_S, wait_s=wait_s, after_epoch=after)
            )
            for sync in sorted({old, new})
        }
        source, copy = SyncFolder(root, old), SyncFolder(root, new, epoch=taken[new].epoch)
        current = taken[old].current()
        _check(taken[old], taken[new], source, current)
        for name in copy.names():
            (copy.root / name).remove()
        renamed = None if current is None else _renamed(current, source, copy, new)
        taken[old].rename_to(taken[new], renamed)
    for name in source.names():
        (source.root / name).remove()
    return 0 if current is None else current.rows


def _check(old: Lease, new: Lease, source: SyncFolder, current: VersionRef | None) -> None:
    # Only a run of the sync can delete the tables that belong to other folders.
    others = set(source.names()) - ({base_name(current.uri)} if current is not None else set())
    if others or old.open_delivery() is not None:
        model, destination = model_and_destination(old.sync)
        raise ConfigurationError(
            f"sync `{old.sync}` has an unfinished delivery: run its load once more under this name, then hand it over. "
            f"If there is no such load any more, run PropagateWithdrawalsOperator once with model=`{model}` and "
            f"loads={{`{destination}`: …}}, which finishes the delivery as well; or remove everyone with "
            "RetireSyncOperator"
        )
    present = new.current()
    if (present is not None and present.rows) or new.open_delivery() is not None:
        raise ConfigurationError(
            f"sync `{new.sync}` has people already: empty one of the two with RetireSyncOperator, or give `{old.sync}` "
            "another name"
        )


def _renamed(current: VersionRef, source: SyncFolder, copy: SyncFolder, new: SyncName) -> VersionRef:
    """Copy a version of a delivered state to the folder of another name, and return it."""
    model, destination = model_and_destination(new)
    folder, target = source.open(current.uri), copy.new("delivered")
    manifest = delivered_manifest(folder, sha256=current.sha256)
    named = manifest.model_copy(update={"sync": new, "model": model, "destination": destination})
    folder.copy_files(target)
    return replace(current, uri=target.uri, sha256=target.publish(named.to_json()))
