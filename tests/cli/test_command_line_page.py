"""The examples of docs/command-line.md, typed in the page's order: each prints what the page shows."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from support.servers import Receiver, receiver

from airflow_consent_retl.cli.dag_files import tasks_of
from airflow_consent_retl.operators import ExtractModelOperator, LoadOperator
from airflow_consent_retl.operators.planning import ready_load

from .conftest import Run

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "command-line.md").read_text()
_DAG = re.compile(r"^```python\n# (dags/\w+\.py)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_POLICY = re.compile(r"^```json\n(.*?)^```", re.DOTALL | re.MULTILINE)
_CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
# What differs from run to run, and from machine to machine.
_MASKS = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(?:\+00:00)?", "<time>"),
    (r"\S+/report\.html", "<file>"),
    (r"(?<=127\.0\.0\.1:)\d+", "<port>"),
    (r"(?:sha256:)?\b(?=\w*\d)[0-9a-f]{12,64}\b", "<digest>"),
    (r"-{2,}", "--"),
    (r" +", " "),
)


def masked(text: str) -> list[str]:
    """Return the lines of an output, without what differs from run to run."""
    for pattern, mask in _MASKS:
        text = re.sub(pattern, mask, text)
    return [line.strip() for line in text.strip().splitlines()]


def is_shown(shown: list[str], printed: list[str]) -> bool:
    """Return whether lines are those that the page shows, where a line of `…` stands for any lines."""
    if not shown:
        return not printed
    if shown[0] == "…":
        return any(is_shown(shown[1:], printed[left:]) for left in range(len(printed) + 1))
    return bool(printed) and printed[0] == shown[0] and is_shown(shown[1:], printed[1:])


@pytest.fixture
def server() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Receiver) -> Path:
    """Make what the page describes: a warehouse with three customers, the policy, the DAG, and a receiver."""
    with duckdb.connect(str(tmp_path / "warehouse.duckdb")) as connection:
        connection.execute("CREATE TABLE customers (user_id BIGINT, email VARCHAR, ads_ok BOOLEAN)")
        connection.execute("INSERT INTO customers VALUES (4711, 'ann@x.example', true), (4712, 'bo@x.example', true)")
        connection.execute("INSERT INTO customers VALUES (4713, 'cy@x.example', false)")
    for place, text in _DAG.findall(PAGE):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text(text)
    (policy,) = _POLICY.findall(PAGE)
    (tmp_path / "policy.json").write_text(policy)
    settings = {
        "AIRFLOW__CONSENT_RETL__WORKSPACE": f"file://{tmp_path}/consent_retl",
        "AIRFLOW__CONSENT_RETL__POLICY": "variable:consent_policy",
        "AIRFLOW_VAR_CONSENT_POLICY": policy,
        "AIRFLOW_CONN_WAREHOUSE": json.dumps({"conn_type": "duckdb", "host": f"{tmp_path}/warehouse.duckdb"}),
        "AIRFLOW_CONN_CRM_API": json.dumps(
            {"conn_type": "consentwebhook", "host": server.url, "extra": {"allow_private": True}}
        ),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "dags")])
    return tmp_path


def first_run(folder: Path) -> None:
    """Run the DAG's tasks, as the first run does."""
    (extract,) = tasks_of("dags/customers.py", None, ExtractModelOperator, "extraction")
    (folder / "extract.json").write_text(json.dumps(extract.run({})))
    (load,) = tasks_of("dags/customers.py", None, LoadOperator, "load")
    with ready_load(load, None) as (ready, context):
        ready.run(context)


def examples() -> list[tuple[str, str]]:
    """Return each command of the page, with what it prints."""
    typed = "".join(_CONSOLE.findall(PAGE))
    return re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", typed, re.MULTILINE)


def test_each_example_prints_what_the_page_shows(run: Run, folder: Path, server: Receiver) -> None:
    verbs = set()
    for command, shown in examples():
        name, verb, *arguments = shlex.split(command)
        if verb == "syncs":
            first_run(folder)

        printed = run(verb, *arguments)

        assert (name, printed.code) == ("consent-retl", 0), printed.err
        assert is_shown(masked(shown), masked(printed.out)), f"{command}\n{printed.out}"
        verbs.add(verb)

    assert {"check", "plan", "preview", "send-test", "syncs", "doctor", "explain", "retire"} <= verbs
    # The two people of the run, and the test record, left again.
    assert server.people == {}


@pytest.mark.long
def test_the_installed_script_runs_an_example(folder: Path) -> None:
    script = Path(sys.executable).with_name("consent-retl")
    (command, shown), *_ = examples()

    ended = subprocess.run([script, *shlex.split(command)[1:]], capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert is_shown(masked(shown), masked(ended.stdout)), ended.stdout
