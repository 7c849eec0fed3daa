"""The interface for queries that run on a server without a waiting worker: submit, poll, cancel by the server's id.

A database that can do this implements it in its folder. No implementation reads a row: when a query has finished, its
source reads the result (`ModelQuery.query_id`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Self

from airflow_consent_retl.databases.database import UTC_ZONE
from airflow_consent_retl.databases.fence import Fenced
from airflow_consent_retl.databases.registry import database_of, titles
from airflow_consent_retl.errors import ConfigurationError

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook


class SubmittedQueries(Fenced):
    """Queries of one connection, in one session. A context manager: it connects on entry.

    Every method raises the package's errors, like a source: `SourceUnavailableError` if another try may help.

    Args:
        hook: of the connection.
        conn_id: of the connection, for messages.
        time_zone: of the session in which a query is submitted.
    """

    def __init__(self, hook: DbApiHook, *, conn_id: str, time_zone: str) -> None:
        self.hook = hook
        self.conn_id = conn_id
        self.time_zone = time_zone

    @abstractmethod
    def __enter__(self) -> Self:
        """Connect."""

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """Disconnect; submitted queries continue."""

    @abstractmethod
    def submit(self, statement: str) -> str:
        """Start one statement, and return its id at once. The id is valid in every later session."""

    @abstractmethod
    def is_running(self, query_id: str) -> bool:
        """Return whether a query still runs.

        Raises:
            ModelError, ConfigurationError: it failed or was cancelled.
            SourceUnavailableError: it failed but may succeed at another try, or the server does not answer.
        """

    @abstractmethod
    def cancel(self, query_id: str) -> None:
        """Cancel a query; a finished one is not an error."""


def can_submit(hook: DbApiHook) -> bool:
    """Return whether this kind of connection runs queries without a waiting worker."""
    return bool(database_of(hook.conn_type).submitted)


def submitted_queries(hook: DbApiHook, *, conn_id: str, time_zone: str = UTC_ZONE) -> SubmittedQueries:
    """Return the submitted queries of a connection, not yet entered.

    Raises:
        ConfigurationError: this kind of connection cannot submit queries.
    """
    database = database_of(hook.conn_type)
    if not database.submitted:
        able = titles(lambda other: other.submitted)
        raise ConfigurationError(
            f"connection `{conn_id}` is of type `{hook.conn_type}`: only {able} support deferrable=True; remove it"
        )
    class_: type[SubmittedQueries] = database.load(database.submitted)
    return class_(hook, conn_id=conn_id, time_zone=time_zone)
