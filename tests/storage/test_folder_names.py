"""The folders of a task lie below the workspace, whatever its ids are, and no two syncs share a policy history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.storage.location import open_folder, policy_folder, run_folder


@dataclass
class Instance:
    dag_id: str
    run_id: str = "r"
    task_id: str = "t"
    map_index: int = -1


def context(**ids: Any) -> Any:
    return {"ti": Instance(**ids)}


@pytest.mark.parametrize("name", [".", "..", "...", "../..", "a/../../b", "/etc", "..\\..", "\0", "%2e%2e"])
def test_no_id_leads_out_of_the_workspace(name: str, tmp_path: Path) -> None:
    root = tmp_path / "workspace"
    given = context(dag_id=name, run_id=name, task_id=name)

    folders = [run_folder(root.as_uri(), given, kind="permitted"), policy_folder(root.as_uri(), name, name)]

    for folder in folders:
        assert Path(folder.path).resolve().is_relative_to(root)
        assert len(Path(folder.path).relative_to(root).parts) >= 3


@pytest.mark.parametrize(
    ("first", "second"), [("é", "è"), ("a b", "a_b"), ("a/b", "a:b"), (".", ".."), ("日", "本"), ("e\u0301", "é")]
)
def test_two_syncs_never_share_a_policy_history(first: str, second: str, tmp_path: Path) -> None:
    models = [policy_folder(tmp_path.as_uri(), name, "webhook") for name in (first, second)]
    destinations = [policy_folder(tmp_path.as_uri(), "customers", name) for name in (first, second)]

    assert len({folder.path for folder in [*models, *destinations]}) == 4


def test_an_ordinary_id_is_the_folders_name(tmp_path: Path) -> None:
    folder = policy_folder(tmp_path.as_uri(), "daily.customers-v2", "webhook")

    assert folder.path == f"{tmp_path}/policies/daily.customers-v2/webhook"


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_a_folder_that_every_user_may_write_to_is_refused(mode: int, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)

    for spelling in ((tmp_path / "open").as_uri(), str(tmp_path / "open")):
        with pytest.raises(ConfigurationError, match="every user of this machine may write to"):
            open_folder(spelling)
        with pytest.raises(ConfigurationError, match="every user of this machine may write to"):
            run_folder(spelling, {}, kind="snapshots")

    below = open_folder((tmp_path / "open" / "own").as_uri())
    below.make()
    assert (tmp_path / "open" / "own").stat().st_mode & 0o777 == 0o700
    assert open_folder(below.uri).path == below.path
