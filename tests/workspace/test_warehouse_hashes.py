"""The warehouse's hashes find the entries they belong to, in as many partitions as there are entries for."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from support.changing import BY_ID, Sync, accepted
from support.permitting import SOURCE

from airflow_consent_retl.changes.warehouse_comparison import ROW_HASH
from airflow_consent_retl.changes.warehouse_hashes import row_hashes
from airflow_consent_retl.extraction.files import SnapshotWriter
from airflow_consent_retl.storage.folder import Folder


def candidates(folder: Folder, ids: list[int], names: list[str]) -> None:
    rows = pa.table({"id": ids, "name": names, ROW_HASH: [f"hash of {id_}" for id_ in ids]})
    with SnapshotWriter(folder, rows.schema, primary_key="id", check_primary_key=False) as writer:
        for batch in rows.to_batches(max_chunksize=50_000):
            writer.write(batch)
        writer.publish(model="customers", source=SOURCE, read_at=datetime.now(UTC))


@pytest.mark.parametrize("people", [7, 300_000], ids=["one partition", "several partitions"])
def test_an_entry_gets_the_hash_of_the_row_with_its_id_and_its_payload(tmp_path: Path, people: int) -> None:
    sync = Sync(tmp_path, {"key": "id", "name": "name"}, BY_ID)
    ids = [id_ * 7919 % people for id_ in range(people)]
    names = [f"name {id_}" for id_ in ids]
    changes = sync.changes(pa.table({"id": ids, "name": names, "ads_ok": [True] * people}))
    after = sync.folded(changes, [accepted(people)], []).state
    assert after is not None
    # One person changed since, one is no candidate, and one candidate is not delivered.
    shown = [id_ for id_ in ids if id_ != 2]
    now = ["another name" if id_ == 3 else f"name {id_}" for id_ in shown]
    candidates(changes.folder / "rows", [*shown, people], [*now, "new"])

    with ExitStack() as resources:
        found = [
            (id_, hash_)
            for entries, hashes in row_hashes(after, changes, changes.folder / "rows", resources)
            for id_, hash_ in zip(entries["id"].to_pylist(), hashes.to_pylist(), strict=True)
        ]

    assert len(found) == people
    assert dict(found) == {id_: None if id_ in (2, 3) else f"hash of {id_}" for id_ in ids}
