"""`check` proves that a run could write to workspace, ledger and folder of files, and leaves nothing there."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import rmtree

import pytest
from support.crm_sync import CrmSync
from support.postgres import Postgres, postgres

from airflow_consent_retl.checking.writing import try_workspace, user
from airflow_consent_retl.errors import ConfigurationError

from .conftest import Run

__all__ = ["postgres"]

DAG = """
from functools import partial
from airflow.sdk import DAG
from airflow_consent_retl.operators import LoadToFilesOperator
from airflow_consent_retl.sync import consent_sync

with DAG("people"):
    consent_sync(
        "people", conn_id="{conn_id}", sql="SELECT id, ads_ok FROM people", primary_key="id", {more}
        consent={{"C0004": "ads_ok"}},
        loads={{"lake": partial(LoadToFilesOperator, path="{path}", fields={{"id": "id"}})}},
    )
"""
_TYPES = 'column_types={"id": "int64", "ads_ok": "bool"},'


def dag_file(crm: CrmSync, path: Path, *, conn_id: str = "source", more: str = _TYPES) -> str:
    file = crm.path / "people.py"
    file.write_text(DAG.format(path=path.as_uri(), conn_id=conn_id, more=more))
    return str(file)


@contextmanager
def without_the_right_to_write() -> Iterator[Path]:
    """Make a folder that this process may not write to, also where it runs as root."""
    folder, own = Path(tempfile.mkdtemp()), os.geteuid()
    folder.chmod(0o555)
    if own == 0:
        os.seteuid(65534)
    try:
        yield folder
    finally:
        os.seteuid(own)
        rmtree(folder)


def test_nothing_is_left_in_workspace_ledger_and_folder(run: Run, crm: CrmSync) -> None:
    crm.sync()
    (crm.path / "lake").mkdir()
    file = dag_file(crm, crm.path / "lake")
    files, ledger = _files(crm.path), _dump(crm.folder / "ledger.db")

    checked = run("check", file, "--json")

    assert checked.code == 0, checked.out
    assert _files(crm.path) == files
    assert _dump(crm.folder / "ledger.db") == ledger


def test_each_place_that_cannot_be_written_to_is_named_with_its_path_and_the_user(
    run: Run, crm: CrmSync, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE place_reader LOGIN")
    as_reader = {**json.loads(postgres.airflow_connection()), "login": "place_reader"}
    monkeypatch.setenv("AIRFLOW_CONN_LEDGER", json.dumps(as_reader))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__LEDGER_CONN_ID", "ledger")
    # A path below a file.
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", f"file://{crm.path}/policy.json/retl")

    checked = run("check", dag_file(crm, crm.path / "policy.json" / "lake"), "--json")

    found = {(one["task"], one["path"]): one["message"] for one in checked.document["findings"]}
    assert checked.code == 1
    place = f"the workspace file://{crm.path}/policy.json/retl cannot be written to by user `{user()}`: "
    assert found["people.extract", "workspace"].startswith(place)
    assert "as user `place_reader`: no permission" in found["people.load_lake", "ledger_conn_id"]
    assert f"user `{user()}`" in found["people.load_lake", "ledger_conn_id"]
    assert f"{crm.path}/policy.json/lake" in found["people.load_lake", "target"]
    assert "a part of the path is a file" in found["people.load_lake", "target"]


def test_a_folder_that_belongs_to_another_user_is_no_workspace() -> None:
    with without_the_right_to_write() as folder, pytest.raises(ConfigurationError, match=r"user `\w+`.*\(EACCES\)"):
        try_workspace(f"file://{folder}/retl")


def test_a_staging_schema_is_written_to_and_a_role_without_the_right_is_refused(
    run: Run, crm: CrmSync, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE people (id bigint PRIMARY KEY, ads_ok boolean)")
        connection.execute("CREATE SCHEMA staging")
        connection.execute("CREATE ROLE analyst LOGIN")
        connection.execute("GRANT SELECT ON people TO analyst; GRANT USAGE ON SCHEMA staging TO analyst")
        monkeypatch.setenv("AIRFLOW_CONN_PG", postgres.airflow_connection())
        monkeypatch.setenv(
            "AIRFLOW_CONN_ANALYST", json.dumps({**json.loads(postgres.airflow_connection()), "login": "analyst"})
        )
        more = 'workspace="warehouse:staging",'

        sound = run("check", dag_file(crm, crm.path / "lake", conn_id="pg", more=more), "--json")
        refused = run("check", dag_file(crm, crm.path / "lake", conn_id="analyst", more=more), "--json")

        (left,) = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'staging'").fetchall()
    assert (sound.code, left) == (0, (0,)), sound.out
    problems = [one for one in refused.document["findings"] if one["kind"] == "problem"]
    assert [(one["task"], one["path"]) for one in problems] == [("people.extract", "workspace")]
    assert "staging" in problems[0]["message"]


def _files(folder: Path) -> set[Path]:
    """Return the paths below a folder, without what Python and SQLite keep on the side."""
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts and ".db-" not in path.name}


def _dump(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())
