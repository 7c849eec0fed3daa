"""The writer of snapshots: the immutable rows of one extraction, written once, in Parquet parts of one schema.

It accepts batches whose types may widen, checks the primary key, and publishes the manifest last. It knows no source
and no Airflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pyarrow as pa

from airflow_consent_retl.consent import CLUSTER
from airflow_consent_retl.extraction.repeated_ids import check_present, check_unique
from airflow_consent_retl.storage.manifest import (
    MANIFEST_NAME,
    Column,
    LinkedPeople,
    ManifestRef,
    ModelSource,
    Part,
    SnapshotManifest,
    SourceSize,
    sql_sha256,
)
from airflow_consent_retl.storage.part_writer import PartWriter, repeating_columns
from airflow_consent_retl.values.columns import cast_batch, check_key_type, common_schema
from airflow_consent_retl.values.keys import KeyFingerprints, repeated_ids

if TYPE_CHECKING:
    from airflow_consent_retl.storage.folder import Folder

ROW_GROUP_ROWS = 131_072
DEFAULT_PART_BYTES = 256 << 20
_SAMPLE_ROWS = 32_768


class SnapshotWriter:
    """The writer of one snapshot. A context manager that closes its files at the end, also without a publication.

    Args:
        folder: a new folder, for this snapshot only.
        schema: the schema before the first row; a column of type null gets the type of its values.
        primary_key: the name of the column with the ids.
        check_primary_key: whether NULL ids and ids that occur twice are errors.
        part_bytes: the size in bytes at which a part is closed, after a whole row group.
    """

    def __init__(
        self,
        folder: Folder,
        schema: pa.Schema,
        *,
        primary_key: str,
        check_primary_key: bool = True,
        part_bytes: int = DEFAULT_PART_BYTES,
    ) -> None:
        self._folder = folder
        self._schema = schema
        self._primary_key = primary_key
        self._part_bytes = part_bytes
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._part: PartWriter | None = None
        self._part_schemas: list[tuple[Part, pa.Schema]] = []
        self._dictionary_columns: list[str] | None = None
        self._names = 0
        self._check_primary_key = check_primary_key
        # None after the ids' type widened: equal ids of two types differ in their bytes, so the parts are read again.
        self._keys: KeyFingerprints | None = KeyFingerprints()
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows with the columns of the schema. A column's type may differ from earlier ones.

        Raises:
            ModelError: the types of a column have no common type, or the ids are floats or nested.
        """
        if batch.schema != self._schema:
            schema = common_schema(self._schema, batch.schema, primary_key=self._primary_key)
            if schema != self._schema:
                self._widen(schema)
            batch = cast_batch(batch, schema)
        if self._pending_rows + batch.num_rows > ROW_GROUP_ROWS:
            self._flush()
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self.rows += batch.num_rows

    def publish(
        self,
        *,
        model: str,
        source: ModelSource,
        read_at: datetime,
        as_of: datetime | None = None,
        linked: LinkedPeople | None = None,
        source_sizes: tuple[SourceSize, ...] = (),
        fingerprint: str = "",
    ) -> tuple[SnapshotManifest, ManifestRef]:
        """Check the primary key, write the manifest, and return the manifest and its reference.

        Args:
            source: the source of the rows, so that their consent can be read again.
            read_at: a time before the query started.
            as_of: the time that the rows stand for, as the model declares it.
            linked: the people who are linked to the model's.
            source_sizes: of the consent sources with a limit.
            fingerprint: of all rows, as the database computed it.

        Raises:
            ModelError: ids are NULL or occur more than once.
        """
        self._flush()
        self._close_part()
        parts = tuple(part if schema == self._schema else self._rewritten(part) for part, schema in self._part_schemas)
        check_key_type(self._schema.field(self._primary_key).type, primary_key=self._primary_key)
        if self._check_primary_key:
            self._check_ids(parts)
        manifest = SnapshotManifest(
            model=model,
            primary_key=self._primary_key,
            primary_key_checked=self._check_primary_key,
            source=source,
            sql_sha256=sql_sha256(source),
            read_at=read_at,
            as_of=as_of,
            columns=tuple(
                Column(name=field.name, type=str(field.type))
                for field in self._schema
                # Only the filter needs it: no destination gets it.
                if linked is None or field.name != CLUSTER
            ),
            linked=linked,
            parts=parts,
            rows=self.rows,
            size_bytes=sum(part.size_bytes for part in parts),
            source_sizes=source_sizes,
            fingerprint=fingerprint,
        )
        return published(self._folder, manifest)

    def _widen(self, schema: pa.Schema) -> None:
        """Continue with a wider schema. Earlier parts are rewritten once, at the end."""
        self._flush()
        self._close_part()
        key_type = schema.field(self._primary_key).type
        check_key_type(key_type, primary_key=self._primary_key)
        if key_type != self._schema.field(self._primary_key).type and self.rows and self._keys:
            self._keys.close()
            self._keys = None
        self._schema = schema
        self._dictionary_columns = None

    def _flush(self) -> None:
        if not self._pending:
            return
        rows = pa.Table.from_batches(self._pending, self._schema)
        self._pending, self._pending_rows = [], 0
        if self._part is None:
            if self._dictionary_columns is None:
                sample = max(rows.to_batches(), key=len).slice(0, _SAMPLE_ROWS)
                typed = [field.name for field in sample.schema if not pa.types.is_null(field.type)]
                self._dictionary_columns = repeating_columns(sample.select(typed))
            self._part = self._open_part(self._schema)
        self._part.write(rows)
        if self._check_primary_key and self._keys:
            self._keys.add(rows[self._primary_key].combine_chunks())
        if self._part.size_bytes >= self._part_bytes:
            self._close_part()

    def _close_part(self) -> None:
        if self._part is not None:
            part, self._part = self._part, None
            self._part_schemas.append((part.close(), self._schema))

    def _open_part(self, schema: pa.Schema) -> PartWriter:
        name = f"part-{self._names:05d}.parquet"
        self._names += 1
        return PartWriter(
            self._folder,
            name,
            schema,
            row_group_rows=ROW_GROUP_ROWS,
            dictionary_columns=self._dictionary_columns or [],
        )

    def _rewritten(self, part: Part) -> Part:
        self._part = self._open_part(self._schema)
        for batch in self._read(part):
            self._part.write(pa.Table.from_batches([cast_batch(batch, self._schema)]))
        wider, self._part = self._part.close(), None
        self._folder.fs.rm(self._folder.file_path(part.name))
        return wider

    def _read(self, part: Part, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        with self._folder.open_parquet(part) as file:
            yield from file.iter_batches(batch_size=ROW_GROUP_ROWS, columns=columns)

    def _check_ids(self, parts: Sequence[Part]) -> None:
        def read_ids() -> Iterator[pa.RecordBatch]:
            for part in parts:
                yield from self._read(part, [self._primary_key])

        with self._keys or KeyFingerprints() as keys:
            if self._keys is None:
                for batch in read_ids():
                    keys.add(batch.column(0))
            check_present(keys.null_count, primary_key=self._primary_key, rows=self.rows)
            repeated = keys.repeated()
            count = len(repeated)
            if count and not keys.is_exact:
                count = len(repeated_ids(read_ids, repeated))
        check_unique(count, primary_key=self._primary_key, rows=self.rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._part is not None:
            self._part.abort()
        if self._keys:
            self._keys.close()


def published(folder: Folder, manifest: SnapshotManifest) -> tuple[SnapshotManifest, ManifestRef]:
    """Write the manifest of a snapshot whose rows are complete, and return it and its reference."""
    digest = folder.publish(manifest.to_json())
    return manifest, ManifestRef(
        kind="snapshot",
        manifest=f"{folder.uri}/{MANIFEST_NAME}",
        sha256=digest,
        model=manifest.model,
        rows=manifest.rows,
        at=manifest.read_at,
    )
