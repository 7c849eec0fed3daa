"""The record of one database: its names, and the parts of this package that serve it.

A part is written `module:name` and imported when it is used, so a record loads no client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

_PACKAGE = __package__
# The time zone of every session, unless the model names another one.
UTC_ZONE = "UTC"
FIRST_ROWS = "LIMIT {rows}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database. The defaults fit any database with a DB-API hook and an SQLAlchemy dialect.

    Args:
        name: of its folder.
        title: its name in messages and docs.
        conn_types: the Airflow connection types that reach it.
        extra: the extra of this package that installs its client and its provider.
        sql: the name of its SQL in sqlglot and Ibis; empty for the standard.
        quoting: the sqlglot dialect that quotes its names, if it is not `sql`.
        sqlalchemy: the names of its dialects in SQLAlchemy.
        hooks: for each connection type whose own hook runs no SQL, a function that makes a hook that does.
        engine: a function that returns arguments for the driver of the hook's SQLAlchemy engine.
        sample: what follows a query to get some of its rows at random, with `{rows}` for their number; the default
            gets the first rows.
        has_time_zone: whether its source and its warehouse set the session's time zone.
        is_for_ledgers: whether it can hold a ledger for several machines.
        source: the class that reads a model's rows.
        submitted: the class for queries that run without a waiting worker; empty if there are none.
        staging: the class of the warehouse workspace; empty if there is none.
        dialect: the class of its SQL expressions.
        place: a function that returns the place which a connection names.
        one_spelling: a function that returns a table in a place in one spelling, for all that lead to it.
        table: the class that writes into a table.
        table_dialect: what it declares for a table writer that uses SQLAlchemy.
        table_names: a function that returns the names of its tables in lineage.
        table_batch_rows: the default number of rows in one transaction of the table writer.
        orders_rows: whether its table writer is faster where keys ascend over all transactions of a first load.
    """

    name: str = ""
    title: str = ""
    conn_types: tuple[str, ...] = ()
    extra: str = ""
    sql: str = ""
    quoting: str = ""
    sqlalchemy: tuple[str, ...] = ()
    hooks: Mapping[str, str] = field(default_factory=dict)
    engine: str = ""
    sample: str = FIRST_ROWS
    has_time_zone: bool = False
    is_for_ledgers: bool = False
    source: str = "..source:DbApiSource"
    submitted: str = ""
    staging: str = ""
    dialect: str = "..dialect:Dialect"
    place: str = "..place:server_place"
    one_spelling: str = "..place:table_on_server"
    table: str = "..tables.core:CoreWriter"
    table_dialect: str = "..tables.dialects:STANDARD"
    table_names: str = "..table_names:names_of_hook"
    table_batch_rows: int = 5_000
    orders_rows: bool = False

    @property
    def quotes_as(self) -> str:
        """The sqlglot dialect that quotes names; empty for the standard."""
        return self.quoting or self.sql

    def load(self, part: str) -> Any:
        """Import a part.

        Args:
            part: `module:name`; a module with leading dots is relative to the database's folder.
        """
        module, _, name = part.partition(":")
        return getattr(import_module(module, f"{_PACKAGE}.{self.name or 'any'}"), name)
