"""The warehouse's own hashes of delivered rows, by which the next comparison recognises them.

An entry gets the hash of a row only where the payload that was certainly accepted is that row's. The worker compares
all the others again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from airflow_consent_retl.changes.matching import Partitions, StatePartitions, match
from airflow_consent_retl.changes.warehouse_comparison import ROW_HASH
from airflow_consent_retl.changes.warehouse_delivered import entry_batches
from airflow_consent_retl.filtering.field_mapping import MARK, FieldMapping
from airflow_consent_retl.storage.delivered import HASH_TYPE
from airflow_consent_retl.storage.manifest import MANIFEST_NAME, SnapshotManifest
from airflow_consent_retl.storage.signing import SignedDocument
from airflow_consent_retl.values.buffers import words_of
from airflow_consent_retl.values.ids import as_type, buckets
from airflow_consent_retl.values.payload_hash import Digests, PayloadHash
from airflow_consent_retl.values.spill import Spill

if TYPE_CHECKING:
    from airflow_consent_retl.storage.change_set import Changes
    from airflow_consent_retl.storage.delivered import DeliveredState
    from airflow_consent_retl.storage.folder import Folder

_READ_ROWS = 65_536


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
    manifest = SnapshotManifest.from_json(SignedDocument.read(rows.read(MANIFEST_NAME)).body)
    schema = pa.schema([("id", after.id_type), ("hash", HASH_TYPE), ("row_hash", pa.string())])
    fields = changes.shape.fields
    partitions = Partitions.for_rows(after.rows)
    known = resources.enter_context(Spill(schema, partitions.count))
    with Digests() as digests:
        payload_hash = PayloadHash(list(fields), digests, tag=changes.shape.hash_tag)
        for batch in rows.read_rows(manifest.parts, batch_rows=_READ_ROWS):
            mapped = FieldMapping(fields, _marks(batch.schema, fields)).of(batch, changes.shape.load_schema)
            ids = as_type(batch.column(manifest.primary_key), after.id_type, primary_key=manifest.primary_key)
            columns = [ids, payload_hash.of(mapped), batch.column(ROW_HASH)]
            known.put(pa.RecordBatch.from_arrays(columns, schema=schema), partitions.of(buckets(ids)))
    reading = resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="read"))
    state = resources.enter_context(StatePartitions(after, after.id_type, partitions, reading))
    return ((entries, _found(known.take(number), entries)) for number, entries in enumerate(state) if entries.num_rows)


def _marks(candidates: pa.Schema, fields: Mapping[str, str]) -> dict[str, str]:
    """Return, by computed value, the column of the candidates that marks the rows without it."""
    named = {source: f"{MARK}{place}" for place, source in enumerate(fields.values())}
    return {source: mark for source, mark in named.items() if mark in candidates.names}


def _found(known: pa.RecordBatch, entries: pa.RecordBatch) -> pa.Array:
    """Return for each entry the hash of the row with the same id and the same payload; NULL if there is none."""
    if not known.num_rows:
        return pa.nulls(entries.num_rows, pa.string())
    matched = match(known["id"], entries["id"]).owners
    owners = np.maximum(matched, 0)
    hashes = entries["hash"]
    is_same = (words_of(hashes) == words_of(known["hash"])[owners]).all(axis=1) & np.asarray(hashes.is_valid())
    return known["row_hash"].take(pa.array(owners, mask=(matched < 0) | ~is_same))
