"""Snowflake's queries that run without a waiting worker: every later session finds them by query id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from airflow_consent_retl.databases.snowflake.errors import translated
from airflow_consent_retl.databases.snowflake.session import SnowflakeSession, open_session
from airflow_consent_retl.databases.submitted import SubmittedQueries

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.databases.fence import Stage
    from airflow_consent_retl.errors import ConsentRetlError


class SubmittedSnowflake(SubmittedQueries):
    """Queries of one Snowflake connection. They continue after the session ends."""

    def __init__(self, hook: DbApiHook, *, conn_id: str, time_zone: str) -> None:
        super().__init__(hook, conn_id=conn_id, time_zone=time_zone)
        self._entered: SnowflakeSession | None = None

    def __enter__(self) -> Self:
        """Connect."""
        self._entered = self._guarded(
            "connect",
            lambda: open_session(self.hook, time_zone=self.time_zone, settings={"ABORT_DETACHED_QUERY": False}),
        )
        return self

    def __exit__(self, *exception: object) -> None:
        """Disconnect; submitted queries continue."""
        session, self._entered = self._entered, None
        if session is not None:
            session.close()

    def submit(self, statement: str) -> str:
        """Start one statement, and return its query id at once."""
        return self._guarded("prepare", lambda: self._session.submit(statement))

    def is_running(self, query_id: str) -> bool:
        """Return whether a query still runs, or waits for its warehouse.

        Raises:
            ModelError, ConfigurationError, SourceUnavailableError: it failed or was cancelled.
        """
        return self._guarded("read", lambda: self._session.is_running(query_id))

    def cancel(self, query_id: str) -> None:
        """Cancel a query; a finished one is not an error."""
        self._guarded("read", lambda: self._session.abort(query_id))

    @property
    def _session(self) -> SnowflakeSession:
        if self._entered is None:
            raise RuntimeError("the queries are not entered")
        return self._entered

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return this package's error for the connector's."""
        return translated(error, stage, conn_id=self.conn_id)
