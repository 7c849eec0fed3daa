"""The one list of databases. Everything that depends on a connection type or on a vendor asks it.

A database is one folder beside this file; its `__init__` holds its record. Importing the registry loads no client.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from airflow_consent_retl.databases.database import Database

_FOLDERS = ("bigquery", "duckdb", "postgres", "snowflake", "sqlite")
# Databases without a folder: all parts are the defaults, only the quoting of names differs from the standard.
_OTHERS = (
    Database(name="databricks", title="Databricks", conn_types=("databricks",), sql="databricks"),
    Database(name="mssql", title="SQL Server", conn_types=("mssql",), sql="tsql"),
    Database(name="mysql", title="MySQL", conn_types=("mysql",), sql="mysql"),
    Database(name="spark", title="Spark SQL", conn_types=("spark_sql",), sql="spark"),
)


def _recorded(folder: str) -> Database:
    # Not by an import statement: each database imports shared modules that ask the registry, and databases are
    # independent of each other.
    record: Database = import_module(f"{__package__}.{folder}").DATABASE
    return record


DATABASES: tuple[Database, ...] = (*map(_recorded, _FOLDERS), *_OTHERS)
_BY_CONN_TYPE = {conn_type: database for database in DATABASES for conn_type in database.conn_types}
_BY_SQL = {database.sql: database for database in DATABASES}
_ANY = Database()


def database_of(conn_type: str | None) -> Database:
    """Return the database behind a connection type; a record with the defaults where none is listed."""
    return _BY_CONN_TYPE.get(conn_type or "", _ANY)


def database_speaking(sql: str) -> Database:
    """Return the database whose SQL has this name in Ibis; a record with the defaults where none is listed."""
    return _BY_SQL.get(sql, _ANY)


def titles(which: Callable[[Database], object]) -> str:
    """Return the names of databases for a text: `BigQuery, PostgreSQL and Snowflake`.

    Args:
        which: picks the databases.
    """
    *most, last = [database.title for database in DATABASES if which(database)]
    return f"{', '.join(most)} and {last}" if most else last
