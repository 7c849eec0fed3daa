"""The table writer for BigQuery: a load job puts Parquet into a table that expires, then one MERGE upserts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa

from airflow_consent_retl.databases.bigquery.errors import message_of, reason_of, translated
from airflow_consent_retl.databases.bigquery.session import open_session
from airflow_consent_retl.databases.bigquery.source import quoted
from airflow_consent_retl.databases.bigquery.staging import BigQueryWarehouse
from airflow_consent_retl.databases.bigquery.types import sql_type
from airflow_consent_retl.databases.fence import fenced, refusal_of
from airflow_consent_retl.databases.tables.bulk import Capacity
from airflow_consent_retl.databases.tables.merge import MergeWriter
from airflow_consent_retl.databases.tables.merge_statements import TargetWarehouse
from airflow_consent_retl.databases.tables.writer import (
    BusyError,
    ConnectionLostError,
    Family,
    RowRefusedError,
    TableTarget,
    TargetColumn,
    family,
)
from airflow_consent_retl.errors import ConfigurationError, DestinationError, ModelError, SourceUnavailableError
from airflow_consent_retl.near import suggestion

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from google.cloud.bigquery import QueryJob, SchemaField, Table

    from airflow_consent_retl.databases.fence import Stage
    from airflow_consent_retl.databases.tables.merge_statements import Rows
    from airflow_consent_retl.databases.tables.removal_marks import MarkKind
    from airflow_consent_retl.databases.tables.table_name import TableName

_TYPE = re.compile(r"(?P<name>\w+)(?:\((?P<first>\d+)(?:, (?P<second>\d+))?\))?")
# https://docs.cloud.google.com/bigquery/docs/reference/standard-sql/data-types#decimal_types (not read again): digits
# before the point and after it.
_DECIMALS = {"NUMERIC": (29, 9), "BIGNUMERIC": (38, 38)}
_ACCEPTED: dict[str, frozenset[Family]] = {
    "BOOL": frozenset({"boolean"}),
    "INT64": frozenset({"integer"}),
    "NUMERIC": frozenset({"integer", "decimal"}),
    "BIGNUMERIC": frozenset({"integer", "decimal"}),
    "FLOAT64": frozenset({"float32", "float"}),
    "STRING": frozenset({"text"}),
    "BYTES": frozenset({"binary"}),
    "DATE": frozenset({"date"}),
    "TIME": frozenset({"time"}),
    "DATETIME": frozenset({"timestamp"}),
    "TIMESTAMP": frozenset({"timestamptz"}),
    "JSON": frozenset({"text", "nested"}),
}
_MADE: dict[Family | None, str] = {
    "null": "STRING",
    "boolean": "BOOL",
    "integer": "INT64",
    "float32": "FLOAT64",
    "float": "FLOAT64",
    "text": "STRING",
    "binary": "BYTES",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "DATETIME",
    "timestamptz": "TIMESTAMP",
    "nested": "JSON",
}
_WRITABLE = "TABLE"
_VIEWS = frozenset({"VIEW", "MATERIALIZED_VIEW"})
# For a statement that was accepted and then failed: the cause is a value, or another statement on the same table.
# https://docs.cloud.google.com/bigquery/docs/error-messages (not read again)
_ABOUT_VALUES = frozenset({"invalidQuery", "invalid"})
_BUSY = (
    (re.compile("concurrent update|could not serialize", re.IGNORECASE), "concurrent_update"),
    (re.compile("streaming buffer", re.IGNORECASE), "streaming_buffer"),
    (re.compile("too many DML", re.IGNORECASE), "too_many_statements"),
)
_CODES = (
    (re.compile("not null|cannot be null|required field", re.IGNORECASE), "not_null"),
    (re.compile("maximum length|too long", re.IGNORECASE), "too_long"),
    (re.compile("overflow|out of range", re.IGNORECASE), "value_out_of_range"),
)


class BigQueryWriter(MergeWriter["BigQueryTarget"]):
    """Writes through the jobs of a BigQuery hook's client. A table is named `dataset.table`.

    The account needs `roles/bigquery.dataEditor` on the dataset, which holds a temporary table for each batch, and
    `roles/bigquery.jobUser`. The writer deletes a batch's table after the batch; if it is killed before, BigQuery
    deletes the table within a week.
    """

    case_sensitive: ClassVar[bool] = False

    def _connected(self) -> BigQueryTarget:
        return BigQueryTarget(self._hook, self._table, conn_id=self._conn_id).__enter__()

    def _existing(self, warehouse: BigQueryTarget) -> TableTarget | None:
        table = warehouse.found()
        if table is None:
            return None
        if table.table_type in _VIEWS:
            raise ConfigurationError(f"`{self._table}` is a view: name a table")
        if table.table_type != _WRITABLE:
            raise ConfigurationError(
                f"`{self._table}` is of type {table.table_type}, which takes no rows: name a table"
            )
        columns = {}
        for field in table.schema:
            shown = _shown(field)
            collation = field.to_api_repr().get("collation") or table.to_api_repr().get("defaultCollation")
            if field.name == self._key and field.field_type == "STRING":
                self._check_collation(shown, collation)
            columns[field.name] = TargetColumn(
                shown=shown,
                accepts=frozenset() if field.mode == "REPEATED" else _ACCEPTED.get(sql_type(field), frozenset()),
                scale=_decimal_scale(field),
                nullable=field.mode != "REQUIRED",
                filled=field.default_value_expression is not None,
            )
        return TableTarget(columns)

    def _create(self, warehouse: BigQueryTarget, fields: Iterable[pa.Field], *, key: str, mark: str | None) -> None:
        from google.cloud.bigquery import SchemaField

        columns = [
            SchemaField(field.name, _made(field.type), mode="REQUIRED" if field.name == key else "NULLABLE")
            for field in fields
        ]
        if mark is not None:
            columns.append(SchemaField(mark, "TIMESTAMP"))
        warehouse.make(columns)

    def _add(self, warehouse: BigQueryTarget, fields: Iterable[pa.Field]) -> None:
        from google.cloud.bigquery import SchemaField

        warehouse.add([SchemaField(field.name, _made(field.type)) for field in fields])

    def _capacity(self, shown: str) -> Capacity:
        found = _TYPE.match(shown)
        name, first, second = found.groups() if found else ("", None, None)
        if name in _DECIMALS:
            return Capacity(whole_digits=int(first) - int(second or 0) if first else _DECIMALS[name][0])
        return Capacity(length=int(first) if first else None, is_int64=name == "INT64")

    def _value(self, staged: str, kind: pa.DataType, shown: str) -> str:
        name = shown.partition("(")[0]
        if name == "JSON":
            return f"PARSE_JSON({staged})"
        # Of all numbers, only this one needs a cast.
        is_wide = name == "NUMERIC" and family(kind) == "decimal" and _made(kind) == "BIGNUMERIC"
        if is_wide or family(kind) in {"null", "time"}:
            return f"CAST({staged} AS {name})"
        return staged

    def _mark_time(self, kind: MarkKind | None, shown: str, now: datetime) -> str:
        text = f"{now:%Y-%m-%d %H:%M:%S.%f}"
        return f"TIMESTAMP '{text}+00:00'" if kind == "timestamptz" else f"DATETIME '{text}'"


class BigQueryTarget(BigQueryWarehouse, TargetWarehouse):
    """The dataset of one table, which holds batches in tables that expire. Raises the errors of a `TableWriter`.

    Args:
        hook: of the connection.
        table: in the dataset; a dataset of another project is written `"project.dataset".table`.
        conn_id: of the connection, for messages.
    """

    def __init__(self, hook: DbApiHook, table: TableName, *, conn_id: str) -> None:
        if table.schema is None:
            raise ConfigurationError(f"table `{table}` names no dataset: write `dataset.{table}`")
        super().__init__(hook, table.schema, conn_id=conn_id)
        self._table = table

    def __enter__(self) -> Self:
        """Connect, and check that the dataset exists."""
        from google.api_core.exceptions import NotFound

        session = self._guarded("connect", lambda: open_session(self.hook, labels=self.labels))
        self._entered = session
        is_ready = False
        try:
            self._dataset = self._full_name(session.client.project)

            def find() -> Any:
                try:
                    return session.client.get_dataset(self._dataset, retry=session.retry)
                except NotFound:
                    return None

            dataset = self._guarded("prepare", find)
            if dataset is None:
                raise ConfigurationError(
                    f"there is no dataset `{self.schema}`{suggestion(self.schema, self._others())}"
                )
            session.location = dataset.location or session.location
            is_ready = True
        finally:
            if not is_ready:
                self.__exit__()
        return self

    @property
    def target(self) -> str:
        """The table's name, quoted."""
        return quoted(self._path)

    def found(self) -> Table | None:
        """Return the table; None if it does not exist."""
        from google.api_core.exceptions import NotFound

        def find() -> Any:
            try:
                return self._session.client.get_table(self._path, retry=self._session.retry)
            except NotFound:
                return None

        table: Table | None = self._guarded("prepare", find)
        return table

    def names(self) -> list[str]:
        """Return the tables of the dataset."""
        client, retry = self._session.client, self._session.retry
        return self._guarded(
            "prepare",
            lambda: [item.table_id for item in client.list_tables(self._dataset, retry=retry) if _is_table(item)],
        )

    def make(self, columns: list[SchemaField]) -> None:
        """Make the table; an existing one is not an error."""
        from google.cloud.bigquery import Table

        client, retry = self._session.client, self._session.retry
        made = Table(self._path, schema=columns)
        self._guarded("prepare", lambda: client.create_table(made, exists_ok=True, retry=retry))

    def add(self, columns: list[SchemaField]) -> None:
        """Add columns to the table, in one request: BigQuery limits the changes of a table's metadata."""
        client, retry = self._session.client, self._session.retry

        def update() -> Any:
            table = client.get_table(self._path, retry=retry)
            table.schema = [*table.schema, *columns]
            return client.update_table(table, ["schema"], retry=retry)

        self._guarded("prepare", update)

    def rows(self, statement: str) -> Rows:
        """Run a statement to its end, and return its rows."""
        job: QueryJob | None = None

        def run() -> Rows:
            nonlocal job
            job = self._session.submit(statement)
            self._session.finish(job)
            return [tuple(row.values()) for row in job.result(retry=self._session.retry)]

        return fenced(run, lambda error: self._failure_of(error, statement, job=job))

    @property
    def _path(self) -> str:
        return f"{self._dataset}.{self._table.name}"

    def _others(self) -> list[str]:
        client, retry = self._session.client, self._session.retry
        return self._guarded("prepare", lambda: [item.dataset_id for item in client.list_datasets(retry=retry)])

    def _failure_of(self, error: Exception, statement: str, *, job: QueryJob | None) -> Exception:
        message = message_of(error)
        if busy := next((code for pattern, code in _BUSY if pattern.search(message)), None):
            return BusyError(busy)
        failure = self.translate(error, "prepare")
        if isinstance(failure, ConnectionLostError) and job is not None and job.state == "DONE":
            # The job has failed, and applied nothing.
            return BusyError(reason_of(error) or "failed")
        if isinstance(failure, DestinationError) and reason_of(error) in _ABOUT_VALUES:
            # A dry run finds errors in the statement itself.
            return self._refusal_of(statement) or RowRefusedError(
                next((code for pattern, code in _CODES if pattern.search(message)), "data_error")
            )
        return failure

    def _refusal_of(self, statement: str) -> Exception | None:
        return refusal_of(lambda: self._session.check(statement), lambda error: self.translate(error, "check"))

    def translate(self, error: Exception, stage: Stage) -> Exception:
        """Return the error of a `TableWriter` for a client's."""
        problem = translated(error, stage, conn_id=self.conn_id)
        if isinstance(problem, SourceUnavailableError):
            return (
                BusyError(reason_of(error) or "connect") if stage == "connect" else ConnectionLostError(in_commit=True)
            )
        return DestinationError(str(problem)) if isinstance(problem, ModelError) else problem


def _is_table(item: Any) -> bool:
    return bool(item.table_type == _WRITABLE)


def _shown(field: SchemaField) -> str:
    name = sql_type(field)
    sizes = [size for size in (field.max_length, field.precision, field.scale) if size is not None]
    return name + (f"({', '.join(map(str, sizes))})" if sizes else "")


def _decimal_scale(field: SchemaField) -> int | None:
    name = sql_type(field)
    if name not in _DECIMALS:
        return None
    return _DECIMALS[name][1] if field.precision is None else field.scale or 0


def _made(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _made(kind.value_type)
    group = family(kind)
    if pa.types.is_uint64(kind):
        return "NUMERIC"
    if group != "decimal":
        return _MADE[group]
    scale = max(kind.scale, 0)
    whole = kind.precision - kind.scale
    return next(name for name, (before, after) in _DECIMALS.items() if whole <= before and scale <= after)
