"""A database as the contract of databases sees it: its connection, its SQL, and what it declares that it can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from airflow_consent_retl.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseAbilities:
    """What a database can do. The contract checks that what is not declared is refused.

    Args:
        submits: it runs queries while no worker waits, for `deferrable=True`.
        stages: it holds a warehouse workspace.
        types_nulls: a column that holds only NULL keeps its type; otherwise its type is `null`.
        lacks: the kinds of values, by their names in `database_type_checks.KINDS`, for which it has no type.
        swallows: it can report success for a statement that it does not carry out, for example because of a trigger.
    """

    submits: bool
    stages: bool
    types_nulls: bool = True
    lacks: frozenset[str] = frozenset()
    swallows: bool = True


def _cannot_swallow() -> None:
    raise ConfigurationError("the stand-in brings no `swallow`, and its database declares that it swallows statements")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseStandIn:
    """A running database behind an Airflow connection.

    Args:
        conn_id: the connection.
        ids: a query with the column `key`, of the integers 1, 2 and 3.
        key: the name that the database gives the column `id` where a query does not quote it.
        types: the SQL type of each common kind of values, except of those that the database lacks.
        endless: a query with the column `key` that runs for minutes, unless it is cancelled.
        quoting: a query with the column `key` that fails on a row, in words of the database that may quote CANARY.
        run: runs one statement without the code under test.
        takes_keys_for_equal: makes the table `table` with the text columns `id` and `text`; its key `id` takes
            different texts for equal, such as `a` and `A`.
        swallow: from now on the table `table` takes INSERT, UPDATE, DELETE and MERGE without an error, and carries none
            of them out; only called where the database declares `swallows`.
        schema: a schema for staging tables, without any table; it exists where the database declares `stages`.
        table: the name of a table that does not exist, as the SQL table destination takes it.
    """

    conn_id: str
    ids: str
    key: str
    types: Mapping[str, str]
    endless: str
    quoting: str
    run: Callable[[str], object]
    takes_keys_for_equal: Callable[[], object]
    swallow: Callable[[], object] = _cannot_swallow
    schema: str = "staging"
    table: str = "people"
