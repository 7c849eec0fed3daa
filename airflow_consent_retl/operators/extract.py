"""The operator that extracts a model's rows, once, as an immutable snapshot."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_consent_retl.compat import conf
from airflow_consent_retl.errors import ConfigurationError, ConsentRetlError, SourceUnavailableError
from airflow_consent_retl.operators.dated_operator import DatedSqlOperator, date_of_run
from airflow_consent_retl.operators.lineage_methods import LineageMethods
from airflow_consent_retl.operators.parsed_tasks import refuse

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_consent_retl.consent import ExternalConsent, IdentityLinks
    from airflow_consent_retl.databases.source import ModelQuery
    from airflow_consent_retl.extraction.data_time import DeclaredTime
    from airflow_consent_retl.signals.lineage import ExtractLineage
    from airflow_consent_retl.storage.manifest import ManifestRef, ModelSource, SnapshotManifest
    from airflow_consent_retl.storage.source_sizes import SourceSizes
    from airflow_consent_retl.workspace.base import Extraction, Workspace


@dataclass(frozen=True, slots=True)
class _Submitted:
    """A query that ran without a waiting worker: its id, the time of submission (ISO 8601), the table that it makes."""

    query_id: str
    read_at: str
    table: str | None


class ExtractModelOperator(LineageMethods, DatedSqlOperator):
    """Read a model's rows through an Airflow SQL connection and write them as a snapshot.

    Reads: the connection, with one query, in one pass; memory is bounded by a batch. DuckDB files are opened read-only
    and return Arrow natively, as do Snowflake and BigQuery; PostgreSQL copies its rows out in a read-only transaction;
    every other connection whose hook is a `DbApiHook` is read through its cursor.
    Writes: Parquet parts and, last, their manifest, into a new folder of the workspace; a failed try removes it. Then
    the sizes of consent sources that may not shrink.

    Types: those that the driver declares, otherwise those that all values of a column have in common. Text stays text
    (`007` is not 7), integers and decimals stay exact, nested values become JSON text, timestamps with a zone become
    UTC. A column of only NULL has the type `null`.

    Args:
        model: the model's name, for people and for later tasks. Templated.
        conn_id: the Airflow connection. Templated.
        sql: the query, or a path of a `.sql` file. Templated. With DuckDB, settings may come before it:
            `SET memory_limit = '4GB'; SELECT …` for a query that joins or sorts (otherwise 1 GiB, then disk).
        primary_key: name of the column that identifies a row. Templated.
        column_types: Arrow type by column, where the source declares too little: `{"ads_ok": "bool"}` reads SQLite's 0
            and 1. Names are Arrow's (`int64`, `string`, `decimal128(18, 2)`, `timestamp[us, tz=UTC]`), and `json`.
        check_primary_key: whether ids that are NULL or occur twice fail the task. False leaves them to the filter.
        reuse_unchanged: ask the database for a fingerprint of all rows first, and use the files of the model's last
            snapshot again where it is the same. DuckDB files and PostgreSQL compute one; from other connections, into a
            warehouse workspace, with `consent_sources` or `identities`, or with `as_of` of a column, all rows are read.
            Other rows have the same fingerprint with a chance of 1 in 2**64, and loads ask for consent again anyway.
        batch_rows: the number of rows to read at once, which bounds the memory.
        part_bytes: size in bytes after which a Parquet part is closed.
        deferrable: wait for the query without occupying a worker, where the connection supports it (Snowflake,
            BigQuery); others run it in the worker. Cancelling the task cancels the query.
        poll_interval_s: seconds between two questions whether the query has ended.
        query_timeout_s: seconds after which a query without a waiting worker is cancelled and the task retried.
        hook_params: arguments of the connection's hook, for this model only; they override the connection's extra:
            `{"warehouse": "LARGE"}` for Snowflake, `{"labels": {"team": "crm"}, "api_resource_configs": {"query":
            {"maximumBytesBilled": "1000000000"}}}` for BigQuery. They are written into manifests, and every later
            reader of the model uses them: plain JSON values, never a secret. Templated.
        session_time_zone: the time zone in which the model's SQL runs, such as `Europe/Paris`; UTC by default,
            whatever the connection, the role or the worker says. Databases whose sessions have no time zone (SQLite,
            and all but DuckDB, PostgreSQL, Snowflake and BigQuery) accept none. Templated.
        as_of: the time that the rows stand for: a time in ISO 8601, such as `{{ data_interval_end }}`, a date, or the
            name of a column that contains one time in all rows. By default the time of the query or, if the template
            of the SQL or of a consent source names a date of the run, the end of the run's data interval. A sync
            refuses data older than it delivered. Templated.
        current_consent_sql: a query for the present ids and consent columns, by which loads ask for consent again just
            before sending. Give it where the model's SQL is bound to a date (`WHERE ds = '{{ ds }}'`): asking that
            again says nothing about the present, so without it loads do not ask, and `max_age_s` applies. Templated.
        consent_sources: the other sources of consent: each `ConsentSource` or `SuppressionList` adds columns to the
            rows by a join, for the consent mapping to name. Later checks of consent read these sources again too. Those
            of the deployment's policy apply in any case.
        identities: the link table of the model's people, `IdentityLinks`: a no of anyone who is linked to a person
            denies them too. Later checks of consent read it again. Templated.
        workspace: URI of the workspace, otherwise `[consent_retl] workspace`, otherwise a folder in AIRFLOW_HOME; or
            `warehouse:<schema>`: the rows stay in the warehouse, as a table of that staging schema; later decisions
            and comparisons run there too. Templated.

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
        "session_time_zone",
        "as_of",
        "current_consent_sql",
        "consent_sources",
        "identities",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "current_consent_sql": "sql"}
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
        reuse_unchanged: bool = False,
        batch_rows: int = 32_768,
        part_bytes: int = 256 << 20,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        poll_interval_s: float = 10,
        query_timeout_s: float = 21_600,
        hook_params: Mapping[str, Any] | None = None,
        session_time_zone: str | None = None,
        as_of: str | None = None,
        current_consent_sql: str | None = None,
        consent_sources: Sequence[ExternalConsent] = (),
        identities: IdentityLinks | None = None,
        workspace: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.consent_sources = consent_sources
        self.identities = identities
        self.deferrable = deferrable
        self.poll_interval_s = poll_interval_s
        self.query_timeout_s = query_timeout_s
        self.hook_params = hook_params
        self.session_time_zone = session_time_zone
        self.as_of = as_of
        self.current_consent_sql = current_consent_sql
        self.model = model
        self.conn_id = conn_id
        self.sql = sql
        self.primary_key = primary_key
        self.column_types = column_types
        self.check_primary_key = check_primary_key
        self.reuse_unchanged = reuse_unchanged
        self.batch_rows = batch_rows
        self.part_bytes = part_bytes
        self.workspace = workspace
        refuse(self.wrong_options())
        self._workspace: Workspace | None = None
        self._submitted: _Submitted | None = None
        self._published: tuple[SnapshotManifest, ManifestRef] | None = None

    def run(self, context: Context) -> dict[str, object]:
        """Extract, and return the reference to the snapshot."""
        from airflow_consent_retl.databases.submitted import can_submit
        from airflow_consent_retl.hooks.workspaces import open_workspace
        from airflow_consent_retl.storage.location import last_snapshot, publishing_run, source_sizes

        sources = self._sources()
        source, declared = self.source_of(sources), self._declared_time(context)
        workspace = open_workspace(self.workspace, source=source, model=self.model, log=self.log, context=context)
        if self.deferrable and self._submitted is None and can_submit(workspace.hook_of(None)):
            self._submit(workspace, source)
        sizes = source_sizes(workspace.documents, self.model, warn=self.log.warning)
        started = time.monotonic()
        self._workspace = workspace
        try:
            with publishing_run(workspace.documents, context, kind="snapshots") as folder:
                extraction = self._extraction(source, sources, declared, sizes, workspace.documents)
                manifest, reference = workspace.extract(extraction, folder)
        finally:
            self._workspace = None
        self._published = manifest, reference
        sizes.keep(sources, at=manifest.read_at)
        if manifest.fingerprint:
            last_snapshot(workspace.documents, self.model).keep(reference)
        self._log_summary(manifest, reference.manifest, duration_s=time.monotonic() - started)
        return reference.to_xcom()

    def task_lineage(self) -> ExtractLineage:
        """Return the lineage from the tables that the SQL names to the snapshot."""
        from airflow_consent_retl.hooks.sql import hooks_of
        from airflow_consent_retl.operators.model_source import with_identities
        from airflow_consent_retl.signals.lineage import ExtractLineage

        return ExtractLineage(
            model=self.model,
            source=lambda: self.source_of(with_identities(self.consent_sources, self.identities)),
            hooks_of=hooks_of,
            published=self._published,
        )

    def resume(self, context: Context, event: Mapping[str, Any]) -> Any:
        """Resume after a deferral, with the result of the query.

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
        """Cancel the query: no one will read its result."""
        workspace = self._workspace
        if workspace is None or not workspace.is_running:
            return
        self.log.info("cancelling the query on connection `%s`", self.conn_id)
        try:
            workspace.cancel()
        except ConsentRetlError as error:
            self.log.warning("the query was not cancelled: %s", error)

    def _declared_time(self, context: Context) -> DeclaredTime:
        from airflow_consent_retl.extraction.data_time import DeclaredTime

        is_dated = self.sql_is_dated or self.consent_sources_are_dated
        return DeclaredTime.parse(date_of_run(context) if self.as_of is None and is_dated else self.as_of)

    def _sources(self) -> tuple[ExternalConsent, ...]:
        from airflow_consent_retl.hooks.policies import binding_policy
        from airflow_consent_retl.operators.bindings import sources_of_extraction
        from airflow_consent_retl.operators.model_source import with_identities

        return sources_of_extraction(
            model=self.model,
            conn_id=self.conn_id,
            primary_key=self.primary_key,
            queries=(self.sql, self.current_consent_sql),
            hook_params=self.hook_params,
            declared=with_identities(self.consent_sources, self.identities),
            loaded=binding_policy(),
        )

    def source_of(self, sources: Sequence[ExternalConsent]) -> ModelSource:
        """Return where the rows are read, from rendered parameters and the sources that apply.

        Raises:
            ConfigurationError, PolicyError: a parameter, the connection or a source is wrong.
        """
        from airflow_consent_retl.operators.model_source import model_source

        if self.question_is_dated:
            raise ConfigurationError(
                "current_consent_sql names a date of the run in its template: it has to ask for the present consent"
            )
        return model_source(
            conn_id=self.conn_id,
            sql=self.sql,
            current_consent_sql=self.current_consent_sql,
            sql_is_dated=self.sql_is_dated,
            consent_sources_are_dated=self.consent_sources_are_dated,
            hook_params=self.hook_params,
            session_time_zone=self.session_time_zone,
            column_types=self.column_types,
            consent_sources=sources,
        )

    def _query(self, source: ModelSource) -> ModelQuery:
        from airflow_consent_retl.databases.source import ModelQuery
        from airflow_consent_retl.values.columns import declared_types

        return ModelQuery(
            conn_id=self.conn_id,
            sql=self.sql,
            primary_key=self.primary_key,
            column_types=declared_types(self.column_types),
            batch_rows=self.batch_rows,
            time_zone=source.time_zone,
            query_id=None if self._submitted is None else self._submitted.query_id,
            has_fingerprint=self.reuse_unchanged and not source.consent_sources,
        )

    def _extraction(
        self,
        source: ModelSource,
        sources: tuple[ExternalConsent, ...],
        declared_time: DeclaredTime,
        sizes: SourceSizes,
        documents: str | None,
    ) -> Extraction:
        from airflow_consent_retl.operators.mapped_columns import check_mapped_columns
        from airflow_consent_retl.storage.location import last_snapshot
        from airflow_consent_retl.workspace.base import Extraction

        submitted = self._submitted
        return Extraction(
            model=self.model,
            query=self._query(source),
            source=source,
            sources=sources,
            check_primary_key=self.check_primary_key,
            part_bytes=self.part_bytes,
            read_at=datetime.now(UTC) if submitted is None else datetime.fromisoformat(submitted.read_at),
            declared_time=declared_time,
            made_table=None if submitted is None else submitted.table,
            sizes=sizes,
            check_columns=partial(check_mapped_columns, self, documents),
            last=last_snapshot(documents, self.model) if self.reuse_unchanged else None,
        )

    def _submit(self, workspace: Workspace, source: ModelSource) -> None:
        """Submit the query, and wait outside of a worker."""
        from airflow_consent_retl.databases.submitted import submitted_queries
        from airflow_consent_retl.triggers.submitted_query import SubmittedQueryTrigger

        read_at = datetime.now(UTC)
        submission = workspace.submission(self._query(source), at=read_at)
        with submitted_queries(workspace.hook_of(None), conn_id=self.conn_id, time_zone=source.time_zone) as queries:
            query_id = queries.submit(submission.statement)
        self.log.info("query %s runs on connection `%s`: waiting", query_id, self.conn_id)
        self.defer(
            trigger=SubmittedQueryTrigger(
                conn_id=self.conn_id,
                hook_params=source.hook_params,
                query_id=query_id,
                deadline=(read_at + timedelta(seconds=self.query_timeout_s)).isoformat(),
                poll_interval_s=self.poll_interval_s,
                note={"read_at": read_at.isoformat(), "table": submission.table},
            ),
            method_name="resume",
        )

    def _log_summary(self, manifest: SnapshotManifest, uri: str, *, duration_s: float) -> None:
        checked = "each id present and unique" if manifest.primary_key_checked else "ids not checked"
        self.log.info(
            "model `%s`: read %s rows x %s columns = %s, %s, in %.1f s",
            self.model,
            f"{manifest.rows:,}",
            len(manifest.columns),
            manifest.place,
            checked,
            duration_s,
        )
        if manifest.as_of is not None:
            self.log.info("the rows stand for %s", f"{manifest.as_of:%F %T %Z}")
        self.log.info("snapshot %s", uri)
