"""The names of PostgreSQL's tables in lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_consent_retl.databases.postgres.place import search_path
from airflow_consent_retl.databases.table_names import TableNames, named_by_hook

if TYPE_CHECKING:
    from airflow.sdk import Connection


def names(hook: Any, connection: Connection) -> TableNames:
    """Return the names of the tables. The hook would ask the server for the schema; this contacts nothing."""
    first = (search_path(connection) or "public").partition(",")[0].strip('" ')
    return named_by_hook(hook, connection, schema=first)
