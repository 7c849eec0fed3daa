"""The workspace in files: Parquet in any object storage, computed in the worker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_consent_retl import __version__
from airflow_consent_retl.consent import PERSON
from airflow_consent_retl.databases.source import MoreMemoryNeededError, source_of
from airflow_consent_retl.errors import ConfigurationError, ModelError
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows, verified_files
from airflow_consent_retl.progress import Progress
from airflow_consent_retl.storage.manifest import SnapshotManifest, sha256_hex
from airflow_consent_retl.values.columns import cast
from airflow_consent_retl.values.list_columns import with_lists_as_json
from airflow_consent_retl.workspace.base import Extraction, Submission, Workspace

if TYPE_CHECKING:
    from airflow_consent_retl.changes.store import FileStore
    from airflow_consent_retl.consent.plan import PlanFor
    from airflow_consent_retl.databases.source import ModelQuery, ModelRows
    from airflow_consent_retl.extraction.reading import HookOf
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.manifest import ManifestRef
    from airflow_consent_retl.storage.opening import OpenedPermitted, OpenedSnapshot
    from airflow_consent_retl.storage.sync_folder import SyncFolder
    from airflow_consent_retl.workspace.file_filter_run import FileFilterRun

_READ_ROWS = 131_072


class FileWorkspace(Workspace):
    """The workspace in files.

    Args:
        uri: of the workspace; None: the deployment's default.
        conn_id: of the model's connection.
        hook_of: returns the hook of a connection; None: of the model's.
        log: the task's.
    """

    def __init__(self, uri: str | None, conn_id: str, hook_of: HookOf, log: TaskLog) -> None:
        super().__init__(conn_id, hook_of, log)
        self._uri = uri

    @property
    def documents(self) -> str | None:
        """The URI of the workspace itself."""
        return self._uri

    def submission(self, query: ModelQuery, *, at: datetime) -> Submission:
        """Return the model's own query; it makes no table."""
        return Submission(source_of(self.hook_of(None), query).statement, None)

    def extract(self, extraction: Extraction, folder: Folder) -> tuple[SnapshotManifest, ManifestRef]:
        """Write the rows as Parquet parts, in one pass."""
        self.log.info("extracting model `%s` from connection `%s`", extraction.model, self.conn_id)
        try:
            return self._extract(extraction, extraction.query, folder)
        except MoreMemoryNeededError:
            self.log.info("the rows are too wide for the memory of a plain scan: reading again with more memory")
            folder.remove()
            return self._extract(extraction, replace(extraction.query, more_memory=True), folder)

    def _extract(
        self, extraction: Extraction, query: ModelQuery, folder: Folder
    ) -> tuple[SnapshotManifest, ManifestRef]:
        from airflow_consent_retl.extraction.data_time import DataTime
        from airflow_consent_retl.extraction.files import SnapshotWriter
        from airflow_consent_retl.extraction.linked_rows import write_linked
        from airflow_consent_retl.extraction.reading import reading_with_consent

        reader = source_of(self.hook_of(None), query)
        with (
            self._query.running(reader.cancel),
            reading_with_consent(
                reader.reading,
                extraction.sources,
                hook_of=self.hook_of,
                conn_id=self.conn_id,
                time_zone=query.time_zone,
                at=extraction.read_at,
                log=self.log.info,
                warn=self.log.warning,
                sizes=extraction.sizes,
            ) as rows,
            SnapshotWriter(
                folder,
                rows.schema,
                primary_key=query.primary_key,
                check_primary_key=extraction.check_primary_key,
                part_bytes=extraction.part_bytes,
            ) as writer,
        ):
            extraction.check_columns(rows.schema.names)
            if (same := self._linked(extraction, rows, folder)) is not None:
                return same
            progress, data_time = Progress(self.log, "read"), DataTime(extraction.declared_time)
            for batch in rows.batches:
                data_time.see(batch)
                writer.write(batch)
                progress(batch.num_rows)
            return writer.publish(
                linked=write_linked(folder, rows),
                model=extraction.model,
                source=extraction.source,
                read_at=extraction.read_at,
                as_of=data_time.of(extraction.read_at),
                source_sizes=() if extraction.sizes is None else extraction.sizes.found(extraction.read_at),
                fingerprint=_fingerprint(rows),
            )

    def _linked(
        self, extraction: Extraction, rows: ModelRows, folder: Folder
    ) -> tuple[SnapshotManifest, ManifestRef] | None:
        """Publish the files of the last snapshot as the new one, if they have the same rows."""
        if extraction.last is None or not rows.fingerprint or extraction.sources or extraction.declared_time.column:
            return None
        from airflow_consent_retl.extraction.data_time import DataTime
        from airflow_consent_retl.extraction.same_rows import published_again

        same = published_again(
            folder,
            extraction.last,
            fingerprint=_fingerprint(rows),
            source=extraction.source,
            primary_key=extraction.query.primary_key,
            check_primary_key=extraction.check_primary_key,
            read_at=extraction.read_at,
            as_of=DataTime(extraction.declared_time).of(extraction.read_at),
        )
        if same is not None:
            self.log.info("the database finds the rows of the last extraction: its files are used again")
        return same

    def filter(
        self, snapshot: OpenedSnapshot, plan_for: PlanFor, *, at: datetime, forgotten: ForgottenPeople
    ) -> FileFilterRun:
        """Return a filter run over files."""
        # Late, as what an extraction needs: a load neither filters nor extracts.
        from airflow_consent_retl.filtering.files import column_kinds
        from airflow_consent_retl.workspace.file_filter_run import FileFilterRun

        plan = plan_for(column_kinds(snapshot.manifest.columns))
        return FileFilterRun(snapshot, plan, at=at, forgotten=forgotten, log=self.log)

    def open_permitted(
        self, permitted: OpenedPermitted, *, destination: str, fields: Mapping[str, str]
    ) -> FilePermittedRows:
        """Verify the files of one destination."""
        return verified_files(permitted, destination=destination, fields=fields)

    def store(self, folder: SyncFolder, sync: str, question: ModelAsker | None) -> FileStore:
        """Return the store in the sync's folder."""
        # Late: an extraction and a filter compare nothing.
        from airflow_consent_retl.changes.store import FileStore

        return FileStore(folder, sync)

    def erase(self, opened: OpenedSnapshot | OpenedPermitted, people: ForgottenPeople) -> bool:
        """Look through the parts that are left, and delete them all if one has such a row."""
        folder, manifest = opened.folder, opened.manifest
        if isinstance(manifest, SnapshotManifest):
            linked = () if manifest.linked is None else manifest.linked.parts
            read = [(part, manifest.primary_key) for part in manifest.parts] + [(part, PERSON) for part in linked]
        else:
            read = [(part, manifest.primary_key) for group in manifest.groups for part in group.parts]
        there = [(part, key) for part, key in read if folder.exists(part.name)]
        # Some parts are gone only where an earlier try found such a row and died.
        if len(there) == len(read) and not any(
            people.found(batch.column(0))
            for part, key in there
            for batch in folder.read_rows([part], columns=[key], batch_rows=_READ_ROWS)
        ):
            return False
        for part, _ in there:
            folder.remove_file(part.name)
        return bool(there)

    def rows_of(self, snapshot: OpenedSnapshot, subject: str | int, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Read all ids, and return some columns of the rows that have this one."""
        manifest, key = snapshot.manifest, snapshot.manifest.primary_key
        wanted = list(dict.fromkeys([key, *columns]))
        for part in manifest.parts:
            snapshot.folder.verify(part)
        found: list[dict[str, Any]] = []
        for batch in snapshot.folder.read_rows(manifest.parts, columns=wanted, batch_rows=_READ_ROWS):
            ids = batch.column(key)
            chosen = batch.filter(pc.equal(ids, _as_id(subject, ids.type, key)))
            found += with_lists_as_json(chosen.select(list(columns))).to_pylist()
        return found


def _fingerprint(rows: ModelRows) -> str:
    """Return the fingerprint of rows with their columns, for this release; empty without one.

    The database's own does not know names: a column that was renamed has the same values.
    """
    if not rows.fingerprint:
        return ""
    columns = [[field.name, str(field.type)] for field in rows.schema]
    return f"{__version__} {sha256_hex(json.dumps(columns).encode())} {rows.fingerprint}"


def _as_id(subject: str | int, type_: pa.DataType, key: str) -> pa.Scalar:
    try:
        return cast(pa.array([subject]), type_, column=key)[0]
    except (ModelError, pa.ArrowException):
        problem = ConfigurationError(f"this is no id of the snapshot, whose `{key}` is {type_}")
    # Outside the handler: the error's message may quote the id.
    raise problem
