"""The place of a PostgreSQL database: its server, its database, and the schemas in which names are looked up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_consent_retl.databases.place import server_place

if TYPE_CHECKING:
    from airflow.sdk import Connection

_SEARCH_PATH = re.compile(r"search_path(?:=|%3D)(\S+)", re.IGNORECASE)


def place(connection: Connection) -> str:
    """Return the place that a connection names."""
    path, shown = search_path(connection), server_place(connection)
    return shown if path is None else f"{shown} (search_path={path})"


def search_path(connection: Connection) -> str | None:
    """Return the schemas in which names are looked up, as a connection names them; None: it does not."""
    path = _SEARCH_PATH.search(str(connection.extra_dejson.get("options", "")))
    return None if path is None else path[1]


def one_spelling(place: str, schema: str | None, table: str) -> tuple[str, ...]:
    """Return a table in one spelling: a name without a schema is in the first one that is looked up.

    Args:
        place: of the database.
        schema: of the table; None: it names none.
        table: its name, in which case counts.
    """
    server, _, database = place.partition("://")[2].partition("/")
    database, _, path = database.partition(" (search_path=")
    looked_up = [name.strip('" ') for name in path.removesuffix(")").split(",")]
    # A schema of the login's own, if there is one, is known to the server alone.
    first = next((name for name in looked_up if name not in ("", "$user")), "public")
    port = "" if server.rpartition(":")[2].isdigit() else ":5432"
    return f"{server.lower()}{port}", database, schema or first, table
