"""A BigQuery hook for a general Google Cloud connection, whose own hook runs no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


def bigquery_hook(conn_id: str, parameters: Mapping[str, Any]) -> DbApiHook:
    """Return the hook. Both connection types have the same settings.

    Args:
        conn_id: of the connection.
        parameters: further arguments of the hook.
    """
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

    return BigQueryHook(gcp_conn_id=conn_id, **parameters)
