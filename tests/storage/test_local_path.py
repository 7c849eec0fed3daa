"""A `file:///` URI with escapes names the folder that `Path.as_uri` had, for workspaces, exports and policies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_consent_retl.compat import AirflowFailException
from airflow_consent_retl.errors import ConfigurationError
from airflow_consent_retl.hooks.policies import read_policy
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToFilesOperator
from airflow_consent_retl.storage.folder import Folder
from airflow_consent_retl.storage.local_path import local_path, local_uri
from airflow_consent_retl.storage.location import open_folder

POLICY = {"categories": [{"id": "C1", "name": "Ads", "destinations": ["lake"]}]}
NAMES = ["my exports", "Müller", "100%", "50%20off", "a#b", "what?", "日本", "a+b=c", "[x]"]


@pytest.mark.parametrize("name", NAMES)
def test_a_path_comes_back_from_its_uri(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "lake"

    assert local_path(folder.as_uri()) == str(folder)
    assert local_path(local_uri(folder)) == str(folder)
    assert open_folder(folder.as_uri()).path == str(folder)
    assert open_folder(Folder.local(folder).uri).path == str(folder)


@pytest.mark.parametrize(
    "uri", ["s3://bucket/my%20exports", "/my%20exports", "file://host/my%20exports", "my%20exports"]
)
def test_only_a_local_uri_has_escapes(uri: str) -> None:
    assert local_path(uri) is None


@pytest.mark.parametrize("escape", ["%2F", "%2e%2e", "%2E", "a%2f..%2fb", "%00"])
def test_an_escape_that_would_lead_elsewhere_is_refused(escape: str) -> None:
    with pytest.raises(ConfigurationError, match="contains an escape that stands for"):
        local_path(f"file:///srv/{escape}/lake")


def test_a_folder_that_was_made_under_the_escaped_name_stays_in_use(tmp_path: Path) -> None:
    (tmp_path / "my%20lake").mkdir()

    kept = local_path(f"{tmp_path.as_uri()}/my%20lake/new%20part")
    (tmp_path / "my lake").mkdir()

    assert kept == f"{tmp_path}/my%20lake/new part"
    assert local_path(f"{tmp_path.as_uri()}/my%20lake") == f"{tmp_path}/my lake"


@pytest.mark.samples(3)
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_sync_runs_in_folders_with_such_names(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / name
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (home / "work space").as_uri())
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE", json.dumps({"conn_type": "duckdb", "host": str(tmp_path / "source.db")}))
    duckdb.connect(str(tmp_path / "source.db")).close()
    lake = home / "lake"

    def run(sql: str) -> Any:
        snapshot = ExtractModelOperator(
            task_id="extract", model="m", conn_id="source", sql=sql, primary_key="id"
        ).execute({})
        permitted = ConsentFilterOperator(
            task_id="consent", snapshot=snapshot, policy=POLICY, consent={"C1": "ok"}, destinations=["lake"]
        ).execute({})
        return LoadToFilesOperator(
            task_id="load",
            permitted=permitted,
            destination="lake",
            policy=POLICY,
            path=lake.as_uri(),
            format="jsonl",
            fields={"id": "id"},
        ).execute({})

    run("SELECT i AS id, TRUE AS ok FROM range(3) t(i)")
    counts = run("SELECT i AS id, i <> 1 AS ok FROM range(3) t(i)")

    assert counts["removed"] == 1
    assert (lake / "_current.json").is_file()
    assert sorted(path.name for path in home.iterdir()) == ["lake", "work space"]


def test_a_policy_is_read_from_such_a_file(tmp_path: Path) -> None:
    file = tmp_path / "our policy.json"
    file.write_text(json.dumps(POLICY))

    assert read_policy(f"file:{file.as_uri()}").policy.categories
    assert read_policy(f"file:{file}").policy.categories


def test_an_export_is_not_led_out_of_its_folder_by_an_escape(tmp_path: Path) -> None:
    with pytest.raises((ConfigurationError, AirflowFailException), match="contains an escape"):
        LoadToFilesOperator(
            task_id="load",
            permitted={},
            destination="lake",
            path=f"{tmp_path.as_uri()}/%2e%2e/lake",
            format="jsonl",
            fields={"id": "id"},
        ).build_destination()
