"""The place of a Snowflake database: its account, its database and its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.databases.place import server_place

if TYPE_CHECKING:
    from airflow.sdk import Connection


def place(connection: Connection) -> str:
    """Return the place that a connection names."""
    prefixed = [f"extra__snowflake__{name}" for name in ("account", "region", "database")]
    return server_place(connection, ["account", "region", "database", "schema", "host", "port", *prefixed])
