"""The workspace in a warehouse: tables of a staging schema, computed by the warehouse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

import ibis

from airflow_consent_retl.changes.warehouse_store import WarehouseStore
from airflow_consent_retl.consent import PERSON
from airflow_consent_retl.databases.dialect import dialect_of, placeholder
from airflow_consent_retl.databases.staging import StagingTable
from airflow_consent_retl.databases.submitted import submitted_queries
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.extraction.warehouse import warehouse_snapshot
from airflow_consent_retl.filtering.decision_warehouse import WarehousePeople
from airflow_consent_retl.filtering.expressions import digests_among
from airflow_consent_retl.filtering.permitted_warehouse import WarehousePermittedRows, verified_tables
from airflow_consent_retl.filtering.warehouse import WarehouseFilter, digest_table
from airflow_consent_retl.storage.decision_log import run_name
from airflow_consent_retl.storage.manifest import SnapshotManifest, WarehouseTable
from airflow_consent_retl.workspace.base import Extraction, FilterRun, Submission, Workspace, Written

if TYPE_CHECKING:
    from airflow_consent_retl.consent import ConsentPlan, Said
    from airflow_consent_retl.consent.plan import PlanFor
    from airflow_consent_retl.databases.source import ModelQuery
    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.extraction.reading import HookOf
    from airflow_consent_retl.filtering.decided import DecidedSignatures
    from airflow_consent_retl.filtering.decision_records import DecidedRun, DecisionRecorder
    from airflow_consent_retl.filtering.model_question import ModelAsker
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.manifest import ManifestRef
    from airflow_consent_retl.storage.opening import OpenedPermitted, OpenedSnapshot
    from airflow_consent_retl.storage.sync_folder import SyncFolder


class WarehouseFilterRun(FilterRun):
    """A filter run inside a warehouse: see `WarehouseFilter`."""

    def __init__(
        self,
        warehouse: Warehouse,
        snapshot: OpenedSnapshot,
        plan_for: PlanFor,
        *,
        at: datetime,
        forgotten: ForgottenPeople,
        log: TaskLog,
    ) -> None:
        self._warehouse = warehouse
        self._forgotten = forgotten
        self._snapshot = snapshot
        self._plan_for = plan_for
        self._at = at
        self._log = log
        self._resources = ExitStack()

    @property
    def plan(self) -> ConsentPlan:
        """The plan that decides the rows."""
        return self._filter.plan

    def repeated_ids(self) -> tuple[int, int]:
        """Have the warehouse count the rows without an id, and the ids that occur more than once."""
        return self._filter.find_repeated_ids()

    def decide(self) -> DecidedSignatures:
        """Have the warehouse count the combinations of consent values, and decide each of them."""
        return self._filter.decide()

    def said_in(self, cluster: int | None) -> Said:
        """Return what a cluster says."""
        return self._filter.said_in(cluster)

    def write(self, decided: DecidedSignatures, folder: Folder, key: SubjectKey, recorder: DecisionRecorder) -> Written:
        """Have the warehouse write the permitted rows and the decisions; the folder gets the table of signatures."""
        run = run_name(self._snapshot.sha256, self._at)
        written = self._filter.write(decided, folder, key, run=run)
        self._people = WarehousePeople(self._warehouse, written.answered, recorder, self._at)
        return Written(written.groups, written.decision_log, written.tables)

    def record(self, recorder: DecisionRecorder, run: DecidedRun) -> None:
        """Have the warehouse compare the people, and publish the changes."""
        recorder.publish(run, self._people)

    def keep(self) -> None:
        """Keep the tables."""
        self._filter.keep()
        self._log.info("moved %s bytes out of the warehouse", f"{self._warehouse.bytes_read:,}")

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            warehouse = opening.enter_context(self._warehouse)
            self._filter = opening.enter_context(
                WarehouseFilter(
                    warehouse, self._snapshot.manifest, self._plan_for, at=self._at, forgotten=self._forgotten
                )
            )
            self._resources = opening.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._resources.close()


class WarehouseWorkspace(Workspace):
    """The rows in tables of a staging schema; manifests and policies in the deployment's workspace of files.

    Args:
        schema: the staging schema.
        reach: returns the staging schema of the model's connection, not yet entered.
        conn_id: of the model's connection.
        hook_of: returns the hook of a connection; None: of the model's.
        log: the task's.
    """

    def __init__(
        self, schema: str, reach: Callable[[], Warehouse], conn_id: str, hook_of: HookOf, log: TaskLog
    ) -> None:
        super().__init__(conn_id, hook_of, log)
        self._schema = schema
        self._reach = reach

    @property
    def documents(self) -> str | None:
        """The deployment's default: documents are files, wherever the rows are."""
        return None

    def submission(self, query: ModelQuery, *, at: datetime) -> Submission:
        """Return the statement that makes the snapshot's table."""
        with self._reach() as warehouse:
            table = warehouse.table("snapshot", at=at)
            return Submission(warehouse.creation(table, query.sql), table.name)

    def extract(self, extraction: Extraction, folder: Folder) -> tuple[SnapshotManifest, ManifestRef]:
        """Make a table of the rows; only the manifest is written to the folder."""
        # Late: a load extracts nothing.
        from airflow_consent_retl.extraction.files import published

        self._check_submitted(extraction.query)
        made = extraction.made_table
        self.log.info("staging model `%s` in the warehouse behind connection `%s`", extraction.model, self.conn_id)
        with (
            self._reach() as warehouse,
            self._query.running(warehouse.cancel),
            warehouse_snapshot(
                warehouse,
                model=extraction.model,
                source=extraction.source,
                primary_key=extraction.query.primary_key,
                check_primary_key=extraction.check_primary_key,
                read_at=extraction.read_at,
                hook_of=self.hook_of,
                log=self.log.info,
                warn=self.log.warning,
                declared_time=extraction.declared_time,
                made=None if made is None else StagingTable(self._schema, made),
                sizes=extraction.sizes,
            ) as (manifest, _),
        ):
            extraction.check_columns([column.name for column in manifest.columns])
            return published(folder, manifest)

    def _check_submitted(self, query: ModelQuery) -> None:
        """Raise the error of a submitted query that failed: the missing table would not show the cause."""
        if query.query_id is not None:
            with submitted_queries(self.hook_of(None), conn_id=self.conn_id) as queries:
                queries.is_running(query.query_id)

    def filter(
        self, snapshot: OpenedSnapshot, plan_for: PlanFor, *, at: datetime, forgotten: ForgottenPeople
    ) -> FilterRun:
        """Return a filter run inside the warehouse."""
        return WarehouseFilterRun(self._reach(), snapshot, plan_for, at=at, forgotten=forgotten, log=self.log)

    def open_permitted(
        self, permitted: OpenedPermitted, *, destination: str, fields: Mapping[str, str]
    ) -> WarehousePermittedRows:
        """Compare the table of permitted rows with its manifest."""
        staged = permitted.manifest.staged
        if staged is None:
            raise RefusedError(f"{permitted.folder.uri}: the permitted rows are not in a warehouse")
        return verified_tables(permitted, staged, destination=destination, fields=fields, reach=self._reach)

    def store(self, folder: SyncFolder, sync: str, question: ModelAsker | None) -> WarehouseStore:
        """Return the store whose delivered state is a table."""
        return WarehouseStore(folder, sync, self._reach, question, self.log)

    def erase(self, opened: OpenedSnapshot | OpenedPermitted, people: ForgottenPeople) -> bool:
        """Have the warehouse look for such a row, and drop the tables if there is one."""
        manifest, described = opened.manifest, opened.manifest.warehouse_table
        if described is None:
            raise RefusedError(f"{opened.folder.uri}: the rows are not in a warehouse")
        key = manifest.primary_key
        id_type = next(column.type for column in manifest.columns if column.name == key)
        kept = [(described.staging_table, key, id_type)]
        if isinstance(manifest, SnapshotManifest) and manifest.linked is not None and manifest.linked.table is not None:
            kept.append((manifest.linked.table.staging_table, PERSON, "string"))
        with self._reach() as warehouse:
            names = {other.name for other in warehouse.tables()}
            there = [one for one in kept if one[0].name in names]
            # Some are gone only where an earlier try found such a row and died.
            found = 0 < len(there) < len(kept)
            if there and not found:
                with digest_table(warehouse, people) as digests:
                    found = any(
                        _has_one(warehouse, table, name, type_, digests, people) for table, name, type_ in there
                    )
            for table, _, _ in there if found else []:
                warehouse.drop(table)
            return found

    def rows_of(self, snapshot: OpenedSnapshot, subject: str | int, columns: Sequence[str]) -> list[dict[str, Any]]:
        """Have the warehouse find the rows of one id."""
        manifest, key = snapshot.manifest, snapshot.manifest.primary_key
        wanted = list(dict.fromkeys([key, *columns]))
        id_type = next(column.type for column in manifest.columns if column.name == key)
        with self._reach() as warehouse:
            dialect = dialect_of(warehouse.dialect, id_type)
            rows = placeholder("snapshot", dict.fromkeys(wanted, "string"))
            person = dialect.person(rows[key])
            chosen = rows.filter(dialect.exact(person) == dialect.exact(ibis.literal(str(subject)))).select(*wanted)
            sql = dialect.compile(chosen, {"snapshot": warehouse.name_of(_table(manifest).staging_table)})
            with warehouse.read(sql) as read:
                return [row for batch in read.batches for row in batch.to_pylist()]


def _has_one(
    warehouse: Warehouse, table: StagingTable, key: str, id_type: str, digests: StagingTable, people: ForgottenPeople
) -> bool:
    """Return whether a table has a row of one of some people, whose digests are in another table."""
    dialect = dialect_of(warehouse.dialect, id_type)
    names = {"rows": warehouse.name_of(table), "forgotten": warehouse.name_of(digests)}
    for salt in people.salts:
        with warehouse.read(dialect.compile(digests_among(dialect, "rows", key, salt), names)) as rows:
            if any(batch.num_rows for batch in rows.batches):
                return True
    return False


def _table(manifest: SnapshotManifest) -> WarehouseTable:
    table = manifest.warehouse_table
    if table is None:
        raise RefusedError("the snapshot is not in a warehouse")
    return table
