"""The place of a database, as the ledger records it: what a connection says about where a table is, and no secret.

The login is no part of it: it may change while the place stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_consent_retl.databases.registry import database_of

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Connection


def place_of(hook: DbApiHook) -> str:
    """Return the place of the database behind a hook; contacts nothing."""
    connection = hook.get_connection(hook.get_conn_id())
    database = database_of(connection.conn_type)
    place: str = database.load(database.place)(connection)
    return place


def server_place(connection: Connection, extras: Iterable[str] = ()) -> str:
    """Return the place of a database on a server: `mysql://db.example.com:3306/crm`.

    Args:
        connection: names host, port and schema.
        extras: the fields of its extra that name an account, a database or a schema too.
    """
    port = f":{connection.port}" if connection.port else ""
    place = f"{connection.conn_type}://{connection.host or ''}{port}/{connection.schema or ''}"
    extra = connection.extra_dejson
    named = [f"{name}={extra[name]}" for name in extras if extra.get(name)]
    return f"{place} ({', '.join(named)})" if named else place


def file_place(connection: Connection) -> str:
    """Return the place of a database in a file: its absolute path."""
    path = connection.host or ""
    shown = path if path in {"", ":memory:"} or "://" in path else str(Path(path).expanduser().absolute())
    return f"{connection.conn_type}:{shown}"


def table_on_server(place: str, schema: str | None, table: str) -> tuple[str, ...]:
    """Return a table in one spelling: a name without a schema is in the one that the place names.

    Args:
        place: from `server_place`.
        schema: of the table; None: it names none.
        table: its name, in which case counts.
    """
    server, _, database = place.partition("://")[2].partition("/")
    database = database.partition(" (")[0]
    return server.lower(), database, schema or database, table


def table_in_file(place: str, schema: str | None, table: str) -> tuple[str, ...]:
    """Return a table in one spelling: links are followed, and case does not count in names.

    Args:
        place: from `file_place`.
        schema: of the table; None: it names none.
        table: its name.
    """
    kind, _, path = place.partition(":")
    if path and path != ":memory:" and "://" not in path:
        path = str(Path(path).resolve())
    # DuckDB calls a database by the name of its file.
    is_default = schema is None or schema.casefold() in ("main", Path(path).stem.casefold())
    return kind, path, "main" if is_default else str(schema).casefold(), table.casefold()
