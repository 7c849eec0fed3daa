"""BigQuery as a workspace: tables in a staging dataset that expire automatically, loaded from Parquet by load jobs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import pyarrow as pa
import pyarrow.types as pt

from airflow_consent_retl.databases.bigquery.errors import message_of, reason_of, translated
from airflow_consent_retl.databases.bigquery.session import BigQuerySession, open_session
from airflow_consent_retl.databases.bigquery.source import BigQueryResult, quoted
from airflow_consent_retl.databases.bigquery.types import sql_type
from airflow_consent_retl.databases.fence import Stage, fenced, refusal_of
from airflow_consent_retl.databases.plain_query import plain_query
from airflow_consent_retl.databases.source import ModelRows
from airflow_consent_retl.databases.staging import StagingTable, Warehouse, is_staging_name
from airflow_consent_retl.databases.staging_files import staging_files
from airflow_consent_retl.errors import (
    ConfigurationError,
    ModelError,
    RefusedError,
    SourceUnavailableError,
)

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from google.cloud.bigquery import Dataset, QueryJob, SchemaField, Table, TableReference

_STAGING_NAME = re.compile(r"consent_retl_\d{8}t\d{6}_[a-z]+_[0-9a-f]{16}")
# Longer than any run with its retries, and long enough to inspect its tables afterwards.
_KEPT = timedelta(days=7)
_LISTED = 1_000
# https://docs.cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types (not read again): digits
# before the point and after it.
_NUMERIC, _BIGNUMERIC = (29, 9), (38, 38)


class BigQueryWarehouse(Warehouse):
    """Tables of one staging dataset on BigQuery, through Airflow's `BigQueryHook`.

    A dataset is in the connection's project unless it is written `project.dataset`. Jobs run in its location. It must
    have no default expiration: the record of the people who were delivered must last.
    """

    dialect: ClassVar[str] = "bigquery"

    def __init__(self, hook: DbApiHook, schema: str, *, conn_id: str, labels: Mapping[str, str] | None = None) -> None:
        super().__init__(hook, schema, conn_id=conn_id, labels=labels)
        self._entered: BigQuerySession | None = None
        self._dataset = ""

    def __enter__(self) -> Self:
        """Connect, and check that the staging dataset exists.

        Raises:
            ConfigurationError: the connection is wrong, or there is no such dataset that the account may see, or its
                tables expire by default.
            SourceUnavailableError: BigQuery does not answer.
        """
        session = self._guarded("connect", lambda: open_session(self.hook, labels=self.labels))
        self._entered = session
        is_ready = False
        try:
            self._dataset = self._full_name(session.client.project)
            dataset = self._found(session)
            if dataset.default_table_expiration_ms:
                raise ConfigurationError(
                    f"tables of the staging dataset `{self.schema}` on connection `{self.conn_id}` expire by default, "
                    "and with them the delivered state: use a dataset without a default table expiration"
                )
            session.location = dataset.location or session.location
            is_ready = True
        finally:
            if not is_ready:
                self.__exit__()
        return self

    def __exit__(self, *exception: object) -> None:
        """Cancel a job that still runs, and disconnect."""
        session, self._entered = self._entered, None
        if session is not None:
            session.close()

    def name_of(self, table: StagingTable) -> str:
        """Return the table's full name, quoted, for SQL."""
        return quoted(f"{self._dataset}.{table.name}")

    def quote(self, column: str) -> str:
        """Return a column's name, quoted, for SQL."""
        return quoted(column)

    def create_as(self, table: StagingTable, query: str, *, expires: bool = True) -> int:
        """Make a table of a query's rows, in one statement, and return the number of rows."""
        self._run(self.creation(table, query, expires=expires))
        return self.count(table)

    def creation(self, table: StagingTable, query: str, *, expires: bool = True) -> str:
        """Return the statement that `create_as` runs."""
        labels = ", ".join(f'("{name}", "{value}")' for name, value in self._session.labels.items())
        options = [f"labels=[{labels}]"]
        if expires:
            options.append(f'expiration_timestamp=TIMESTAMP "{_expiry(table):%Y-%m-%d %H:%M:%S}+00"')
        query = plain_query(query, dialect="bigquery")
        return f"CREATE TABLE {self.name_of(table)} OPTIONS ({', '.join(options)}) AS\n{query}"

    def count(self, table: StagingTable) -> int:
        """Return the number of rows of a table. BigQuery knows it without reading any."""
        return int(self._described(table).num_rows or 0)

    def load(
        self, table: StagingTable, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, expires: bool = True
    ) -> int:
        """Make a table of Arrow batches. One load job appends each Parquet file.

        Raises:
            ModelError: a type cannot be staged.
            SourceUnavailableError: a file could not be loaded, or rows are missing.
        """
        from google.cloud.bigquery import Table

        made = Table(self._reference(table), schema=[_field(field) for field in schema])
        made.labels = self._session.labels
        if expires:
            made.expires = _expiry(table)
        self._guarded("prepare", lambda: self._session.client.create_table(made, retry=self._session.retry))
        rows = 0
        with staging_files(schema, batches) as files:
            for file in files:
                self._guarded("prepare", partial(self._append, file.path, made))
                rows += file.rows
        loaded = self.count(table)
        if loaded != rows:
            raise SourceUnavailableError(
                f"connection `{self.conn_id}`: {loaded:,} of {rows:,} rows were loaded into a staging table"
            )
        return rows

    @contextmanager
    def read(self, query: str, *, batch_rows: int = 32_768) -> Iterator[ModelRows]:
        """Run a SELECT and stream its rows, with the types that an extraction of the same columns would have."""
        job = self._run(plain_query(query, dialect="bigquery"))
        result = BigQueryResult(self._session, job, guarded=self._guarded, batch_rows=batch_rows)
        batches = self._counted(result.batches())
        try:
            yield ModelRows(result.schema, batches)
        finally:
            batches.close()

    def drop(self, table: StagingTable) -> None:
        """Delete a table; a missing table is not an error."""
        reference = self._reference(table)
        client, retry = self._session.client, self._session.retry
        self._guarded("prepare", lambda: client.delete_table(reference, not_found_ok=True, retry=retry))

    def native_types(self, table: StagingTable) -> dict[str, str]:
        """Return the type of each column as BigQuery's SQL names it, in the columns' order."""
        return {field.name: sql_type(field) for field in self._described(table).schema}

    def cancel(self) -> None:
        """Cancel the running statement, from another thread or a signal handler."""
        session = self._entered
        if session is not None:
            self._guarded("read", session.cancel)

    def tables(self) -> list[StagingTable]:
        """Return the tables of the staging dataset whose names this package made."""
        client, retry = self._session.client, self._session.retry
        names = self._guarded(
            "prepare",
            lambda: [item.table_id for item in client.list_tables(self._dataset, page_size=_LISTED, retry=retry)],
        )
        return [StagingTable(self.schema, name) for name in names if is_staging_name(name)]

    def set_time_zone(self, time_zone: str) -> None:
        """Change the time zone of the next queries."""
        self._session.time_zone = time_zone

    @property
    def _session(self) -> BigQuerySession:
        if self._entered is None:
            raise RuntimeError("the warehouse is not entered")
        return self._entered

    def _full_name(self, project: str) -> str:
        parts = self.schema.split(".")
        if len(parts) > 2:
            raise ConfigurationError(
                f"staging dataset `{self.schema}` on connection `{self.conn_id}`: expected `dataset` or "
                "`project.dataset`"
            )
        return ".".join(parts) if len(parts) == 2 else f"{project}.{self.schema}"

    def _found(self, session: BigQuerySession) -> Dataset:
        from google.api_core.exceptions import NotFound

        def find() -> Dataset | None:
            try:
                found: Dataset = session.client.get_dataset(self._dataset, retry=session.retry)
            except NotFound:
                return None
            return found

        dataset = self._guarded("prepare", find)
        if dataset is None:
            raise ConfigurationError(
                f"there is no staging dataset `{self.schema}` on connection `{self.conn_id}`: CREATE SCHEMA "
                f"`{self._dataset}`, then give its account roles/bigquery.dataEditor on it"
            )
        return dataset

    def _reference(self, table: StagingTable) -> TableReference:
        from google.cloud.bigquery import TableReference

        return TableReference.from_string(f"{self._dataset}.{table.name}")

    def _described(self, table: StagingTable) -> Table:
        client, retry = self._session.client, self._session.retry
        found: Table = self._guarded("prepare", lambda: client.get_table(self._reference(table), retry=retry))
        return found

    def _append(self, file: Path, table: Table) -> None:
        from google.cloud.bigquery import CreateDisposition, LoadJobConfig, SourceFormat, WriteDisposition

        config = LoadJobConfig(
            source_format=SourceFormat.PARQUET,
            schema=table.schema,
            create_disposition=CreateDisposition.CREATE_NEVER,
            write_disposition=WriteDisposition.WRITE_APPEND,
            labels=self._session.labels,
        )
        # Without a size the client sends the file in pieces, and sends a lost piece again.
        with file.open("rb") as content:
            job = self._session.client.load_table_from_file(
                content,
                table.reference,
                job_id=f"consent_retl_{uuid.uuid4().hex}",
                location=self._session.location,
                job_config=config,
            )
        self._session.load(job)

    def _run(self, statement: str) -> QueryJob:
        return fenced(lambda: self._session.run(statement), lambda error: self._explained(error, statement))

    def _explained(self, error: Exception, statement: str) -> Exception:
        problem = self.translate(error, "prepare")
        if not isinstance(problem, ModelError):
            return problem
        # A dry run finds errors in the statement itself, and its message can be shown.
        return (
            refusal_of(lambda: self._session.check(statement), lambda other: self.translate(other, "check")) or problem
        )

    def translate(self, error: Exception, stage: Stage) -> Exception:
        """Return this package's error for a client's; for a missing staging table, that it is gone."""
        gone = _STAGING_NAME.search(message_of(error))
        if gone and reason_of(error) == "notFound":
            return RefusedError(f"staging table {gone[0]} on connection `{self.conn_id}` is gone")
        return translated(error, stage, conn_id=self.conn_id)


def _expiry(table: StagingTable) -> datetime:
    """Return the time at which a table expires. It counts from the creation, if that is later than the name's time."""
    return max(table.made_at, datetime.now(UTC).replace(microsecond=0)) + _KEPT


def _field(field: pa.Field) -> SchemaField:
    from google.cloud.bigquery import SchemaField

    type_ = field.type
    if pt.is_decimal128(type_) and 0 <= type_.scale <= type_.precision:
        whole = type_.precision - type_.scale
        for name, (before, after) in (("NUMERIC", _NUMERIC), ("BIGNUMERIC", _BIGNUMERIC)):
            if whole <= before and type_.scale <= after:
                return SchemaField(field.name, name)
    if pt.is_timestamp(type_) and type_.unit in ("s", "ms", "us"):
        return SchemaField(field.name, "DATETIME" if type_.tz is None else "TIMESTAMP")
    for is_of, name in _SQL_TYPES:
        if is_of(type_):
            return SchemaField(field.name, name)
    raise ModelError(f"column `{field.name}` is {type_}, which cannot be loaded into a staging table")


_SQL_TYPES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pt.is_boolean, "BOOLEAN"),
    (pt.is_signed_integer, "INTEGER"),
    (pt.is_string, "STRING"),
    (pt.is_binary, "BYTES"),
    (pt.is_date32, "DATE"),
    (pt.is_float64, "FLOAT"),
)
