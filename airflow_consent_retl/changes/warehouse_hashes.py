"""The warehouse's own hashes of delivered rows, by which the next comparison recognises them.

An entry gets the hash of a row only where the payload that was certainly accepted is that row's. The worker compares
all the others again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.changes.warehouse_comparison import ROW_HASH
from airflow_consent_retl.changes.warehouse_delivered import entry_batches
from airflow_consent_retl.filtering.field_mapping import MARK, FieldMapping
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, SnapshotManifest
from airflow_consent_retl.storage.signing import SignedDocument
from airflow_consent_retl.values.bounded_engine import bounded_engine
from airflow_consent_retl.values.columns import cast
from airflow_consent_retl.values.payload_hash import Digests, PayloadHash

if TYPE_CHECKING:
    import duckdb

    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.delivered import DeliveredState
    from airflow_consent_retl.storage.folder import Folder

_READ_ROWS = 65_536
_MEMORY_LIMIT = "256MiB"
_FIND = """
SELECT ordinal, row_hash FROM asked JOIN delivered_rows USING (id, hash)
"""


def row_hashes(
    after: DeliveredState, changes: Changes, rows: Folder, resources: ExitStack
) -> Iterator[tuple[pa.RecordBatch, pa.Array]]:
    """Yield the entries of a state, each batch with its hashes, NULL where there is none.

    Args:
        after: the state, in files.
        changes: the changes that led to it.
        rows: the folder with the candidates; changes without candidates have none.
        resources: closes what was opened.
    """
    if not rows.exists(MANIFEST_NAME) or after.id_type is None:
        return ((entries, pa.nulls(entries.num_rows, pa.string())) for entries in entry_batches(after))
    connection = resources.enter_context(bounded_engine(_MEMORY_LIMIT))
    manifest = SnapshotManifest.from_json(SignedDocument.read(rows.read(MANIFEST_NAME)).body)
    schema = pa.schema([("id", after.id_type), ("hash", pa.binary()), ("row_hash", pa.string())])
    fields = changes.shape.fields

    def known() -> Iterator[pa.RecordBatch]:
        with Digests() as digests:
            payload_hash = PayloadHash(list(fields), digests, tag=changes.shape.hash_tag)
            for batch in rows.read_rows(manifest.parts, batch_rows=_READ_ROWS):
                mapped = FieldMapping(fields, _marks(batch.schema, fields)).of(batch, changes.shape.load_schema)
                ids = cast(batch.column(manifest.primary_key), schema.field("id").type, column=manifest.primary_key)
                hashes = payload_hash.of(mapped).cast(pa.binary())
                yield pa.RecordBatch.from_arrays([ids, hashes, batch.column(ROW_HASH)], schema=schema)

    connection.register("read", pa.RecordBatchReader.from_batches(schema, known()))
    connection.execute("CREATE TEMP TABLE delivered_rows AS SELECT * FROM read")
    connection.unregister("read")
    return ((entries, _found(connection, entries)) for entries in entry_batches(after))


def _marks(candidates: pa.Schema, fields: Mapping[str, str]) -> dict[str, str]:
    """Return, by computed value, the column of the candidates that marks the rows without it."""
    named = {source: f"{MARK}{place}" for place, source in enumerate(fields.values())}
    return {source: mark for source, mark in named.items() if mark in candidates.names}


def _found(connection: duckdb.DuckDBPyConnection, entries: pa.RecordBatch) -> pa.Array:
    asked = pa.table(
        {
            "ordinal": np.arange(entries.num_rows, dtype=np.int64),
            "id": entries.column("id"),
            "hash": entries.column("hash").cast(pa.binary()),
        }
    )
    connection.register("asked", asked)
    found = connection.sql(_FIND).to_arrow_table()
    connection.unregister("asked")
    places = np.full(entries.num_rows, -1, dtype=np.int64)
    for at, ordinals in enumerate(found["ordinal"].to_pylist()):
        places[ordinals] = at
    hashes = found["row_hash"].combine_chunks()
    return hashes.take(pa.array(places, mask=places < 0))
