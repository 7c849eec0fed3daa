"""The delivered state and the changes of a sync whose rows stay in a warehouse.

The warehouse excludes the people who certainly did not change. The others leave it as a small permitted set and a small
delivered state in the changes' own folder, which the worker treats like any other files: there is one rule for what a
change is, and one for what becomes of it.

    changes-<random>/of.json, rows/, log/, touched/, after-<random>/
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from airflow_consent_retl.changes.computing import compute_changes, removals_of
from airflow_consent_retl.changes.fold import Folding
from airflow_consent_retl.changes.store import SyncStore, WithdrawnRemovals, all_entries
from airflow_consent_retl.changes.warehouse_comparison import (
    every_entry,
    forgotten_entries,
    people_of,
)
from airflow_consent_retl.changes.warehouse_delivered import (
    WarehouseState,
    WarehouseVersions,
    as_files,
)
from airflow_consent_retl.changes.warehouse_hashes import row_hashes
from airflow_consent_retl.changes.warehouse_lost import LostInWarehouse
from airflow_consent_retl.changes.warehouse_question import links_people, query_of_people
from airflow_consent_retl.changes.warehouse_reduction import Reduction
from airflow_consent_retl.changes.warehouse_silence import silent_in_model
from airflow_consent_retl.consent import RemovalCause
from airflow_consent_retl.databases.dialect import dialect_of
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.filtering.expressions import digests_among
from airflow_consent_retl.filtering.permitted_warehouse import WarehousePermittedRows
from airflow_consent_retl.filtering.warehouse import digest_table
from airflow_consent_retl.storage.delivered import DeliveredState, delivered_manifest

if TYPE_CHECKING:
    from airflow_consent_retl.changes.results import BatchResult
    from airflow_consent_retl.changes.store import OnField
    from airflow_consent_retl.consent.removal import Required
    from airflow_consent_retl.contract.destination import Destination
    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.filtering.files import Progress
    from airflow_consent_retl.filtering.model_question import Question
    from airflow_consent_retl.filtering.subject_index import Ask
    from airflow_consent_retl.progress import TaskLog
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.forgotten import ForgottenPeople
    from airflow_consent_retl.storage.records.rejections import RejectedPeople
    from airflow_consent_retl.storage.sync_folder import SyncFolder
    from airflow_consent_retl.storage.sync_mode import SyncMode

_OF_NAME = "of.json"
_READ_ROWS = 65_536
State = DeliveredState | WarehouseState


class WarehouseStore(SyncStore[State, WarehousePermittedRows]):
    """The store of a sync in a warehouse, with a folder whose manifests name the tables.

    Args:
        folder: of the sync.
        sync: its name.
        reach: returns the warehouse, not yet entered.
        question: asks the model's source; None: no consent is needed.
        log: the task's.
    """

    def __init__(
        self, folder: SyncFolder, sync: str, reach: Callable[[], Warehouse], question: Question | None, log: TaskLog
    ) -> None:
        super().__init__(folder, sync)
        self._reach = reach
        self._question = question
        self._log = log

    def open(self, uri: str, *, sha256: str) -> State:
        """Return the version that the ledger points at; the next load moves one in files into the warehouse."""
        folder = self.folder.open(uri)
        if delivered_manifest(folder, sha256=sha256).warehouse_table is None:
            return DeliveredState(folder, sha256=sha256)
        return WarehouseState(folder, sha256=sha256)

    def compare(
        self,
        permitted: WarehousePermittedRows,
        state: State | None,
        *,
        mode: SyncMode,
        destination: Destination,
        subject_key: SubjectKey,
        progress: Progress,
        adds: bool = True,
        only: RejectedPeople | None = None,
        absent: RemovalCause,
        required_before: Required | None = None,
    ) -> Changes:
        """Read the people who may have changed from the warehouse, and compare as in files: see `compute_changes`.

        Raises:
            SourceUnavailableError, ConfigurationError, ModelError: the warehouse cannot run the queries.
            The errors of `compute_changes`.
        """
        with self.folder.new("changes").publishing() as folder:
            with self._reach() as warehouse:
                found = Reduction(warehouse, permitted, state, folder, subject_key).run(mode)
                self._log_moved(warehouse, found.permitted.rows, permitted.rows)
            _write(
                folder,
                _OF_NAME,
                {"delivered_sha256": None if state is None else state.sha256, "everybody": found.is_complete},
            )
            return compute_changes(
                found.permitted,
                found.touched,
                folder,
                sync=self.sync,
                mode=mode,
                load=found.permitted.load(),
                destination=destination,
                subject_key=subject_key,
                progress=progress,
                unchanged=permitted.rows - found.permitted.rows,
                adds=adds,
                only=only,
                absent=absent,
                required_before=required_before,
            )

    def lost(
        self,
        state: State,
        ask: Ask,
        *,
        absent: RemovalCause,
        on_field: OnField = "remove",
        policy_digest: str = "",
        accept_silence: Collection[str] | None = None,
    ) -> WithdrawnRemovals:
        """Have the warehouse find the people who may have lost permission, and ask the source about those only."""
        if isinstance(state, DeliveredState) or self._question is None:
            raise _in_files(state)
        with ExitStack() as unused:
            folder = self.folder.new("changes")
            unused.callback(folder.remove)
            search = LostInWarehouse(self._reach, state, self._question, self._log_moved)
            touched, lost = search.run(
                ask, folder / "touched", absent=absent, on_field=on_field, accept_silence=accept_silence
            )
            if not lost:
                return WithdrawnRemovals(state.rows, lost.absent, moments=lost.moments, silent=lost.silent)
            _write(folder, _OF_NAME, {"delivered_sha256": state.sha256, "everybody": False})
            changes = removals_of(
                touched,
                lost.removed,
                folder,
                sync=self.sync,
                delivered=state.rows,
                policy_digest=policy_digest,
                clears=lost.cleared,
            )
            unused.pop_all()
            return WithdrawnRemovals(state.rows, lost.absent, changes, lost.moments, lost.silent)

    def everyone(self, state: State) -> Changes:
        """Read all entries from the warehouse, and publish their removal."""
        if isinstance(state, DeliveredState):
            raise _in_files(state)
        with self._reach() as warehouse:
            entries = every_entry(dialect_of(warehouse.dialect, state.id_type), state.columns)
            return self._removal(warehouse, state, entries, {}, RemovalCause.SYNC_RETIRED)

    def found(self, state: State, people: ForgottenPeople) -> set[str]:
        """Have the warehouse find the digests."""
        if isinstance(state, DeliveredState):
            raise _in_files(state)
        with self._reach() as warehouse, digest_table(warehouse, people) as table:
            dialect = dialect_of(warehouse.dialect, state.id_type)
            tables = {"delivered": warehouse.name_of(state.table), "forgotten": warehouse.name_of(table)}
            found: set[str] = set()
            for salt in people.salts:
                with warehouse.read(dialect.compile(digests_among(dialect, "delivered", "id", salt), tables)) as rows:
                    found.update(str(one) for batch in rows.batches for one in batch.column(0).to_pylist())
            return found

    def removal_of(self, state: State, people: ForgottenPeople) -> Changes | None:
        """Have the warehouse find the entries, and publish their removal."""
        if isinstance(state, DeliveredState):
            raise _in_files(state)
        with self._reach() as warehouse, digest_table(warehouse, people) as table:
            dialect = dialect_of(warehouse.dialect, state.id_type)
            entries = forgotten_entries(dialect, state.columns, people.salts)
            tables = {"forgotten": warehouse.name_of(table)}
            changes = self._removal(warehouse, state, entries, tables, RemovalCause.FORGOTTEN)
        if changes.manifest.removal_rows:
            return changes
        changes.folder.remove()
        return None

    def _removal(
        self, warehouse: Warehouse, state: WarehouseState, entries: Any, tables: dict[str, str], cause: RemovalCause
    ) -> Changes:
        """Read some entries from the warehouse, and publish their removal."""
        with self.folder.new("changes").publishing() as folder:
            dialect = dialect_of(warehouse.dialect, state.id_type)
            sql = dialect.compile(entries, {"delivered": warehouse.name_of(state.table), **tables})
            with warehouse.read(sql, batch_rows=_READ_ROWS) as rows:
                touched = as_files(state, rows.batches, folder / "touched")
            self._log_moved(warehouse, touched.rows, state.rows)
            _write(folder, _OF_NAME, {"delivered_sha256": state.sha256, "everybody": False})
            return removals_of(touched, all_entries(touched, cause), folder, sync=self.sync, delivered=state.rows)

    @contextmanager
    def asking_about(self, question: Question, ids: Iterable[pa.Array], id_type: pa.DataType) -> Iterator[Question]:
        """Yield the question about these people only: load their ids into the warehouse and read only their rows.

        With identities, yield the question about everyone: the people who are linked to them decide too.
        """
        if links_people(question):
            yield question
            return
        schema = pa.schema([("id", id_type)])
        with self._reach() as warehouse:
            table = warehouse.table("asked", at=datetime.now(UTC))
            try:
                batches = (pa.RecordBatch.from_arrays([some], schema=schema) for some in ids)
                warehouse.load(table, schema, batches)
                people = people_of(dialect_of(warehouse.dialect, id_type), "people", "id", ["id"])
                with query_of_people(warehouse, question, people, table, id_type) as sql:
                    yield question.among(sql)
            finally:
                warehouse.drop(table)

    def silent_in_model(self, question: Question, silent: tuple[str, ...], id_type: pa.DataType) -> tuple[str, ...]:
        """Have the warehouse look at the whole model, since `asking_about` asks about some people only."""
        if not silent or links_people(question):
            return silent
        with self._reach() as warehouse:
            return silent_in_model(warehouse, question, id_type)

    def folding(self, state: State | None, changes: Changes) -> Folding:
        """Begin to fold the entries that the worker compared.

        Raises:
            RefusedError: the changes were found against another version.
        """
        of = _read(changes.folder, _OF_NAME)
        if of["delivered_sha256"] != (None if state is None else state.sha256):
            raise RefusedError(f"{changes.folder.uri}: these changes were found against another delivered state")
        return Folding(_touched_of(changes), changes)

    def finish(
        self,
        folding: Folding,
        state: State | None,
        changes: Changes,
        sends: Iterable[BatchResult],
        removes: Iterable[BatchResult],
        clears: Iterable[BatchResult] = (),
    ) -> WarehouseState:
        """Publish the next version: a table of the untouched entries and of the new entries of everyone else."""
        after = folding.finish(sends, removes, changes.folder / f"after-{uuid.uuid4().hex}", clears=clears)
        before = None if _read(changes.folder, _OF_NAME)["everybody"] else state
        if isinstance(before, DeliveredState):
            raise RefusedError("the delivered state is in files, and not all of its entries were compared")
        with self._reach() as warehouse, ExitStack() as resources:
            entries = row_hashes(after, changes, changes.folder / "rows", resources)
            return WarehouseVersions(warehouse).publish(
                before, _touched_of(changes), after, entries, self.folder.new("delivered")
            )

    def only(self, changes: Changes, causes: Collection[RemovalCause]) -> Changes:
        """Publish some removals alone, with the files that folding needs."""
        some = super().only(changes, causes)
        of = _read(changes.folder, _OF_NAME)
        touched = _touched_of(changes)
        if touched is not None:
            copied = some.folder / "touched"
            for name in touched.folder.names():
                with copied.create(name) as file:
                    file.write(touched.folder.read(name))
        _write(some.folder, _OF_NAME, of)
        return some

    def sweep(self, there: Collection[str], in_use: Collection[str]) -> None:
        """Delete the listed versions that are not in use, tables before the folders that name them."""
        kept = {uri.rstrip("/").rpartition("/")[2] for uri in in_use}
        left = [self.folder.root / name for name in there if name not in kept and name.startswith("delivered-")]
        if left:
            with self._reach() as warehouse:
                for folder in left:
                    WarehouseVersions(warehouse).drop_table_of(folder)
        super().sweep(there, in_use)

    def _log_moved(self, warehouse: Warehouse, rows: int, of: int) -> None:
        self._log.info(
            "moved %s of %s rows, %s bytes in all, out of the warehouse",
            f"{rows:,}",
            f"{of:,}",
            f"{warehouse.bytes_read:,}",
        )


def _in_files(state: State) -> RefusedError:
    return RefusedError(
        f"the delivered state of `{state.manifest.destination}` is in files: the next load moves it into the warehouse"
    )


def _touched_of(changes: Changes) -> DeliveredState | None:
    sha256 = changes.manifest.delivered_sha256
    return None if sha256 is None else DeliveredState(changes.folder / "touched", sha256=sha256)


def _write(folder: Folder, name: str, document: dict[str, object]) -> None:
    with folder.create(name) as file:
        file.write(json.dumps(document).encode())


def _read(folder: Folder, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(folder.read(name))
    return document
