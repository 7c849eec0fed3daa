"""The operator that extracts a model's rows, once, as an immutable snapshot."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

try:
    from airflow.sdk import conf
except ImportError:  # Airflow 3.1 keeps it elsewhere
    from airflow.configuration import conf  # type: ignore[assignment]

from airflow_consent_retl.errors import ConsentRetlError, SourceUnavailableError
from airflow_consent_retl.operators.base_operator import ConsentRetlOperator
from airflow_consent_retl.progress import Progress

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Context

    from airflow_consent_retl.consent import ExternalConsent
    from airflow_consent_retl.databases.source import ModelQuery, Source
    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import ModelSource, SnapshotManifest


@dataclass(frozen=True, slots=True)
class _Submitted:
    """A query that ran while nobody waited: its id, when it was submitted (ISO 8601), the table that it makes."""

    query_id: str
    read_at: str
    table: str | None


class ExtractModelOperator(ConsentRetlOperator):
    """Read a model's rows through an Airflow SQL connection and write them as a snapshot.

    Reads: the connection, with one query, in one pass; memory is bounded by a batch. DuckDB files are opened read-only
    and give Arrow natively, as do Snowflake and BigQuery; PostgreSQL copies its rows out in a read-only transaction;
    every other connection whose hook is a `DbApiHook` is read through its cursor.
    Writes: Parquet parts and, last, their manifest, into a new folder of the workspace; a failed try removes it.

    Types: those that the driver declares, otherwise those that all values of a column have in common. Text stays text
    (`007` is not 7), integers and decimals stay exact, nested values become JSON text, timestamps with a zone become
    UTC. A column that holds only NULL has the type `null`.

    Args:
        model: the model's name, for people and for later tasks. Templated.
        conn_id: the Airflow connection. Templated.
        sql: the query, or a path of a `.sql` file. Templated. With DuckDB, settings may come before it:
            `SET memory_limit = '4GB'; SELECT …` for a query that joins or sorts (otherwise 1 GiB, then disk).
        primary_key: name of the column that identifies a row. Templated.
        column_types: Arrow type by column, where the source says too little: `{"ads_ok": "bool"}` reads SQLite's 0
            and 1. Names are Arrow's (`int64`, `string`, `decimal128(18, 2)`, `timestamp[us, tz=UTC]`), and `json`.
        check_primary_key: whether ids that are NULL or occur twice fail the task. False leaves them to the filter.
        batch_rows: rows that are read at once, which bounds the memory.
        part_bytes: size in bytes after which a Parquet part is closed.
        deferrable: wait for the query without holding a worker, where the connection can (Snowflake, BigQuery); others
            run it in the worker. When the task is cancelled, so is the query.
        poll_interval_s: seconds between two questions whether it is over.
        query_timeout_s: seconds after which a query that nobody waits for is cancelled, and the task tried again.
        hook_params: arguments of the connection's hook, for this model only, which win over the connection's extra:
            `{"warehouse": "LARGE"}` for Snowflake, `{"labels": {"team": "crm"}, "api_resource_configs": {"query":
            {"maximumBytesBilled": "1000000000"}}}` for BigQuery. Templated.
        consent_sources: where else consent is kept: each `ConsentSource` or `SuppressionList` brings columns that are
            joined to the rows, for the consent mapping to name. Consent that is asked for again is asked for there too.
        workspace: URI of the workspace, otherwise `[consent_retl] workspace`, otherwise a folder in AIRFLOW_HOME; or
            `warehouse:<schema>`: the rows stay in the warehouse, as a table of that staging schema, and so does all
            that is decided and compared after that. Templated.

    Returns:
        A reference to the snapshot's manifest, with its digest, model, rows and time: `ManifestRef.to_xcom()`.

    Raises:
        AirflowFailException: not retried: the query, its columns, the primary key, a type or the connection are wrong.
        SourceUnavailableError: retried: the source did not answer, or is locked.
    """

    template_fields: Sequence[str] = (
        "model",
        "conn_id",
        "sql",
        "primary_key",
        "workspace",
        "hook_params",
        "consent_sources",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql"}
    ui_color = "#d9ead3"

    def __init__(
        self,
        *,
        model: str,
        conn_id: str,
        sql: str,
        primary_key: str,
        column_types: Mapping[str, str] | None = None,
        check_primary_key: bool = True,
        batch_rows: int = 32_768,
        part_bytes: int = 256 << 20,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval_s: float = 10,
        query_timeout_s: float = 21_600,
        hook_params: Mapping[str, Any] | None = None,
        consent_sources: Sequence[ExternalConsent] = (),
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.consent_sources = consent_sources
        self.deferrable = deferrable
        self.poll_interval_s = poll_interval_s
        self.query_timeout_s = query_timeout_s
        self.hook_params = hook_params
        self.model = model
        self.conn_id = conn_id
        self.sql = sql
        self.primary_key = primary_key
        self.column_types = column_types
        self.check_primary_key = check_primary_key
        self.batch_rows = batch_rows
        self.part_bytes = part_bytes
        self.workspace = workspace
        self._running: Source | Warehouse | None = None
        self._submitted: _Submitted | None = None

    def run(self, context: Context) -> dict[str, object]:
        """Extract, and return the reference to the snapshot."""
        from airflow_consent_retl.databases.staging import is_warehouse, schema_of
        from airflow_consent_retl.databases.submitted import can_submit, submitted_queries
        from airflow_consent_retl.hooks.sql import sql_hook

        hook = sql_hook(self.conn_id, self.hook_params)
        schema = schema_of(self.workspace) if self.workspace is not None and is_warehouse(self.workspace) else None
        if self.deferrable and self._submitted is None and can_submit(hook):
            self._submit(context, hook, schema)
        if schema is None:
            return self._extract(context, hook)
        if self._submitted is not None:
            # What it failed with, if it did: all that its table could tell is that it is not there.
            with submitted_queries(hook, conn_id=self.conn_id) as queries:
                queries.is_running(self._submitted.query_id)
        return self._stage(context, schema)

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Go on after a deferral, with the result of the query.

        Raises:
            SourceUnavailableError: the time is up, and the query was cancelled.
        """
        if not event.get("over"):
            raise SourceUnavailableError(
                f"the query on connection `{self.conn_id}` did not end within {self.query_timeout_s:,.0f} s and was "
                "cancelled"
            )
        self._submitted = _Submitted(event["query_id"], event["read_at"], event["table"])
        return self.execute(context)

    def on_kill(self) -> None:
        """Have the query stopped: nobody will read what it goes on to find."""
        running = self._running
        if running is None:
            return
        self.log.info("cancelling the query on connection `%s`", self.conn_id)
        try:
            running.cancel()
        except ConsentRetlError as error:
            self.log.warning("the query was not cancelled: %s", error)

    def _query(self) -> ModelQuery:
        from airflow_consent_retl.databases.source import ModelQuery
        from airflow_consent_retl.values.columns import declared_types

        return ModelQuery(
            conn_id=self.conn_id,
            sql=self.sql,
            primary_key=self.primary_key,
            column_types=declared_types(self.column_types),
            batch_rows=self.batch_rows,
            query_id=None if self._submitted is None else self._submitted.query_id,
        )

    def _submit(self, context: Context, hook: DbApiHook, schema: str | None) -> None:
        """Have the query run, and wait outside of a worker."""
        from airflow_consent_retl.databases.source import source_of
        from airflow_consent_retl.databases.submitted import submitted_queries
        from airflow_consent_retl.triggers.submitted_query import SubmittedQueryTrigger

        read_at = datetime.now(UTC)
        table: str | None = None
        statement = source_of(hook, self._query()).statement
        if schema is not None:
            with self._staging(context, schema) as warehouse:
                made = warehouse.table("snapshot", at=read_at)
                table, statement = made.name, warehouse.creation(made, self.sql)
        with submitted_queries(hook, conn_id=self.conn_id) as queries:
            query_id = queries.submit(statement)
        self.log.info("query %s runs on connection `%s`: waiting", query_id, self.conn_id)
        self.defer(
            trigger=SubmittedQueryTrigger(
                conn_id=self.conn_id,
                query_id=query_id,
                deadline=(read_at + timedelta(seconds=self.query_timeout_s)).isoformat(),
                poll_interval_s=self.poll_interval_s,
                note={"read_at": read_at.isoformat(), "table": table},
            ),
            method_name="resume",
        )

    def _extract(self, context: Context, hook: DbApiHook) -> dict[str, object]:
        """Write the rows into files of the workspace."""
        from airflow_consent_retl.databases.source import MoreMemoryNeededError
        from airflow_consent_retl.storage.location import run_folder

        query = self._query()
        folder = run_folder(self.workspace, context, kind="snapshots")
        published = False
        try:
            try:
                reference = self._write(hook, folder, query)
            except MoreMemoryNeededError:
                self.log.info("the rows are too wide for the memory of a plain scan: reading again, with more")
                folder.remove()
                reference = self._write(hook, folder, replace(query, more_memory=True))
            published = True
        finally:
            if not published:
                folder.remove()
        return reference

    def _write(self, hook: DbApiHook, folder: Folder, query: ModelQuery) -> dict[str, object]:
        from airflow_consent_retl.databases.source import source_of
        from airflow_consent_retl.extraction.consent_files import reading_with_consent
        from airflow_consent_retl.extraction.files import SnapshotWriter

        started = time.monotonic()
        read_at = self._read_at()
        self.log.info("extracting model `%s` from connection `%s`", self.model, self.conn_id)
        reader = source_of(hook, query)
        with (
            self._cancellable(reader),
            reading_with_consent(
                reader.reading,
                self._sources(),
                hook_of=lambda conn_id: self._hook_of(hook, conn_id),
                conn_id=self.conn_id,
                at=read_at,
                log=self.log.info,
            ) as rows,
            SnapshotWriter(
                folder,
                rows.schema,
                primary_key=self.primary_key,
                check_primary_key=self.check_primary_key,
                part_bytes=self.part_bytes,
            ) as writer,
        ):
            progress = Progress(self.log, "read")
            for batch in rows.batches:
                writer.write(batch)
                progress(batch.num_rows)
            manifest, reference = writer.publish(model=self.model, source=self._source(), read_at=read_at)
        self._log_summary(manifest, reference.manifest, duration_s=time.monotonic() - started)
        return reference.to_xcom()

    def _stage(self, context: Context, schema: str) -> dict[str, object]:
        """Make a table of the rows, in the warehouse, and publish its manifest in the ordinary workspace."""
        from airflow_consent_retl.databases.staging import StagingTable
        from airflow_consent_retl.extraction.warehouse import warehouse_snapshot
        from airflow_consent_retl.hooks.sql import hooks_of
        from airflow_consent_retl.storage.location import run_folder
        from airflow_consent_retl.storage.manifest import MANIFEST_NAME, ManifestRef

        started = time.monotonic()
        read_at = self._read_at()
        made = None if self._submitted is None or self._submitted.table is None else self._submitted.table
        self.log.info("staging model `%s` in the warehouse behind connection `%s`", self.model, self.conn_id)
        with (
            self._staging(context, schema) as warehouse,
            self._cancellable(warehouse),
            warehouse_snapshot(
                warehouse,
                model=self.model,
                source=self._source(),
                primary_key=self.primary_key,
                check_primary_key=self.check_primary_key,
                read_at=read_at,
                hook_of=hooks_of(self.conn_id),
                log=self.log.info,
                made=None if made is None else StagingTable(schema, made),
            ) as manifest,
        ):
            folder = run_folder(None, context, kind="snapshots")
            digest = folder.publish(manifest.to_json())
        self._log_summary(manifest, f"{folder.uri}/{MANIFEST_NAME}", duration_s=time.monotonic() - started)
        return ManifestRef(
            kind="snapshot",
            manifest=f"{folder.uri}/{MANIFEST_NAME}",
            sha256=digest,
            model=self.model,
            rows=manifest.rows,
            at=read_at,
        ).to_xcom()

    def _sources(self) -> tuple[ExternalConsent, ...]:
        from airflow_consent_retl.consent import check_sources

        return check_sources(self.consent_sources)

    def _source(self) -> ModelSource:
        from airflow_consent_retl.consent import source_document
        from airflow_consent_retl.storage.manifest import ModelSource

        return ModelSource(
            conn_id=self.conn_id,
            sql=self.sql,
            column_types=dict(self.column_types or {}),
            consent_sources=tuple(map(source_document, self._sources())),
        )

    def _hook_of(self, hook: DbApiHook, conn_id: str | None) -> DbApiHook:
        from airflow_consent_retl.hooks.sql import sql_hook

        return hook if conn_id is None or conn_id == self.conn_id else sql_hook(conn_id)

    def _staging(self, context: Context, schema: str) -> Warehouse:
        from airflow_consent_retl.hooks.workspaces import staging_warehouse

        return staging_warehouse(self.conn_id, schema, context, hook_params=self.hook_params, model=self.model)

    def _read_at(self) -> datetime:
        """Return a time before the query started."""
        return datetime.now(UTC) if self._submitted is None else datetime.fromisoformat(self._submitted.read_at)

    @contextmanager
    def _cancellable(self, running: Source | Warehouse) -> Iterator[None]:
        """Name what `on_kill` cancels."""
        self._running = running
        try:
            yield
        finally:
            self._running = None

    def _log_summary(self, manifest: SnapshotManifest, uri: str, *, duration_s: float) -> None:
        checked = "each id present and unique" if manifest.primary_key_checked else "ids not checked"
        held = f"{len(manifest.parts)} parts, {manifest.size_bytes / (1 << 20):,.1f} MiB"
        if manifest.table is not None:
            held = f"table {manifest.table.namespace}.{manifest.table.name}"
        self.log.info(
            "model `%s`: read %s rows x %s columns = %s, %s, in %.1f s",
            self.model,
            f"{manifest.rows:,}",
            len(manifest.columns),
            held,
            checked,
            duration_s,
        )
        self.log.info("snapshot %s", uri)
