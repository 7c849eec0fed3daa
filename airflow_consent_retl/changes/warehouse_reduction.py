"""The reduction of a comparison: people who may have changed leave the warehouse, as two small sets of files.

One is a permitted set, the other a delivered state; the worker compares them like any other files. The people left in
the warehouse certainly did not change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.changes.warehouse_comparison import ROW_HASH, WarehouseComparison
from airflow_consent_retl.changes.warehouse_delivered import WarehouseState, as_files
from airflow_consent_retl.databases.dialect import dialect_of
from airflow_consent_retl.errors import ConfigurationError, RefusedError
from airflow_consent_retl.extraction.files import SnapshotWriter
from airflow_consent_retl.filtering.permitted_files import FilePermittedRows
from airflow_consent_retl.storage.decision_log import DecisionLogWriter, SignatureRow, run_name
from airflow_consent_retl.storage.delivered import DeliveredState
from airflow_consent_retl.storage.manifest import Column, RecipientsGroup
from airflow_consent_retl.storage.sync_mode import SyncMode
from airflow_consent_retl.values.columns import cast, declared_types
from airflow_consent_retl.values.ids import meeting_type

if TYPE_CHECKING:
    from airflow_consent_retl.databases.staging import Warehouse
    from airflow_consent_retl.filtering.permitted_warehouse import WarehousePermittedRows
    from airflow_consent_retl.storage.decision_log import SubjectKey
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.manifest import PermittedManifest, SnapshotManifest

_READ_ROWS = 65_536
State = DeliveredState | WarehouseState


@dataclass(frozen=True, slots=True)
class Reduced:
    """The rows that left the warehouse.

    Args:
        permitted: the people who may have changed.
        touched: the entries that may have to change; None where no one was delivered.
        is_complete: whether `touched` has all entries.
    """

    permitted: FilePermittedRows
    touched: DeliveredState | None
    is_complete: bool


class Reduction:
    """One comparison that is reduced in the warehouse.

    Args:
        warehouse: entered.
        permitted: the verified rows, in a table.
        state: the delivered state; one in files is compared as a whole, once.
        folder: of the changes.
        subject_key: of the filter's decision log.
    """

    def __init__(
        self,
        warehouse: Warehouse,
        permitted: WarehousePermittedRows,
        state: State | None,
        folder: Folder,
        subject_key: SubjectKey,
    ) -> None:
        self._warehouse = warehouse
        self._permitted = permitted
        self._state = state
        self._folder = folder
        self._subject_key = subject_key.of(permitted.manifest.decision_log.key_id)
        self._manifest: PermittedManifest = permitted.manifest
        types = {column.name: column.type for column in self._manifest.columns}
        self._dialect = dialect_of(warehouse.dialect, types[self._manifest.primary_key])

    def run(self, mode: SyncMode) -> Reduced:
        """Compare in the warehouse, and read the people who may have changed.

        Raises:
            RefusedError: the numbers do not add up, or ids are of another kind than before.
            SourceUnavailableError, ConfigurationError, ModelError: the warehouse cannot run the queries.
        """
        state = self._state
        table = self._permitted.staged.permitted.staging_table
        entries = state.columns if isinstance(state, WarehouseState) else []
        comparison = WarehouseComparison(
            self._dialect,
            columns=[column.name for column in self._manifest.columns],
            native=self._warehouse.native_types(table),
            primary_key=self._manifest.primary_key,
            fields=self._permitted.fields,
            groups=self._permitted.groups,
            without=self._permitted.groups_without,
            entries=entries,
            marks=self._permitted.marks,
        )
        names = {"permitted": self._warehouse.name_of(table)}
        if isinstance(state, WarehouseState):
            names["delivered"] = self._warehouse.name_of(state.table)
        # A state in files is compared as a whole, once.
        is_whole = isinstance(state, DeliveredState)
        compared = self._warehouse.table("compared", at=datetime.now(UTC))
        names["compared"] = self._warehouse.name_of(compared)
        try:
            all_candidates = is_whole or mode is SyncMode.FULL
            self._warehouse.create_as(
                compared, self._dialect.compile(comparison.compared(all_candidates=all_candidates), names)
            )
            self._check_count(self._dialect.compile(comparison.counts(), names))
            rows = self._candidates(self._dialect.compile(comparison.candidates(), names))
            touched: DeliveredState | None = None
            gone: list[tuple[pa.Array, pa.Array]] = []
            if isinstance(state, WarehouseState):
                names["decisions"] = self._warehouse.name_of(self._permitted.staged.decisions.staging_table)
                with self._warehouse.read(
                    self._dialect.compile(comparison.touched(), names), batch_rows=_READ_ROWS
                ) as found:
                    touched = as_files(state, found.batches, self._folder / "touched")
                salt = self._subject_key.salt(run_name(self._manifest.snapshot_sha256, self._manifest.decided_at))
                with self._warehouse.read(
                    self._dialect.compile(comparison.gone(salt), names), batch_rows=_READ_ROWS
                ) as found:
                    gone = [(some.column("id"), some.column("signature")) for some in found.batches]
            elif isinstance(state, DeliveredState):
                touched = self._copied(state)
                gone = self._gone_of(state)
        finally:
            self._warehouse.drop(compared)
        return Reduced(self._as_permitted(rows, gone), touched, is_complete=state is None or is_whole)

    def _check_count(self, sql: str) -> None:
        with self._warehouse.read(sql) as found:
            (counts,) = [row for batch in found.batches for row in batch.to_pylist()]
        if int(counts["permitted"]) != self._permitted.rows:
            raise RefusedError(
                f"the permitted table holds {int(counts['permitted']):,} rows for `{self._permitted.destination}`, its "
                f"manifest says {self._permitted.rows:,}"
            )

    def _candidates(self, sql: str) -> SnapshotManifest:
        folder = self._folder / "rows"
        with self._warehouse.read(sql, batch_rows=_READ_ROWS) as found:
            writer = SnapshotWriter(
                folder, self._schema(found.schema), primary_key=self._manifest.primary_key, check_primary_key=False
            )
            with writer:
                for batch in found.batches:
                    writer.write(batch)
                manifest, _ = writer.publish(
                    model=self._manifest.model, source=self._manifest.source, read_at=self._manifest.snapshot_read_at
                )
        return manifest

    def _schema(self, schema: pa.Schema) -> pa.Schema:
        """Return the candidates' schema with a type of ids that the delivered ids fit as well."""
        name = self._manifest.primary_key
        place = schema.get_field_index(name)
        before = self._state.id_type if self._state is not None else None
        now = schema.field(place).type
        type_ = meeting_type(before, None if pa.types.is_null(now) else now, primary_key=name)
        return schema if pa.types.is_null(type_) else schema.set(place, pa.field(name, type_))

    def _copied(self, state: DeliveredState) -> DeliveredState:
        """Copy a state in files into the changes' own folder, and return the copy."""
        state.verify()
        folder = self._folder / "touched"
        for part in state.manifest.parts:
            with folder.create(part.name) as file:
                file.write(state.folder.read(part.name))
        return DeliveredState(folder, sha256=folder.publish(state.manifest.to_json()))

    def _gone_of(self, state: DeliveredState) -> list[tuple[pa.Array, pa.Array]]:
        """Return ids and signatures of the people of a state in files who are in the decision log."""
        if state.id_type is None:
            return []
        people = self._warehouse.table("asked", at=datetime.now(UTC))
        schema = pa.schema([("id", state.id_type)])
        batches = (pa.RecordBatch.from_arrays([ids], schema=schema) for ids in state.ids(_READ_ROWS))
        try:
            self._warehouse.load(people, schema, batches)
            comparison = WarehouseComparison(
                self._dialect,
                columns=[column.name for column in self._manifest.columns],
                native={},
                primary_key=self._manifest.primary_key,
                fields=self._permitted.fields,
                groups=self._permitted.groups,
                without={},
                entries=["id"],
            )
            salt = self._subject_key.salt(run_name(self._manifest.snapshot_sha256, self._manifest.decided_at))
            tables = {
                "delivered": self._warehouse.name_of(people),
                "decisions": self._warehouse.name_of(self._permitted.staged.decisions.staging_table),
            }
            sql = self._dialect.compile(comparison.logged(salt), tables)
            with self._warehouse.read(sql, batch_rows=_READ_ROWS) as found:
                return [(some.column("id"), some.column("signature")) for some in found.batches]
        finally:
            self._warehouse.drop(people)

    def _as_permitted(self, rows: SnapshotManifest, gone: list[tuple[pa.Array, pa.Array]]) -> FilePermittedRows:
        """Return the candidates as the permitted set that the worker compares."""
        log_folder = self._folder / "rows"
        log = DecisionLogWriter(log_folder, self._subject_key)
        id_type = _id_type(rows)
        for ids, signatures in gone:
            typed = ids if pa.types.is_null(id_type) else cast(ids, id_type, column=self._manifest.primary_key)
            log.write(typed, np.asarray(signatures.cast(pa.int32())))
        described = log.close(list(self._signatures()))
        destination = self._permitted.destination
        counts = self._manifest.destinations[destination]
        withheld = sorted({name for group in self._manifest.groups for name in group.withheld.get(destination, ())})
        group = RecipientsGroup(
            recipients=(destination,), parts=rows.parts, rows=rows.rows, withheld={destination: tuple(withheld)}
        )
        columns = {column.name: column for column in self._manifest.columns}
        # A column whose values are all NULL has no type of its own.
        added = {ROW_HASH, *self._permitted.marks.values()}
        columns |= {
            column.name: column for column in rows.columns if column.name not in added and column.type != "null"
        }
        manifest = self._manifest.model_copy(
            update={
                "groups": (group,),
                "destinations": {destination: counts.model_copy(update={"permitted": rows.rows})},
                "decision_log": described,
                "columns": tuple(Column(name=column.name, type=column.type) for column in columns.values()),
                "staged": None,
            }
        )
        return FilePermittedRows(
            log_folder,
            manifest,
            self._permitted.manifest_sha256,
            destination,
            self._permitted.fields,
            rows.parts,
            {},
            self._permitted.marks,
        )

    def _signatures(self) -> Iterator[SignatureRow]:
        log, folder = self._manifest.decision_log, self._permitted.folder
        folder.verify(log.signatures)
        for batch in folder.read_rows([log.signatures], batch_rows=_READ_ROWS):
            for row in batch.to_pylist():
                yield SignatureRow(
                    subject=row["subject"],
                    statuses=dict(row["statuses"]),
                    recipients=row["recipients"],
                    denied=dict(row["denied"]),
                    rows=row["rows"],
                )


def _id_type(rows: SnapshotManifest) -> pa.DataType:
    declared = {column.name: column.type for column in rows.columns}[rows.primary_key]
    try:
        return declared_types({rows.primary_key: declared})[rows.primary_key]
    except ConfigurationError:
        return pa.null()
