"""Every stage of a sync under a hard limit of its memory, in a process of its own: it ends, and every row arrives."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.memory_cgroup import memory_cgroup

LIMIT_MIB = 450
ROWS = 5_000_000
ROOT = Path(__file__).resolve().parents[2]
_CUSTOMERS = """
    CREATE TABLE customers AS SELECT
        (hash(i) >> 1)::BIGINT AS user_id, 'user' || i || '@example.com' AS email,
        ['DE', 'FR', 'US', 'GB', 'ES'][1 + (hash(i + 4) % 5)::INT] AS country, (hash(i + 6) % 100000)::INT AS orders,
        'First' || (hash(i + 1) % 5000) AS first_name, '+4917' || (hash(i + 3) % 100000000) AS phone,
        TIMESTAMPTZ '2026-01-01 00:00:00+00' + INTERVAL (hash(i + 7) % 10000000) SECOND AS updated_at,
        hash(i * 31) % 100 < 85 AS c0, hash(i * 31 + 1) % 100 < 85 AS c1, hash(i * 31 + 2) % 100 < 60 AS c2
    FROM range({rows}) r(i)"""
_PERMITTED = {"webhook": "c0 AND c1", "crm": "c1", "lake": "c2"}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on a disk: files in a file system in memory would count as memory of the stage that writes them."""
    made = Path(tempfile.mkdtemp(prefix="consent-retl-memory-", dir="/var/tmp"))
    try:
        yield made
    finally:
        shutil.rmtree(made)


@contextmanager
def served() -> Iterator[int]:
    """Run a receiver that keeps every request, and yield its port."""
    script = ROOT / "benchmarks" / "webhook_server.py"
    with subprocess.Popen([sys.executable, str(script), "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def run_stage(name: str, folder: Path, port: int) -> Any:
    """Run a stage under the limit, and return its output."""
    connections = {
        "WAREHOUSE": {"conn_type": "duckdb", "host": str(folder / "warehouse.duckdb")},
        "CRM": {"conn_type": "sqlite", "host": str(folder / "crm.sqlite")},
        "VENDOR": {"conn_type": "http", "host": "127.0.0.1", "port": port, "extra": {"allow_private": True}},
    }
    env = os.environ | {f"AIRFLOW_CONN_{conn_id}": json.dumps(one) for conn_id, one in connections.items()}
    env |= {
        "AIRFLOW__CONSENT_RETL__WORKSPACE": (folder / "workspace").as_uri(),
        "PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}",
        "TMPDIR": str(folder),
    }
    with memory_cgroup(LIMIT_MIB) as cgroup:
        joined = [] if cgroup is None else [str(cgroup.folder)]
        command = [sys.executable, "-m", "support.limited_stage", name, str(folder), *joined]
        ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        # -9: it was killed because it needed more.
        assert ended.returncode == 0, f"{name} ended with {ended.returncode}: {ended.stderr[-2000:]}"
        memory = json.loads(ended.stdout.splitlines()[-1])
        # Without a cgroup, its peak without the files of its programs, which every process shares.
        assert cgroup is not None or memory["VmHWM"] - memory["RssFile"] <= LIMIT_MIB
    return json.loads((folder / f"{name}.json").read_text())


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_stage_needs_more_than_the_limit(folder: Path) -> None:
    with duckdb.connect(str(folder / "warehouse.duckdb")) as warehouse:
        warehouse.execute(_CUSTOMERS.format(rows=ROWS))
        permitted = {
            name: warehouse.execute(f"SELECT count(*) FROM customers WHERE {where}").fetchall()[0][0]
            for name, where in _PERMITTED.items()
        }
    with served() as port:
        for stage in ("extract", "consent"):
            run_stage(stage, folder, port)
        loaded = {name: run_stage(name, folder, port)["accepted"] for name in permitted}
        client = http.client.HTTPConnection("127.0.0.1", port)
        client.request("GET", "/")
        received = json.loads(client.getresponse().read())["rows"]
        client.close()

        with duckdb.connect(str(folder / "warehouse.duckdb")) as warehouse:
            gone = "UPDATE customers SET c0 = false, c1 = false, c2 = false WHERE user_id % 200 = 3"
            warehouse.execute(gone)
            there = warehouse.execute("SELECT count(*) FROM customers WHERE c1").fetchall()[0][0]
        withdrawn = run_stage("withdraw", folder, port)

    assert loaded == permitted
    assert received == permitted["webhook"]
    with closing(sqlite3.connect(folder / "crm.sqlite")) as crm:
        assert crm.execute("SELECT count(*) FROM people").fetchall() == [(there,)]
    assert withdrawn["crm"]["removed"] == permitted["crm"] - there
