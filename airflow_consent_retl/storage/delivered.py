"""The delivered state: who is, or may be, at the destination of a sync, in immutable versions.

One entry stands for one set of values by which a person can be removed; a person may have several. The ledger records
which version is current.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.parts import PartsWriter, full_batches
from airflow_consent_retl.storage.shape import Shape
from airflow_consent_retl.storage.sync_manifests import DeliveredManifest

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

HASH_BYTES = 16
HASH_TYPE = pa.binary(HASH_BYTES)
MOMENT_TYPE = pa.timestamp("us", tz="UTC")
ROW_GROUP_ROWS = 131_072
# Stands for a payload that no row has: the person is certainly there, without the fields that were cleared.
CLEARED_HASH = bytes(HASH_BYTES)


def entry_schema(id_type: pa.DataType, removal_type: pa.DataType) -> pa.Schema:
    """Return the schema of the entries.

    `bucket`: entries are in ascending order of it. `hash`: of the payload that was last certainly accepted, NULL where
    the last request got no clear answer, `CLEARED_HASH` where only fields were cleared since. `unsettled_until`: until
    this time an earlier, unanswered request with this person may still take effect. `cleared`: the fields in which the
    destination certainly has no value, as text: see `fields_text`; NULL where no field is known. `removal`: the values
    that the destination needs to remove the person.
    """
    fields = [
        pa.field("bucket", pa.uint16(), nullable=False),
        pa.field("id", id_type),
        pa.field("hash", HASH_TYPE),
        pa.field("unsettled_until", MOMENT_TYPE),
        pa.field("cleared", pa.string()),
    ]
    # Parquet has no struct without fields.
    return pa.schema([*fields, pa.field("removal", removal_type)] if removal_type.num_fields else fields)


def fields_text(fields: Iterable[str]) -> str | None:
    """Return names of fields as the text that an entry stores; None for no field."""
    names = sorted(fields)
    return json.dumps(names) if names else None


def fields_of(text: str | None) -> frozenset[str]:
    """Read back what `fields_text` wrote."""
    return frozenset() if text is None else frozenset(json.loads(text))


def delivered_manifest(folder: Folder, *, sha256: str) -> DeliveredManifest:
    """Return the manifest of one version.

    Raises:
        RefusedError: it is gone, changed, or of another kind.
    """
    return DeliveredManifest.from_json(folder.read_manifest(sha256=sha256))


class DeliveredState:
    """One version, opened for reading by the digest of its manifest.

    Raises:
        RefusedError: the manifest is gone, changed, or of another kind.
    """

    def __init__(self, folder: Folder, *, sha256: str) -> None:
        self.folder = folder
        self.sha256 = sha256
        self.manifest = delivered_manifest(folder, sha256=sha256)
        # INVARIANT: a delivered state in a warehouse is never read as an empty one.
        table = self.manifest.warehouse_table
        if table is not None:
            raise RefusedError(
                f"the delivered state of `{self.manifest.destination}` is in the warehouse, in table "
                f"{table.namespace}.{table.name}, and cannot be compared with files: give "
                "extraction and filter the workspace that they had"
            )
        self.shape = Shape.from_manifest(self.manifest.shape)

    @property
    def rows(self) -> int:
        """The number of entries."""
        return self.manifest.rows

    @property
    def id_type(self) -> pa.DataType | None:
        """The ids' type, None where no one is delivered."""
        return self.folder.schema(self.manifest.parts).field("id").type if self.manifest.parts else None

    @property
    def has_confirmed(self) -> bool:
        """Whether the destination certainly accepted one of the people; False if no answer was ever clear."""
        hashes = self.folder.read_rows(self.manifest.parts, columns=["hash"], batch_rows=ROW_GROUP_ROWS)
        return any(rows.column(0).null_count < rows.num_rows for rows in hashes)

    def entries(self, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Yield all columns of the entries, in any batches. Call `verify` before or after."""
        for rows in self.folder.read_rows(self.manifest.parts, batch_rows=batch_rows):
            if self.manifest.has_cleared:
                yield rows
            else:
                place = rows.schema.get_field_index("unsettled_until") + 1
                yield rows.add_column(place, pa.field("cleared", pa.string()), pa.nulls(rows.num_rows, pa.string()))

    def cleared(self) -> Iterator[pa.Array]:
        """Yield the `cleared` of every entry, in the order of the entries' numbers, in any batches."""
        if not self.manifest.has_cleared:
            return iter([pa.nulls(self.rows, pa.string())])
        read = self.folder.read_rows(self.manifest.parts, columns=["cleared"], batch_rows=ROW_GROUP_ROWS)
        return (rows.column(0) for rows in read)

    def verify(self) -> None:
        """Compare every part's bytes with the manifest.

        Raises:
            RefusedError: a file is gone or changed.
        """
        for part in self.manifest.parts:
            self.folder.verify(part)

    def ids(self, batch_rows: int = ROW_GROUP_ROWS) -> Iterator[pa.Array]:
        """Verify the parts, then yield the id of every entry, in the order of the entries' numbers, which begin at 0.

        A person with several entries occurs several times.

        Raises:
            RefusedError: a part is gone or changed.
        """
        self.verify()
        ids = self.folder.read_rows(self.manifest.parts, columns=["id"], batch_rows=batch_rows)
        return (rows.column(0) for rows in full_batches(ids, batch_rows))


class DeliveredWriter:
    """Writes the next version: entries in ascending order of their bucket."""

    def __init__(self, folder: Folder, id_type: pa.DataType, shape: Shape) -> None:
        self.schema = entry_schema(id_type, shape.removal_type)
        self._folder = folder
        self._shape = shape
        self._unconfirmed = 0
        self._parts = PartsWriter(folder, "delivered", self.schema, row_group_rows=ROW_GROUP_ROWS)

    def write(self, entries: pa.RecordBatch) -> None:
        """Append entries."""
        self._unconfirmed += entries["hash"].null_count
        self._parts.write(entries)

    def publish(
        self, *, sync: str, model: str, destination: str, primary_key: str, order_tag: str, decided_at: datetime
    ) -> DeliveredState:
        """Write the manifest, which makes the version visible, and open it."""
        parts = self._parts.close()
        manifest = DeliveredManifest(
            sync=sync,
            model=model,
            destination=destination,
            primary_key=primary_key,
            shape=self._shape.to_manifest(),
            order_tag=order_tag,
            decided_at=decided_at,
            parts=parts,
            rows=self._parts.rows,
            has_cleared=True,
            unconfirmed_rows=self._unconfirmed,
        )
        return DeliveredState(self._folder, sha256=self._folder.publish(manifest.to_json()))

    def abort(self) -> None:
        """Stop writing. The caller removes the folder."""
        self._parts.abort()
