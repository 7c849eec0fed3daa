"""Workspaces, as Airflow's connections lead to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.databases.staging import Warehouse


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
    told = {} if ti is None else {"dag_id": ti.dag_id, "task_id": ti.task_id}
    return warehouse(sql_hook(conn_id, hook_params), schema, conn_id=conn_id, labels={**told, **labels})
