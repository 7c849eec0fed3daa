"""The one list of databases. All code that depends on a connection type or on a vendor asks it.

A database is one folder in this package; its `__init__` holds its record. Importing the registry loads no client.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from airflow_consent_retl.databases.database import Database

_FOLDERS = ("bigquery", "duckdb", "postgres", "snowflake", "sqlite")
# Databases without a folder: they use the default parts. Only their names, and what they declare for the table writer,
# differ from the standard.
_OTHERS = (
    Database(
        name="databricks",
        title="Databricks",
        conn_types=("databricks",),
        sql="databricks",
        sample="ORDER BY RAND() LIMIT {rows}",
    ),
    Database(
        name="mssql",
        title="SQL Server",
        conn_types=("mssql",),
        sql="tsql",
        sample="ORDER BY NEWID() OFFSET 0 ROWS FETCH NEXT {rows} ROWS ONLY",
        sqlalchemy=("mssql",),
        table_dialect="..tables.other_dialects:SQL_SERVER",
    ),
    Database(
        name="mysql",
        title="MySQL",
        conn_types=("mysql",),
        sql="mysql",
        sample="ORDER BY RAND() LIMIT {rows}",
        sqlalchemy=("mysql", "mariadb"),
        table_dialect="..tables.other_dialects:MYSQL",
    ),
    # Its connections are read like those of any database: it needs nothing but the table writer's declaration.
    Database(
        name="oracle",
        title="Oracle",
        sql="oracle",
        sample="FETCH FIRST {rows} ROWS ONLY",
        sqlalchemy=("oracle",),
        table_dialect="..tables.other_dialects:ORACLE",
    ),
    Database(name="spark", title="Spark SQL", conn_types=("spark_sql",), sql="spark"),
)


def _recorded(folder: str) -> Database:
    # No import statement: each database imports shared modules that ask the registry, and databases are independent
    # of each other.
    record: Database = import_module(f"{__package__}.{folder}").DATABASE
    return record


DATABASES: tuple[Database, ...] = (*map(_recorded, _FOLDERS), *_OTHERS)
_BY_CONN_TYPE = {conn_type: database for database in DATABASES for conn_type in database.conn_types}
_BY_SQL = {database.sql: database for database in DATABASES}
_BY_SQLALCHEMY = {name: database for database in DATABASES for name in database.sqlalchemy}
_ANY = Database()


def database_of(conn_type: str | None) -> Database:
    """Return the database of a connection type; a record with the defaults if it is not listed."""
    return _BY_CONN_TYPE.get(conn_type or "", _ANY)


def database_speaking(sql: str) -> Database:
    """Return the database whose SQL has this name in Ibis; a record with the defaults if it is not listed."""
    return _BY_SQL.get(sql, _ANY)


def database_in_sqlalchemy(dialect: str) -> Database:
    """Return the database of a dialect of SQLAlchemy; a record with the defaults if it is not listed."""
    return _BY_SQLALCHEMY.get(dialect, _ANY)


def titles(which: Callable[[Database], object]) -> str:
    """Return the titles of databases as a list in a sentence: `BigQuery, PostgreSQL and Snowflake`.

    Args:
        which: selects the databases.
    """
    *most, last = [database.title for database in DATABASES if which(database)]
    return f"{', '.join(most)} and {last}" if most else last
