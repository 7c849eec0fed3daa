"""A disk that is full or cannot be written to fails a task at once, with the place and what to do, never with rows."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support.processes import run_program

CANARY = "canary-3d1c@example.com"
PROGRAM = f"""
import json, os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from airflow_consent_retl.compat import AirflowFailException
from airflow_consent_retl.operators import ConsentFilterOperator, ExtractModelOperator, LoadToSqlTableOperator
POLICY = {{"categories": [{{"id": "C1", "name": "Ads", "destinations": ["out"]}}]}}
SQL = "SELECT i AS id, md5(i::VARCHAR) || '{CANARY}' AS email, TRUE AS ok FROM range(60000) t(i)"

def limited(step, work):
    if sys.argv[1] == step:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    try:
        return work()
    except AirflowFailException as error:
        assert error.__cause__ is None and error.__context__ is None
        print("FAILED " + " ".join(str(error).split()))
        sys.exit(0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

snapshot = limited("extract", lambda: ExtractModelOperator(
    task_id="extract", model="m", conn_id="source", sql=SQL, primary_key="id").execute({{}}))
permitted = limited("filter", lambda: ConsentFilterOperator(
    task_id="consent", snapshot=snapshot, policy=POLICY, consent={{"C1": "ok"}}, destinations=["out"]).execute({{}}))
limited("load", lambda: LoadToSqlTableOperator(
    task_id="load", permitted=permitted, destination="out", policy=POLICY, conn_id="crm", table="people",
    fields={{"id": "id", "email": "email"}}).execute({{}}))
print("DONE")
"""


def run(step: str, tmp_path: Path, *, workspace: Path) -> str:
    done = run_program(
        PROGRAM,
        step,
        env={
            **os.environ,
            "AIRFLOW__CONSENT_RETL__WORKSPACE": workspace.as_uri(),
            "AIRFLOW_CONN_SOURCE": json.dumps({"conn_type": "duckdb", "host": ":memory:"}),
            "AIRFLOW_CONN_CRM": json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "crm.db")}),
        },
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert CANARY not in done.stdout + done.stderr
    return next(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "DONE")))


@pytest.mark.parametrize("step", ["extract", "filter", "load"])
def test_a_disk_without_room_is_named_with_its_free_space(step: str, tmp_path: Path) -> None:
    said = run(step, tmp_path, workspace=tmp_path / "workspace")

    assert "a file cannot be written or opened" in said
    assert "raise the limit on the size of files (EFBIG)" in said
    assert f"Files go to the workspace {tmp_path}/workspace (" in said
    assert "MiB free" in said


def test_a_workspace_below_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    said = run("none", tmp_path, workspace=tmp_path / "file" / "workspace")

    assert "a part of the path is a file: name a folder (ENOTDIR)" in said


def test_with_room_enough_nothing_is_said(tmp_path: Path) -> None:
    assert run("none", tmp_path, workspace=tmp_path / "workspace") == "DONE"
