"""The names of tables in lineage: which system a connection leads to, and how its tables are called there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_consent_retl.contract.dataset_name import DatasetName
from airflow_consent_retl.databases.place import file_place
from airflow_consent_retl.databases.registry import database_of

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Connection


@dataclass(frozen=True, slots=True)
class TableNames:
    """The names of the tables that a connection reaches.

    Args:
        namespace: OpenLineage's, of the system.
        database: for tables that name none; None: names have no database.
        schema: for tables that name none; None: not known, or names have no schema.
        is_upper: whether the system writes names in capitals.
    """

    namespace: str
    database: str | None = None
    schema: str | None = None
    is_upper: bool = False

    def of(self, table: str, *, schema: str | None = None, database: str | None = None) -> DatasetName:
        """Return the name of a table."""
        name = ".".join(part for part in (database or self.database, schema or self.schema, table) if part)
        return DatasetName(self.namespace, name.upper() if self.is_upper else name)


def table_names(hook: DbApiHook) -> TableNames:
    """Return the names of the tables behind a hook; needs Airflow's provider of OpenLineage."""
    connection = hook.get_connection(hook.get_conn_id())
    database = database_of(connection.conn_type)
    named: TableNames = database.load(database.table_names)(hook, connection)
    return named


def names_of_hook(hook: Any, connection: Connection) -> TableNames:
    """Return what the hook itself says about its database; host and port if it says nothing."""
    return named_by_hook(hook, connection, schema=hook.get_openlineage_default_schema())


def named_by_hook(hook: Any, connection: Connection, *, schema: str | None) -> TableNames:
    """Return what the hook says about its database, with a default schema that is known otherwise."""
    stated = hook.get_openlineage_database_info(connection)
    if stated is None:
        port = f":{connection.port}" if connection.port else ""
        return TableNames(f"{connection.conn_type}://{connection.host or ''}{port}", connection.schema or None)
    namespace = f"{stated.scheme}://{stated.authority}" if stated.authority else stated.scheme
    return TableNames(namespace, stated.database or None, schema, stated.is_uppercase_names)


def names_in_file(hook: Any, connection: Connection) -> TableNames:
    """Return the names of tables in a file, as OpenLineage's own integrations name DuckDB's: `duckdb://<path>`."""
    scheme, _, path = file_place(connection).partition(":")
    # DuckDB calls a database by its file; SQLite has no such name.
    database = Path(path).stem if scheme == "duckdb" else None
    return TableNames(f"{scheme}://{path}", database, "main")
