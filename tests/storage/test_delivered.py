"""The delivered state: versions that are whole or nothing, entries in order, read in a bounded number of rows."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.delivered import DeliveredState, DeliveredWriter
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.shape import Shape
from airflow_consent_retl.storage.sync_manifests import ChangesManifest, DeliveredManifest

AT = datetime(2026, 11, 23, 18, tzinfo=UTC)
LOAD = pa.schema([pa.field("mail", pa.string(), nullable=False), ("spent", pa.decimal128(10, 2))])


def shape(removal: pa.Schema) -> Shape:
    return Shape({"mail": "email", "spent": "spent"}, LOAD, removal, "p1")


def published(folder: Folder, *batches: pa.RecordBatch, removal: pa.Schema | None = None) -> DeliveredState:
    wanted = pa.schema([LOAD.field("mail")]) if removal is None else removal
    writer = DeliveredWriter(folder, pa.string(), shape(wanted))
    for batch in batches:
        writer.write(batch)
    return writer.publish(
        sync="people/crm", model="people", destination="crm", primary_key="id", order_tag="b1", decided_at=AT
    )


def entries(*ids: str) -> pa.RecordBatch:
    columns: dict[str, Any] = {
        "bucket": pa.array([7] * len(ids), pa.uint16()),
        "id": list(ids),
        "hash": pa.array([b"0123456789abcdef"] * len(ids), pa.binary(16)),
        "unsettled_until": pa.array([AT] * len(ids), pa.timestamp("us", "UTC")),
        "cleared": pa.array(['["spent"]'] * len(ids), pa.string()),
        "removal": pa.array([{"mail": f"{id_}@x"} for id_ in ids], pa.struct([LOAD.field("mail")])),
    }
    return pa.RecordBatch.from_arrays(
        [pa.array(column) for column in columns.values()],
        schema=DeliveredWriter(Folder.local("nowhere"), pa.string(), shape(pa.schema([LOAD.field("mail")]))).schema,
    )


def test_what_is_published_is_read_again(tmp_path: Path) -> None:
    state = published(Folder.local(tmp_path / "v1"), entries("a", "b"), entries("c"))

    again = DeliveredState(Folder.local(tmp_path / "v1"), sha256=state.sha256)

    assert again.rows == 3
    assert again.id_type == pa.string()
    assert [ids.to_pylist() for ids in again.ids(2)] == [["a", "b"], ["c"]]
    assert again.manifest.decided_at == AT
    (rows,) = again.folder.read_rows(again.manifest.parts, batch_rows=9)
    assert rows.to_pylist()[2] == {
        "bucket": 7,
        "id": "c",
        "hash": b"0123456789abcdef",
        "unsettled_until": AT,
        "cleared": '["spent"]',
        "removal": {"mail": "c@x"},
    }


def test_schemas_and_mapping_come_back_as_they_were(tmp_path: Path) -> None:
    state = published(Folder.local(tmp_path / "v1"))

    assert state.shape.load_schema.equals(LOAD, check_metadata=True)
    assert state.shape.removal_schema.equals(pa.schema([LOAD.field("mail")]))
    assert dict(state.shape.fields) == {"mail": "email", "spent": "spent"}
    assert state.shape.hash_tag == "p1"


def test_a_state_of_nobody_has_no_files_and_no_type(tmp_path: Path) -> None:
    state = published(Folder.local(tmp_path / "v1"))

    assert state.rows == 0
    assert state.id_type is None
    assert list(state.ids()) == []
    assert [path.name for path in (tmp_path / "v1").iterdir()] == ["manifest.json"]


def test_where_a_destination_cannot_remove_nothing_is_kept_for_it(tmp_path: Path) -> None:
    rows = entries("a").select(["bucket", "id", "hash", "unsettled_until", "cleared"])

    state = published(Folder.local(tmp_path / "v1"), rows, removal=pa.schema([]))

    assert state.folder.schema(state.manifest.parts).names == ["bucket", "id", "hash", "unsettled_until", "cleared"]


def test_nobody_else_can_read_a_version(tmp_path: Path) -> None:
    published(Folder.local(tmp_path / "v1"), entries("a"))

    assert stat.S_IMODE((tmp_path / "v1").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "v1").iterdir()} == {0o600}


def test_a_version_that_was_never_published_is_nothing(tmp_path: Path) -> None:
    writer = DeliveredWriter(Folder.local(tmp_path / "v1"), pa.string(), shape(pa.schema([LOAD.field("mail")])))
    writer.write(entries("a"))
    writer.abort()

    with pytest.raises(RefusedError, match=r"manifest\.json does not exist any more"):
        DeliveredState(Folder.local(tmp_path / "v1"), sha256="0" * 64)


def test_a_changed_version_is_refused(tmp_path: Path) -> None:
    state = published(Folder.local(tmp_path / "v1"), entries("a"))
    part = tmp_path / "v1" / state.manifest.parts[0].name
    content = bytearray(part.read_bytes())
    content[20] ^= 1
    part.write_bytes(bytes(content))

    with pytest.raises(RefusedError, match="was changed since it was written"):
        state.verify()
    with pytest.raises(RefusedError, match="was changed since it was written"):
        state.ids()
    with pytest.raises(RefusedError, match="its SHA-256 differs"):
        DeliveredState(state.folder, sha256="0" * 64)


def test_a_manifest_of_another_kind_or_with_a_broken_schema_is_refused(tmp_path: Path) -> None:
    state = published(Folder.local(tmp_path / "v1"))
    broken = state.manifest.model_copy(
        update={"shape": state.manifest.shape.model_copy(update={"load_schema": "AAAA"})}
    )
    folder = Folder.local(tmp_path / "v2")

    with pytest.raises(RefusedError, match="not a ChangesManifest"):
        ChangesManifest.from_json(state.manifest.to_json())
    with pytest.raises(RefusedError, match="not a DeliveredManifest"):
        DeliveredManifest.from_json(b"{}")
    with pytest.raises(RefusedError, match="a manifest holds a schema that cannot be read"):
        DeliveredState(folder, sha256=folder.publish(broken.to_json()))
