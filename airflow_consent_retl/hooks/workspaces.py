"""Workspaces, opened from an operator's `workspace` or a manifest. The only maker of a `Workspace`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.errors import ConfigurationError, RefusedError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.changes.store import SyncStore
    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.delivery.ledger.records import SourceRecord, VersionRef
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.manifest import ModelSource, PermittedManifest, SnapshotManifest
    from airflow_consent_retl.storage.sync_folder import SyncFolder
    from airflow_consent_retl.storage.sync_manifests import DeliveredManifest
    from airflow_consent_retl.workspace.base import Workspace


def staging_warehouse(
    conn_id: str,
    schema: str,
    context: Context | None = None,
    *,
    hook_params: Mapping[str, Any] | None = None,
    **labels: str,
) -> Warehouse:
    """Return the staging schema behind a connection, not yet entered, its jobs labelled with the task."""
    from airflow_consent_retl.databases.staging import warehouse
    from airflow_consent_retl.hooks.sql import sql_hook

    ti = None if context is None else context.get("ti")
    task_labels = {} if ti is None else {"dag_id": ti.dag_id, "task_id": ti.task_id}
    return warehouse(sql_hook(conn_id, hook_params), schema, conn_id=conn_id, labels={**task_labels, **labels})


def open_workspace(
    place: str | SnapshotManifest | PermittedManifest | DeliveredManifest | None,
    *,
    source: ModelSource,
    model: str,
    log: TaskLog,
    configured: str | None = None,
    context: Context | None = None,
) -> Workspace:
    """Return the workspace of an operator, or of the rows that a manifest describes. Nothing is contacted yet.

    Args:
        place: an operator's `workspace`, or the manifest of rows that exist already; None: files, in the deployment's
            default.
        source: of the model's rows.
        model: the model's name, a label of jobs.
        log: the task's.
        configured: the operator's `workspace`, where `place` is a manifest; both have to name the same place.
        context: the task's, for labels of jobs.

    Raises:
        ConfigurationError: the workspace is misspelt, or is not where the manifest's rows are.
    """
    from airflow_consent_retl.hooks.sql import hooks_of
    from airflow_consent_retl.workspace.staging_schema import schema_of, staging_schema

    if place is None or isinstance(place, str):
        schema, documents = staging_schema(place), place
    else:
        schema, documents = schema_of(place), configured
        _check_configured(configured, schema)
    conn_id, hook_of = source.conn_id, hooks_of(source)
    if schema is None:
        from airflow_consent_retl.workspace.files import FileWorkspace

        return FileWorkspace(documents, conn_id, hook_of, log)
    from airflow_consent_retl.workspace.warehouse import WarehouseWorkspace

    reach = partial(staging_warehouse, conn_id, schema, context, hook_params=source.hook_params, model=model)
    return WarehouseWorkspace(schema, reach, conn_id, hook_of, log)


def store_of_sync(
    current: VersionRef | None,
    newest: SourceRecord | None,
    folder: SyncFolder,
    sync: str,
    *,
    model: str,
    log: TaskLog,
) -> SyncStore[Any, Any]:
    """Return the store of a sync whose model is not read.

    Args:
        current: the present version of its delivered state.
        newest: the source of its newest data, which says where a warehouse is.
        folder: of the sync.
        sync: its name.
        model: its model.
        log: the task's.

    Raises:
        RefusedError: the delivered state is gone, or in a warehouse whose connection is not known.
    """
    from airflow_consent_retl.storage.delivered import delivered_manifest
    from airflow_consent_retl.storage.manifest import ModelSource

    version = None if current is None else delivered_manifest(folder.open(current.uri), sha256=current.sha256)
    if version is not None and version.warehouse_table is not None and newest is None:
        raise RefusedError(
            f"the delivered state of sync `{sync}` is in a warehouse, and the ledger does not know its connection: "
            "run the load once"
        )
    source = ModelSource(
        conn_id="" if newest is None else newest.conn_id,
        sql="",
        hook_params={} if newest is None else dict(newest.hook_params),
    )
    return open_workspace(version, source=source, model=model, log=log).store(folder, sync, None)


def _check_configured(configured: str | None, schema: str | None) -> None:
    from airflow_consent_retl.workspace.staging_schema import staging_schema

    if configured is None or staging_schema(configured) == schema:
        return
    if schema is None:
        raise ConfigurationError(
            f"workspace `{configured}`: the snapshot is in files; give its extraction the same workspace"
        )
    raise ConfigurationError(
        f"workspace `{configured}`: the snapshot is in staging schema `{schema}`, where its rows are filtered; leave "
        "`workspace` out"
    )
