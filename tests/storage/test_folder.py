"""Folders of the workspace: private, never overwritten, and every changed byte is noticed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_consent_retl.errors import RefusedError
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.location import open_folder
from airflow_consent_retl.storage.part_writer import PartWriter, repeating_columns

if TYPE_CHECKING:
    from airflow_consent_retl.storage.manifest import Part

ROWS = pa.table({"id": [1, 2, 3], "text": ["a", None, "é"]})


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Folder]:
    if request.param == "local":
        yield Folder.local(tmp_path / "folder")
        return
    path = f"/{uuid.uuid4().hex}"
    fs = MemoryFileSystem()
    yield Folder(fs, path, f"memory:/{path}")
    if fs.exists(path):
        fs.rm(path, recursive=True)


def write_part(folder: Folder, name: str = "part-00000.parquet", rows: pa.Table = ROWS) -> Part:
    with PartWriter(folder, name, rows.schema, row_group_rows=1_000) as writer:
        writer.write(rows)
        return writer.close()


def write(folder: Folder, name: str, content: bytes) -> None:
    with folder.create(name) as file:
        file.write(content)


def overwrite(folder: Folder, name: str, content: bytes) -> None:
    with folder.fs.open(folder.file_path(name), "wb") as file:
        file.write(content)


def test_a_part_is_what_its_manifest_says(folder: Folder) -> None:
    part = write_part(folder)

    folder.verify(part)

    assert part.rows == 3
    assert part.size_bytes == len(folder.read(part.name))
    assert pa.Table.from_batches(folder.read_rows([part], batch_rows=2)).equals(ROWS)
    assert folder.schema([part]).equals(ROWS.schema)


def test_only_the_named_columns_are_read_also_where_one_name_begins_like_another(folder: Folder) -> None:
    rows = pa.table({"a": [1], "a.b": [2], "A": [3], "a.b.c": [4]})
    part = write_part(folder, rows=rows)

    (read,) = folder.read_rows([part], columns=["a.b", "a"], batch_rows=10)

    assert read.to_pylist() == [{"a": 1, "a.b": 2}]


def test_rows_can_be_counted_without_reading_any_column(folder: Folder) -> None:
    part = write_part(folder)

    batches = list(folder.read_rows([part], columns=[], batch_rows=2))

    assert [rows.num_rows for rows in batches] == [2, 1]


def test_an_existing_file_is_never_overwritten(folder: Folder) -> None:
    part = write_part(folder)

    with pytest.raises(FileExistsError):
        write_part(folder, rows=ROWS.slice(1))

    folder.verify(part)


def test_a_linked_file_has_the_same_bytes_and_outlives_the_first(folder: Folder) -> None:
    write(folder, "a", b"bytes")
    other = folder.parent / "other"

    other.link("b", folder, "a")
    folder.remove()

    assert other.read("b") == b"bytes"
    assert not folder.exists("a")


def test_a_link_overwrites_no_file_and_needs_one(folder: Folder) -> None:
    write(folder, "a", b"bytes")
    write(folder, "b", b"others")

    with pytest.raises(FileExistsError):
        folder.link("b", folder, "a")
    with pytest.raises(FileNotFoundError):
        folder.link("c", folder, "missing")

    assert folder.read("b") == b"others"
    assert not folder.exists("c")


def test_a_file_on_another_disk_is_copied(repo: Path) -> None:
    memory, disk = Path("/dev/shm"), repo  # noqa: S108 # two file systems, which have no links to each other
    with tempfile.TemporaryDirectory(dir=memory) as first, tempfile.TemporaryDirectory(dir=disk) as second:
        folder, other = Folder.local(Path(first) / "a"), Folder.local(Path(second) / "b")
        write(folder, "a", b"bytes")

        other.link("a", folder, "a")

        assert other.read("a") == b"bytes"
        with pytest.raises(FileExistsError):
            other.link("a", folder, "a")
        assert (Path(second) / "b" / "a").stat().st_mode & 0o777 == 0o600


def test_a_folder_is_published_once(folder: Folder) -> None:
    digest = folder.publish(b"first")

    with pytest.raises(FileExistsError):
        folder.publish(b"second")

    assert folder.read_manifest(sha256=digest) == b"first"


@pytest.mark.parametrize("position", [0, 4, -1, -5])
def test_one_flipped_bit_is_noticed(folder: Folder, position: int) -> None:
    part = write_part(folder)
    content = bytearray(folder.read(part.name))
    content[position] ^= 1
    overwrite(folder, part.name, bytes(content))

    with pytest.raises(
        RefusedError, match=r"part-00000\.parquet was changed since it was written: its SHA-256 differs"
    ):
        folder.verify(part)


@pytest.mark.parametrize("change", [lambda content: content[:-1], lambda content: content + b"\0", lambda content: b""])
def test_a_file_that_is_shorter_or_longer_is_noticed(folder: Folder, change: object) -> None:
    part = write_part(folder)
    overwrite(folder, part.name, change(folder.read(part.name)))  # type: ignore[operator]

    with pytest.raises(RefusedError, match=r"has [\d,]+ bytes, its manifest says"):
        folder.verify(part)


def test_a_file_that_is_gone_is_noticed(folder: Folder) -> None:
    part = write_part(folder)
    folder.fs.rm(folder.file_path(part.name))

    for read in (
        lambda: folder.verify(part),
        lambda: folder.read(part.name),
        lambda: list(folder.read_rows([part], batch_rows=10)),
    ):
        with pytest.raises(RefusedError, match=r"part-00000\.parquet does not exist any more"):
            read()


def test_a_file_with_another_number_of_rows_is_noticed(folder: Folder) -> None:
    part = write_part(folder)

    with pytest.raises(RefusedError, match="holds 3 rows, its manifest says 4"):
        list(folder.read_rows([part.model_copy(update={"rows": 4})], batch_rows=10))


def test_a_manifest_that_is_gone_or_changed_is_noticed(folder: Folder) -> None:
    digest = folder.publish(b'{"a": 1}')
    overwrite(folder, "manifest.json", b'{"a": 2}')

    with pytest.raises(RefusedError, match=r"manifest\.json was changed since it was written"):
        folder.read_manifest(sha256=digest)
    folder.remove()
    with pytest.raises(RefusedError, match=r"manifest\.json does not exist any more"):
        folder.read_manifest(sha256=digest)


@pytest.mark.parametrize("name", ["", ".", "..", "../manifest.json", "/etc/passwd", "a/b", "../../x"])
def test_names_that_lead_elsewhere_are_refused(folder: Folder, name: str) -> None:
    part = write_part(folder)

    with pytest.raises(RefusedError, match="a manifest names a file outside its folder"):
        folder.verify(part.model_copy(update={"name": name}))
    with pytest.raises(RefusedError, match="a manifest names a file outside its folder"), folder.create(name):
        pass


def test_a_folder_is_removed_with_all_it_holds_and_again_without_an_error(folder: Folder) -> None:
    write_part(folder)

    folder.remove()
    folder.remove()

    assert not folder.exists("part-00000.parquet")


def test_a_part_that_was_begun_and_let_go_leaves_no_open_file(folder: Folder) -> None:
    with PartWriter(folder, "part", ROWS.schema, row_group_rows=1_000) as writer:
        writer.write(ROWS)

    opened = [str(descriptor.resolve()) for descriptor in Path("/proc/self/fd").iterdir()]
    assert not any(folder.path in path for path in opened)


def test_the_uri_of_a_local_folder_leads_back_to_it_whatever_its_name(tmp_path: Path) -> None:
    folder = Folder.local(tmp_path / "with space é %20")
    folder.publish(b"{}")

    assert open_folder(folder.uri).path == folder.path
    assert open_folder(folder.uri).exists("manifest.json")


UNDER_A_PERMISSIVE_UMASK = """
import os, sys
os.umask(0)
import pyarrow as pa
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.part_writer import PartWriter
rows = pa.table({"id": [1]})
folder = Folder.local(sys.argv[1]) / "a" / "b"
with PartWriter(folder, "part.parquet", rows.schema, row_group_rows=10) as writer:
    writer.write(rows)
    writer.close()
folder.publish(b"{}")
"""


def test_only_the_owner_can_read_what_is_written_whatever_the_umask(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", UNDER_A_PERMISSIVE_UMASK, str(tmp_path / "new")], check=True)

    modes = {str(path.relative_to(tmp_path)): oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*")}
    assert modes == {
        "new": "0o700",
        "new/a": "0o700",
        "new/a/b": "0o700",
        "new/a/b/part.parquet": "0o600",
        "new/a/b/manifest.json": "0o600",
    }


def test_columns_that_repeat_themselves_are_told_from_those_that_do_not() -> None:
    rows = pa.record_batch(
        {
            "id": range(100),
            "country": ["DE", "FR"] * 50,
            "flag": [True] * 100,
            "nothing": pa.nulls(100),
            "list": [[1]] * 100,
        }
    )

    assert repeating_columns(rows) == ["country"]


def test_a_published_folder_stays(folder: Folder) -> None:
    with folder.publishing() as new:
        digest = new.publish(b"{}")

    assert folder.read_manifest(sha256=digest) == b"{}"


@pytest.mark.parametrize("error", [RefusedError("wrong"), SystemExit(1)])
def test_a_folder_whose_writer_fails_is_removed_and_the_error_raised(folder: Folder, error: BaseException) -> None:
    with pytest.raises(type(error)), folder.publishing() as new:  # noqa: PT012 - the block is what is tested
        write_part(new)
        raise error

    assert folder.names() == []


def test_a_failure_before_the_first_file_is_raised_as_it_is(folder: Folder) -> None:
    with pytest.raises(RefusedError, match="wrong"), folder.publishing():
        raise RefusedError("wrong")
