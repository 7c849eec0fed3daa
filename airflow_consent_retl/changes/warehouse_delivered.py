"""The delivered state as a table of the staging schema, in immutable versions that manifests in the sync's folder name.

Columns: `id`; `hash`, of the payload that was last certainly accepted; `unsettled_until`; `row_hash`, the warehouse's
own hash of the same payload; `cleared`, the fields without a value, as in files; `removal_0` and so on, the values that
the destination needs to remove a person. As in files, a person may have several entries. A table of an earlier release
has no `cleared`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.changes.warehouse_comparison import CLEARED, next_delivered
from airflow_consent_retl.databases.dialect import dialect_of
from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.delivered import (
    HASH_TYPE,
    MOMENT_TYPE,
    DeliveredState,
    DeliveredWriter,
    delivered_manifest,
)
from airflow_consent_retl.storage.manifest import WarehouseTable
from airflow_consent_retl.storage.shape import Shape, schema_from, schema_text
from airflow_consent_retl.values.columns import cast
from airflow_consent_retl.values.ids import buckets

if TYPE_CHECKING:
    from airflow_consent_retl.databases.staging import StagingTable, Warehouse
    from airflow_consent_retl.storage.folder import Folder

_TABLE_NAME = "table.json"
_ROWS = 65_536
# No order that a state in files may have.
_ANY_ORDER = "any"


class WarehouseState:
    """One version, opened by the digest of its manifest.

    Raises:
        RefusedError: the manifest is gone, changed, or its entries are not in a warehouse.
    """

    def __init__(self, folder: Folder, *, sha256: str) -> None:
        self.folder = folder
        self.sha256 = sha256
        self.manifest = delivered_manifest(folder, sha256=sha256)
        if self.manifest.table is None or self.manifest.id_type is None:
            raise RefusedError(
                f"the delivered state of `{self.manifest.destination}` is in files, and cannot be compared with "
                "tables: give extraction and filter the workspace that they had"
            )
        self.table = self.manifest.table.staging_table
        self.shape = Shape.from_manifest(self.manifest.shape)
        self.id_type: pa.DataType = schema_from(self.manifest.id_type).field(0).type

    @property
    def rows(self) -> int:
        """The number of entries."""
        return self.manifest.rows

    @property
    def has_confirmed(self) -> bool:
        """Whether the destination may have accepted one of the people for certain; found without a query."""
        return self.manifest.may_be_confirmed

    @property
    def columns(self) -> list[str]:
        """The columns of the table."""
        names = entry_columns(self.shape)
        return names if self.manifest.has_cleared else [name for name in names if name != CLEARED]


def entry_columns(shape: Shape) -> list[str]:
    """Return the columns of a table of entries."""
    return ["id", "hash", "unsettled_until", "row_hash", CLEARED, *_removal_columns(shape)]


def _removal_columns(shape: Shape) -> list[str]:
    return [f"removal_{number}" for number in range(len(shape.removal_schema))]


def as_files(state: WarehouseState, batches: Iterable[pa.RecordBatch], folder: Folder) -> DeliveredState:
    """Write some entries of a state in a warehouse as a small state in files, for the worker to compare.

    Args:
        state: the version of the entries.
        batches: rows of its table.
        folder: a new one.

    Raises:
        RefusedError: the table holds a row that is no entry.
    """
    shape = state.shape
    writer = DeliveredWriter(folder, state.id_type, shape)
    with ExitStack() as undo:
        undo.callback(writer.abort)
        for rows in batches:
            ids = cast(rows.column("id"), state.id_type, column="id")
            if ids.null_count:
                raise RefusedError(f"table {state.table.schema}.{state.table.name} holds an entry without an id")
            columns = [
                pa.array(buckets(ids)),
                ids,
                rows.column("hash").cast(pa.binary()).cast(HASH_TYPE),
                rows.column("unsettled_until").cast(MOMENT_TYPE, safe=False),
                # A table of an earlier release does not say which fields were cleared.
                cast(rows.column(CLEARED), pa.string(), column=CLEARED)
                if CLEARED in rows.schema.names
                else pa.nulls(rows.num_rows, pa.string()),
            ]
            if shape.removal_schema.names:
                kept = [
                    cast(rows.column(name), field.type, column=field.name)
                    for name, field in zip(_removal_columns(shape), shape.removal_schema, strict=True)
                ]
                columns.append(pa.StructArray.from_arrays(kept, fields=list(shape.removal_schema)))
            writer.write(pa.RecordBatch.from_arrays(columns, schema=writer.schema))
        manifest = state.manifest
        small = writer.publish(
            sync=manifest.sync,
            model=manifest.model,
            destination=manifest.destination,
            primary_key=manifest.primary_key,
            order_tag=_ANY_ORDER,
            decided_at=manifest.decided_at,
        )
        undo.pop_all()
        return small


class WarehouseVersions:
    """Writes versions of one sync's delivered state.

    Args:
        warehouse: entered.
    """

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def publish(
        self,
        before: WarehouseState | None,
        touched: DeliveredState | None,
        after: DeliveredState,
        entries: Iterable[tuple[pa.RecordBatch, pa.Array]],
        folder: Folder,
    ) -> WarehouseState:
        """Make the next version: untouched entries as before, the others in their new state.

        Args:
            before: the present version; None where all of it was touched, or there is none.
            touched: the entries of `before` that the worker compared.
            after: the new entries of the people in `touched`.
            entries: the entries of `after`, each batch with the warehouse's hashes of the rows.
            folder: a new one; if this raises, the caller calls `drop_table_of` and then removes the folder.

        Raises:
            RefusedError: the numbers of entries do not add up.
        """
        at = datetime.now(UTC)
        table = self._warehouse.table("delivered", at=at)
        # Named first, so that a worker that dies leaves no table without a known owner.
        with folder.create(_TABLE_NAME) as file:
            file.write(json.dumps({"namespace": table.schema, "name": table.name}).encode())
        id_type = after.id_type or (before.id_type if before else pa.null())
        shape = after.shape
        schema = _entries_schema(id_type, shape)
        batches = (_staged(rows, hashes, schema) for rows, hashes in entries)
        # A table without entries has columns of any type, which those of the new entries need not fit.
        if before is None or not before.rows:
            rows = self._warehouse.load(table, schema, batches, expires=False)
            expected = after.rows
        else:
            rows = self._replace(before, touched, schema, batches, table, at)
            expected = before.rows - (0 if touched is None else touched.rows) + after.rows
        if rows != expected:
            raise RefusedError(f"the next delivered state holds {rows:,} entries, {expected:,} were expected")
        is_untouched_left = before is not None and before.has_confirmed and rows > after.rows
        manifest = after.manifest.model_copy(
            update={
                "parts": (),
                "rows": rows,
                "may_be_confirmed": after.has_confirmed or is_untouched_left,
                "table": WarehouseTable(namespace=table.schema, name=table.name),
                "id_type": schema_text(pa.schema([("id", id_type)])),
            }
        )
        return WarehouseState(folder, sha256=folder.publish(manifest.to_json()))

    def _replace(
        self,
        before: WarehouseState,
        touched: DeliveredState | None,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        table: StagingTable,
        at: datetime,
    ) -> int:
        entries, people = self._warehouse.table("touched", at=at), self._warehouse.table("touched", at=at)
        ids = pa.schema([("id", schema.field("id").type)])
        try:
            self._warehouse.load(entries, schema, batches)
            self._warehouse.load(people, ids, () if touched is None else _ids(touched, ids))
            dialect = dialect_of(self._warehouse.dialect, schema.field("id").type)
            query = dialect.compile(
                next_delivered(dialect, schema.names, before=before.columns),
                {
                    "delivered": self._warehouse.name_of(before.table),
                    "touched": self._warehouse.name_of(people),
                    "entries": self._warehouse.name_of(entries),
                },
            )
            return self._warehouse.create_as(table, query, expires=False)
        finally:
            for made in (entries, people):
                self._warehouse.drop(made)

    def drop_table_of(self, folder: Folder) -> None:
        """Drop the table of a version whose folder is about to be removed."""
        table = table_of(folder)
        if table is not None:
            self._warehouse.drop(table)


def table_of(folder: Folder) -> StagingTable | None:
    """Return the table of a version, also of one that was never finished; None where it is in files."""
    if not folder.exists(_TABLE_NAME):
        return None
    return WarehouseTable.from_json(folder.read(_TABLE_NAME)).staging_table


def entry_batches(state: DeliveredState) -> Iterator[pa.RecordBatch]:
    """Yield the entries of a state in files, always in the same batches."""
    return state.entries(_ROWS)


def _ids(state: DeliveredState, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for ids in state.ids(_ROWS):
        yield pa.RecordBatch.from_arrays([cast(ids, schema.field(0).type, column="id")], schema=schema)


def _entries_schema(id_type: pa.DataType, shape: Shape) -> pa.Schema:
    # No value has shown its type yet: text accepts NULL, and no other value comes.
    def known(type_: pa.DataType) -> pa.DataType:
        return pa.string() if pa.types.is_null(type_) else type_

    removal = [
        (name, known(field.type)) for name, field in zip(_removal_columns(shape), shape.removal_schema, strict=True)
    ]
    return pa.schema(
        [
            ("id", known(id_type)),
            ("hash", pa.binary()),
            ("unsettled_until", MOMENT_TYPE),
            ("row_hash", pa.string()),
            (CLEARED, pa.string()),
            *removal,
        ]
    )


def _staged(rows: pa.RecordBatch, row_hashes: pa.Array, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        cast(rows.column("id"), schema.field("id").type, column="id"),
        rows.column("hash").cast(pa.binary()),
        rows.column("unsettled_until"),
        row_hashes,
        rows.column(CLEARED),
    ]
    if "removal" in rows.schema.names:
        removal = rows.column("removal")
        columns += [column.cast(field.type) for column, field in zip(removal.flatten(), list(schema)[5:], strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
