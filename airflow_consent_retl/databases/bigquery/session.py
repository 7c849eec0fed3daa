"""A session on BigQuery: jobs with labels, a location and a cost limit, run through Airflow's hook.

It runs statements and does not read their rows. Closing it cancels a job that still runs.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from airflow_consent_retl.databases.database import UTC_ZONE
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.progress import module_log

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from google.cloud.bigquery import LoadJob, QueryJob

_log = module_log(__name__)
# The client also reads this variable, and connects to the emulator instead of Google.
_EMULATOR = "BIGQUERY_EMULATOR_HOST"
# Airflow sets these variables in a task's process.
_CONTEXT = {"dag_id": "AIRFLOW_CTX_DAG_ID", "task_id": "AIRFLOW_CTX_TASK_ID"}
# https://docs.cloud.google.com/bigquery/docs/labels-intro (not read again): 63 characters. International characters are
# allowed, but not every tool accepts them.
_LABEL_CHARACTERS = 63
_NOT_IN_LABELS = re.compile(r"[^a-z0-9_-]")
_RETRY_TIMEOUT_S = 120.0
_CANCEL_TIMEOUT_S = 10.0
# A result that fits into the first page comes with the answer itself.
_FIRST_PAGE_ROWS = 1_000
_MIB = 1 << 20
_DONE = "DONE"
# https://docs.cloud.google.com/bigquery/docs/reference/rest/v2/ConnectionProperty (read 2026-11-28)
_TIME_ZONE = "time_zone"


@dataclass(frozen=True, slots=True)
class JobReference:
    """The name of a job in every session: `project:location.job`, as BigQuery itself writes it."""

    project: str
    location: str
    number: str

    def __str__(self) -> str:
        return f"{self.project}:{self.location}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> JobReference:
        """Return the reference that a text contains.

        Raises:
            ConfigurationError: the text is not a reference.
        """
        # The name of a project in a domain contains a colon.
        project, _, rest = text.rpartition(":")
        location, _, number = rest.partition(".")
        if not (project and location and number):
            raise ConfigurationError("a query id of BigQuery is written `project:location.job`")
        return cls(project, location, number)


class BigQuerySession:
    """Jobs of one project. Opened by `open_session`, closed by `close`, which cancels the job that still runs.

    Args:
        hook: of the connection.
        client: of the hook, a `google.cloud.bigquery.Client`.
        labels: of every job.
        settings: of the connection.
        time_zone: of the next queries.
    """

    def __init__(
        self, hook: Any, client: Any, labels: Mapping[str, str], settings: Settings, *, time_zone: str
    ) -> None:
        from google.cloud.bigquery import DEFAULT_RETRY

        self.client: Any = client
        self.labels = dict(labels)
        self.settings = settings
        self.location: str | None = settings.location
        self.time_zone = time_zone
        self.retry = DEFAULT_RETRY.with_timeout(settings.retry_timeout_s)
        self._hook = hook
        self._storage: Any = None
        self._running: str | None = None

    def check(self, statement: str) -> QueryJob:
        """Do a dry run of a statement, which costs nothing, and return its job.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: from the client. The statement has read no row.
        """
        job = self._query(statement, f"{self._number()}_check", is_dry_run=True)
        # Before the server has answered, a job can be cancelled only if its location is known.
        self.location = self.location or job.location
        return job

    def submit(self, statement: str) -> QueryJob:
        """Start a statement, and return its job at once. Raises the errors of `check`."""
        return self._query(statement, self._number())

    def run(self, statement: str) -> QueryJob:
        """Run a statement to its end. Raises the errors of `check`; the message may quote a row."""
        self._running = self._number()
        job = self._query(statement, self._running)
        return self.finish(job)

    def finish(self, job: QueryJob) -> QueryJob:
        """Wait for a job, and log its cost. Raises the errors of `run`."""
        self._wait(job, lambda: job.result(page_size=_FIRST_PAGE_ROWS, retry=self.retry, job_retry=None))
        _log.info(
            "job %s read %s MiB, is billed %s MiB%s, %s slot seconds",
            self.reference(job),
            _mebibytes(job.total_bytes_processed),
            _mebibytes(job.total_bytes_billed),
            " (from the cache)" if job.cache_hit else "",
            f"{(job.slot_millis or 0) / 1000:,.0f}",
        )
        return job

    def load(self, job: LoadJob) -> LoadJob:
        """Wait for a load job. Raises the errors of `run`."""
        self._wait(job, lambda: job.result(retry=self.retry))
        return job

    def job(self, reference: JobReference) -> QueryJob:
        """Return a job that was started before. Raises the errors of `check`."""
        job: Any = self.client.get_job(
            reference.number, project=reference.project, location=reference.location, retry=self.retry
        )
        return cast("QueryJob", job)

    def reference(self, job: QueryJob) -> JobReference:
        """Return the name of the job in every session."""
        return JobReference(job.project, job.location or self.location or "US", str(job.job_id))

    def storage(self) -> Any:
        """Return a `BigQueryReadClient`; None if there is no Storage API."""
        if self._storage is None:
            self._storage = _storage_client(self._hook, self.settings.storage_endpoint)
        return self._storage

    def abort(self, reference: JobReference) -> None:
        """Cancel a job; a finished one is not an error. Raises the errors of `check`."""
        retry = self.retry.with_timeout(min(_CANCEL_TIMEOUT_S, self.settings.retry_timeout_s))
        # A separate client: the other one may be in the middle of a request, even on this thread.
        with _client(self._hook, self.settings.location) as client:
            client.cancel_job(
                reference.number,
                project=reference.project,
                location=reference.location or None,
                retry=retry,
                timeout=_CANCEL_TIMEOUT_S,
            )

    def cancel(self) -> None:
        """Cancel the running job, also from another thread or a signal handler. Raises the errors of `check`."""
        number = self._running
        if number is not None:
            # Without a location the client finds only jobs in the multi-regions.
            self.abort(JobReference(self.client.project, self.location or "", number))

    def close(self) -> None:
        """Cancel a job that still runs, and disconnect. Errors are ignored: an earlier error has been raised."""
        from google.api_core.exceptions import GoogleAPIError

        try:
            if self._running is not None:
                _log.info("cancelling job %s, which still runs", self._running)
                with suppress(GoogleAPIError, OSError):
                    self.cancel()
        finally:
            self._running = None
            if self._storage is not None:
                self._storage.transport.close()
            self.client.close()

    def _wait(self, job: QueryJob | LoadJob, end: Callable[[], object]) -> None:
        self._running, self.location = job.job_id, job.location
        try:
            end()
        finally:
            # After a failed request, or the end of the task, the job may still run.
            if job.state == _DONE:
                self._running = None

    def _number(self) -> str:
        # The name is made here, so that the job can be cancelled before the server has answered.
        return f"consent_retl_{uuid.uuid4().hex}"

    def _query(self, statement: str, number: str, *, is_dry_run: bool = False) -> QueryJob:
        from google.api_core.exceptions import Conflict
        from google.cloud.bigquery import ConnectionProperty, QueryJobConfig

        config: Any = QueryJobConfig.from_api_repr(dict(self.settings.job_config))
        config.use_legacy_sql = False
        config.labels = {**config.labels, **self.labels}
        others = [one for one in config.connection_properties if one.key != _TIME_ZONE]
        config.connection_properties = [*others, ConnectionProperty(_TIME_ZONE, self.time_zone)]
        if self.settings.maximum_bytes_billed is not None:
            config.maximum_bytes_billed = self.settings.maximum_bytes_billed
        if self.settings.priority:
            config.priority = self.settings.priority
        config.dry_run = is_dry_run
        location = self.location
        try:
            job = self.client.query(
                statement, job_config=config, job_id=number, location=location, retry=self.retry, job_retry=None
            )
        except Conflict:
            # The first answer was lost, and the request was sent again.
            job = self.client.get_job(number, location=location, retry=self.retry)
        return cast("QueryJob", job)


@dataclass(frozen=True, slots=True)
class Settings:
    """A connection's settings for jobs.

    Args:
        location: where jobs run; None for the location of the model's tables.
        maximum_bytes_billed: BigQuery refuses a query that would be billed more bytes, before it costs anything.
        priority: `INTERACTIVE` or `BATCH`.
        storage_endpoint: `host:port` of the Storage API, if it is not Google's public one.
        retry_timeout_s: seconds for which a failed request is retried.
        job_config: other settings, with the names of BigQuery's REST API.
    """

    location: str | None
    maximum_bytes_billed: int | None
    priority: str | None
    storage_endpoint: str | None
    retry_timeout_s: float
    job_config: Mapping[str, Any]


def open_session(
    hook: DbApiHook, *, time_zone: str = UTC_ZONE, labels: Mapping[str, str] | None = None
) -> BigQuerySession:
    """Return a session through the hook. Sends no request yet.

    Args:
        hook: a `BigQueryHook`.
        time_zone: of every query, whatever the project or the connection says.
        labels: names and values for every job, in addition to those of the connection and of the task.

    Raises:
        ConfigurationError: the connection's extra is wrong.
        google.auth.exceptions.GoogleAuthError: there are no credentials.
    """
    any_hook: Any = hook
    settings = _settings(any_hook)
    client = _client(any_hook, settings.location)
    context = {name: os.environ[variable] for name, variable in _CONTEXT.items() if variable in os.environ}
    connection_labels = _mapping(any_hook.labels, "labels")
    all_labels = {"app": "airflow-consent-retl", **connection_labels, **context, **(labels or {})}
    return BigQuerySession(
        any_hook,
        client,
        {_label(name): _label(value) for name, value in all_labels.items()},
        settings,
        time_zone=time_zone,
    )


def _settings(hook: Any) -> Settings:
    extra = hook.connection_extra
    limit = extra.get("maximum_bytes_billed")
    timeout = extra.get("retry_timeout_s")
    try:
        return Settings(
            location=hook.location or None,
            maximum_bytes_billed=None if limit in (None, "") else int(limit),
            priority=hook.priority or None,
            storage_endpoint=extra.get("storage_endpoint") or None,
            retry_timeout_s=_RETRY_TIMEOUT_S if timeout in (None, "") else float(timeout),
            job_config=_mapping(hook.api_resource_configs, "api_resource_configs"),
        )
    except (TypeError, ValueError):
        raise ConfigurationError(
            "the connection's extra: maximum_bytes_billed is a number of bytes, retry_timeout_s one of seconds"
        ) from None


def _mapping(value: Any, name: str) -> dict[str, Any]:
    """Return a field of the connection that is a JSON object, or the text of one."""
    problem = f"the connection's extra: {name} is a JSON object"
    try:
        mapping = json.loads(value) if isinstance(value, str) and value else value or {}
    except ValueError:
        raise ConfigurationError(problem) from None
    if not isinstance(mapping, dict):
        raise ConfigurationError(problem)
    return mapping


def _label(text: str) -> str:
    return _NOT_IN_LABELS.sub("_", str(text).lower())[:_LABEL_CHARACTERS]


def _client(hook: Any, location: str | None) -> Any:
    return hook.get_client(project_id=hook.project_id, location=location)


def _storage_client(hook: Any, endpoint: str | None) -> Any:
    from google.cloud import bigquery_storage_v1
    from google.cloud.bigquery_storage_v1.services.big_query_read.transports import BigQueryReadGrpcTransport

    make: Any = bigquery_storage_v1.BigQueryReadClient
    if os.environ.get(_EMULATOR, "").startswith("http://"):
        if endpoint is None:
            return None
        import grpc

        # An emulator uses no TLS, in both of its APIs.
        options = [("grpc.max_receive_message_length", -1)]
        return make(transport=BigQueryReadGrpcTransport(channel=grpc.insecure_channel(endpoint, options)))
    options = hook.get_client_options()
    if endpoint is not None:
        options.api_endpoint = endpoint
    return make(credentials=hook.get_credentials(), client_options=options)


def _mebibytes(size: int | None) -> str:
    return "?" if size is None else f"{size / _MIB:,.1f}"
