"""BigQuery's jobs that run without a waiting worker: every later session finds them by `project:location.job`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from airflow_consent_retl.databases.bigquery.errors import translated
from airflow_consent_retl.databases.bigquery.session import BigQuerySession, JobReference, open_session
from airflow_consent_retl.databases.submitted import SubmittedQueries

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from airflow_consent_retl.databases.fence import Stage
    from airflow_consent_retl.errors import ConsentRetlError


class SubmittedBigQuery(SubmittedQueries):
    """Jobs of one BigQuery connection. A job belongs to no session: it runs until it finishes or is cancelled."""

    def __init__(self, hook: DbApiHook, *, conn_id: str, time_zone: str) -> None:
        super().__init__(hook, conn_id=conn_id, time_zone=time_zone)
        self._entered: BigQuerySession | None = None

    def __enter__(self) -> Self:
        """Sign in."""
        self._entered = self._guarded("connect", lambda: open_session(self.hook, time_zone=self.time_zone))
        return self

    def __exit__(self, *exception: object) -> None:
        """Disconnect; submitted jobs continue."""
        session, self._entered = self._entered, None
        if session is not None:
            session.close()

    def submit(self, statement: str) -> str:
        """Start one statement, and return `project:location.job` at once.

        Raises:
            ModelError, ConfigurationError: it cannot run; with BigQuery's message, which quotes no row.
            SourceUnavailableError: BigQuery does not answer.
        """
        self._guarded("check", lambda: self._session.check(statement))
        return self._guarded("prepare", lambda: str(self._session.reference(self._session.submit(statement))))

    def is_running(self, query_id: str) -> bool:
        """Return whether a job still runs, or waits for slots.

        Raises:
            ModelError, ConfigurationError, SourceUnavailableError: it failed or was cancelled.
        """
        reference = JobReference.parse(query_id)

        def ask() -> bool:
            job: Any = self._session.job(reference)
            if job.done(reload=False) and (failure := job.exception()) is not None:
                raise failure
            return not job.done(reload=False)

        return self._guarded("prepare", ask)

    def cancel(self, query_id: str) -> None:
        """Cancel a job; a finished one is not an error."""
        self._guarded("read", lambda: self._session.abort(JobReference.parse(query_id)))

    @property
    def _session(self) -> BigQuerySession:
        if self._entered is None:
            raise RuntimeError("the queries are not entered")
        return self._entered

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return this package's error for the client's."""
        return translated(error, stage, conn_id=self.conn_id)
