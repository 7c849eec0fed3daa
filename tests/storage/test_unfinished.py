"""A folder that a killed run was writing is removed by the next run; one that is written now, or finished, stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.unfinished import publishing, sweep_unfinished

WRITING = """
import sys, time
from pathlib import Path
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.unfinished import publishing
root = Folder.local(sys.argv[1])
with publishing(root, root / "snapshots" / "dag" / sys.argv[2]) as folder:
    with folder.create("rows") as file:
        file.write(b"rows of people")
    if sys.argv[2] == "finished":
        folder.publish(b"{}")
    print("written", flush=True)
    time.sleep(600)
"""


def writing(root: Path, name: str) -> subprocess.Popen[str]:
    worker = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(root), name], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "written\n"
    return worker


def kill(worker: subprocess.Popen[str]) -> None:
    worker.send_signal(signal.SIGKILL)
    worker.communicate()


def test_the_next_run_removes_what_a_killed_one_wrote(tmp_path: Path) -> None:
    root = Folder.local(tmp_path)
    alive, dead, finished = (writing(tmp_path, name) for name in ("alive", "dead", "finished"))
    kill(dead)
    kill(finished)

    with publishing(root, root / "permitted" / "next") as folder:
        folder.publish(b"{}")

    assert {path.name for path in (tmp_path / "snapshots" / "dag").iterdir()} == {"alive", "finished"}
    kill(alive)
    assert sweep_unfinished(root) == 1
    assert list((tmp_path / "unfinished").iterdir()) == []
    assert (tmp_path / "permitted" / "next" / "manifest.json").exists()


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    root = Folder.local(tmp_path)

    with pytest.raises(ValueError, match="wrong"), publishing(root, root / "snapshots" / "a") as folder:  # noqa: PT012 - the block is what is tested
        folder.make()
        raise ValueError("wrong")

    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "snapshots" / "a").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        json.dumps({"folder": "syncs/people"}).encode(),
        json.dumps({"folder": "snapshots/../syncs/people"}).encode(),
        json.dumps({"folder": "snapshots//people"}).encode(),
        json.dumps({"folder": "/etc"}).encode(),
    ],
)
def test_a_marker_that_names_anything_else_removes_nothing(tmp_path: Path, content: bytes) -> None:
    root = Folder.local(tmp_path)
    for folder in (root / "syncs" / "people", root / "snapshots" / "people"):
        with folder.create("rows") as file:
            file.write(b"x")
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "a.json").write_bytes(content)

    assert sweep_unfinished(root) == 0
    assert len(list(tmp_path.rglob("rows"))) == 2


def test_in_object_storage_a_marker_counts_as_abandoned_after_two_days() -> None:
    root = Folder(MemoryFileSystem(), f"/unfinished-{time.time_ns()}", "memory://x")
    began = {"old": datetime.now(UTC) - timedelta(days=3), "new": datetime.now(UTC) - timedelta(hours=1)}
    for name, at in began.items():
        with (root / "snapshots" / name).create("rows") as file:
            file.write(b"x")
        with (root / "unfinished").create(f"{name}.json") as file:
            file.write(json.dumps({"folder": f"snapshots/{name}", "began_at": at.isoformat()}).encode())

    with publishing(root, root / "snapshots" / "next") as folder:
        folder.publish(b"{}")

    assert sorted((root / "snapshots").names()) == ["new", "next"]
    assert (root / "unfinished").names() == ["new.json"]
