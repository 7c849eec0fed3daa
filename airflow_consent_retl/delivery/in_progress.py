"""The question whether a ledger knows a permitted set already, by a delivery that is in progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.storage.change_set import Changes

if TYPE_CHECKING:
    from airflow_consent_retl.delivery.ledger import Ledger
    from airflow_consent_retl.delivery.ledger.records import SyncName
    from airflow_consent_retl.storage.sync_folder import SyncFolder


def is_in_progress(ledger: Ledger, folder: SyncFolder, sync: SyncName, permitted_sha256: str) -> bool:
    """Return whether a delivery of this very permitted set began and did not end.

    Args:
        ledger: opened for the workspace.
        folder: of the sync.
        sync: its name.
        permitted_sha256: the digest of the set's manifest.

    Raises:
        RefusedError: the changes of the delivery are gone or were changed.
    """
    for known in ledger.syncs():
        delivery = known.open_delivery
        if known.sync == sync and delivery is not None:
            changes = Changes(folder.open(delivery.changes_uri), sha256=delivery.changes_sha256)
            return changes.manifest.permitted_sha256 == permitted_sha256
    return False
