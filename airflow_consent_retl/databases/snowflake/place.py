"""The place of a Snowflake database: its account, its database and its schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_consent_retl.databases.place import server_place

if TYPE_CHECKING:
    from airflow.sdk import Connection

_SCHEMA = "schema="


def place(connection: Connection) -> str:
    """Return the place that a connection names."""
    prefixed = [f"extra__snowflake__{name}" for name in ("account", "region", "database")]
    return server_place(connection, ["account", "region", "database", "schema", "host", "port", *prefixed])


def one_spelling(place: str, schema: str | None, table: str) -> tuple[str, ...]:
    """Return a table in one spelling: a name without a schema is in that of the connection, in capitals.

    Args:
        place: of the database.
        schema: of the table; None: it names none.
        table: its name, in which case counts.
    """
    server, _, extras = place.partition(" (")
    server, _, default = server.rpartition("/")
    named = extras.removesuffix(")").split(", ")
    default = next((one.removeprefix(_SCHEMA) for one in named if one.startswith(_SCHEMA)), default)
    account = [one.casefold() for one in named if not one.startswith(_SCHEMA)]
    return server.casefold(), *account, schema or default.upper(), table
