"""The example of docs/finding-consent.md: each command prints what the page shows, and the draft is the page's."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import duckdb
import pytest

from .conftest import Run
from .test_command_line_page import is_shown, masked

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "finding-consent.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_example_prints_what_the_page_shows(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with duckdb.connect("warehouse.duckdb") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(block("sql"))
    Path("policy.json").write_text(block("json"))
    warehouse = {"conn_type": "duckdb", "host": str(tmp_path / "warehouse.duckdb")}
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps(warehouse))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", f"file:{tmp_path}/policy.json")
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", f"file://{tmp_path}/workspace")
    codes = []

    for command, shown in re.findall(r"^\$ consent-retl (.*)\n((?:(?!\$ ).*\n)*)", block("console"), re.MULTILINE):
        ran = run(*shlex.split(command))
        assert is_shown(masked(shown), masked(ran.out)), ran.out + ran.err
        codes.append(ran.code)

    assert codes == [1, 0]
    assert Path("draft.py").read_text() == block("python")
