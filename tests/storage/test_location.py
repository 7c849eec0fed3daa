"""Where the workspace is, and the key of its decision log."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from support.processes import StartedProgram, run_program

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.location import (
    manifest_folder,
    open_folder,
    run_folder,
    subject_key,
    workspace_root,
)

if TYPE_CHECKING:
    from airflow.sdk import Context

LONG = "0123456789abcdef0123456789abcdef"
CONFIGURED_KEY = "AIRFLOW__CONSENT_RETL__DIGEST_KEY"
CONFIGURED_WORKSPACE = "AIRFLOW__CONSENT_RETL__WORKSPACE"


def context(**task: object) -> Context:
    ti = SimpleNamespace(**{"dag_id": "d", "run_id": "manual__2026-11-23T18:05:09+00:00", "task_id": "g.t", **task})
    return cast("Context", {"ti": ti})


def test_the_operators_workspace_comes_before_the_configured_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIGURED_WORKSPACE, "file:///configured/")

    assert workspace_root("file:///own/") == "file:///own"
    assert workspace_root(None) == "file:///configured"


def test_the_default_workspace_is_a_folder_in_airflow_home_whatever_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path / "my home é"))

    assert open_folder(workspace_root(None)).path == str(tmp_path / "my home é" / "consent_retl")


@pytest.mark.parametrize(("map_index", "mapped"), [(-1, []), (None, []), (0, ["map-0"]), (11, ["map-11"])])
def test_a_run_has_a_folder_of_its_own_that_names_it(map_index: int | None, mapped: list[str]) -> None:
    first = run_folder("file:///w", context(map_index=map_index), kind="permitted")
    second = run_folder("file:///w", context(map_index=map_index), kind="permitted")

    *names, last = first.path.removeprefix("/w/").split("/")
    assert names == ["permitted", "d", "manual__2026-11-23T18_05_09+00_00", "g.t", *mapped]
    assert len(last) == 12
    assert first.path != second.path


def test_a_name_of_a_run_cannot_lead_out_of_the_workspace() -> None:
    folder = run_folder("file:///w", context(map_index=-1, run_id="../../etc/x", dag_id="a/b"), kind="snapshots")

    assert folder.path.startswith("/w/snapshots/a_b/.._.._etc_x/g.t/")


def test_names_that_differ_in_a_letter_outside_of_ascii_have_folders_of_their_own() -> None:
    names = [run_folder("file:///w", context(map_index=-1, dag_id=name), kind="permitted").path for name in "éè"]

    assert len({path.split("/")[3] for path in names}) == 2


@pytest.mark.parametrize("uri", ["file:///w/../etc", "file:///w/./x", "s3://bucket/a/../b", "file:///w/%2e%2e/etc"])
def test_a_path_that_leads_elsewhere_is_refused(uri: str) -> None:
    with pytest.raises(ConfigurationError, match=r"contains"):
        open_folder(uri)
    with pytest.raises(ConfigurationError, match=r"contains"):
        manifest_folder(f"{uri}/manifest.json")


def test_a_task_without_an_instance_has_a_folder_too() -> None:
    assert run_folder("file:///w", cast("Context", {}), kind="snapshots").path.startswith("/w/snapshots/adhoc/")


def test_a_reference_leads_to_its_folder() -> None:
    assert manifest_folder("file:///w/permitted/x/manifest.json").path == "/w/permitted/x"


def test_storage_that_no_package_serves_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match="the workspace `gopher://x/y` cannot be opened: "):
        open_folder("gopher://x/y")


# The key


def test_the_key_is_made_once_and_readable_by_the_owner_only(tmp_path: Path) -> None:
    first, second = subject_key(tmp_path.as_uri()), subject_key(tmp_path.as_uri())

    assert first.key_id == second.key_id
    assert [path.name for path in tmp_path.iterdir()] == ["digest.key"]
    assert oct((tmp_path / "digest.key").stat().st_mode & 0o777) == "0o600"
    assert len((tmp_path / "digest.key").read_text()) == 64


def test_two_workspaces_have_different_keys(tmp_path: Path) -> None:
    assert subject_key((tmp_path / "a").as_uri()).key_id != subject_key((tmp_path / "b").as_uri()).key_id


def test_a_configured_key_is_used_and_none_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CONFIGURED_KEY, LONG)

    first, second = subject_key((tmp_path / "a").as_uri()), subject_key("s3://bucket/b")

    assert first.key_id == second.key_id
    assert list(tmp_path.iterdir()) == []


def test_a_configured_key_that_is_too_short_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIGURED_KEY, LONG[:31])

    with pytest.raises(ConfigurationError, match=r"`\[consent_retl\] digest_key` has 31 characters, it needs 32"):
        subject_key(None)


def test_a_key_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    (tmp_path / "digest.key").write_text("short")

    with pytest.raises(ConfigurationError, match="has 5 characters, it needs 32"):
        subject_key(tmp_path.as_uri())


MAKE_KEY = """
import sys, warnings
warnings.simplefilter("ignore")
from airflow_consent_retl.storage.location import subject_key
import airflow_consent_retl.storage.decision_log
print("ready", flush=True)
sys.stdin.readline()
print(subject_key(sys.argv[1]).key_id)
"""


def test_processes_that_ask_for_the_key_at_once_all_get_the_same_one(tmp_path: Path) -> None:
    workers = [StartedProgram(MAKE_KEY, tmp_path.as_uri()) for _ in range(3)]

    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    ended = {worker.ended() for worker in workers}

    ((code, key_id),) = ended
    assert code == 0
    assert key_id.strip() == subject_key(tmp_path.as_uri()).key_id
    assert [path.name for path in tmp_path.iterdir()] == ["digest.key"]


IN_OBJECT_STORAGE = """
import warnings
warnings.simplefilter("ignore")
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem
attach("memory", fs=MemoryFileSystem())
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.location import open_folder, subject_key
folder = open_folder("memory://bucket/x")
folder.publish(b'{\\n  "a": 1\\n}')
print(folder.is_local, folder.exists("manifest.json"))
try:
    subject_key("memory://bucket")
except ConfigurationError as error:
    print(error)
"""


def test_a_workspace_in_object_storage_needs_a_configured_key() -> None:
    ended = run_program(IN_OBJECT_STORAGE)

    assert ended.stdout.splitlines() == [
        "False True",
        "set `[consent_retl] digest_key`: in object storage, next to the decision log, a key would be no secret",
    ]
