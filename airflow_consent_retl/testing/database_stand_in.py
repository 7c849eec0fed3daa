"""A database as the contract of databases sees it: its connection, its SQL, and what it declares that it can do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAbilities:
    """What a database can do. The contract checks that what is not declared is refused.

    Args:
        submits: it runs queries while no worker waits, for `deferrable=True`.
        stages: it holds a warehouse workspace.
    """

    submits: bool
    stages: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStandIn:
    """A running database behind an Airflow connection.

    Args:
        conn_id: the connection.
        abilities: what it can do.
        ids: a query with the column `key`, of the integers 1, 2 and 3.
        key: the name of that column, as the database gives it.
        values: a query of one row: `key`, a text column with CANARY, and an integer column that is NULL.
        endless: a query with the column `key` that runs for minutes, unless it is cancelled.
        quoting: a query with the column `key` that fails on a row, in words of the database that may quote CANARY.
        schema: a schema for staging tables; it exists where the database declares `stages`.
    """

    conn_id: str
    abilities: DatabaseAbilities
    ids: str
    key: str
    values: str
    endless: str
    quoting: str
    schema: str = "staging"
