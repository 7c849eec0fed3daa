"""The writer of a set of changes: the people to send and to remove, and the fields to clear."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.consent.removal import RemovalCause
from airflow_consent_retl.storage.change_set import Changes
from airflow_consent_retl.storage.delivered import HASH_TYPE
from airflow_consent_retl.storage.parts import PartsWriter
from airflow_consent_retl.storage.sync_manifests import ChangesCounts, ChangesManifest, ClearGroup, RemovalGroup
from airflow_consent_retl.values.key_order import InKeyOrder

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder
    from airflow_consent_retl.storage.shape import Shape
    from airflow_consent_retl.storage.sync_mode import SyncMode

_ROW_GROUP_ROWS = 65_536
# A person's own no first, in whichever way, since a load that ends early may leave the others.
_REMOVAL_ORDER = tuple(sorted(RemovalCause, key=lambda cause: cause.rank, reverse=True))


class ChangesWriter:
    """Writes a set of changes.

    Args:
        folder: a new one.
        id_type: the type in which ids were compared.
        shape: of the rows.
        rows_are_permitted: whether the rows to send are left where they are: see `ChangesManifest`.
        cuts: the people to send are written in the order of their ids, which these ids divide into ranges (see
            `key_order.cuts_of`); None: as they come. Not with `rows_are_permitted`.
    """

    def __init__(
        self,
        folder: Folder,
        id_type: pa.DataType,
        shape: Shape,
        *,
        rows_are_permitted: bool = False,
        cuts: pa.Array | None = None,
    ) -> None:
        self._folder = folder
        self._shape = shape
        self._rows_are_permitted = rows_are_permitted
        row = [] if rows_are_permitted else [pa.field("row", shape.row_type, nullable=False)]
        removal = [pa.field("removal", shape.removal_type)] if shape.removal_schema.names else []
        identity = [pa.field("bucket", pa.uint16(), nullable=False), pa.field("id", id_type)]
        self.upsert_schema = pa.schema(
            [
                *identity,
                pa.field("hash", HASH_TYPE, nullable=False),
                pa.field("was_delivered", pa.bool_(), nullable=False),
                pa.field("unchanged", pa.bool_(), nullable=False),
                pa.field("cleared", pa.string()),
                *removal,
                *row,
            ]
        )
        self.removal_schema = pa.schema(
            [
                *identity,
                pa.field("entry", pa.int64(), nullable=False),
                pa.field("cause", pa.int8(), nullable=False),
                *removal,
            ]
        )
        self._upserts = PartsWriter(folder, "upserts", self.upsert_schema, row_group_rows=_ROW_GROUP_ROWS)
        self._in_order = None if cuts is None else InKeyOrder(self.upsert_schema, "id", cuts)
        self._removals: dict[RemovalCause, PartsWriter] = {}
        self._clears: dict[tuple[str, ...], PartsWriter] = {}

    def upsert(
        self,
        *,
        ids: pa.Array,
        buckets: pa.Array,
        hashes: pa.Array,
        was_delivered: pa.Array,
        unchanged: pa.Array,
        cleared: pa.Array,
        removal: pa.Array | None,
        rows: pa.RecordBatch | None,
    ) -> None:
        """Append people to send. Pass no `removal` where the shape's removal schema has no fields.

        `cleared` has for each row the fields whose NULL the destination gets, as `fields_text`. `rows` is None where
        the rows are left in the permitted set; then all its rows are appended, in its order.
        """
        values = [removal] if self._shape.removal_schema.names else []
        columns = [buckets, ids, hashes, was_delivered, unchanged, cleared, *values]
        if rows is not None:
            columns.append(pa.StructArray.from_arrays(rows.columns, fields=list(self._shape.load_schema)))
        upserts = pa.RecordBatch.from_arrays(columns, schema=self.upsert_schema)
        if self._in_order is None:
            self._upserts.write(upserts)
        else:
            self._in_order.put(upserts)

    def remove(
        self, cause: RemovalCause, *, ids: pa.Array, buckets: pa.Array, entries: pa.Array, removal: pa.Array | None
    ) -> None:
        """Append entries to remove."""
        if not len(ids):
            return
        if cause not in self._removals:
            prefix = f"removals-{cause}"
            self._removals[cause] = PartsWriter(
                self._folder, prefix, self.removal_schema, row_group_rows=_ROW_GROUP_ROWS
            )
        self._removals[cause].write(self._entries(cause, ids, buckets, entries, removal))

    def clear(
        self, fields: tuple[str, ...], *, ids: pa.Array, buckets: pa.Array, entries: pa.Array, removal: pa.Array | None
    ) -> None:
        """Append entries of which some fields are cleared."""
        if fields not in self._clears:
            self._clears[fields] = PartsWriter(
                self._folder, f"clears-{len(self._clears)}", self.removal_schema, row_group_rows=_ROW_GROUP_ROWS
            )
        self._clears[fields].write(self._entries(RemovalCause.FIELD_WITHDRAWN, ids, buckets, entries, removal))

    def _entries(
        self, cause: RemovalCause, ids: pa.Array, buckets: pa.Array, entries: pa.Array, removal: pa.Array | None
    ) -> pa.RecordBatch:
        number = pa.array(np.full(len(ids), cause.code, dtype=np.int8))
        values = [removal] if self._shape.removal_schema.names else []
        return pa.RecordBatch.from_arrays([buckets, ids, entries, number, *values], schema=self.removal_schema)

    def removed(self) -> dict[str, int]:
        """Return how many entries each cause removes."""
        return {str(cause): self._removals[cause].rows for cause in _REMOVAL_ORDER if cause in self._removals}

    def cleared(self) -> int:
        """Return of how many entries some fields are cleared."""
        return sum(writer.rows for writer in self._clears.values())

    def publish(
        self,
        *,
        sync: str,
        model: str,
        destination: str,
        primary_key: str,
        mode: SyncMode,
        order_tag: str,
        decided_at: datetime,
        permitted_sha256: str | None,
        delivered_sha256: str | None,
        counts: ChangesCounts,
        cleared: Iterable[str] = (),
        policy_digest: str = "",
    ) -> Changes:
        """Write the manifest, which makes the changes visible, and open them."""
        if self._in_order is not None:
            for rows in self._in_order.batches():
                self._upserts.write(rows)
        upserts = self._upserts.close()
        removals = tuple(
            RemovalGroup(cause=str(cause), parts=self._removals[cause].close(), rows=self._removals[cause].rows)
            for cause in _REMOVAL_ORDER
            if cause in self._removals
        )
        manifest = ChangesManifest(
            sync=sync,
            model=model,
            destination=destination,
            primary_key=primary_key,
            mode=mode.value,
            shape=self._shape.to_manifest(),
            order_tag=order_tag,
            decided_at=decided_at,
            policy_digest=policy_digest,
            permitted_sha256=permitted_sha256,
            delivered_sha256=delivered_sha256,
            counts=counts,
            upserts=upserts,
            upsert_rows=self._upserts.rows,
            rows_are_permitted=self._rows_are_permitted,
            removals=removals,
            removal_rows=sum(group.rows for group in removals),
            clears=tuple(
                ClearGroup(fields=fields, parts=self._clears[fields].close(), rows=self._clears[fields].rows)
                for fields in sorted(self._clears)
            ),
            clear_rows=self.cleared(),
            cleared=tuple(sorted(cleared)),
        )
        return Changes(self._folder, sha256=self._folder.publish(manifest.to_json()))

    def abort(self) -> None:
        """Stop writing, and release all files. The caller removes the folder, if nothing was published."""
        if self._in_order is not None:
            self._in_order.close()
        for writer in [self._upserts, *self._removals.values(), *self._clears.values()]:
            writer.abort()
