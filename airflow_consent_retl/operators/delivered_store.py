"""The store of a sync whose people were delivered before: the version of their state names the place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import RefusedError

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.delivery.ledger.lease import Lease
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.sync_folder import SyncFolder


def delivered_store(
    lease: Lease, folder: SyncFolder, asker: ModelAsker, *, model: str, primary_key: str, log: TaskLog
) -> SyncStore[Any, Any]:
    """Return the store of a sync, in files or in a warehouse.

    Args:
        lease: of the sync.
        folder: of the sync.
        asker: asks the model's source for consent.
        model: its name.
        primary_key: by which the task knows people.
        log: the task's.

    Raises:
        RefusedError: people were delivered with another primary key.
    """
    from airflow_consent_retl.hooks.workspaces import open_workspace
    from airflow_consent_retl.storage.delivered import delivered_manifest

    current = lease.current()
    version = None if current is None else delivered_manifest(folder.open(current.uri), sha256=current.sha256)
    if version is not None and version.primary_key != primary_key:
        raise RefusedError(
            f"people were delivered with primary key `{version.primary_key}`, now it is `{primary_key}`: no one would "
            "be found"
        )
    return open_workspace(version, source=asker.source, model=model, log=log).store(folder, lease.sync, asker)
