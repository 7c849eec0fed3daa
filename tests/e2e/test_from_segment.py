"""The example of docs/from-segment.md: it prints what the page shows, and its DAGs deliver what Segment would."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cli.test_command_line_page import is_shown, masked
from support.airflow_run import Airflow
from support.servers import Receiver

from airflow_consent_retl.cli.app import main
from airflow_consent_retl.compat import dag_bag
from airflow_consent_retl.consent import parse_policy
from airflow_consent_retl.migration import segment_would_send

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "from-segment.md").read_text()
SECRET = "canary-secret-5e1"
# Every combination of answers that Segment documents.
ROWS = [(n, f"u{n}@x.example", ads, analytics) for n, (ads, analytics) in enumerate([(1, 1), (1, 0), (0, 1), (0, 0)])]


def files() -> dict[str, str]:
    """Return the JSON files of the page, with a secret wherever the page has an ellipsis."""
    found = re.findall(r"^```json (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return {name: text.replace("…", SECRET) for name, text in found}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write what the page describes: the warehouse, the CRM, and the two files."""
    with closing(sqlite3.connect(tmp_path / "warehouse.db")) as connection:
        connection.execute("CREATE TABLE customers (user_id INTEGER, email TEXT, ads_ok INTEGER, analytics_ok INTEGER)")
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?)", ROWS)
        connection.commit()
    with closing(sqlite3.connect(tmp_path / "crm.db")) as connection:
        connection.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT)")
    for name, text in files().items():
        (tmp_path / name).write_text(text.replace("/srv/exports", f"{tmp_path}/exports"))
    for conn_id, file in (("WAREHOUSE", "warehouse.db"), ("CRM", "crm.db")):
        connection_ = {"conn_type": "sqlite", "host": str(tmp_path / file)}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id}", json.dumps(connection_))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__POLICY", f"file:{tmp_path}/migrated/policy.json")
    # Airflow runs DAGs of the folders that it knows.
    bundle = {"name": "migrated", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle"}
    bundles = [{**bundle, "kwargs": {"path": f"{tmp_path}/migrated/dags"}}]
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps(bundles))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def segment_sends(policy: dict[str, Any], destination: str) -> set[int]:
    parsed = parse_policy(policy)
    return {
        row[0]
        for row in ROWS
        if segment_would_send(parsed, destination, {"C0004": bool(row[2]), "C0002": bool(row[3])}).sends
    }


def run_dag(file: Path, dag_id: str) -> str:
    """Run a DAG of a file to its end, and return its state."""
    return str(dag_bag(str(file)).dags[dag_id].test().state)


@pytest.mark.long
def test_the_example_prints_what_the_page_shows_and_delivers_what_segment_would(
    airflow: Airflow, vendor: Receiver, folder: Path
) -> None:
    (console,) = re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    printed = ""
    for command, shown in re.findall(r"^\$ consent-retl (.*)\n((?:(?!\$ ).*\n)*)", console, re.MULTILINE):
        airflow.capture.readouterr()
        assert main(shlex.split(command)) in (0, 1)
        out = airflow.capture.readouterr()
        # Airflow logs to the output that it found at its start, which here is the captured one.
        lines = [line for line in masked(out.out) if "[info" not in line]
        assert is_shown(masked(shown), lines), out.out + out.err
        printed += out.out + out.err

    files = [path for path in (folder / "migrated").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    written = {path.name: path.read_text() for path in files}
    states = [
        run_dag(folder / "migrated" / "dags" / f"{name}.py", name)
        for name in ("segment_customers", "segment_customers_2")
    ]

    policy = json.loads(written["policy.json"])
    assert states == ["success", "success"]
    assert {row["id"] for row in vendor.applied_rows()} == segment_sends(policy, "webhook") == {0, 1}
    with closing(sqlite3.connect(folder / "crm.db")) as connection:
        table = {row[0] for row in connection.execute("SELECT id FROM people")}
    assert table == segment_sends(policy, "crm_table") == {0}
    exported = [pq.read_table(path) for path in (folder / "exports").rglob("*.parquet")]
    lake = {value for one in exported for value in one.column("user_id").to_pylist()}
    assert lake == segment_sends(policy, "lake") == {0, 1, 2, 3}
    assert SECRET not in printed + "".join(written.values())
