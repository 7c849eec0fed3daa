"""BigQuery as a source: a query's result as Arrow, through the Storage API if there is one, otherwise through REST."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_consent_retl.databases.bigquery.errors import translated
from airflow_consent_retl.databases.bigquery.session import BigQuerySession, JobReference, open_session
from airflow_consent_retl.databases.bigquery.streams import open_streams
from airflow_consent_retl.databases.bigquery.types import BigQueryColumn, as_plain_text
from airflow_consent_retl.databases.fence import Guarded, Stage, fenced
from airflow_consent_retl.databases.plain_query import plain_query
from airflow_consent_retl.databases.source import ArrowSource, ModelRows
from airflow_consent_retl.errors import ConsentRetlError, ModelError, SourceUnavailableError
from airflow_consent_retl.progress import module_log
from airflow_consent_retl.values.columns import cast

if TYPE_CHECKING:
    from google.cloud.bigquery import QueryJob, TableReference

_log = module_log(__name__)
# For fewer rows a session of the Storage API takes longer than REST.
_SMALL_ROWS = 1_000
# For REST. BigQuery also ends a page after 10 MB.
_PAGE_ROWS = 20_000
_SELECT = "SELECT"
_MIB = 1 << 20


class BigQuerySource(ArrowSource):
    """One query through Airflow's `BigQueryHook`: one SELECT in GoogleSQL, as one job.

    The job has labels: `app`, `dag_id`, `task_id`, and those of the connection. The log shows the bytes that it read
    and is billed. Leaving the context cancels it.

    The source reads these fields of the connection's extra, in addition to the credentials: `project`, `location`,
    `labels`, `priority`, `api_resource_configs`, `maximum_bytes_billed` (bytes), `storage_endpoint` (`host:port` of a
    private Storage API) and `retry_timeout_s` (seconds for which a failed request is retried; 120).
    """

    @property
    def statement(self) -> str:
        """The SQL to run: the model's query, or the wanted columns of it."""
        query = plain_query(self._query.sql, dialect="bigquery")
        if self._query.columns is None:
            return query
        names = ", ".join(map(quoted, self._query.columns))
        # On separate lines, so that a comment at the end of the query comments out nothing else.
        return f"SELECT {names} FROM (\n{query}\n) AS consent_model"  # noqa: S608 - the DAG's own SQL

    def open(self, resources: ExitStack) -> ModelRows:
        """Run the query to its end, and return its rows as they are downloaded."""
        session = self._guarded("connect", lambda: open_session(self._hook, time_zone=self._query.time_zone))
        resources.callback(session.close)
        self._stop = session.cancel
        job = self._attached(session, self._query.query_id) if self._query.query_id else self._run(session)
        result = BigQueryResult(
            session,
            job,
            guarded=self._guarded,
            declared=self._query.column_types,
            batch_rows=self._query.batch_rows,
        )
        self._check_schema(result.schema)
        batches = result.batches()
        # Running downloads end before the session does.
        resources.callback(batches.close)
        return ModelRows(result.schema, batches)

    def translate(self, error: Exception, stage: Stage) -> ConsentRetlError:
        """Return an error with BigQuery's message, if that cannot be about a row."""
        return translated(error, stage, conn_id=self._query.conn_id)

    def _run(self, session: BigQuerySession) -> QueryJob:
        checked = checked_statement(session, self.statement, conn_id=self._query.conn_id)
        self._check_columns([field.name for field in checked.schema or ()])
        return self._guarded("prepare", lambda: session.run(self.statement))

    def _attached(self, session: BigQuerySession, query_id: str) -> QueryJob:
        """Wait for a submitted query, without a limit."""
        job = self._guarded("read", lambda: session.job(JobReference.parse(query_id)))
        return self._guarded("prepare", lambda: session.finish(job))


class BigQueryResult:
    """The result of one finished query.

    Args:
        session: of the query, or another one.
        job: of the query.
        guarded: turns the clients' errors into this package's.
        declared: types that win over BigQuery's, by column.
        batch_rows: the largest number of rows in a batch.

    Raises:
        ModelError: a column has no exact counterpart.
    """

    def __init__(
        self,
        session: BigQuerySession,
        job: QueryJob,
        *,
        guarded: Guarded,
        declared: Mapping[str, pa.DataType] | None = None,
        batch_rows: int = 32_768,
    ) -> None:
        self._session = session
        self._job = job
        self._guarded = guarded
        self._declared = declared or {}
        self._batch_rows = batch_rows
        # The job keeps its result: this sends no request.
        self._result = guarded("read", lambda: job.result(retry=session.retry, job_retry=None))
        self._columns = [BigQueryColumn.of(field) for field in self._result.schema]
        self.schema = pa.schema(
            pa.field(column.name, self._declared.get(column.name, column.type)) for column in self._columns
        )

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        """Read the rows, once, in any order.

        Raises:
            ModelError: a value has no counterpart in the column's type.
            SourceUnavailableError: BigQuery does not answer, the result is gone, or rows are missing.
        """
        promised, rows = int(self._result.total_rows or 0), 0
        if not promised:
            return
        sent = self._by_storage() if promised > _SMALL_ROWS else self._by_rest()
        try:
            for message in sent:
                for start in range(0, message.num_rows, self._batch_rows):
                    batch = message.slice(start, self._batch_rows)
                    yield self._converted(batch)
                    rows += batch.num_rows
        finally:
            sent.close()
        if rows != promised:
            raise SourceUnavailableError(f"the result came incomplete: {rows:,} of {promised:,} rows")

    def _by_storage(self) -> Generator[pa.RecordBatch, None, None]:
        """Yield messages of the Storage API; without it, or without the right to use it, pages of REST."""
        from google.api_core.exceptions import Forbidden, MethodNotImplemented

        client = self._guarded("connect", self._session.storage)
        if client is None:
            yield from self._by_rest()
            return

        def begun() -> Generator[pa.RecordBatch, None, None] | None:
            try:
                return open_streams(
                    client, self._destination, project=self._session.client.project, retry=self._session.retry
                )
            except (Forbidden, MethodNotImplemented):
                return None

        sent = self._guarded("read", begun)
        if sent is None:
            _log.warning(
                "the Storage API cannot be used, the rows come by REST, which is several times slower: the account "
                "needs bigquery.readsessions.create, which roles/bigquery.readSessionUser has"
            )
            sent = self._by_rest()
        yield from self._guarded_each(sent)

    def _by_rest(self) -> Generator[pa.RecordBatch, None, None]:
        from google.cloud.bigquery import Table

        fields = [as_plain_text(column.field) for column in self._columns]
        rows = self._session.client.list_rows(
            Table(self._destination), selected_fields=fields, page_size=_PAGE_ROWS, retry=self._session.retry
        )
        yield from self._guarded_each(rows.to_arrow_iterable())

    def _guarded_each(self, sent: Any) -> Generator[pa.RecordBatch, None, None]:
        try:
            while (batch := self._guarded("read", lambda: next(sent, None))) is not None:
                yield batch
        finally:
            sent.close()

    @property
    def _destination(self) -> TableReference:
        """The anonymous table that holds the result."""
        if self._job.destination is None:
            raise ModelError("the SQL is not a query: it returns no rows")
        destination: TableReference = self._job.destination
        return destination

    def _converted(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        arrays = [
            cast(column.array(sent), field.type, column=field.name)
            for sent, column, field in zip(batch.columns, self._columns, self.schema, strict=True)
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def checked_statement(session: BigQuerySession, statement: str, *, conn_id: str) -> QueryJob:
    """Do a dry run of a statement, and return its job.

    Raises:
        ModelError: it cannot run, or is not one SELECT; with BigQuery's message, which quotes no row.
        ConfigurationError, SourceUnavailableError: as for a query.
    """
    checked = fenced(lambda: session.check(statement), lambda error: translated(error, "check", conn_id=conn_id))
    if checked.statement_type != _SELECT:
        raise ModelError(
            f"the SQL for connection `{conn_id}` is not one query: {checked.statement_type or 'no statement'}"
        )
    _log.info("the query will read at most %s MiB", f"{(checked.total_bytes_processed or 0) / _MIB:,.1f}")
    return checked


def quoted(name: str) -> str:
    """Return a name, quoted, for BigQuery's SQL."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"
