"""What was verified is what is read, also if the file changes in between."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.crm_sync import POLICY, CrmSync

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.operators import permitted_batches
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.manifest import Part
from airflow_consent_retl.storage.part_writer import PartWriter
from airflow_consent_retl.storage.verified_file import FileDigests, VerifiedFile

CONTENT = os.urandom(1_000_003)


def part_with(folder: Folder, rows: pa.Table) -> Part:
    with PartWriter(folder, "part.parquet", rows.schema, row_group_rows=20_000) as writer:
        writer.write(rows)
        return writer.close()


def numbers(start: int) -> pa.Table:
    return pa.table({"id": pa.array(range(start, start + 100_000)), "ok": pa.array([True] * 100_000)})


@given(st.lists(st.tuples(st.integers(0, 1_100_000), st.integers(-1, 600_000)), max_size=5))
def test_every_read_returns_the_bytes_of_the_file(reads: list[tuple[int, int]]) -> None:
    file = VerifiedFile(io.BytesIO(CONTENT), FileDigests.of(io.BytesIO(CONTENT)), "x")
    plain = io.BytesIO(CONTENT)

    for position, size in reads:
        assert file.seek(position) == plain.seek(position)
        assert file.read(size) == plain.read(size)
        assert file.tell() == plain.tell()


def test_a_read_of_a_changed_byte_is_refused_and_of_others_is_not() -> None:
    changed = CONTENT[:600_000] + bytes([CONTENT[600_000] ^ 1]) + CONTENT[600_001:]
    file = VerifiedFile(io.BytesIO(changed), FileDigests.of(io.BytesIO(CONTENT)), "file:///w/part")

    assert file.read(1000) == CONTENT[:1000]
    file.seek(599_999)
    with pytest.raises(RefusedError, match="file:///w/part was changed since it was verified"):
        file.read(2)


@pytest.mark.parametrize("how", ["replaced", "overwritten", "cut"])
def test_a_part_that_changes_after_it_was_verified_is_never_decoded(tmp_path: Path, how: str) -> None:
    folder, other = Folder.local(tmp_path / "a"), Folder.local(tmp_path / "b")
    part = part_with(folder, numbers(0))
    part_with(other, numbers(7))
    folder.verify(part)
    path, content = tmp_path / "a" / "part.parquet", (tmp_path / "b" / "part.parquet").read_bytes()
    if how == "replaced":
        (tmp_path / "b" / "part.parquet").replace(path)
    else:
        path.write_bytes(content if how == "overwritten" else content[:1000])

    with pytest.raises(RefusedError, match="was changed since it was verified"):
        list(folder.read_rows([part], batch_rows=1000))


def test_a_file_that_changes_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path)
    part = part_with(folder, numbers(0))
    folder.verify(part)
    rows = folder.read_rows([part], batch_rows=1000)
    assert next(rows).column("id")[0].as_py() == 0
    size = part.size_bytes
    with (tmp_path / "part.parquet").open("r+b") as file:
        file.seek(size // 2)
        file.write(os.urandom(size // 4))

    with pytest.raises(RefusedError, match="was changed since it was verified"):
        list(rows)


def test_rows_that_are_given_to_a_task_are_those_that_were_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm = CrmSync(tmp_path, monkeypatch)
    crm.people(1, 2, no=(3,))
    permitted = crm.permitted()
    batches = permitted_batches(permitted, destination="crm", policy=POLICY)
    folder = Path(permitted["manifest"].removeprefix("file://")).parent
    (part,) = folder.glob("group-*.parquet")
    everybody = pa.table({"id": [1, 2, 3], "email": ["a", "b", "c"], "ads_ok": [True] * 3})
    made = part_with(Folder.local(tmp_path / "forged"), everybody)
    (tmp_path / "forged" / made.name).replace(part)

    with pytest.raises(RefusedError, match="was changed since it was verified"):
        list(batches)
