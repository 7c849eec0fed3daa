"""Fixtures of the end-to-end tests: a warehouse whose personal values are all canaries, and the destinations."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from support.airflow_run import DAGS, Airflow
from support.people import people
from support.servers import Receiver, receiver


@pytest.fixture
def airflow(
    airflow_home: Path,
    airflow_db: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Airflow:
    """Return the Airflow of the tests, with temporary files in the test's own folder."""
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setenv("E2E_HOME", str(tmp_path))
    monkeypatch.setenv("AIRFLOW__CONSENT_RETL__WORKSPACE", (tmp_path / "workspace").as_uri())
    return Airflow(airflow_home, airflow_db, capfd)


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "CREATE TABLE people (user_id VARCHAR, email VARCHAR, name VARCHAR, analytics_ok BOOLEAN, ads VARCHAR, "
            "preferences VARCHAR)"
        )
        connection.executemany("INSERT INTO people VALUES (?, ?, ?, ?, ?, ?)", [person.row for person in people()])
    monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", json.dumps({"conn_type": "duckdb", "host": str(file)}))
    return file


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the policy to every place that a policy can be read from, and return its file."""
    document = (DAGS / "policy.json").read_text()
    file = tmp_path / "policy.json"
    file.write_text(document)
    monkeypatch.setenv("AIRFLOW_VAR_E2E_POLICY", document)
    connection = {"conn_type": "consent_policy", "extra": {"policy": document}}
    monkeypatch.setenv("AIRFLOW_CONN_E2E_POLICY", json.dumps(connection))
    return file


@pytest.fixture
def crm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "crm.sqlite"
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "sqlite", "host": str(file)}))
    return file


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with receiver() as server:
        connection = {"conn_type": "http", "host": "127.0.0.1", "port": server.port, "extra": {"allow_private": True}}
        monkeypatch.setenv("AIRFLOW_CONN_CRM_HTTP", json.dumps(connection))
        yield server
