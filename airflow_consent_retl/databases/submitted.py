"""Queries that run on a server without anybody waiting: submitted, asked about, cancelled, by the id that it gave them.

One file beside this one for each kind of connection that can do that. None of them reads a row: once a query is done,
its source attaches to the result (`ModelQuery.query_id`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Self

from airflow_consent_retl.databases.fence import Fenced
from airflow_consent_retl.databases.registry import database_of, titles
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


class SubmittedQueries(Fenced):
    """Queries of one connection, in one session. A context manager: it connects when it is entered.

    Every method raises the package's errors, as a source does: `SourceUnavailableError` where another try may help.

    Args:
        hook: of the connection.
        conn_id: of the connection, for messages.
    """

    def __init__(self, hook: DbApiHook, *, conn_id: str) -> None:
        self.hook = hook
        self.conn_id = conn_id

    @abstractmethod
    def __enter__(self) -> Self:
        """Connect."""

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """Disconnect; what was submitted goes on."""

    @abstractmethod
    def submit(self, statement: str) -> str:
        """Start one statement, and return its id at once: it means the same to every later session."""

    @abstractmethod
    def is_running(self, query_id: str) -> bool:
        """Tell whether it still runs.

        Raises:
            ModelError, ConfigurationError: it failed, or somebody cancelled it.
            SourceUnavailableError: it failed and may succeed at another try, or the server does not answer.
        """

    @abstractmethod
    def cancel(self, query_id: str) -> None:
        """Stop it; one that is over is no error."""


def can_submit(hook: DbApiHook) -> bool:
    """Return whether this kind of connection runs queries while no worker waits."""
    return bool(database_of(hook.conn_type).submitted)


def submitted_queries(hook: DbApiHook, *, conn_id: str) -> SubmittedQueries:
    """Return the queries of a connection, not yet entered.

    Raises:
        ConfigurationError: this kind of connection has none.
    """
    database = database_of(hook.conn_type)
    if not database.submitted:
        able = titles(lambda other: other.submitted)
        raise ConfigurationError(
            f"connection `{conn_id}` is of type `{hook.conn_type}`: only {able} support deferrable=True; remove it"
        )
    class_: type[SubmittedQueries] = database.load(database.submitted)
    return class_(hook, conn_id=conn_id)
